"""Error rates from counts: fractions, `None` where nothing was counted."""

from math import sqrt

_Z_95 = 1.959963984540054  # two-sided 95 % of the normal distribution


def error_rate(error_count: int, bit_count: int) -> float | None:
    """Errors over bits; None when there are no bits: a QBER of nothing is undefined, not 0."""
    return error_count / bit_count if bit_count else None


def wilson_interval(error_count: int, bit_count: int) -> tuple[float, float] | None:
    """Wilson's score interval at 95 % (Wilson 1927), (low, high); None when there are no bits."""
    if not bit_count:
        return None
    n, p, z = bit_count, error_count / bit_count, _Z_95
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half_width = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half_width), min(1.0, centre + half_width)


def expected_error_rate(error_count: int, bit_count: int) -> float:
    """Laplace's (e+1)/(n+2), never 0 or 1: what Cascade sizes its blocks by. Security does not depend on it."""
    return (error_count + 1) / (bit_count + 2)
