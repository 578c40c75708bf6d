"""Numbers on a command line: one, a list as in `0,50,100`, or a range as in `0:150:5`, its end included."""

from __future__ import annotations

from math import isfinite
from typing import Any

import click

MOST_NUMBERS = 100_000


class NumberList(click.ParamType):
    """Gives a tuple of finite numbers, at least one."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            return _numbers(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _numbers(text: str) -> tuple[float, ...]:
    if ":" not in text:
        return tuple(_number(part) for part in text.split(","))
    parts = text.split(":")
    if len(parts) != 3:
        raise ValueError("expected START:END:STEP, such as 0:150:5")
    start, end, step = (_number(part) for part in parts)
    if step <= 0 or end < start:
        raise ValueError("expected START:END:STEP with END not below START and STEP above 0")
    steps = (end - start) / step
    if steps >= MOST_NUMBERS:
        raise ValueError(f"more than {MOST_NUMBERS} numbers: expected a larger step")
    # Each from the start, so that rounding does not add up; the end is in where it lies on a step.
    return tuple(round(start + index * step, 12) for index in range(int(steps + 1e-9) + 1))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ValueError("expected a number, a list such as 0,50,100 or a range such as 0:150:5") from None
    if not isfinite(number):
        raise ValueError("expected finite numbers")
    return number
