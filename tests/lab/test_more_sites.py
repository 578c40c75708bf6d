"""A bigger network is a longer file, not other code."""

import json
import subprocess
from collections.abc import Iterator

import pytest

from qkd_lab.topology import SHIPPED

from browser import chromium, page_of
from running_lab import QKD_LAB, Lab


@pytest.fixture(scope="module")
def chain(tmp_path_factory) -> Iterator[Lab]:
    """Three sites on a chain of two links."""
    folder = tmp_path_factory.mktemp("chain")
    up = [*QKD_LAB, "up", "--topology", str(SHIPPED / "three-sites.toml")]
    subprocess.run(up, cwd=folder, check=True, capture_output=True)
    try:
        yield Lab(folder, str)
    finally:
        subprocess.run([*QKD_LAB, "down", "--remove"], cwd=folder, check=True)


def test_three_sites_on_a_chain_of_two_links_all_get_their_keys(chain):
    for master, slave in (("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")):
        sae, other, kme, other_kme = f"sae-{master}", f"sae-{slave}", f"kme-{master}", f"kme-{slave}"
        chain.wait_for_keys(1, sae, other, kme)
        key = chain.enc_keys(sae, other, kme).json()["keys"][0]
        assert chain.dec_keys(other, sae, other_kme, [key["key_ID"]]).json()["keys"] == [key]


def test_the_dashboards_first_page_controls_the_link_that_is_chosen(chain):
    def eve(link: str) -> str:
        return json.loads(chain.command("link", "show", link, "--json"))["eve"]

    with chromium() as browser:
        opened = page_of(chain, browser).open()
        legend = opened.page.locator(".side legend").first
        assert legend.text_content() == "Link a-b"
        opened.page.get_by_label("Controls of link").select_option("b-c")
        assert legend.text_content() == "Link b-c"
        opened.switch("Eve", True)
        assert (eve("a-b"), eve("b-c")) == ("none", "intercept-resend:1")
        opened.go("events")
        opened.go("")
        assert legend.text_content() == "Link b-c"
        opened.switch("Eve", False)
        assert eve("b-c") == "none" and opened.wrong == []
