"""What a user does with a running network, through the doors a user has."""

import base64
import json
import re
import subprocess
from pathlib import Path

import pytest
from etsi_qkd_014_client import QKD014Client

from running_lab import CHECKOUT, LOW_WATERMARK, QKD_LAB, eventually

OPERATOR_READS = ("status", "reports", "physics", "rounds", "connections")
# Eve adds 25 % to the fibre's 1 %, less what both undo: 25.5 %, and 7 sigma of the test basis's some 8,300 bits.
QBER_OF_EVE = pytest.approx(0.255, abs=0.034)
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def test_two_saes_hold_equal_keys_through_a_client_nobody_here_wrote(lab):
    lab.wait_for_keys(5)

    def client(sae: str, kme: str) -> QKD014Client:
        folder = lab.identity(sae)
        address = lab.endpoint(kme).removeprefix("https://")
        return QKD014Client(address, str(folder / "cert.pem"), str(folder / "key.pem"), str(folder / "ca.pem"))

    code, status = client("sae-a", "kme-a").get_status("sae-b")
    assert (code, status.source_kme_id, status.target_kme_id, status.key_size) == (200, "kme-a", "kme-b", 256)
    code, taken = client("sae-a", "kme-a").get_key("sae-b", number=5)
    assert code == 200
    ids = [key.key_id for key in taken.keys]
    code, fetched = client("sae-b", "kme-b").get_key_with_key_IDs("sae-a", ids)
    assert code == 200
    assert {key.key_id: key.key for key in fetched.keys} == {key.key_id: key.key for key in taken.keys}
    assert len({key.key for key in taken.keys}) == 5
    assert all(len(base64.b64decode(key.key)) == 32 for key in taken.keys)


def test_a_key_is_delivered_to_its_slave_only_once(lab):
    lab.wait_for_keys()
    key = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"][0]
    first = lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]])
    assert first.json()["keys"][0] == key
    again = lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]])
    assert (again.status_code, again.json()["message"]) == (400, "one or more keys specified are not found on KME")


def test_both_directions_have_keys_of_their_own(lab):
    lab.wait_for_keys(1, "sae-b", "sae-a", "kme-b")
    key = lab.enc_keys("sae-b", "sae-a", "kme-b").json()["keys"][0]
    assert UUID.fullmatch(key["key_ID"])
    assert lab.dec_keys("sae-a", "sae-b", "kme-a", [key["key_ID"]]).json()["keys"][0] == key


def test_nobody_but_its_slave_gets_a_key(lab):
    lab.wait_for_keys()
    key_id = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"][0]["key_ID"]
    assert lab.dec_keys("sae-a", "sae-b", "kme-a", [key_id]).status_code == 401


@pytest.mark.parametrize("mode", ["aes-256-gcm", "one-time-pad"])
def test_a_message_goes_from_sae_to_sae_under_delivered_keys(lab, mode):
    text = f"café at noon, {mode}"
    lab.wait_for_keys(10)
    with lab.as_operator() as operator:
        order = {"to": "sae-b", "text": text, "mode": mode}
        sent = operator.post(f"{lab.endpoint('sae-a.ops')}/v1/messages", json=order)
        assert sent.status_code == 200, sent.text
        received = operator.get(f"{lab.endpoint('sae-b.ops')}/v1/inbox").json()[-1]
    assert received["text"] == text
    assert received["key_IDs"] == sent.json()["key_IDs"]
    assert text not in base64.b64decode(sent.json()["ciphertext"]).decode("latin-1")


def test_pools_fill_to_their_high_watermark_and_stop(lab):
    take_keys_until_below(lab, LOW_WATERMARK)
    lab.wait_for_keys(1000)
    with lab.as_sae("sae-a") as session:
        status = session.get(f"{lab.endpoint('kme-a')}/api/v1/keys/sae-b/status").json()
    assert status["stored_key_count"] == status["max_key_count"] == 1000


