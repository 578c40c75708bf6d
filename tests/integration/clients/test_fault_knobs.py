"""Faults on purpose on two whole KMEs, set by the command: what becomes of the keys."""

from __future__ import annotations

import subprocess
import sys

import pytest
import requests

from two_kmes import CHECKOUT, Kmes


def qkd_lab(kmes: Kmes, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qkd_lab.cli", *arguments],
        cwd=kmes.lab.path.parent,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def fault(kmes):
    """Sets knobs of kme-a; they are off again after the test."""

    def set_(knob: str, value: str) -> str:
        done = qkd_lab(kmes, "fault", "set", "kme-a", knob, value)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield set_
    set_("all", "off")


def delivered_bits(kmes: Kmes) -> int:
    account = kmes.state()["kme-a"]["account"]
    assert account["balanced"]
    return account["delivered_bits"]


def get(kmes: Kmes, path: str, holder: str = "sae-a", kme: str = "kme-a") -> requests.Response:
    with kmes.session(holder) as session:
        return session.get(f"{kmes.url(kme)}/api/v1/keys/{path}", timeout=20)


def test_the_command_sets_one_knob_at_a_time_and_shows_all(kmes, fault):
    assert fault("delay_s", "0.25") == "kme-a: delay_s 0.25\n"
    assert fault("empty_pools", "true") == "kme-a: delay_s 0.25, empty_pools true\n"
    assert qkd_lab(kmes, "fault", "show").stdout.splitlines() == [
        "kme-a: delay_s 0.25, empty_pools true",
        "kme-b: no faults on purpose",
    ]
    assert fault("delay_s", "off") == "kme-a: empty_pools true\n"
    assert fault("all", "off") == qkd_lab(kmes, "fault", "show", "kme-a").stdout == "kme-a: no faults on purpose\n"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["kme-a", "delay_s", "61"], 2, "expected a number from 0 to 60"),
        (["kme-a", "empty_pools", "7"], 2, "expected true or false"),
        (["kme-a", "refusals", "7"], 2, "refuse_percentage"),
        (["kme-a", "all", "on"], 2, "off"),
        (["kme-z", "delay_s", "1"], 1, "it has kme-a, kme-b"),
        (["qkde-a", "delay_s", "1"], 1, "it has kme-a, kme-b"),
    ],
)
def test_what_can_not_be_set_is_refused_with_the_reason(kmes, arguments, code, words):
    done = qkd_lab(kmes, "fault", "set", *arguments)
    assert done.returncode == code and words in done.stderr and "Traceback" not in done.stderr


def test_keys_of_a_dropped_delivery_count_as_delivered_and_never_come_again(kmes, fault):
    before = delivered_bits(kmes)
    fault("drop_after_delivery_percentage", "100")
    with pytest.raises(requests.ConnectionError):
        get(kmes, "sae-b/enc_keys?number=3")
    assert delivered_bits(kmes) == before + 3 * 256
    fault("all", "off")
    assert get(kmes, "sae-b/enc_keys?number=1").status_code == 200
    assert delivered_bits(kmes) == before + 4 * 256


def test_a_slave_whose_answer_was_dropped_does_not_get_the_key_a_second_time(kmes, fault):
    with kmes.session("sae-b") as master:
        key = master.get(f"{kmes.url('kme-b')}/api/v1/keys/sae-a/enc_keys").json()["keys"][0]
    fault("drop_after_delivery_percentage", "100")
    with pytest.raises(requests.ConnectionError):
        get(kmes, f"sae-b/dec_keys?key_ID={key['key_ID']}")
    fault("all", "off")
    again = get(kmes, f"sae-b/dec_keys?key_ID={key['key_ID']}")
    assert again.status_code == 400 and "not found" in again.json()["message"]


def test_refused_requests_and_empty_pools_take_no_key(kmes, fault):
    before = delivered_bits(kmes)
    for knob, value in (("refuse_percentage", "100"), ("empty_pools", "true")):
        fault("all", "off")
        fault(knob, value)
        answer = get(kmes, "sae-b/enc_keys")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert delivered_bits(kmes) == before
    assert get(kmes, "stranger-b/enc_keys").status_code == 400  # what is wrong is still said where pools are empty


def test_a_duplicate_reply_delivers_the_same_keys_and_no_others(kmes, fault):
    before = delivered_bits(kmes)
    fault("duplicate_reply_percentage", "100")
    answer = get(kmes, "sae-b/enc_keys?number=2")
    assert answer.status_code == 200 and len(answer.json()["keys"]) == 2
    assert delivered_bits(kmes) == before + 2 * 256
