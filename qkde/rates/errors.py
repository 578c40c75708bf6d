"""What a formula refuses to compute."""


class InvalidRateInput(ValueError):
    """An argument no link can have, or one a formula does not hold for; the text names it and its range."""


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises InvalidRateInput unless low ≤ value ≤ high; NaN is outside."""
    if not low <= value <= high:
        raise InvalidRateInput(f"{name} is {value:g}: expected from {low:g} to {high:g}")


def check_open(name: str, value: float, low: float, high: float) -> None:
    """Raises InvalidRateInput unless low < value < high; NaN is outside."""
    if not low < value < high:
        raise InvalidRateInput(f"{name} is {value:g}: expected above {low:g} and below {high:g}")
