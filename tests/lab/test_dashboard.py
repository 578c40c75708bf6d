"""The dashboard's page in a real browser, at a running network."""

import os
import signal
from urllib.parse import quote

import pytest
import requests

from browser import SCREENSHOTS, chromium, dashboard_pid, page_of
from running_lab import eventually

pytestmark = pytest.mark.parametrize("lab", ["embedded"], indirect=True)

PAGES = ("", "link/a-b", "messages", "frame/a-b", "events")
NASTY = "<script>alert(1)</script>"
# The newest sample of the first link: time, QBER, disclosed share, sifted and secret bits/s, Eve.
SAMPLES = "known.series.links['a-b']"
STATE = "known.state"
ROUNDS = "known.rounds"


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(lab, browser):
    """Logged in, and without an error in its console when the test is over."""
    opened = page_of(lab, browser).open()
    yield opened
    opened.close()
    assert opened.wrong == []


def test_the_page_shows_the_network_and_its_plots_move(page):
    names = page.page.locator(".site .name").all_text_contents()
    assert names == ["Site a", "Site b"]
    assert page.page.get_by_role("link", name="Link a-b from a to b").count() == 1
    before = page.until(f"() => {SAMPLES}.length")
    page.until(f"before => {SAMPLES}.length > before + 2", before)
    drawn = page.page.locator(".plot canvas").first
    first = drawn.evaluate("canvas => canvas.toDataURL()")
    page.until("([canvas, first]) => canvas.toDataURL() !== first", [drawn.element_handle(), first])


def test_who_has_no_session_may_look_and_not_act(lab, browser):
    visitor = page_of(lab, browser).open(log_in=False)
    assert visitor.page.get_by_role("switch", name="Eve").is_disabled()
    assert visitor.page.get_by_text("View only.").first.is_visible()
    visitor.page.get_by_label("Token").fill(visitor.token)
    visitor.page.get_by_role("button", name="Log in").click()
    visitor.until("() => !document.querySelector('.switch.eve').matches(':disabled')")
    assert visitor.wrong == []
    visitor.close()


def test_eve_lifts_the_qber_over_the_threshold_and_stops_the_filling_until_she_leaves(lab, page):
    lab.wait_for_keys()
    page.switch("Eve measures every pulse", True)
    page.switch("Demo SAEs send messages all the time", True)
    try:
        caught = page.until(
            f"() => {ROUNDS}.findLast(one => one.eve === 'intercept-resend:1' && one.qber > one.threshold)"
        )
        assert caught["outcome"] == "aborted" and 0.2 < caught["qber"] < 0.3 and caught["secret_bits"] == 0
        page.until(f"() => {SAMPLES}.findLast(one => one[1] !== null)[1] > 0.2 && {SAMPLES}.at(-1)[5] === 1")
        page.until("() => document.querySelector('.fibre').dataset.health === 'alarm'")
        assert page.page.locator(".fibre .eve").is_visible()
        # What was there is used up, and nothing comes after it.
        page.until(f"() => {STATE}.connections.every(one => one.level < 33) && {SAMPLES}.at(-1)[4] === 0")
    finally:
        page.switch("Demo SAEs send messages all the time", False)
        page.switch("Eve measures every pulse", False)
    page.until(f"() => {ROUNDS}.at(-1).outcome === 'key' && {ROUNDS}.at(-1).qber < {ROUNDS}.at(-1).threshold")
    page.until(f"() => {STATE}.connections.every(one => one.level === one.high)")
    page.until("() => document.querySelector('.fibre').dataset.health === 'ok'")


def test_noise_and_distance_move_what_the_link_has(lab, page):
    try:
        page.page.get_by_role("slider", name="Fibre").fill("10")
        page.until(f"() => {STATE}.links[0].physics.distance_km === 10")
        page.page.get_by_role("slider", name="Noise").fill("0.03")
        page.until(f"() => {STATE}.links[0].physics.depolarizing === 0.03")
    finally:
        lab.command("link", "set", "a-b", "--distance-km", "0", "--depolarizing", "0.02")


def test_a_stopped_link_makes_no_key_until_it_may_go_on(lab, page):
    page.switch("Stop making key", True)
    try:
        page.until(f"() => {STATE}.links[0].health === 'stopped'")
        with lab.as_operator() as operator:
            known = len(operator.get(f"{lab.endpoint('qkde-a.ops')}/v1/reports").json())
            while lab.enc_keys("sae-a", "sae-b", "kme-a", number=100).ok:
                pass
            refused = "was stopped by an operator"
            eventually(lambda: refused in lab.logs(), "the scheduler's order to be refused")
            assert len(operator.get(f"{lab.endpoint('qkde-a.ops')}/v1/reports").json()) == known
    finally:
        page.switch("Stop making key", False)
    lab.wait_for_keys(1000)


def test_a_connection_is_registered_and_its_pool_fills(lab, page):
    page.go("messages")
    page.page.get_by_label("Master").select_option("sae-a")
    page.page.get_by_label("Slave").select_option("sae-a")
    page.page.get_by_label("Keys in a full pool").fill("20")
    page.page.get_by_role("button", name="Register").click()
    page.page.get_by_text("sae-a → sae-a is registered").wait_for()
    try:
        page.until(f"() => {STATE}.connections.some(one => one.slave === one.master && one.level === 20)")
    finally:
        lab.command("connection", "remove", "sae-a", "sae-a")


