from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkde.bb84.errors import InvalidParameter
from qkde.bb84.estimation import error_rate, expected_error_rate, wilson_interval
from qkde.bb84.finite_key import binary_entropy, phase_error_bound, secret_length
from qkde.bb84.parameters import RoundParameters


def checkpoint_length(**changes):
    n, qber = 10**6, 0.02
    return secret_length(
        **{
            "key_bits": n,
            "sample_bits": 10**5,
            "qber_tolerance": qber,
            "leak_bits": 1.16 * n * binary_entropy(qber),
            "epsilon_secrecy": 1e-10,
            "correctness_bits": log2(1e15),
            **changes,
        }
    )


def test_the_length_of_tomamichel_and_others_comes_out_to_one_bit():
    assert checkpoint_length() == pytest.approx(611_445, abs=1)


def test_counting_both_ends_parities_takes_the_length_to_447_000():
    leak_both = 2 * 1.16 * 10**6 * binary_entropy(0.02)
    assert checkpoint_length(leak_bits=leak_both) == pytest.approx(447_000, abs=500)


def test_a_verification_hash_of_t_bits_costs_t_bits():
    assert checkpoint_length(correctness_bits=10) - checkpoint_length(correctness_bits=99) == pytest.approx(89)


@pytest.mark.parametrize(("key_bits", "sample_bits"), [(0, 100), (100, 0), (0, 0)])
def test_without_key_or_sample_there_is_no_length(key_bits, sample_bits):
    assert checkpoint_length(key_bits=key_bits, sample_bits=sample_bits, leak_bits=0) < 0


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.floats(0.001, 0.499), st.floats(0, 1e6))
def test_more_errors_or_more_leakage_never_give_more_key(n, k, tolerance, leak):
    length = checkpoint_length(key_bits=n, sample_bits=k, qber_tolerance=tolerance, leak_bits=leak)
    assert length < n
    assert checkpoint_length(key_bits=n, sample_bits=k, qber_tolerance=tolerance + 0.001, leak_bits=leak) <= length
    assert checkpoint_length(key_bits=n, sample_bits=k, qber_tolerance=tolerance, leak_bits=leak + 1) < length
    assert tolerance < phase_error_bound(n, k, tolerance, 1e-10) <= 0.5


def test_entropy_is_that_of_a_bound_and_stays_one_above_a_half():
    assert binary_entropy(0.110028) == pytest.approx(0.5, abs=1e-5)
    assert [binary_entropy(p) for p in (0, 0.5, 0.7)] == [0, 1, 1]


def test_the_error_rate_of_nothing_is_undefined():
    assert error_rate(0, 0) is None
    assert wilson_interval(0, 0) is None
    assert error_rate(3, 12) == 0.25


def test_wilsons_interval_at_95_percent():
    # Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    published = [
        ((81, 263), (0.2553, 0.3662)), ((15, 148), (0.0624, 0.1605)),
        ((0, 20), (0, 0.1611)), ((1, 29), (0.0061, 0.1718)),
    ]  # fmt: skip
    for counts, interval in published:
        assert wilson_interval(*counts) == pytest.approx(interval, abs=5e-5)
    assert wilson_interval(20, 20)[1] == 1.0


def test_cascade_always_gets_a_rate_to_size_its_blocks_by():
    assert 0 < expected_error_rate(0, 10) < expected_error_rate(10, 10) < 1


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("pulses_per_frame", 0, "from 1 to 16777216, not 0"),
        ("pulses_per_frame", 1e6, "must be a int, not 1000000.0"),
        ("pulses_per_frame", True, "must be a int"),
        ("frame_count", 10**6, "from 1 to 1073"),
        ("key_basis_probability", 1.0, "between 0 and 1 "),
        ("qber_tolerance", 0.5, "between 0 and 0.5 "),
        ("qber_tolerance", float("nan"), "between 0 and 0.5 .*not nan"),
        ("qber_tolerance", float("inf"), "between 0 and 0.5 .*not inf"),
        ("qber_tolerance", 1, "must be a float, not 1"),
        ("key_basis_probability", float("nan"), "between 0 and 1 .*not nan"),
        ("epsilon_secrecy", 0.0, "between 1e-100 and 1 "),
        ("epsilon_correctness", 2.0, "between 1e-100 and 1 "),
        ("verification_bits", 64, "one of 61, 89, 107, 127, not 64"),
        ("security_margin_bits", -1, "from 0 to"),
        ("reconciliation", "winnow", "one of original, efficient, not winnow"),
        ("leak_counted", "bob", "one of alice, both, not bob"),
    ],
)
def test_an_impossible_parameter_is_named_with_its_range(name, value, expected):
    with pytest.raises(InvalidParameter, match=rf"^{name} .*{expected}"):
        RoundParameters(**{name: value})


def test_a_hash_too_short_for_epsilon_correctness_is_refused():
    with pytest.raises(InvalidParameter, match="verification_bits 61 .* over epsilon_correctness 1e-15"):
        RoundParameters(verification_bits=61)
    RoundParameters(verification_bits=61, epsilon_correctness=1e-13)
