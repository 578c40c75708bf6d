"""A client's test suite: `pytest docs/examples/test_my_client.py --qkd-embedded`, or without the option in a container.

`MyClient` stands for your own. The fixtures come with qkd-lab.
"""

import base64

import pytest
import requests


class MyClient:
    """Takes and fetches keys, and asks again when the KME has none for the moment."""

    def __init__(self, sae, attempt_count=3):
        self._sae = sae
        self._attempt_count = attempt_count

    def take(self, slave):
        return self._call(f"{slave}/enc_keys", {"number": 1})

    def fetch(self, master, key_id):
        return self._call(f"{master}/dec_keys", {"key_IDs": [{"key_ID": key_id}]})

    def _call(self, path, body):
        with self._sae.session() as session:
            for _ in range(self._attempt_count):
                answer = session.post(f"{self._sae.kme.url}/api/v1/keys/{path}", json=body, timeout=10)
                if answer.status_code != 503:
                    break
        answer.raise_for_status()
        (key,) = answer.json()["keys"]
        return key["key_ID"], base64.b64decode(key["key"])


def test_both_ends_have_the_same_key(qkd_network):
    key_id, key = MyClient(qkd_network.sae("a")).take("sae-b")
    assert MyClient(qkd_network.sae("b")).fetch("sae-a", key_id) == (key_id, key)
    assert len(key) == 32


@pytest.mark.qkd_fault("a", refuse_percentage=100)
def test_a_kme_that_refuses_is_said_and_not_asked_for_ever(qkd_network):
    with pytest.raises(requests.HTTPError, match="503"):
        MyClient(qkd_network.sae("a")).take("sae-b")


@pytest.mark.qkd_fault("a", drop_after_delivery_percentage=100)
def test_a_key_whose_answer_was_lost_is_not_asked_for_again(qkd_network):
    with pytest.raises(requests.ConnectionError):
        MyClient(qkd_network.sae("a")).take("sae-b")


def test_a_new_pair_gets_keys_of_its_own(qkd_network):
    carol = qkd_network.add_sae("carol", site="a")
    qkd_network.register("carol", "b", max_keys_count=10)
    qkd_network.wait_for_keys(1, "carol", "b")
    assert MyClient(carol).take("sae-b")
