"""The lab with the database servers of the wheels, even where the system has its own."""

import os
import subprocess

from running_lab import QKD_LAB, Lab


def test_keys_reach_both_saes_on_the_wheels_servers(tmp_path):
    environment = {**os.environ, "QKD_LAB_SERVERS": "wheels"}
    started = subprocess.run([*QKD_LAB, "up"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr
    try:
        assert started.stdout.count("(wheel)") == 2
        lab = Lab(tmp_path, str)
        lab.wait_for_keys()
        key = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"][0]
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]]).json()["keys"] == [key]
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=tmp_path, check=True)
