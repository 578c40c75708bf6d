"""Rounds of a link as their reports tell of them, and a time that begins where one ended and ends where another did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link

Report = dict[str, Any]


class Rounds:
    """At Bob's end, which leads them, one after the other."""

    def __init__(self, operator: Operator, link: Link) -> None:
        self._operator = operator
        self._qkde = operator.topology.site(link.bob).qkde_id
        self._path = f"/v1/reports?link={link.name}"
        self._known: set[str] = set()
        self._look(50)

    def ended(self) -> list[Report]:
        """Those that have ended since this was asked last. Raises LabError."""
        # Reports are long, and asked for often: mostly there is none that is not known.
        return self._look(50) if self._look(1, keep=False) else []

    def _look(self, count: int, keep: bool = True) -> list[Report]:
        found = self._operator.call(self._qkde, "GET", f"{self._path}&count={count}")
        new = [report for report in found if report["block_id"] not in self._known]
        if keep:
            self._known.update(report["block_id"] for report in new)
        return new


def stages_within(reports: Sequence[Report], elapsed_s: float) -> dict[str, float]:
    """Seconds of each stage. That a round has ended is seen a moment later, so what is more than `elapsed_s` was spent
    before it began, on what the first round does first: that is left out."""
    spent = [(stage, spent_s) for report in reports for stage, spent_s in report["stages"].items()]
    before_s = sum(spent_s for _, spent_s in spent) - elapsed_s
    stages: dict[str, float] = {}
    for stage, spent_s in spent:
        left_out_s = min(spent_s, max(0.0, before_s))
        before_s -= left_out_s
        stages[stage] = stages.get(stage, 0.0) + spent_s - left_out_s
    return stages