@pytest.mark.parametrize("mode", ["aes-256-gcm", "one-time-pad"])
def test_a_message_shows_the_same_key_id_and_ciphertext_at_both_ends_and_its_text(lab, page, mode):
    lab.wait_for_keys(10)
    page.go("messages")
    page.page.get_by_label("Cipher").select_option(mode)
    page.page.get_by_label("Text").fill("café & <b>noon</b>")
    page.page.get_by_role("button", name="Send").click()
    page.page.locator(".end").nth(1).wait_for()
    ends = [end.locator("dd").all_text_contents() for end in page.page.locator(".end").all()]
    assert ends[0] == ends[1] and ends[0][0] == "café & <b>noon</b>"
    key_id = ends[0][1]
    page.go("events")
    taken = f"SAE sae-a took key {key_id[:4]}…" if mode == "aes-256-gcm" else "SAE sae-a took 2 keys"
    page.page.get_by_text(taken).first.wait_for()


def test_a_name_that_is_markup_is_shown_as_text(lab, page):
    dialogs = []
    page.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    with lab.as_operator() as operator:
        kme = lab.endpoint("kme-a.ops")
        assert operator.post(f"{kme}/v1/saes", json={"sae_id": NASTY}).ok
        try:
            page.go("messages")
            page.page.get_by_label("Master").select_option("sae-a")
            page.until(f"() => {STATE}.sites[0].saes.includes('{NASTY}')")
            page.go("")
            page.go("messages")
            page.page.get_by_label("Master").select_option("sae-a")
            page.page.get_by_label("Slave").select_option(NASTY)
            page.page.get_by_role("button", name="Register").click()
            page.page.get_by_text(f"sae-a → {NASTY} is registered").wait_for()
            page.go("")
            page.page.get_by_role("link", name=f"sae-a → {NASTY}").click()
            page.page.get_by_role("heading", name=f"sae-a → {NASTY}").wait_for()
            page.go("events")
            page.page.get_by_text(f"registered SAE {NASTY}").first.wait_for()
        finally:
            assert operator.delete(f"{kme}/v1/saes/{quote(NASTY, safe='')}").ok
    assert dialogs == [] and page.page.locator("main script").count() == 0


def test_a_frame_is_stepped_through_and_leaves_no_trace_in_the_rounds(lab, page):
    def rounds() -> list[str]:
        with lab.as_operator() as operator:
            return [one["round_id"] for one in operator.get(f"{lab.endpoint('qlink-a-b.ops')}/v1/rounds").json()]

    known = rounds()
    page.go("frame/a-b")
    assert page.page.get_by_text("Simulator-only knowledge.").is_visible()
    page.page.get_by_role("button", name="Make one").click()
    page.page.locator("table.frame").wait_for()
    assert page.page.locator("table.frame tbody tr").first.locator("td").count() == 64
    page.page.get_by_role("button", name="Next").click()
    assert page.page.locator(".pulse").text_content().startswith("Pulse 2: Alice sends")
    assert rounds() == known


def test_the_tour_goes_from_a_clean_link_over_eve_to_recovery(lab, page):
    tour = page.page.get_by_label("Guided tour")
    page.page.get_by_role("button", name="Tour", exact=True).click()
    for button in ("Let the SAEs send messages", "Send “Meet me at noon.”", "Let Eve in", None, "Send Eve away"):
        if button:
            tour.get_by_role("button", name=button).click()
        tour.get_by_text("● Seen:").wait_for()
        if button != "Send Eve away":
            tour.get_by_role("button", name="Next").click()
    page.page.keyboard.press("Escape")
    assert tour.is_hidden()
    page.switch("Demo SAEs send messages all the time", False)


def test_the_page_connects_again_by_itself_when_its_process_was_killed(lab, browser):
    opened = page_of(lab, browser).open()
    os.kill(dashboard_pid(lab), signal.SIGKILL)
    opened.until("() => document.getElementById('feed').textContent === 'reconnecting'")
    opened.until("() => document.getElementById('feed').textContent === 'live'")
    opened.switch("Stop making key", False)  # the session outlived it
    opened.close()


@pytest.mark.parametrize("where", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(lab, browser, where, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    opened = page_of(lab, browser).open(scheme=scheme)
    opened.go(where)
    if where.startswith("frame"):
        opened.page.get_by_role("button", name="Make one").click()
        opened.page.locator("table.frame").wait_for()
    found = axe.run(opened.page).response["violations"]
    serious = [
        (one["id"], node["html"][:200], node.get("failureSummary"))
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]
    assert serious == []
    opened.close()


def test_everything_is_reached_by_keyboard(page):
    page.page.keyboard.press("Tab")
    assert page.page.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(60):
        page.page.keyboard.press("Tab")
        reached.append(page.page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent"))
    for wanted in ("Network", "Tour", "Eve measures every pulse", "sae-a → sae-b", "All events, with filters"):
        assert wanted in reached
    assert any(one.startswith("Link a-b from a to b") for one in reached)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_pages_fit_their_window_and_are_pictured(lab, browser, width, scheme):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened = page_of(lab, browser).open(width=width, scheme=scheme)
    for where in PAGES:
        opened.go(where)
        assert opened.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), where
        name = where.partition("/")[0] or "network"
        opened.page.screenshot(path=str(SCREENSHOTS / f"{name}-{width}-{scheme}.png"), full_page=True)
    opened.close()


def test_another_sites_page_and_another_host_name_are_refused(lab):
    address = lab.endpoint("dashboard")
    assert requests.get(address, headers={"Host": "lab.example:8080"}, timeout=10).status_code == 403
    wanted = {"json": {"on": True}, "timeout": 10}
    assert requests.put(f"{address}/api/traffic", **wanted).status_code == 401
    for header in ({"Origin": "http://lab.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert requests.put(f"{address}/api/traffic", headers=header, **wanted).status_code == 403
