"""Checks of numbers that formulas take."""

from qkde.bb84.errors import InvalidParameter


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises InvalidParameter unless low ≤ value ≤ high; NaN is outside."""
    if not low <= value <= high:
        raise InvalidParameter(f"{name} is {value:g}: expected from {low:g} to {high:g}")


def check_open(name: str, value: float, low: float, high: float) -> None:
    """Raises InvalidParameter unless low < value < high; NaN is outside."""
    if not low < value < high:
        raise InvalidParameter(f"{name} is {value:g}: expected above {low:g} and below {high:g}")
