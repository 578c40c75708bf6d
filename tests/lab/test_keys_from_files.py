"""A lab without a quantum link: its keys come from files, and its other APIs over real mutual TLS."""

import base64
import json
import os
import secrets
import signal
import subprocess

from qkd_lab.topology import SHIPPED

from running_lab import QKD_LAB, Lab, eventually

FILE_BYTES = 200_000


def test_files_at_both_sites_become_keys_once_whatever_is_killed(tmp_path):
    up = [*QKD_LAB, "up", "--topology", str(SHIPPED / "two-sites-directory.toml")]
    subprocess.run(up, cwd=tmp_path, check=True, capture_output=True)
    try:
        lab = Lab(tmp_path, str)
        assert not [name for name in status(lab)["processes"] if name.startswith(("qkde", "qlink"))]
        contents = [move_in(lab, f"{number}.cor") for number in range(8)]
        os.kill(status(lab)["processes"]["kme-a-scheduler"]["pid"], signal.SIGKILL)
        lab.wait_for_keys(1000)

        (key,) = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"]
        assert any(base64.b64decode(key["key"]) in one for one in contents)
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]]).json()["keys"] == [key]

        both = {"kme-a", "kme-b"}
        eventually(lambda: {f["kme"] for f in status(lab)["folders"] if f["files_read"] == 8} == both, "all files read")
        found = status(lab)
        assert [one["bytes_read"] for one in found["folders"]] == 2 * [8 * FILE_BYTES]
        for account in found["accounts"].values():
            assert account["balanced"] and account["received_bits"] == 8 * 8 * FILE_BYTES
        eventually(lambda: not list((tmp_path / ".lab" / "keys").rglob("*.cor")), "the files are deleted")
        assert "there is no light that Eve could measure" in lab.command("demo")
        assert "it has no physics" in lab.command("link", "set", "a-b", "--loss-db", "3", expected=1)

        for sae, kme in (("alice@example.com", "a"), ("bob@example.com", "b")):
            lab.command("register", "sae", sae, "--site", kme)
        quick_and_life_cycle(lab)
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=tmp_path, check=True)


def quick_and_life_cycle(lab):
    """Alice registers her connection by one API, and takes a key of it by another."""
    alice, bob = "alice@example.com", "bob@example.com"
    with lab.as_sae("alice%40example.com") as at_a, lab.as_sae("bob%40example.com") as at_b:
        a, b = lab.endpoint("kme-a"), lab.endpoint("kme-b")
        kmes = {"source_KME_ID": "sender_app", "target_KME_ID": "receiver_app"}
        saes = {"master_SAE_ID": alice, "slave_SAE_ID": bob}
        assert at_a.post(f"{a}/register_connection", json=kmes | saes | {"max_keys_count": 10}).status_code == 201
        body = {"requester_sae": alice, "recipient_sae": bob, "key_size": 256, "ttl": 3600}
        asked = eventually(lambda: json_of(at_a.post(f"{a}/api/v1/keys/request", json=body)), "a key for Alice")
        fetched = at_b.get(f"{b}/api/v1/keys/{asked['key_id']}-bob", params={"requester_sae": bob}).json()
        assert (fetched["key"], fetched["algorithm"]) == (asked["key"], "external")
        assert at_b.get(f"{b}/api/v1/keys/{asked['key_id']}", params={"requester_sae": alice}).status_code == 401
        new = at_a.get(f"{a}/get_key", params={"slave_host": bob}).json()
        assert at_b.get(f"{b}/get_key", params={"key_id": new["key_id"]}).json() == new
        assert at_a.get(f"{a}/api/v1/keys/entropy/total").json()["total_entropy"] > 7.99


def json_of(answer):
    return answer.json() if answer.status_code == 200 else None


def status(lab):
    return json.loads(lab.command("status", "--json"))


def move_in(lab, name) -> bytes:
    contents = secrets.token_bytes(FILE_BYTES)
    for site in ("a", "b"):
        folder = lab.folder / ".lab" / "keys" / "a-b" / site
        (folder / ".new").write_bytes(contents)
        (folder / ".new").rename(folder / name)
    return contents
