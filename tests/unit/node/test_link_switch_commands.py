"""`qkd-lab link stop` and `resume`, and what `show` and `watch` say meanwhile: on its QKDEs, without sockets."""

import json

import pytest
from click.testing import CliRunner

from mutual_tls.client import Refused
from qkd_lab.cli.link import link
from qkd_lab.lab_folder import LabError


def typed(*arguments):
    done = CliRunner().invoke(link, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def stopped(network):
    shown = json.loads(typed("show", "a-b", "--json"))["stopped"]
    (view,) = typed("watch", "a-b", "--json", "--count", "1").splitlines()
    assert json.loads(view)["stopped"] == shown
    return shown


def test_no_round_begins_on_a_link_from_stop_to_resume_and_show_and_watch_say_so(network):
    network.has_pools(10, 10)
    assert network.round()["outcome"] == "key" and stopped(network) is False
    assert "stopped" not in typed("show", "a-b") + typed("watch", "a-b", "--count", "1")
    assert "link a-b is stopped" in typed("stop", "a-b")
    with pytest.raises(Exception, match="stopped by an operator"):
        network.round()
    assert stopped(network) is True
    for told in (typed("show", "a-b"), typed("watch", "a-b", "--count", "1")):
        assert "stopped by an operator" in told
    assert "link a-b may make key again" in typed("resume", "a-b")
    assert network.round()["outcome"] == "key" and stopped(network) is False


@pytest.mark.parametrize("away", ["qkde-a", "qkde-b"])
def test_a_link_is_stopped_at_the_end_that_answers_and_resumed_only_where_both_do(network, away):
    network.has_pools(10, 10)
    peer = network.asked.pop(away)
    assert stopped(network) is None and "not known whether it is stopped" in typed("show", "a-b")
    assert f"could not be told: {away} does not answer" in typed("stop", "a-b")
    assert stopped(network) is True
    with pytest.raises(LabError, match=f"{away} does not answer"):
        typed("resume", "a-b")
    network.asked[away] = peer
    typed("resume", "a-b")
    assert stopped(network) is False and network.round()["outcome"] == "key"


@pytest.mark.parametrize("command", ["stop", "resume"])
def test_a_link_that_nobody_answers_for_is_neither_stopped_nor_resumed(network, command):
    for qkde in ("qkde-a", "qkde-b"):
        network.asked.pop(qkde)
    with pytest.raises(LabError, match="qkde-a does not answer; qkde-b does not answer"):
        typed(command, "a-b")


@pytest.mark.parametrize("command", ["stop", "resume"])
def test_an_unknown_link_is_refused_with_those_there_are(network, command):
    with pytest.raises((LabError, Refused), match="no link 'a-c' in this lab: it has a-b"):
        typed(command, "a-c")
    assert CliRunner().invoke(link, [command]).exit_code == 2
