"""A bigger network is a longer file, not other code."""

import subprocess

from qkd_lab.topology import SHIPPED

from running_lab import QKD_LAB, Lab


def test_three_sites_on_a_chain_of_two_links_all_get_their_keys(tmp_path):
    up = [*QKD_LAB, "up", "--topology", str(SHIPPED / "three-sites.toml")]
    subprocess.run(up, cwd=tmp_path, check=True, capture_output=True)
    try:
        lab = Lab(tmp_path, str)
        for master, slave in (("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")):
            sae, other, kme, other_kme = f"sae-{master}", f"sae-{slave}", f"kme-{master}", f"kme-{slave}"
            lab.wait_for_keys(1, sae, other, kme)
            key = lab.enc_keys(sae, other, kme).json()["keys"][0]
            assert lab.dec_keys(other, sae, other_kme, [key["key_ID"]]).json()["keys"] == [key]
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=tmp_path, check=True)
