"""Tasks on this machine's cores: one process each, which uses one core."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from qkd_lab.experiments.computed import compute
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.origin import origin
from qkd_lab.experiments.tasks import Task

# Threads of Aer, BLAS and OpenMP inside a worker would fight those of the others for the same cores.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def run(tasks: Sequence[Task], worker_count: int) -> Iterator[tuple[Task, dict[str, Any], float, dict[str, Any]]]:
    """Each task with its result, seconds and origin, as they finish. Raises ExperimentError when a worker has died.

    Whoever stops iterating stops the workers: no task goes on unseen.
    """
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    others = set(multiprocessing.active_children())
    os.environ.update(ONE_THREAD)  # read by the libraries when a worker loads them
    # A fork of a process with threads may inherit locks that nobody will release.
    pool = ProcessPoolExecutor(worker_count, multiprocessing.get_context("spawn"), _become_worker)
    try:
        with _uninterrupted():
            futures = {pool.submit(compute, task): task for task in tasks}
        for future in as_completed(futures):
            yield futures[future], *future.result(), origin()
    except BrokenProcessPool:
        raise ExperimentError("a worker process died, perhaps for lack of memory: try fewer with --workers") from None
    finally:
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        # Waits for the pool's thread, too: one that goes on beyond this would clear up while the interpreter ends, and
        # both close the same pipe.
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Ctrl-C comes when the block is over. It reaches the whole group, and the parent decides: processes that are
    started in the block have it blocked from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python gives it to the main thread alone
        return
    came = threading.Event()
    handler = signal.signal(signal.SIGINT, lambda *_: came.set())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came.is_set():
            raise KeyboardInterrupt


def _become_worker() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker waits for tasks for ever, also when the one who would give them was killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
