"""What is of an epoch that is over is out of use from that moment on (db/lua/witness.lua); here it is destroyed.

In steps of a bounded number of keys, so that Redis serves others in between. Each is counted in the account and in the
audit trail in the step that destroys it. A crash leaves the rest for the next time.
"""

from __future__ import annotations

import logging
from uuid import UUID

from kme.keystore import KeyStore
from kme.witness_records import WitnessRecords

log = logging.getLogger(__name__)

_AT_ONCE = 500


class Quarantine:
    def __init__(self, records: WitnessRecords, keystore: KeyStore) -> None:
        self._records = records
        self._keystore = keystore

    def step(self) -> None:
        """Nothing where no epoch has ended since the last time."""
        with self._keystore.answering() as store:
            token = store.get("stale")
        if token is None:
            return
        block_count = sum(self._destroy_block(name) for name in self._names("block:*"))
        stores = [*self._names("pool:*"), *self._names("copies:*")]
        key_count = sum(self._destroy_keys(name) for name in stores)
        self._close_lost_blocks()
        # Not where another epoch has ended meanwhile.
        self._keystore.run("forget_stale", [], [token])
        if block_count or key_count:
            log.warning("an epoch is over: %d blocks and %d copies of keys are destroyed", block_count, key_count)

    def _destroy_block(self, name: str) -> int:
        keys = [name, f"cuts:{name.removeprefix('block:')}", "account", "audit"]
        return int(self._keystore.run("destroy_stale_block", keys, []))

    def _destroy_keys(self, name: str) -> int:
        destroyed_count = 0
        connection_id = name.split(":")[1]
        with self._keystore.answering() as store:
            members = store.lrange(name, 0, -1) if name.startswith("pool:") else store.hkeys(name)
        for first in range(0, len(members), _AT_ONCE):
            keys = [name, "account", "audit", "entitlement"]
            args = [connection_id, *members[first : first + _AT_ONCE]]
            destroyed_count += int(self._keystore.run("destroy_stale_keys", keys, args))
        return destroyed_count

    def _names(self, pattern: str) -> list[str]:
        with self._keystore.answering() as store:
            return [name.decode() for name in store.scan_iter(pattern, count=1000)]

    def _close_lost_blocks(self) -> None:
        """Blocks that Postgres takes to be in use and whose bits are not in Redis: destroyed just now, or lost."""
        recorded: list[UUID] = self._records.used_blocks()
        lost = [one for one in recorded if self._keystore.block(one) is None]
        if lost:
            self._records.close_lost(lost)
