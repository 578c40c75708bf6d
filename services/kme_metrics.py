"""What a KME's two processes count and look up: deliveries, pools, the account; rounds, lags, who is in office."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Any

from prometheus_client import Counter

from kme.entity import Entity
from kme.errors import KmeError
from kme.scheduler import Scheduler
from kme.web.operator import pools_of
from mutual_tls.client import Peer, PeerError, Reply

from .metrics import MOST_CONNECTIONS, OTHERS, Asked, LookedUp, Samples

STILL_RUNNING = 202  # the KME asks again
CONNECTION = ("master", "slave")
KEYS = Counter("qkd_kme_delivered_keys", "Keys that were delivered, to a master or a slave.", [*CONNECTION, "role"])
BITS = Counter("qkd_kme_delivered_bits", "Key bits that were delivered, to masters or slaves.", ["role"])
ROUNDS = Counter("qkd_kme_rounds", "Rounds ordered at the QKDE: key, aborted, or failed.", ["link", "outcome"])

STORES = LookedUp(
    qkd_kme_store_up=("Whether a store answers.", ("store",)),
    qkd_kme_pool_keys=("Keys in a connection's pool, at its master's KME.", CONNECTION),
    qkd_kme_pool_low_watermark_keys=("Below it, filling of the pool begins.", CONNECTION),
    qkd_kme_pool_high_watermark_keys=("At it, filling of the pool ends.", CONNECTION),
    qkd_kme_uncut_bits=("Bits of a link's blocks in the key store that are not cut yet.", ("link", "owner", "state")),
    qkd_kme_account_bits=("Where every secret bit of the site is: docs/protocols.md, /v1/status.", ("entry",)),
    qkd_kme_account_balanced=("Whether the account adds up.", ()),
)
SCHEDULER = LookedUp(
    qkd_kme_scheduler_leader=("Whether this scheduler is in office.", ()),
    qkd_kme_unsettled_batches=("Batches of which not both KMEs know the end.", ()),
    qkd_kme_batch_lag_seconds=("Age of the oldest of them.", ()),
    qkd_kme_audit_lag_seconds=("Age of the oldest audit entry that is not in Postgres.", ()),
)


class Few:
    """Label values of connections, as many as are allowed: what comes later is counted together."""

    def __init__(self, most: int = MOST_CONNECTIONS) -> None:
        self._most = most
        self._known: set[tuple[str, str]] = set()
        self._adding = threading.Lock()

    def labels(self, master: str, slave: str) -> tuple[str, str]:
        if (master, slave) not in self._known:
            with self._adding:
                if len(self._known) >= self._most:
                    return OTHERS, OTHERS
                self._known.add((master, slave))
        return master, slave


_few = Few()
_keys, _bits = lru_cache(1024)(KEYS.labels), lru_cache(1024)(BITS.labels)


def count_delivery(master: str, slave: str, role: str, key_count: int, bit_count: int) -> None:
    _keys(*_few.labels(master, slave), role).inc(key_count)
    _bits(role).inc(bit_count)


def stores_of(kme: Entity) -> dict[str, Callable[[], object]]:
    """Both stores by name, each with its check."""
    return {"Postgres": kme.records.check, "Redis": kme.claim_store}


def store_metrics(kme: Entity) -> Asked:
    def values() -> Samples:
        up = {name: _succeeds(check) for name, check in stores_of(kme).items()}
        for name, answers in up.items():
            yield "qkd_kme_store_up", (name,), float(answers)
        if not all(up.values()):
            return  # what it can't tell would be waited for until Prometheus has gone
        pools: dict[tuple[str, str], list[int]] = {}
        few = Few()
        for pool in pools_of(kme):
            counts = pools.setdefault(few.labels(pool["master_sae_id"], pool["slave_sae_id"]), [0, 0, 0])
            for index, what in enumerate(("stored_key_count", "low_watermark", "high_watermark")):
                counts[index] += pool[what]
        for connection, (stored, low, high) in pools.items():
            yield "qkd_kme_pool_keys", connection, stored
            yield "qkd_kme_pool_low_watermark_keys", connection, low
            yield "qkd_kme_pool_high_watermark_keys", connection, high
        for link in kme.settings.links:
            for blocks in kme.link_status(link.name)["blocks"]:
                labels = link.name, blocks["owner_kme_id"], blocks["state"]
                yield "qkd_kme_uncut_bits", labels, blocks["uncut_bits"]
        account = kme.account().as_json()
        yield "qkd_kme_account_balanced", (), float(account.pop("balanced"))
        for entry, bits in account.items():
            yield "qkd_kme_account_bits", (entry.removesuffix("_bits"),), bits

    return Asked(STORES, values)


def scheduler_metrics(kme: Entity, scheduler: Scheduler) -> Asked:
    def values() -> Samples:
        yield "qkd_kme_scheduler_leader", (), float(scheduler.in_office)
        count, age_s = kme.block_records.oldest_unsettled()
        yield "qkd_kme_unsettled_batches", (), count
        yield "qkd_kme_batch_lag_seconds", (), age_s
        # An entry's id begins with the moment at which it was written.
        oldest = [int(stream_id.split(b"-")[0]) / 1000 for stream_id, _ in kme.keystore.audit_entries(1)]
        yield "qkd_kme_audit_lag_seconds", (), max(0.0, time.time() - oldest[0]) if oldest else 0.0

    return Asked(SCHEDULER, values)


class CountedQkde:
    """The site's QKDE as its KME calls it; how each order ended is counted."""

    def __init__(self, qkde: Peer) -> None:
        self._qkde = qkde

    def __getattr__(self, name: str) -> Any:
        return getattr(self._qkde, name)

    def request(self, method: str, path: str, *, json: Any = None, **options: Any) -> Reply:
        outcome = "failed"
        try:
            reply = self._qkde.request(method, path, json=json, **options)
            if reply.status == STILL_RUNNING:
                outcome = ""
                return reply
            with suppress(PeerError, TypeError, KeyError):  # a report that is none: the KME says so
                outcome = "key" if reply.json["outcome"] == "key" else "aborted"
            return reply
        finally:
            if outcome:
                ROUNDS.labels(json["link"], outcome).inc()


def _succeeds(check: Callable[[], object]) -> bool:
    try:
        check()
    except KmeError:
        return False
    return True
