"""A lab whose link sends weak coherent pulses with decoys: keys, and a record of provenance for every block of them."""

import json
import subprocess

from qkd_lab.topology import SHIPPED

from running_lab import QKD_LAB, Lab, eventually


def test_keys_come_from_decoy_states_and_their_blocks_can_be_verified(tmp_path):
    up = [*QKD_LAB, "up", "--topology", str(SHIPPED / "decoys.toml")]
    subprocess.run(up, cwd=tmp_path, check=True, capture_output=True)
    try:
        lab = Lab(tmp_path, str)
        lab.wait_for_keys(1)
        key = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"][0]
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [key["key_ID"]]).json()["keys"] == [key]

        reports = json.loads(lab.command("status", "--json"))["reports"]
        made = next(report for report in reports if report["outcome"] == "key")
        assert made["parameters"]["source"] == "weak-coherent"
        verified = lab.command("verify-block", made["block_id"])
        assert "follow from the record at both ends (two decoys, Lim et al. 2014" in verified

        # No errors, but what the decoys show of the photon numbers leaves no key.
        lab.command("link", "set", "a-b", "--loss-db", "6", "--eve", "photon-number-splitting")
        lab_is_dry = "no secret bits are left"
        eventually(lambda: lab_is_dry in json.dumps(_drained(lab)), "a round that decoys show to give nothing")
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=tmp_path, check=True)


def _drained(lab):
    """The reports, after some keys were taken so that a round is ordered."""
    lab.enc_keys("sae-a", "sae-b", "kme-a", number=100)
    return json.loads(lab.command("status", "--json"))["reports"]
