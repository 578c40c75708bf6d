"""`qkd-lab link set`, `reset`, `presets` and `watch` on a link and its QKDEs, without sockets."""

import json
import re
from dataclasses import asdict
from importlib import import_module
from io import StringIO

import pytest
from click.testing import CliRunner
from rich.console import Console

from mutual_tls.client import Refused
from qkd_lab.cli.link import link
from qkd_lab.lab_folder import LabError
from qkd_lab.link_presets import PRESETS
from qkd_lab.link_watch import changes
from qkd_lab.topology import SHIPPED, load
from qkde import parameter_sets
from qkde.link.physics import RANGES, LinkPhysics

from operated_network import Network

watching = import_module("qkd_lab.cli.link_watch")  # beside it `link_watch.watch` is a command
OPTIONS = [f"--{name.replace('_', '-')}" for name in RANGES]


def typed(*arguments):
    done = CliRunner().invoke(link, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def between_looks(monkeypatch, *steps):
    """What happens while `link watch` waits, one step for each look after the first; then Ctrl-C."""
    left = iter(steps)

    def sleep(seconds):
        step = next(left, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(watching.time, "sleep", sleep)


def qber_in(line):
    return float(re.search(r"; QBER ([0-9.]+)%", line)[1]) / 100


def test_every_member_of_a_links_physics_can_be_set_while_it_runs(network):
    wanted = LinkPhysics().changed(
        loss_db=1.5, depolarizing=0.01, eve="beam-splitting:0.5", distance_km=25.0, attenuation_db_per_km=0.21,
        misalignment=0.01, noise="bit_flip:0.02", detector_efficiency=0.5, dark_count_probability=1e-6,
        dead_time_s=1e-7, afterpulse_probability=0.01, repetition_rate_hz=1e7,
    )  # fmt: skip
    options = [(f"--{name.replace('_', '-')}", str(value)) for name, value in wanted.settings().items()]
    assert len(options) == len(vars(wanted))
    told = typed("set", "a-b", *(word for option in options for word in option))
    assert network.link.physics == wanted
    assert "in effect from the next frame on" in told


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e300"])
@pytest.mark.parametrize("option", OPTIONS)
def test_an_impossible_number_is_refused_with_its_option_and_range_and_nothing_changes(network, option, value):
    before = network.link.physics
    with pytest.raises(LabError) as refused:
        typed("set", "a-b", "--eve", "intercept-resend:0.3", option, value)
    assert str(refused.value).startswith(f"{option} is {float(value)}: expected a")
    assert str(refused.value).endswith("; nothing was changed") and network.link.physics == before


@pytest.mark.parametrize(
    "option, value, expected",
    [
        ("--eve", "photons", "--eve is 'photons': expected none, intercept-resend:FRACTION"),
        ("--eve", "intercept-resend:2", "--eve is 'intercept-resend:2': expected none"),
        ("--noise", "bit_flap:0.1", "noise: no noise is called 'bit_flap': expected depolarizing, bit_flip"),
        ("--noise", "bit_flip:nan", "noise: bit_flip has strength 'nan': expected a probability from 0 to 1"),
        ("--preset", "gis", "--preset is 'gis': expected one of ideal, quiet-lab, metro, gys, noisy, intercepted"),
    ],
)
def test_an_unknown_attack_noise_or_preset_is_refused_in_one_line_and_nothing_changes(network, option, value, expected):
    before = network.link.physics
    with pytest.raises((LabError, Refused)) as refused:
        typed("set", "a-b", option, value, "--loss-db", "7")
    message = getattr(refused.value, "message", str(refused.value))
    assert expected in message and message.endswith("; nothing was changed") and "\n" not in message
    assert network.link.physics == before


def test_a_preset_is_all_of_the_physics_and_options_go_before_it(network):
    typed("set", "a-b", "--eve", "intercept-resend:1", "--noise", "bit_flip:0.1", "--afterpulse-probability", "0.1")
    typed("set", "a-b", "--preset", "gys", "--distance-km", "25")
    gys = parameter_sets.load("gys")
    assert network.link.physics == LinkPhysics(
        distance_km=25, attenuation_db_per_km=gys.attenuation_db_per_km, misalignment=gys.misalignment,
        detector_efficiency=gys.detector_efficiency, dark_count_probability=gys.dark_count_probability,
        repetition_rate_hz=gys.repetition_rate_hz,
    )  # fmt: skip


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_listed_and_is_a_link(network, name):
    assert name in typed("presets")
    typed("set", "a-b", "--preset", name)
    assert network.link.physics == LinkPhysics().changed(**PRESETS[name].physics())


def test_reset_brings_back_what_the_topology_has(network):
    typed("set", "a-b", "--preset", "gys", "--eve", "intercept-resend:0.5", "--noise", "phase_flip:0.1")
    typed("reset", "a-b")
    start = load(SHIPPED / "two-sites.toml").link("a-b").physics
    assert network.link.physics == LinkPhysics().changed(**asdict(start))


def test_a_watch_tells_qber_threshold_rates_and_pools_as_they_move(network, monkeypatch):
    network.has_pools(1000, 400)
    noise = {"depolarizing": 0.3}
    steps = [network.round, lambda: network.call("qlink-a-b", "PATCH", "/v1/physics", noise), network.round]
    between_looks(monkeypatch, *steps, lambda: network.has_pools(900, 400))
    lines = typed("watch", "a-b").splitlines()
    assert len(lines) == 5
    assert "no round known" in lines[0] and "sae-a→sae-x 1000/1000 sae-b→sae-x 400/1000" in lines[0]
    assert "; key; " in lines[1] and "aborts above 5.000%" in lines[1] and "secret 0/s" not in lines[1]
    assert "depolarizing 0.3" in lines[2]
    assert "no key (QBER" in lines[3] and "secret 0/s" in lines[3]
    for line, report, qber in zip((lines[1], lines[3]), network.bob.reports, (0.01, 0.15), strict=True):
        assert qber_in(line) == pytest.approx(report["qber"], abs=1e-5)
        # 5 sigma of the bits that were compared: all sifted ones, or where it aborted those of the test basis alone.
        compared = report["sifted_bits" if report["outcome"] == "key" else "sample_bits"]
        assert abs(qber_in(line) - qber) < 5 * (qber * (1 - qber) / compared) ** 0.5
    assert "sae-a→sae-x 900/1000" in lines[4]


def test_a_watch_as_json_has_a_line_for_each_change_and_ends_after_so_many(network, monkeypatch):
    network.has_pools(1000, 1000)
    between_looks(monkeypatch, lambda: None, network.round, lambda: None, network.round)
    first, second = map(json.loads, typed("watch", "a-b", "--json", "--count", "2").splitlines())
    assert (first["round"], first["away"]) == (None, {}) and first["physics"]["depolarizing"] == 0.02
    report = network.bob.reports[0]
    assert second["round"] == {
        **{name: report[name] for name in ("block_id", "outcome", "abort_reason", "qber", "qber_test")},
        "qber_tolerance": 0.05,
        "sifted_bits_per_s": report["sifted_bits"] / report["elapsed_s"],
        "secret_bits_per_s": report["secret_bits"] / report["elapsed_s"],
    }
    assert second["pools"][0]["stored_key_count"] == 1000 and first["at"] < second["at"]


@pytest.mark.parametrize("process", ["qlink-a-b", "qkde-a", "qkde-b", "kme-a", "kme-b"])
def test_a_watch_goes_on_without_a_process_that_is_away(network, monkeypatch, process):
    network.has_pools(1000, 1000)
    network.round()
    peer = network.asked[process]
    between_looks(
        monkeypatch, lambda: network.asked.pop(process), network.round, lambda: network.asked.update({process: peer})
    )
    before, without, *_, after = typed("watch", "a-b").splitlines()
    assert f"; away: {process} (" in without and "away" not in before and "away" not in after
    assert "QBER" in without  # of the other end, where Bob's QKDE is away


def test_a_watch_ends_by_itself_after_its_time(network):
    assert "no round known" in typed("watch", "a-b", "--for", "0.1", "--every", "0.1").splitlines()[0]


@pytest.mark.parametrize(
    "arguments", [["--every", "nan"], ["--every", "0"], ["--every", "1e300"], ["--for", "nan"], ["--for", "-1"],
                  ["--count", "0"]]
)  # fmt: skip
def test_a_watch_of_an_impossible_length_is_refused(network, arguments):
    done = CliRunner().invoke(link, ["watch", "a-b", *arguments])
    assert done.exit_code == 2 and f"Invalid value for '{arguments[0]}'" in done.output
    assert "is not in the range" in done.output


def test_full_pools_are_said_to_be_why_no_round_comes(network, monkeypatch):
    network.has_pools(1000, 1000)
    between_looks(monkeypatch, lambda: network.has_pools(1000, 999))
    full, not_full = typed("watch", "a-b").splitlines()
    assert "the next round comes when keys are taken" in full and "keys are taken" not in not_full


def test_on_a_terminal_the_display_has_them_all(network, monkeypatch):
    network.has_pools(1000, 400)
    shown = StringIO()
    console = Console(file=shown, force_terminal=True, width=160)
    monkeypatch.setattr(watching, "Console", lambda **options: console)
    between_looks(monkeypatch, network.round, lambda: network.asked.pop("kme-b"))
    assert typed("watch", "a-b") == ""
    text = shown.getvalue()
    assert "aborts above 5.000%" in text and "sae-b→sae-x" in text and "secret" in text
    assert "▁" in text and "━" in text and "away: kme-b" in text


def test_a_view_like_the_one_before_is_no_change():
    views = [{"a": 1}, {"a": 1}, {"a": 2}, {"a": 1}]
    assert list(changes(iter(views))) == [{"a": 1}, {"a": 2}, {"a": 1}]


def test_reports_can_be_asked_for_one_link_and_the_newest(network: Network):
    newest = [network.round() for _ in range(3)][-1]
    assert network.call("qkde-b", "GET", "/v1/reports?link=a-b&count=1") == [newest]
    assert network.call("qkde-b", "GET", "/v1/reports?link=a-c") == []
    assert len(network.call("qkde-b", "GET", "/v1/reports")) == 3
    for count in ("0", "51", "-1", "x", "9" * 30):
        with pytest.raises(Refused, match="count in the query: expected a number from 1 to 50"):
            network.call("qkde-b", "GET", f"/v1/reports?count={count}")
