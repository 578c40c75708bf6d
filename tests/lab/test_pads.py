"""One-time pads in a running network: a QKDE that dies, and a link that is given a new pre-shared key."""

import json
import os
import re
import signal

import pytest

from running_lab import LOW_WATERMARK, eventually

USED = re.compile(r"link a-b: pad (\d+) of pre-shared key (\w+) is used")


def pads_used(lab, qkde: str) -> list[tuple[str, int]]:
    text = (lab.folder / ".lab" / "log" / f"{qkde}.log").read_text(errors="replace")
    return [(key_id, int(pad)) for pad, key_id in USED.findall(text)]


def reports(lab, qkde: str) -> list[dict]:
    with lab.as_operator() as operator:
        answer = operator.get(f"{lab.endpoint(f'{qkde}.ops')}/v1/reports")
    return answer.json() if answer.ok else []


def take_keys(lab) -> None:
    """So that the KME orders another round sooner or later."""
    lab.enc_keys("sae-a", "sae-b", "kme-a", number=128)


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_rounds_go_on_when_a_qkde_was_killed_and_no_pad_is_used_twice(lab):
    for killed in ("qkde-a", "qkde-b"):
        before = len(pads_used(lab, "qkde-b"))
        process = json.loads((lab.folder / ".lab" / "state.json").read_text())["processes"][killed]
        os.kill(process["pid"], signal.SIGKILL)

        def two_more(before=before):
            take_keys(lab)
            return len(pads_used(lab, "qkde-b")) >= before + 2

        eventually(two_more, f"two rounds after {killed} was killed", within_s=120)
    for qkde in ("qkde-a", "qkde-b"):
        used = pads_used(lab, qkde)
        assert len(used) == len(set(used))
    lab.wait_for_keys(LOW_WATERMARK)


def test_a_link_with_a_new_pre_shared_key_makes_blocks_again(lab):
    shown = lab.command("link", "rekey", "a-b")
    key_id = re.search(r"qkde-a: pre-shared key (\w+), 32 pads", shown)[1]
    assert f"qkde-b: pre-shared key {key_id}, 32 pads" in shown
    before = {report["block_id"] for report in reports(lab, "qkde-b")}

    def block():
        take_keys(lab)
        return [r for r in reports(lab, "qkde-b") if r["block_id"] not in before and r["outcome"] == "key"]

    report = eventually(block, "a block under the new key")[0]
    assert report["authentication_bits"] == report["refill_bits"] == 512
    assert report["pad_bits_left"] == 32 * 512
    assert report["secret_bits"] == report["block_bits"] + report["refill_bits"]
    assert 0 < report["epsilon_authentication"] < 1e-25
    lab.wait_for_keys(LOW_WATERMARK)


def test_an_unknown_link_is_not_rekeyed(lab):
    assert "no link 'a-c' in this lab: it has a-b" in lab.command("link", "rekey", "a-c", expected=1)
