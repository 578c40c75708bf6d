"""Which generator sends which requests."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from qkd_lab.bench import driver
from qkd_lab.bench.cells import Cell, Load
from qkd_lab.bench.driver import Driver
from qkd_lab.testing.handles import Kme, Sae

DONE = Load(10, 10, 1.0, (1.0,), {}, 0.1)


@pytest.fixture
def driven(monkeypatch, tmp_path):
    """Drives a cell with generators that only say what they were asked for: program, URL, SAE, bodies."""
    sent = []

    def ab(url, sae, folder, *, request_count, body, **_):
        sent.append(("ab", url, sae.id, [body] * request_count))
        return DONE

    def curl(url, sae, bodies, **_):
        sent.append(("curl", url, sae.id, bodies))
        return DONE

    monkeypatch.setattr(driver.generators, "ab", ab)
    monkeypatch.setattr(driver.generators, "curl", curl)
    pool = SimpleNamespace(
        master=Sae("m", Kme("kme-a", "https://a"), "", "", ""),
        slave=Sae("s", Kme("kme-b", "https://b"), "", "", ""),
        enc_keys_url="https://a/enc_keys",
        dec_keys_url="https://b/dec_keys",
        most_at_once=100,
        fill=lambda count: None,
        take_key_ids=lambda count: [f"id-{at}" for at in range(count)],
    )
    spent_s = dict.fromkeys(("kme-a", "redis-a", "kme-b", "redis-b"), 0.5)
    processors = SimpleNamespace(busy=lambda names: {}, spent_s=lambda before: spent_s)

    def drive(cell):
        sent.clear()
        Driver(pool, processors, tmp_path, lambda line: None).drive(cell)
        return list(sent)

    return drive


def test_enc_keys_is_sent_by_ab_and_to_be_compared_with_dec_keys_by_curl_as_a_post(driven):
    one, several = Cell("enc_keys", 1, "keep-alive", 2, 10), Cell("enc_keys", 4, "keep-alive", 2, 10)
    assert driven(one) == [("ab", "https://a/enc_keys", "m", [None] * 10)]
    assert driven(several) == [("ab", "https://a/enc_keys", "m", [b'{"number": 4}'] * 10)]
    for cell in (one, several):
        body = json.dumps({"number": cell.number}).encode()
        assert driven(replace(cell, is_by_curl=True)) == [("curl", "https://a/enc_keys", "m", [body] * 10)]
        assert str(cell) != str(replace(cell, is_by_curl=True))


def test_of_dec_keys_each_request_names_other_keys(driven):
    ((program, url, sae, bodies),) = driven(Cell("dec_keys", 2, "new", 2, 3))
    assert (program, url, sae) == ("curl", "https://b/dec_keys", "s")
    ids = [one["key_ID"] for body in bodies for one in json.loads(body)["key_IDs"]]
    assert len(bodies) == 3 and ids == [f"id-{at}" for at in range(6)]


def test_parts_of_a_cell_are_by_its_generator(driven):
    sent = driven(Cell("enc_keys", 1, "keep-alive", 2, 250, is_by_curl=True))
    assert [(program, len(bodies)) for program, *_, bodies in sent] == [("curl", 84), ("curl", 83), ("curl", 83)]
