"""What the suite found out about failures, from all of its parts: one table, printed at the end of a run."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass, field
from pathlib import Path

# In the checkout, with the rest of what is no part of it.
FILE = Path(__file__).parents[1] / ".lab" / "chaos-report.json"


@dataclass
class Report:
    """`recovered_s`: of each fault that was survived, how long after its end all was whole again."""

    faults: int = 0
    starts: int = 0
    deliveries_checked: int = 0
    keys_lost: int = 0
    keys_delivered_twice: int = 0
    recovered_s: list[float] = field(default_factory=list)
    malformed_inputs: int = 0
    server_errors: int = 0

    def malformed(self, status: int) -> int:
        """Counts a malformed request by its answer, and gives back the status. 501 is an answer: no such method."""
        self.malformed_inputs += 400 <= status < 500 or status == 501
        self.server_errors += is_server_error(status)
        return status

    def rows(self) -> dict[str, int | float | None]:
        """None for what no test of the run has measured."""
        checked = bool(self.deliveries_checked)
        back = self.recovered_s
        return {
            "faults brought about": self.faults or None,
            "faults survived": len(back) if self.faults else None,
            "starts of both sides, no hang": self.starts or None,
            "deliveries checked": self.deliveries_checked or None,
            "keys lost": self.keys_lost if checked else None,
            "keys delivered twice": self.keys_delivered_twice if checked else None,
            "time to recover, median (s)": round(statistics.median(back), 1) if back else None,
            "time to recover, worst (s)": round(max(back), 1) if back else None,
            "malformed inputs tried": self.malformed_inputs or None,
            "server errors": self.server_errors if checked or self.malformed_inputs else None,
        }

    def lines(self) -> list[str]:
        return [f"{name:<38}{value:>10,}" for name, value in self.rows().items() if value is not None]

    def write(self) -> Path:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(json.dumps(self.rows(), indent=2) + "\n")
        return FILE


def is_server_error(status: int | None) -> bool:
    """503 is no error but an answer: nothing was done, or it is not known; ask again."""
    return status is not None and status >= 500 and status not in (501, 503)
