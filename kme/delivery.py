"""The three methods of ETSI GS QKD 014 as use cases. Who calls was verified before; `caller` is an SAE id."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from kme.catalogue import Catalogue, Known, refuse_suspended
from kme.errors import BadRequest, NotEntitled, TooFewKeys
from kme.etsi014 import KEYS_NOT_FOUND, SIZE_NOT_IN_BYTES
from kme.extensions import MANDATORY_NOT_MET, PREFIX, Terms, mandatory_terms, preferred_terms
from kme.keyring import KeyRing
from kme.keystore import KeyStore, NotFetched
from kme.keywrap import key_context
from kme.model import (
    MAX_KEY_SIZE_BITS,
    MIN_KEY_SIZE_BITS,
    Connection,
    Key,
    KeyRequest,
    KmeSettings,
    PoolStatus,
    Sae,
    SaeLimits,
    connection_id_of,
)
from kme.on_demand import OnDemand
from kme.recipients import check_additional
from kme.witness_store import WitnessStore

Delivered = Callable[[str, str, str, int, int], None]


class Delivery:
    def __init__(
        self,
        settings: KmeSettings,
        catalogue: Catalogue,
        keystore: KeyStore,
        keyring: KeyRing,
        on_demand: OnDemand,
        delivered: Delivered = lambda *_: None,
        admit: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`delivered` hears of each delivery: master, slave, which of them has the keys, how many, how many bits.
        `admit` (`Admission`) was asked about each caller before; it is asked again where that was by older limits."""
        self._settings = settings
        self._catalogue = catalogue
        self._keystore = keystore
        self._keyring = keyring
        self._on_demand = on_demand
        self._delivered = delivered
        self._admit = admit
        self._witness = WitnessStore(keystore)

    def status(self, caller: str, slave_sae_id: str) -> PoolStatus:
        _, connection = self._as_master(self._catalogue.current(), caller, slave_sae_id)
        count = self._keystore.stored_key_count(connection.connection_id, connection.key_size_bits)
        return PoolStatus(connection, min(count, connection.max_key_count))

    def enc_keys(
        self, caller: str, slave_sae_id: str, request: KeyRequest, is_there: Callable[[], bool] = lambda: True
    ) -> list[Key]:
        """Gives the master `request.number` keys that nobody else gets, or raises and gives none.

        One atomic step, the only call of any store, where the pool has them; no call of the peer. From the moment they
        are taken they count as delivered, even where the answer is lost. Keys cut for a caller that is not there any
        more (`is_there`) are voided instead.
        """
        if request.additional_slave_sae_ids:
            return self._deliver_to_several(self._catalogue.current(), caller, slave_sae_id, request, is_there)
        return self._decided(caller, lambda known: self._deliver(known, caller, slave_sae_id, request))

    def dec_keys(self, caller: str, master_sae_id: str, key_ids: Sequence[bytes]) -> list[Key]:
        """Gives a recipient the keys it names, in that order, each for the only time; or raises and consumes none.

        What entitles it is that the keys were made for it. A connection with the master it needs only to be told more
        than that there is none: an additional slave may have no connection at all.
        """
        return self._decided(caller, lambda known: self._fetch(known, caller, master_sae_id, key_ids))

    def _decided(self, caller: str, decide: Callable[[Known], list[Key]]) -> list[Key]:
        admitted_as = self._catalogue.remembered().saes.get(caller)

        def admitted(known: Known) -> list[Key]:
            nonlocal admitted_as
            now = known.saes.get(caller)
            if now and now != admitted_as:
                admitted_as = now
                self._admit(caller)
            return decide(known)

        return self._catalogue.decided(admitted)

    def _deliver(self, known: Known, caller: str, slave_sae_id: str, request: KeyRequest) -> list[Key]:
        sae, connection = self._as_master(known, caller, slave_sae_id)
        terms = mandatory_terms(request.mandatory_extensions)
        size_bits = check_request(request, connection)
        take = partial(
            self._keystore.take_keys,
            connection.connection_id,
            size_bits,
            request.number,
            caller,
            limits=self._limits(sae, request.number * size_bits),
            mark=known.mark,
        )
        preferred = preferred_terms(terms, request.optional_extensions)
        found = take(max_age_ms=preferred.max_age_ms)
        if isinstance(found, int) and preferred != terms:
            found = take(max_age_ms=terms.max_age_ms)
        if isinstance(found, int):
            found = self._take_fresh(take, connection, size_bits, request.number, terms, request.number - found)
        return self._given(connection, found)

    def _deliver_to_several(
        self, known: Known, caller: str, slave_sae_id: str, request: KeyRequest, is_there: Callable[[], bool]
    ) -> list[Key]:
        sae, connection = self._as_master(known, caller, slave_sae_id)
        mandatory_terms(request.mandatory_extensions)  # keys that are cut now meet all there are
        size_bits = check_request(request, connection)
        limits = self._limits(sae, request.number * size_bits)
        additional = request.additional_slave_sae_ids
        found = self._on_demand.deliver(connection, additional, size_bits, request.number, is_there, limits)
        return self._given(connection, found)

    def _fetch(self, known: Known, caller: str, master_sae_id: str, key_ids: Sequence[bytes]) -> list[Key]:
        known.admit(caller)
        if connection := known.connections.get(connection_id_of(master_sae_id, caller)):
            refuse_suspended(connection)
        found = self._keystore.fetch_keys(master_sae_id, key_ids, caller, known.mark)
        if isinstance(found, NotFetched):
            if not found.own_count:
                connection = known.between(master_sae_id, caller)
                if connection.target_kme_id != self._settings.kme_id:
                    raise BadRequest(f"keys for slave SAE {caller} are delivered by {connection.target_kme_id}")
            if not found.is_entitled:
                raise NotEntitled("one or more keys specified are not for this SAE")
            raise BadRequest(KEYS_NOT_FOUND)
        keys = self._unwrapped(found)
        self._delivered(master_sae_id, caller, "slave", *_size_of(keys))
        return keys

    def _as_master(self, known: Known, caller: str, slave_sae_id: str) -> tuple[Sae, Connection]:
        sae, connection = known.admit(caller), known.between(caller, slave_sae_id)
        if connection.source_kme_id != self._settings.kme_id:
            raise BadRequest(f"keys for master SAE {caller} are delivered by {connection.source_kme_id}")
        return sae, connection

    def _limits(self, sae: Sae, wanted_bits: int) -> SaeLimits:
        """The caller's quotas. Raises BadRequest where a whole one would not do, and waiting is in vain."""
        limits = sae.limits.over(self._settings.default_limits)
        for name in ("bits_per_hour", "bits_per_day"):
            quota = getattr(limits, name)
            if quota is not None and wanted_bits > quota:
                raise BadRequest(
                    f"{wanted_bits} bits of key asked for: the quota of SAE {sae.sae_id} is {quota} {name}"
                )
        return limits

    def _take_fresh(
        self,
        take: Callable[..., list[tuple[bytes, bytes]] | int],
        connection: Connection,
        size_bits: int,
        count: int,
        terms: Terms,
        missing_count: int,
    ) -> list[tuple[bytes, bytes]]:
        """The pool has too few: cuts more where the pool is not the scheduler's to fill, or has too old ones."""
        self._witness.require([link.peer_kme_id for link in self._settings.links_for(connection)])
        stored_count = self._keystore.stored_key_count(connection.connection_id, size_bits)
        is_own_size = size_bits == connection.key_size_bits
        # Without a bound, a caller whom no key is young enough for would have all the bits of the link cut.
        is_full = stored_count >= connection.max_key_count + connection.max_key_per_request
        if (not is_own_size or terms.max_age_ms is not None) and not is_full:
            self._on_demand.fill_pool(connection, size_bits, missing_count)
        found = take(max_age_ms=terms.max_age_ms)
        if not isinstance(found, int):
            return found
        if terms.max_age_ms is not None and stored_count >= count:
            age = f"{found} of {stored_count} keys are not older than {terms.max_age_ms} ms"
            raise BadRequest(MANDATORY_NOT_MET, {f"{PREFIX}max_age_ms": age})
        raise TooFewKeys(count, found)

    def _given(self, connection: Connection, wrapped: list[tuple[bytes, bytes]]) -> list[Key]:
        connection_octets = connection.connection_id.bytes
        keys = self._unwrapped((id_octets, connection_octets, key) for id_octets, key in wrapped)
        self._delivered(connection.master_sae_id, connection.slave_sae_id, "master", *_size_of(keys))
        return keys

    def _unwrapped(self, keys: Iterable[tuple[bytes, bytes, bytes]]) -> list[Key]:
        """Of each the octets of its id, those of its connection's, and the wrapped key."""
        unwrap = self._keyring.unwrap
        return [
            Key(id_octets, unwrap(wrapped, key_context(id_octets, connection_octets)))
            for id_octets, connection_octets, wrapped in keys
        ]


def _size_of(keys: Sequence[Key]) -> tuple[int, int]:
    """How many, and how many bits."""
    return len(keys), sum(8 * len(key.bits) for key in keys)


def check_request(request: KeyRequest, connection: Connection) -> int:
    """The key size in bits that is asked for. Raises BadRequest where the connection does not allow it (table 10)."""
    if not 1 <= request.number <= connection.max_key_per_request:
        raise BadRequest(f"number: expected 1..{connection.max_key_per_request}, got {request.number}")
    size_bits = connection.key_size_bits if request.size_bits is None else request.size_bits
    if size_bits % 8:
        raise BadRequest(SIZE_NOT_IN_BYTES)
    if not MIN_KEY_SIZE_BITS <= size_bits <= MAX_KEY_SIZE_BITS:
        raise BadRequest(f"size: expected {MIN_KEY_SIZE_BITS}..{MAX_KEY_SIZE_BITS}, got {size_bits}")
    check_additional(connection, request.additional_slave_sae_ids)
    return size_bits
