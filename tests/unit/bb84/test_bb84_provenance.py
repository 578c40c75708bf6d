"""A block's record of provenance: complete, the same at both ends, and nothing in it can be changed unnoticed."""

import copy
import json
import re
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkde.bb84.provenance import MalformedRecord, check, differences, record_digest

from bb84_simulated_link import DECOYS, ONE_DECOY, Round, SimulatedLink


def a_round(**parameters):
    return Round(SimulatedLink(seed=6, depolarizing=0.02), seed=6, **parameters)


@pytest.fixture(scope="module", params=[{}, DECOYS, ONE_DECOY], ids=["single photons", "two decoys", "one decoy"])
def both(request):
    return a_round(**request.param)


@pytest.fixture
def record(both):
    return copy.deepcopy(both.bob.provenance)


def members(value, where=()):
    """(path, leaf) of every leaf."""
    if isinstance(value, dict | list):
        for name, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from members(part, (*where, name))
    else:
        yield where, value


def changed(record, path, value):
    altered = copy.deepcopy(record)
    part = altered
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return altered


def another(value):
    return value + 1 if isinstance(value, int) else value * 0.9 or 0.01 if isinstance(value, float) else value + "!"


def test_the_length_follows_from_the_record_at_both_ends(both):
    for report in (both.alice, both.bob):
        assert report.outcome == "key", report.abort_reason
        assert check(report.provenance) == []
        assert report.provenance["lengths"] == {
            "secret_bits": report.secret_bits, "refill_bits": report.refill_bits, "block_bits": report.block_bits
        }  # fmt: skip
    assert differences(both.alice.provenance, both.bob.provenance) == []
    assert both.alice.provenance == both.bob.provenance


def test_the_record_is_plain_json_and_survives_it(record):
    assert json.loads(json.dumps(record)) == record
    assert check(json.loads(json.dumps(record, indent=4))) == []


def test_the_bounds_of_secrecy_correctness_and_authentication_are_added_up(both, record):
    epsilon = record["epsilon"]
    assert epsilon["authentication"] == both.bob.epsilon_authentication > 0
    assert epsilon["sum"] == epsilon["secrecy"] + epsilon["correctness"] + epsilon["authentication"]


def test_the_transcripts_digest_is_the_one_the_two_ends_compared(both, record):
    finish = both.channel.log[-2]
    assert record["digests"]["transcript"] == f"sha256:{finish.transcript_digest.hex()}"


def test_nothing_in_the_record_is_key_or_a_hash_of_it(both, record):
    block = both.bob_kept[0].bits
    texts = json.dumps(record)
    assert not any(block[i : i + 8].hex() in texts for i in range(0, 64))
    assert len(re.findall("[0-9a-f]{40,}", texts)) == 2, "the two digests"


def test_an_aborted_round_has_no_record():
    report = Round(SimulatedLink(eve_basis="random")).bob
    assert report.outcome == "aborted" and report.provenance is None


def test_any_changed_member_is_noticed(record):
    paths = list(members(record))
    assert len(paths) > 40
    for path, value in paths:
        with suppress(MalformedRecord):
            assert check(changed(record, path, another(value))), path


FORGED = [
    ("counts", "detected_pulses"), ("counts", "sifted_bits"), ("counts", "key_detected", 0),
    ("counts", "test_detected", 0), ("leakage", "parities"), ("leakage", "alice"), ("leakage", "both"),
    ("leakage", "counted"), ("leakage", "verification_bits"), ("leakage", "sample_bits"),
    ("leakage", "announced_bits"), ("lengths", "secret_bits"), ("lengths", "refill_bits"), ("lengths", "block_bits"),
    ("epsilon", "secrecy"), ("epsilon", "correctness"), ("epsilon", "authentication"), ("epsilon", "sum"),
    ("proof", "name"), ("proof", "citation"), ("proof", "phase_error_bound"), ("parameters", "frame_count"),
    ("parameters", "verification_bits"), ("parameters", "epsilon_secrecy"), ("parameters", "security_margin_bits"),
]  # fmt: skip


@pytest.mark.parametrize("path", FORGED, ids=lambda path: ".".join(map(str, path)))
def test_who_makes_the_records_digest_anew_is_still_found_out(record, path):
    """A count by far: one more or less may be lost in rounding down to whole bytes."""
    value = dict(members(record))[path]
    forged = changed(record, path, value * 10 + 1000 if isinstance(value, int) else another(value))
    forged["digests"]["record"] = record_digest(forged)
    try:
        problems = check(forged)
    except MalformedRecord:
        return
    assert problems and not any("digests.record" in line for line in problems)


def test_errors_beyond_the_tolerance_do_not_pass(record):
    test = record["counts"]["test_detected"]
    forged = changed(record, ("counts", "test_errors"), test)
    forged["digests"]["record"] = record_digest(forged)
    assert any("a QBER of up to 0.05" in line for line in check(forged))


def test_two_ends_that_differ_are_told_apart_by_member(both, record):
    other = changed(record, ("counts", "detected_pulses"), 7)
    assert differences(record, other) == [
        f"counts.detected_pulses: {record['counts']['detected_pulses']} at one end, 7 at the other"
    ]
    restored = changed(record, ("epsilon", "authentication"), 1e-30)
    assert differences(record, restored) == [], "an end that was restored has a sum of its own"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("schema",), "other/2", "schema is 'other/2': expected 'qkd-lab-provenance/1'"),
        (("schema",), 1, "schema: expected a text"),
        (("counts",), [], "counts: expected an object"),
        (("counts", "pulses"), -1, "counts.pulses: expected an integer of 0 or more"),
        (("counts", "pulses"), True, "counts.pulses: expected an integer"),
        (("counts", "key_detected"), [], "counts.key_detected: expected integers"),
        (("counts", "key_detected"), ["1"], "counts.key_detected: expected an integer"),
        (("epsilon", "sum"), "0", "epsilon.sum: expected a number from 0 to 1"),
        (("parameters", "qber_tolerance"), 0.7, "parameters: qber_tolerance must lie between 0 and 0.5"),
        (("parameters", "new"), 1, "parameters.new: missing, or unknown"),
        (("leakage", "new"), 1, "leakage.new: unknown"),
    ],
)
def test_what_is_no_record_is_refused_by_member(record, path, value, words):
    with pytest.raises(MalformedRecord, match=re.escape(words)):
        check(changed(record, path, value))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_whatever_a_record_holds_is_told_in_words_and_nothing_breaks(data):
    record = RECORDS[data.draw(st.sampled_from(sorted(RECORDS)))]
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([path for path, _ in members(record)]))
        record = changed(record, path, data.draw(ANYTHING))
    record["digests"]["record"] = record_digest(record)
    try:
        assert all(isinstance(line, str) for line in check(record))
    except MalformedRecord as error:
        assert str(error)


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(-1, 2**60), st.just(10**400), st.floats(), st.text(max_size=3),
    st.lists(st.integers(0, 9), max_size=3),
)  # fmt: skip
RECORDS = {
    str(len(parameters.get("intensities", ()))): a_round(**parameters).bob.provenance
    for parameters in ({}, DECOYS, ONE_DECOY)
}


@pytest.mark.parametrize("value", [None, [], "text", 3, {}, {"schema": "qkd-lab-provenance/1"}])
def test_other_json_is_no_record(value):
    with pytest.raises(MalformedRecord):
        check(value)
