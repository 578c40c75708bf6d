"""`qkd-lab link rounds` on real rounds: both QKDEs' and the link's own applications, without sockets."""

import json
import uuid

import pytest
from click.testing import CliRunner

from qkd_lab.cli.link import link
from qkd_lab.lab_folder import LabError
from qkd_lab.link_rounds import joined
from qkde.bb84.finite_key import binary_entropy

from two_qkdes import parameters_of


def typed(*arguments):
    done = CliRunner().invoke(link, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def shown(*arguments):
    return json.loads(typed("rounds", "--json", *arguments).stdout)


def test_rounds_before_and_after_eve_comes_tell_which_physics_they_had(network):
    reports = [network.round()]
    typed("set", "a-b", "--eve", "intercept-resend:1", "--depolarizing", "0.01")
    reports.append(network.round())
    typed("set", "a-b", "--eve", "none")
    reports.append(network.round())

    rows = shown("a-b")
    assert [row["round_id"] for row in rows] == [report["block_id"] for report in reversed(reports)]
    assert [row["physics"]["eve"] for row in rows] == ["none", "intercept-resend:1", "none"]
    assert [row["physics"]["depolarizing"] for row in rows] == [0.01, 0.01, 0.02]
    assert [row["outcome"] for row in rows] == ["key", "aborted", "key"]
    for row, report in zip(rows, reversed(reports), strict=True):
        assert row["outcomes"] == {"qkde-a": report["outcome"], "qkde-b": report["outcome"]}
        assert [row[name] for name in ("qber", "secret_bits", "abort_reason", "parameters")] == [
            report[name] for name in ("qber", "secret_bits", "abort_reason", "parameters")
        ]
        assert row["began_at"] and row["simulated_s"] == pytest.approx(0.06)
        assert row["secret_bits_per_simulated_s"] == pytest.approx(report["secret_bits"] / 0.06)
        # What nature counted is what the ends sifted.
        assert row["ground_truth"]["key_bits"] == report["sifted_bits"] - report["sample_bits"]
        assert row["detected_pulses"] == report["detected_pulses"] == 60_000
    spoilt = rows.pop(1)
    assert spoilt["secret_bits"] == 0 and "over the tolerance" in spoilt["abort_reason"]
    known = spoilt["ground_truth"]
    share = known["eve_sifted_information_bits"] / known["key_bits"]
    assert abs(share - 0.5) < 3 * (0.25 / known["key_bits"]) ** 0.5
    assert (known["eve_information_bits"], known["within_proof_bound"]) == (0, None)
    for row in rows:
        truth = row["ground_truth"]
        assert row["secret_bits"] > 2_000 and truth["eve_sifted_information_bits"] == 0
        assert truth["within_proof_bound"] and truth["eve_information_bits"] < 1e-6


def test_a_cautious_eve_is_told_with_what_the_proof_allows_her(network):
    typed("set", "a-b", "--eve", "intercept-resend:0.05")
    report = network.round()
    (row,) = shown()
    truth, key_bits = row["ground_truth"], report["sifted_bits"] - report["sample_bits"]
    assert truth["proof_allowance_bits"] == pytest.approx(key_bits * binary_entropy(report["phase_error_bound"]))
    assert 0 < truth["eve_sifted_information_bits"] < truth["proof_allowance_bits"] and truth["within_proof_bound"]
    assert truth["eve_information_bits"] < 1e-6


@pytest.mark.parametrize("network", [parameters_of()], indirect=True)
def test_weak_pulses_with_decoys_are_told_with_what_their_proof_allows(network):
    """As in `qkd-lab bb84`: she holds photons of the pulses of which both she and Bob got light."""
    typed("set", "a-b", "--eve", "beam-splitting", "--loss-db", "0.5", "--depolarizing", "0.02")
    report = network.round()
    (row,) = shown()
    truth = row["ground_truth"]
    assert row["outcome"] == "key" and row["parameters"]["source"] == "weak-coherent"
    assert truth["key_bits"] == report["sifted_bits"] - report["sample_bits"] == sum(report["counts"]["key_detected"])
    assert 1_000 < truth["eve_sifted_information_bits"] < truth["proof_allowance_bits"] < truth["key_bits"]
    assert truth["within_proof_bound"] and truth["eve_information_bits"] < 1e-6


def test_a_person_reads_the_ground_truth_apart_from_what_the_ends_can_see(network):
    network.round()
    typed("set", "a-b", "--eve", "intercept-resend:1")
    network.round()
    text = typed("rounds").stdout
    seen, truth = text.split("Ground truth, which neither end can see:\n")
    assert "2 rounds, the newest first" in seen and "Eve knew" not in seen
    assert "aborted, QBER 2" in seen and "secret bits" in seen and "eve intercept-resend:1" in seen
    assert truth.count("Eve knew") == 2 and "Eve knew 0 of " in truth
    assert typed("rounds", "--count", "1").stdout.count("Eve knew") == 1


def test_without_rounds_it_says_so(network):
    assert typed("rounds").stdout == "a-b: no rounds yet\n"
    assert shown() == []


def test_a_round_that_only_the_link_knows_has_no_outcome(network):
    report = network.round()
    network.alice.reports.clear()
    network.bob.reports.clear()
    (row,) = shown()
    assert row["round_id"] == report["block_id"]
    assert (row["outcome"], row["outcomes"], row["secret_bits"]) == (None, {}, None)
    assert row["ground_truth"]["eve_information_bits"] is None and row["ground_truth"]["key_bits"] > 0
    assert "no report (yet), 60,000 of 60,000 pulses detected" in typed("rounds").stdout


@pytest.mark.parametrize("end", ["qkde-a", "qkde-b"])
def test_a_round_that_only_one_end_knows_is_shown_and_who_is_missing_is_said(network, end):
    report = network.round()
    network.asked = {end: network.asked[end]}
    (row,) = shown()
    assert (row["outcome"], row["outcomes"]) == ("key", {end: "key"})
    assert row["secret_bits"] == report["secret_bits"] and row["ground_truth"] is row["physics"] is None
    done = typed("rounds")
    assert "physics unknown: the quantum link has no record of it" in done.stdout
    assert "qlink-a-b does not answer" in done.stderr and len(done.stderr.splitlines()) == 2


def test_where_nobody_answers_it_is_an_error(network):
    network.asked = {}
    with pytest.raises(LabError, match="qlink-a-b does not answer"):
        typed("rounds")


def test_a_round_whose_ends_differ_has_no_key(network):
    """Bob did not hear Alice's last answer: she kept a block that is never confirmed."""
    report = network.round()
    network.bob.reports[0] = {**report, "outcome": "aborted", "abort_reason": "no answer", "secret_bits": 0}
    (row,) = shown()
    assert (row["outcome"], row["abort_reason"], row["secret_bits"]) == ("aborted", "no answer", 0)
    assert row["outcomes"] == {"qkde-a": "key", "qkde-b": "aborted"}


def test_rounds_the_link_knows_nothing_of_keep_their_place_among_the_others(network):
    for _ in range(3):
        network.round()
    records = network.call("qlink-a-b", "GET", "/v1/rounds")
    reports = {"qkde-a": list(network.alice.reports), "qkde-b": list(network.bob.reports)}
    order = [record["round_id"] for record in records]
    for missing in range(3):
        some = [record for index, record in enumerate(records) if index != missing]
        rows = joined("a-b", some, reports)
        assert [row["round_id"] for row in rows] == order
        assert [row["physics"] is None for row in rows] == [index == missing for index in range(3)]


def test_reports_of_other_links_are_left_out(network):
    report = network.round()
    network.alice.reports.append({**report, "block_id": str(uuid.uuid4()), "link": "a-c"})
    assert [row["round_id"] for row in shown("a-b")] == [report["block_id"]]