def test_with_eve_no_key_comes_out_and_without_her_keys_flow_again(lab):
    def reports() -> list[dict]:
        with lab.as_operator() as operator:
            return operator.get(f"{lab.endpoint('kme-a.ops')}/v1/status").json()["links"][0]["last_reports"]

    of_others = [report["block_id"] for report in reports()]  # a test before may have spoilt rounds as well
    lab.command("link", "set", "a-b", "--eve", "intercept-resend:1")
    assert "intercept-resend:1" in lab.command("link", "show", "a-b")
    try:

        def drained() -> bool:
            while lab.enc_keys("sae-a", "sae-b", "kme-a", number=100).ok:
                pass
            return lab.enc_keys("sae-a", "sae-b", "kme-a").status_code == 503

        def spoilt() -> list[dict]:
            """Two reports: the second round was ordered when the bits of earlier blocks had been used up."""
            own = [report for report in reports() if report["block_id"] not in of_others]
            aborted = [report for report in own if report["outcome"] == "aborted"]
            return aborted if len(aborted) >= 2 else []

        for report in eventually(lambda: drained() and spoilt(), "an empty pool, and two rounds that Eve spoilt"):
            assert report["qber"] == QBER_OF_EVE
            assert "QBER" in report["abort_reason"] and report["secret_bits"] == 0
        refusal = lab.enc_keys("sae-a", "sae-b", "kme-a")
        assert refusal.status_code == 503 and "Retry-After" in refusal.headers
    finally:
        lab.command("link", "set", "a-b", "--eve", "none")
    lab.wait_for_keys(LOW_WATERMARK)


def test_each_round_tells_its_physics_and_apart_from_it_what_eve_knows(lab):
    def rounds() -> list[dict]:
        """Those that are over, oldest first."""
        found = json.loads(lab.command("link", "rounds", "a-b", "--count", "1000", "--json"))
        return [row for row in reversed(found) if row["outcome"]]

    def a_key_with(eve: str) -> bool:
        return any(row["outcome"] == "key" and row["physics"] and row["physics"]["eve"] == eve for row in rounds())

    def take_all_keys() -> None:
        while lab.enc_keys("sae-a", "sae-b", "kme-a", number=100).ok:
            pass

    def spoilt() -> list[dict]:
        take_all_keys()
        attacked = [row for row in rounds() if row["physics"] and row["physics"]["eve"] == "intercept-resend:1"]
        return [row for row in attacked if set(row["outcomes"]) == {"qkde-a", "qkde-b"}]

    lab.wait_for_keys()
    # Blocks of rounds that the link has forgotten may have filled the pools: take from them until there is a new one.
    eventually(lambda: a_key_with("none") or take_all_keys(), "a round without Eve")
    before = {row["round_id"] for row in rounds()}
    lab.command("link", "set", "a-b", "--eve", "intercept-resend:1")
    try:
        attacked = eventually(spoilt, "a round that Eve spoilt, and its report")
    finally:
        lab.command("link", "set", "a-b", "--eve", "none")
    for row in attacked:
        truth = row["ground_truth"]
        assert row["secret_bits"] == 0 and row["outcome"] == "aborted" and row["qber"] == QBER_OF_EVE
        assert 0.48 < truth["eve_sifted_information_bits"] / truth["key_bits"] < 0.52
        assert truth["eve_information_bits"] == 0, "there is no key to know of"
    honest = [row for row in rounds() if row["round_id"] in before and row["physics"]["eve"] == "none"]
    assert honest, "the rounds before keep the physics they had"
    for row in (row for row in honest if row["outcome"] == "key"):
        assert row["secret_bits"] > 0 and row["secret_bits_per_simulated_s"] > 0
        assert row["ground_truth"]["eve_sifted_information_bits"] == 0 and row["ground_truth"]["within_proof_bound"]
    text = lab.command("link", "rounds", "a-b")
    assert "Ground truth, which neither end can see" in text and "eve intercept-resend:1" in text
    lab.wait_for_keys(1000)


def take_keys_until_below(lab, watermark: int) -> None:
    """Below its low watermark a pool is filled again, up to the high one."""
    while lab.stored_key_count("sae-a", "sae-b", "kme-a") >= watermark:
        assert lab.enc_keys("sae-a", "sae-b", "kme-a", number=128).ok


