"""Tasks on a Dask cluster. Its workers need this package in the same version, and one thread each to be quick."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from qkd_lab.experiments.computed import compute
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.origin import origin
from qkd_lab.experiments.tasks import Task

CONNECT_TIMEOUT_S = 5
EXPECTED = "that of a running scheduler, such as tcp://127.0.0.1:8786"


def run(tasks: Sequence[Task], address: str) -> Iterator[tuple[Task, dict[str, Any], float, dict[str, Any]]]:
    """As `local_workers.run`; what a worker had that died, the scheduler gives to another. Raises ExperimentError."""
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise ExperimentError("--dask needs the package distributed: pip install -e '.[research]'") from None
    for name in ("distributed", "distributed.client"):  # what goes wrong is said here, in one line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        client = Client(_checked(address), timeout=CONNECT_TIMEOUT_S)
    except OSError as error:
        raise ExperimentError(
            f"--dask {address}: no Dask scheduler answers there within {CONNECT_TIMEOUT_S} s ({type(error).__name__}), "
            f"expected {EXPECTED}"
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=CONNECT_TIMEOUT_S)
        except TimeoutError:
            raise ExperimentError(f"--dask {address}: the scheduler has no workers, expected one at least") from None
        # pure=False: nothing is taken from what the cluster remembers of an earlier sweep.
        futures = {client.submit(_compute, task, pure=False): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], *_result_of(future, address)


def _checked(address: str) -> str:
    """What no client should be made for: a half-made one goes on complaining."""
    try:
        parts = urlsplit(address)
        if parts.scheme in ("tcp", "tls", "ws", "wss") and parts.hostname and parts.port:
            return address
    except ValueError:
        pass
    raise ExperimentError(f"--dask {address}: no address, expected {EXPECTED}")


def _compute(task: Task) -> tuple[dict[str, Any], float, dict[str, Any]]:
    return *compute(task), origin()


def _result_of(future: Any, address: str) -> tuple[dict[str, Any], float, dict[str, Any]]:
    from distributed import CancelledError, KilledWorker

    try:
        result, elapsed_s, made_by = future.result()
    except KilledWorker as error:
        raise ExperimentError(f"--dask {address}: a task ended several workers: {error}") from None
    except (CancelledError, OSError) as error:
        raise ExperimentError(f"--dask {address}: the scheduler has gone ({type(error).__name__})") from None
    here = origin()["version"]
    if made_by["version"] != here:
        raise ExperimentError(f"--dask {address}: key version of a worker: expected {here}, got {made_by['version']}")
    return result, elapsed_s, made_by
