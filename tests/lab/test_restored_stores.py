"""An old copy of a site's key store, put back into a whole lab: the keys in it are destroyed, and keys flow again."""

import json
import shutil
import subprocess
from pathlib import Path

from qkd_lab.lab_folder import LabFolder

from running_lab import QKD_LAB, Lab, eventually


def test_a_lab_with_an_old_copy_of_a_redis_destroys_its_keys_and_makes_new_ones(tmp_path):
    subprocess.run([*QKD_LAB, "up"], cwd=tmp_path, check=True, capture_output=True)
    try:
        lab = Lab(tmp_path, str)
        for master, slave, kme in (("sae-a", "sae-b", "kme-a"), ("sae-b", "sae-a", "kme-b")):
            lab.wait_for_keys(3, master, slave, kme)
        redis = Path(LabFolder(tmp_path / ".lab").read_state()["data"]) / "redis-a"
        copy = redis.with_name("redis-a.old")
        subprocess.run(["cp", "-a", redis, copy], check=True)
        given = lab.enc_keys("sae-a", "sae-b", "kme-a", number=2).json()["keys"]
        back = lab.enc_keys("sae-b", "sae-a", "kme-b").json()["keys"]
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [given[0]["key_ID"]]).status_code == 200
        lab.command("down")

        shutil.rmtree(redis)
        subprocess.run(["cp", "-a", copy, redis], check=True)
        lab.command("up")
        witness = eventually(lambda: confirmed(lab), "both ends have confirmed the new epoch")
        assert witness["epoch"] == 2 and "Redis" in witness["began_because"]
        assert "all keys of the last one are destroyed" in (tmp_path / ".lab/log/kme-a-scheduler.log").read_text()
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [given[1]["key_ID"]]).status_code == 400
        assert lab.dec_keys("sae-a", "sae-b", "kme-a", [back[0]["key_ID"]]).status_code == 400

        new = eventually(lambda: keys_in(lab.enc_keys("sae-a", "sae-b", "kme-a")), "a new key")
        assert new[0]["key_ID"] not in [one["key_ID"] for one in given]
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [new[0]["key_ID"]]).json()["keys"] == new
        accounts = status(lab)["accounts"].values()
        assert all(one["balanced"] and one["destroyed_bits"] for one in accounts)
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=tmp_path, check=True)


def confirmed(lab):
    """What kme-a says of the witness, once both KMEs have destroyed what was old."""
    found = status(lab)["witnesses"]
    peers = [set(one.get("peers", {}).values()) for one in found.values()]
    is_well = peers == [{"confirmed"}] * 2 and all(one["state"] == "well" for one in found.values())
    return found["kme-a"] if is_well and found["kme-a"]["epoch"] > 1 else None


def status(lab):
    return json.loads(lab.command("status", "--json"))


def keys_in(answer):
    return answer.json()["keys"] if answer.status_code == 200 else None
