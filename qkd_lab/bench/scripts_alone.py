"""The Redis scripts of a delivery alone, called from here as a KME calls them: no HTTP, no TLS, no unwrapping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote
from uuid import UUID

from kme.keystore import KeyStore
from qkd_lab.bench.pool import KEY_SIZE_BITS, Pool
from qkd_lab.embedded.programs import services_package
from qkd_lab.lab_folder import LabError, LabFolder

CALLERS = (1, 16)  # at once: alone, and as many as a KME's worker has threads


@dataclass(frozen=True)
class ScriptAlone:
    script: str
    number: int
    callers: int
    call_count: int
    elapsed_s: float

    @property
    def per_s(self) -> float:
        return self.call_count / self.elapsed_s


def scripts_alone(lab: LabFolder, pool: Pool, number: int, call_count: int) -> list[ScriptAlone]:
    """`take_keys` at the master's site and `fetch_keys` at the slave's. The keys are real ones of the bench's pool:
    they count as delivered, and nobody has them."""
    found = []
    at_master, at_slave = (_store(lab, sae.kme.id) for sae in (pool.master, pool.slave))
    connection = UUID(pool.connection_id)
    try:
        for callers in CALLERS:
            pool.fill(number * call_count)
            taken: list[Sequence[bytes]] = []

            def take(_: int, taken: list[Sequence[bytes]] = taken) -> None:
                keys = at_master.take_keys(connection, KEY_SIZE_BITS, number, pool.master.id)
                if isinstance(keys, int):
                    raise LabError(f"the pool of the bench has {keys} keys, expected {number} more")
                taken.append([id_octets for id_octets, _ in keys])

            found.append(ScriptAlone("take_keys", number, callers, call_count, _timed(take, call_count, callers)))

            def fetch(call: int, taken: list[Sequence[bytes]] = taken) -> None:
                if not isinstance(at_slave.fetch_keys(pool.master.id, taken[call], pool.slave.id), list):
                    raise LabError("a key that the bench has taken is not at the other site")

            found.append(ScriptAlone("fetch_keys", number, callers, call_count, _timed(fetch, call_count, callers)))
    finally:
        at_master.close()
        at_slave.close()
    return found


def _timed(call: Callable[[int], None], call_count: int, callers: int) -> float:
    with ThreadPoolExecutor(callers) as threads:
        started = time.perf_counter()
        list(threads.map(call, range(call_count)))
        return time.perf_counter() - started


def _store(lab: LabFolder, kme_id: str) -> KeyStore:
    redis = f"redis-{kme_id.removeprefix('kme-')}"
    password = quote((lab.secrets(kme_id) / "redis.password").read_text().strip(), safe="")
    address = lab.read_addresses()[redis]["redis"]
    package, home = services_package(os.environ)
    beside = Path(*package.split(".")[:-1])  # `db` is where `services` is
    return KeyStore(f"redis://:{password}@{address}/0", home / beside / "db" / "lua")
