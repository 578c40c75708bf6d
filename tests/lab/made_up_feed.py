"""The dashboard's process with a network that is made up: 100 events/s, 20 connections, a round every five seconds.

`python tests/lab/made_up_feed.py PORT`; it serves the page as the lab's own process does.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any

from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.poller import Poller
from qkd_lab.dashboard.session import Sessions
from qkd_lab.dashboard.web import page_app
from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.topology import SHIPPED, load
from services.page_server import PageServer

EVENTS_PER_S, CONNECTIONS, ROUND_EVERY_S = 100, 20, 5


class MadeUpFeed(OperatorCalls):
    """Answers like operator listeners, from what time it is."""

    def __init__(self) -> None:
        super().__init__(load(SHIPPED / "two-sites.toml"), lambda process: None)
        self._began = time.time()

    def health(self, process: str) -> str:
        return "ok"

    def call(self, process: str, method: str, path: str, *rest: Any, **options: Any) -> Any:
        passed_s = time.time() - self._began
        path, _, query = path.partition("?")
        first = process in ("kme-a", "qkde-a")
        if path == "/v1/status":
            return self._status(process, passed_s, CONNECTIONS // 2)
        if path == "/v1/events":
            after = int(query.split("after=")[1].split("&")[0]) if "after=" in query else 0
            until = int(passed_s * EVENTS_PER_S) if first else 0
            return [self._event(number) for number in range(after + 1, until + 1)]
        if path == "/v1/reports":
            return [self._report(number) for number in range(int(passed_s / ROUND_EVERY_S))][-6:]
        if path == "/v1/rounds":
            return [
                {"round_id": f"r{number}", "began_at": self._at(number * ROUND_EVERY_S), "physics": {"eve": "none"}}
                for number in reversed(range(int(passed_s / ROUND_EVERY_S)))
            ][:6]
        return {"loss_db": 1.0, "depolarizing": 0.02, "eve": "none"} if path == "/v1/physics" else []

    def _at(self, passed_s: float) -> str:
        return datetime.fromtimestamp(self._began + passed_s, UTC).isoformat(timespec="milliseconds")

    def _status(self, kme: str, passed_s: float, count: int) -> dict[str, Any]:
        site, other = (kme[-1], "b" if kme[-1] == "a" else "a")
        names = ("received", "copied", "remainder", "reserved", "stored", "delivered", "burned", "destroyed", "expired")
        return {
            "kme_id": kme,
            "site": site,
            "saes": [f"sae-{site}{number}" for number in range(count)],
            "pools": [
                {
                    "connection_id": f"{site}{number}", "master_sae_id": f"sae-{site}{number}",
                    "slave_sae_id": f"sae-{other}{number}", "key_size_bits": 256, "low_watermark": 500,
                    "stored_key_count": int(passed_s * 37 + number * 91) % 1000, "high_watermark": 1000,
                }
                for number in range(count)
            ],
            "links": [],
            "account": {f"{name}_bits": int(passed_s * 1000) for name in names} | {"balanced": True},
        }  # fmt: skip

    def _event(self, number: int) -> dict[str, Any]:
        detail = {
            "role": "master", "sae_id": f"sae-a{number % 10}", "connection_id": f"a{number % 10}",
            "key_id": f"{number:08x}-1111-4222-8333-444444444444", "key_count": 1,
        }  # fmt: skip
        return {"id": number, "at": self._at(number / EVENTS_PER_S), "event": "keys_delivered", "detail": detail}

    def _report(self, number: int) -> dict[str, Any]:
        return {
            "block_id": f"r{number}", "link": "a-b", "owner": "kme-a", "outcome": "key", "abort_reason": None,
            "pulses": 1_048_576, "detected_pulses": 832_914, "sifted_bits": 682_785, "sample_bits": 8_216,
            "disclosed_bits": 68_524, "secret_bits": 310_656, "qber": 0.009 + 0.001 * (number % 3), "elapsed_s": 2.0,
            "parameters": {"qber_tolerance": 0.04},
        }  # fmt: skip


def main() -> None:
    hub, stopping = Hub(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    poller = Poller(MadeUpFeed(), hub)
    threading.Thread(target=poller.run, args=(stopping,), daemon=True).start()
    PageServer((f"127.0.0.1:{sys.argv[1]}",), lambda: page_app(hub, Sessions("ab" * 32, time.time))).run(stopping)


if __name__ == "__main__":
    main()
