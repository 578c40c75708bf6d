"""The audit trail and the key-encryption keys of a running network, in both ways of running."""

from __future__ import annotations

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from running_lab import eventually


def shown(lab, *options: str) -> list[dict]:
    return [json.loads(line) for line in lab.command("audit", "show", "--json", *options).splitlines()]


def keks(lab) -> dict[str, dict]:
    return json.loads(lab.command("kek", "show", "--json"))


def test_what_was_done_is_in_an_audit_trail_that_verifies(lab):
    lab.wait_for_keys()
    (key,) = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"]
    assert lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]]).ok
    lab.command("audit", "verify")  # which drains too
    for kme, role in (("kme-a", "master"), ("kme-b", "slave")):
        told = [row["detail"] for row in shown(lab, "--kme", kme, "--event", "keys_delivered")]
        assert role in [detail["role"] for detail in told if key["key_ID"] in detail["key_ids"]]
    assert {"block_received", "keys_stored", "sae_registered", "connection_registered"} <= {
        row["event"] for row in shown(lab)
    }
    assert key["key"] not in lab.command("audit", "show", "--json")


def test_a_key_encryption_key_is_changed_while_clients_take_keys(lab):
    lab.wait_for_keys()
    before = keks(lab)
    delivered = rotated_while_keys_are_taken(lab, lambda: lab.command("kek", "rotate", "kme-b"))
    assert len(delivered) == len(set(delivered)) > 1
    after = keks(lab)
    assert after["kme-b"]["fingerprint"] != before["kme-b"]["fingerprint"] and after["kme-b"]["retired"] == []
    assert after["kme-a"] == before["kme-a"]
    lab.command("audit", "verify")


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_a_rotation_that_was_killed_finishes_by_itself(lab):
    lab.wait_for_keys()

    def rotate_and_kill():
        lab.command("kek", "rotate", "kme-a", "--wait-s", "0", expected=1)  # it is not done by then
        state = json.loads((lab.folder / ".lab" / "state.json").read_text())
        os.kill(state["processes"]["kme-a-scheduler"]["pid"], signal.SIGKILL)
        return eventually(lambda: not keks(lab)["kme-a"]["retired"], "the rotation is done")

    delivered = rotated_while_keys_are_taken(lab, rotate_and_kill)
    assert len(delivered) == len(set(delivered)) > 1
    assert shown(lab, "--kme", "kme-a", "--event", "kek_destroyed")
    lab.command("audit", "verify")


def rotated_while_keys_are_taken(lab, rotate) -> list[str]:
    """The ids of the keys that were delivered to both meanwhile, alike."""
    delivered = []
    with ThreadPoolExecutor(1) as pool:
        rotation = pool.submit(rotate)
        while not rotation.done():
            answer = lab.enc_keys("sae-a", "sae-b", "kme-a")
            if answer.status_code == 503:  # a slow machine: the pool is empty
                continue
            (key,) = answer.json()["keys"]
            assert lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]]).json()["keys"] == [key]
            delivered.append(key["key_ID"])
        rotation.result()
    return delivered