def test_a_new_sae_and_connection_get_keys_without_a_restart(lab):
    lab.command("register", "sae", "vpn/1 ü", "--site", "a")
    lab.command("register", "--master", "vpn/1 ü", "--slave", "sae-b", "--key-size", "512", "--max-keys", "50")
    lab.command("register", "--master", "vpn/1 ü", "--slave", "sae-b", "--key-size", "512", "--max-keys", "50")
    contradiction = lab.command(
        "register", "--master", "vpn/1 ü", "--slave", "sae-b", "--key-size", "256", "--max-keys", "50", expected=1
    )
    assert "key_size" in contradiction and "Traceback" not in contradiction
    folder = next((lab.folder / ".lab" / "pki").glob("vpn*"))
    with lab.as_sae(folder.name) as session:
        url = f"{lab.endpoint('kme-a')}/api/v1/keys/sae-b"
        eventually(lambda: session.get(f"{url}/status").json()["stored_key_count"] == 50, "a full pool of 512-bit keys")
        key = session.get(f"{url}/enc_keys").json()["keys"][0]
    assert len(base64.b64decode(key["key"])) == 64
    fetched = lab.dec_keys("sae-b", "vpn%2F1%20%C3%BC", "kme-b", [key["key_ID"]])
    assert fetched.json()["keys"] == [key]


def test_the_readmes_curl_examples_work_as_they_stand(lab):
    lab.wait_for_keys()
    readme = (CHECKOUT / "README.md").read_text()
    (example,) = [block for block in re.findall(r"```sh\n(.*?)```", readme, re.S) if "curl" in block]
    # Where the ports are taken on this machine, the lab has the next free ones.
    endpoints = {f"https://127.0.0.1:{8000 + index}": lab.endpoint(kme) for index, kme in enumerate(("kme-a", "kme-b"))}
    example = re.sub(r"https://127\.0\.0\.1:\d+", lambda match: endpoints[match[0]], example)
    done = subprocess.run(["sh", "-ec", example], cwd=lab.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    status, taken, fetched = done.stdout.replace("}{", "}\n{").splitlines()
    assert '"stored_key_count":' in status
    assert taken == fetched and '"keys":[' in taken


def test_no_process_logs_or_shows_key_material(lab):
    """The labs of these tests log at debug level where that can be set."""
    lab.wait_for_keys(100)
    keys = [base64.b64decode(k["key"]) for k in lab.enc_keys("sae-a", "sae-b", "kme-a", number=100).json()["keys"]]
    lab.dec_keys("sae-b", "sae-a", "kme-b", ["00000000-0000-4000-8000-000000000000"])
    shown = lab.logs() + lab.command("status") + lab.command("status", "--json") + lab.command("link", "show", "a-b")
    shown += lab.command("link", "rounds", "--json")
    with lab.as_operator() as operator:
        for name in ("kme-a", "kme-b", "kme-a-scheduler", "qkde-a", "qkde-b", "qlink-a-b"):
            for path in ("healthz", "readyz", "metrics", *(f"v1/{what}" for what in OPERATOR_READS)):
                shown += operator.get(f"{lab.endpoint(f'{name}.ops')}/{path}").text
    assert len(shown) > 1000
    for key in keys:
        for form in spellings(key):
            assert form not in shown


def spellings(key: bytes) -> list[str]:
    """Hexadecimal, Python's escapes, and base64 in each alignment within something longer."""
    forms = [key.hex(), key.hex().upper(), repr(key)[2:-1]]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        forms += [encode(bytes(shift) + key).decode()[4 if shift else 0 : 40] for shift in range(3)]
    return forms


def test_an_error_of_a_command_is_one_clear_line(lab, tmp_path):
    for arguments, words in [
        (["link", "set", "a-z", "--depolarizing", "0.1"], "a-z"),
        (["link", "set", "a-b", "--depolarizing", "1.5"], "depolarizing"),
        (["link", "set", "a-b", "--eve", "mallory"], "eve"),
        (["register", "--master", "nobody", "--slave", "sae-b"], "nobody"),
    ]:
        printed = lab.command(*arguments, expected=1).strip()
        assert words in printed and "Traceback" not in printed and len(printed.splitlines()) == 1, printed


def test_a_lab_is_needed_for_commands_that_use_one(tmp_path: Path):
    done = subprocess.run([*QKD_LAB, "status"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "qkd-lab up" in done.stderr
