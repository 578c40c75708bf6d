"""Who may act from the page."""

import pytest

from qkd_lab.dashboard.session import LIFE_S, Sessions, is_same_site, is_this_host

TOKEN = "ab" * 32


def sessions(now=1000.0, token=TOKEN):
    return Sessions(token, lambda: now)


def test_only_the_token_begins_a_session():
    assert sessions().begin("cd" * 32) is None
    assert sessions().begin("") is None
    assert sessions().begin("ä") is None
    assert sessions().holds(sessions().begin(TOKEN))


def test_a_session_outlives_the_process_and_ends_in_time():
    cookie = sessions().begin(TOKEN)
    assert sessions(1000.0 + LIFE_S - 1).holds(cookie)
    assert not sessions(1000.0 + LIFE_S + 1).holds(cookie)


def test_another_labs_cookie_is_none():
    assert not sessions(token="cd" * 32).holds(sessions().begin(TOKEN))


@pytest.mark.parametrize("cookie", ["", ".", "9999999999", "9999999999.", "9999999999.ä", "x.y", "٣٣٣.a", "9" * 5000])
def test_a_made_up_cookie_is_none(cookie):
    assert not sessions().holds(cookie)


def test_a_cookies_end_cant_be_put_off():
    until, _, proof = sessions().begin(TOKEN).partition(".")
    assert not sessions().holds(f"{int(until) + 1}.{proof}")


def test_a_csrf_token_belongs_to_one_session():
    cookie, other = sessions().begin(TOKEN), sessions(2000.0).begin(TOKEN)
    assert sessions().is_csrf_token(cookie, sessions().csrf_token(cookie))
    assert not sessions().is_csrf_token(cookie, sessions().csrf_token(other))
    assert not sessions().is_csrf_token(cookie, "") and not sessions().is_csrf_token(cookie, "ä")


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080", "LOCALHOST:1"])
def test_this_hosts_names_are_served(host):
    assert is_this_host(host)


@pytest.mark.parametrize("host", ["", "lab.example", "127.0.0.1.lab.example:8080", "10.0.0.1", "[::1", "x@localhost.a"])
def test_other_names_that_lead_here_are_not(host):
    assert not is_this_host(host)


@pytest.mark.parametrize(
    ("origin", "fetch_site", "may"),
    [
        (None, None, True),
        ("http://127.0.0.1:8080", "same-origin", True),
        ("http://127.0.0.1:8081", "same-site", False),
        ("http://lab.example", "cross-site", False),
        ("null", None, False),
        ("http://localhost:8080", None, False),
        (None, "cross-site", False),
        ("https://127.0.0.1:8080", None, False),
    ],
)
def test_only_the_page_itself_may_act(origin, fetch_site, may):
    assert is_same_site("127.0.0.1:8080", origin, fetch_site) is may
