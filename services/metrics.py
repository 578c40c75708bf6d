"""What every process counts, and how all of its metrics are written (docs/observing.md has them all).

Counting is done in memory that the workers of one process share: files in `PROMETHEUS_MULTIPROC_DIR`, which
prometheus_client reads itself, when it is imported. What has to be looked up is asked for when somebody reads, by
`Asked`. Labels have few values: names of views, processes, links; connections up to a limit.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import REGISTRY, CounterMetricFamily, GaugeMetricFamily, Metric

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 200  # that have a label of their own; what is beyond is counted as one
OTHERS = "others"

# Every metric has a label, and none is used before `start_anew`.
REQUESTS = Counter("qkd_requests", "Requests that were answered.", ["listener", "method", "code"])
REFUSALS = Counter("qkd_refusals", "Requests that were refused, by kind of refusal.", ["listener", "method", "reason"])
SECONDS = Histogram(
    "qkd_request_seconds",
    "Time until an answer was ready.",
    ["listener", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 90),
)
WORKERS = Gauge("qkd_workers", "Worker processes by what they do now.", ["state"], multiprocess_mode="livesum")


class LookedUp:
    """What is looked up when somebody reads it: name -> help and labels. A name in `_total` is a counter's."""

    def __init__(self, **described: tuple[str, tuple[str, ...]]) -> None:
        self.described = described

    def describe(self) -> list[Metric]:
        return [
            (CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily)(name, text, labels=labels)
            for name, (text, labels) in self.described.items()
        ]

    def read(self, values: Iterable[tuple[str, tuple[str, ...], float]]) -> list[Metric]:
        """From name, label values and value of each sample."""
        families: dict[str, Any] = dict(zip(self.described, self.describe(), strict=True))
        for name, labels, value in values:
            families[name].add_metric(labels, value)
        return [family for family in families.values() if family.samples]


SERVER = LookedUp(
    qkd_process_info=("Always 1; the labels say what runs.", ("version", "python")),
    qkd_process_start_time_seconds=("When the process started, in Unix time.", ()),
    qkd_certificate_expiry_timestamp_seconds=("When the certificate that it shows ends, in Unix time.", ()),
)
Samples = Iterator[tuple[str, tuple[str, ...], float]]


class Asked:
    """What is looked up, and how, as prometheus_client takes it."""

    def __init__(self, described: LookedUp, values: Callable[[], Samples]) -> None:
        self._described = described
        self._values = values

    def collect(self) -> list[Metric]:
        return self._described.read(self._until_it_fails())

    def _until_it_fails(self) -> Samples:
        """A store that does not answer must not hide what else there is to read."""
        try:
            yield from self._values()
        except Exception as error:
            log.warning("not all metrics can be read: %s", getattr(error, "message", None) or type(error).__name__)


def start_anew(folder: Path | None) -> None:
    """Before the first count: several workers count together in `folder`, where an earlier run may have. Without one
    each worker counts for itself."""
    global _folder
    _folder = folder
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for counted in folder.glob("*.db"):
            counted.unlink()


def worker_ended(pid: int) -> None:
    """What it counted stays; what was true of it alone does not."""
    if _folder is not None:
        multiprocess.mark_process_dead(pid, str(_folder))


def exposition(asked: Iterable[Asked]) -> bytes:
    """All metrics of this process as text: what its workers counted, and what is looked up now."""
    counted, looked_up = REGISTRY, CollectorRegistry()
    if _folder is not None:
        counted = CollectorRegistry()
        multiprocess.MultiProcessCollector(counted, str(_folder))
    for one in asked:
        looked_up.register(one)  # type: ignore[arg-type]
    return generate_latest(counted) + generate_latest(looked_up)


_folder: Path | None = None
