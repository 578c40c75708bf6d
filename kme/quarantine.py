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
        token = self._keystore.stale_token()
        if token is None:
            return
        block_count = sum(self._destroy_block(name) for name in self._keystore.names("block:*"))
        stores = [*self._keystore.names("pool:*"), *self._keystore.names("copies:*")]
        key_count = sum(self._destroy_keys(name) for name in stores)
        self._close_lost_blocks()
        self._keystore.forget_stale(token)
        if block_count or key_count:
            log.warning("an epoch is over: %d blocks and %d copies of keys are destroyed", block_count, key_count)

    def _destroy_block(self, name: str) -> int:
        keys = [name, f"cuts:{name.removeprefix('block:')}", "account", "audit"]
        return int(self._keystore.run("destroy_stale_block", keys, []))

    def _destroy_keys(self, name: str) -> int:
        destroyed_count = 0
        connection_id = name.split(":")[1]
        for members in self._keystore.members(name, _AT_ONCE):
            keys = [name, "account", "audit", "entitlement"]
            destroyed_count += int(self._keystore.run("destroy_stale_keys", keys, [connection_id, *members]))
        return destroyed_count

    def _close_lost_blocks(self) -> None:
        """Blocks that Postgres takes to be in use and whose bits are not in Redis: destroyed just now, or lost."""
        recorded: list[UUID] = self._records.used_blocks()
        lost = [one for one in recorded if self._keystore.block(one) is None]
        if lost:
            self._records.close_lost(lost)
