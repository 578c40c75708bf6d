"""A network without processes: two sites, a link, and answers that a test may change."""

from __future__ import annotations

from typing import Any

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.topology import SHIPPED, load

CONNECTION = "0f1885ed-9c04-58d7-815d-c1bf70ff7ddf"


def report(number: int, outcome: str = "key", qber: float | None = 0.01) -> dict[str, Any]:
    key = outcome == "key"
    return {
        "block_id": f"round-{number}", "link": "a-b", "owner": "kme-a", "outcome": outcome,
        "abort_reason": None if key else "QBER over the tolerance", "pulses": 1000, "detected_pulses": 800,
        "sifted_bits": 600, "sample_bits": 10, "disclosed_bits": 60, "secret_bits": 300 if key else 0, "qber": qber,
        "elapsed_s": 1.0, "parameters": {"qber_tolerance": 0.04},
    }  # fmt: skip


class MadeUpNetwork(OperatorCalls):
    """`answers` by process and path without its query; `failing`: processes that do not answer; `asked`: all calls."""

    def __init__(self) -> None:
        super().__init__(load(SHIPPED / "two-sites.toml"), lambda process: None)
        self.failing: set[str] = set()
        self.asked: list[tuple[str, str, str, Any]] = []
        self.answers: dict[tuple[str, str], Any] = {}
        for site, other in (("a", "b"), ("b", "a")):
            self.answers |= {
                (f"kme-{site}", "/v1/status"): {
                    "kme_id": f"kme-{site}", "site": site, "saes": [f"sae-{site}"], "links": [], "account": {},
                    "pools": [
                        {
                            "connection_id": CONNECTION if site == "a" else "other",
                            "master_sae_id": f"sae-{site}", "slave_sae_id": f"sae-{other}", "key_size_bits": 256,
                            "stored_key_count": 700, "low_watermark": 500, "high_watermark": 1000,
                        }
                    ],
                },
                (f"kme-{site}", "/v1/events"): [],
                (f"qkde-{site}", "/v1/reports"): [report(1)],
                (f"qkde-{site}", "/v1/links"): [{"link": "a-b", "stopped": False}],
            }  # fmt: skip
        self.answers["qlink-a-b", "/v1/physics"] = {"link": "a-b", "loss_db": 1.0, "depolarizing": 0.02, "eve": "none"}
        self.answers["qlink-a-b", "/v1/rounds"] = [
            {"round_id": "round-1", "began_at": "2026-11-22T12:00:00+00:00", "physics": {"eve": "none"}}
        ]

    def health(self, process: str) -> str:
        return "connection refused" if process in self.failing else "ok"

    def call(self, process, method, path, json=None, timeout_s=10.0, octets=None) -> Any:
        self.asked.append((process, method, path, json))
        if process in self.failing:
            raise LabError(f"{process} does not answer")
        found = self.answers.get((process, path.partition("?")[0]), {})
        if isinstance(found, Exception):
            raise found
        return found
