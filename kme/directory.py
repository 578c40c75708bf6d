"""At which KME an SAE lives: this one's own records, or a question to a KME at the other end of a link."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from kme.errors import Unavailable
from kme.records import Records
from mutual_tls.client import Peer, PeerError, Refused

_KEPT_S = 30.0  # for how long a yes is believed without asking again
_KEPT_COUNT = 10_000


class Directory:
    def __init__(
        self,
        kme_id: str,
        records: Records,
        peers: Mapping[str, Peer],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kme_id = kme_id
        self._records = records
        self._peers = peers
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], float] = {}

    def home(self, sae_id: str, kme_ids: Sequence[str]) -> str | None:
        """Of this KME and `kme_ids`, the one where the SAE is registered. Raises Unavailable where one does not say."""
        if self._records.has_sae(sae_id):
            return self._kme_id
        return next((kme_id for kme_id in kme_ids if self._is_at(sae_id, kme_id)), None)

    def forget(self) -> None:
        """Asks again from now on: what was believed has turned out to be wrong."""
        with self._lock:
            self._known.clear()

    def _is_at(self, sae_id: str, kme_id: str) -> bool:
        now_s = self._clock()
        if self._known.get((sae_id, kme_id), float("-inf")) >= now_s - _KEPT_S:
            return True
        try:
            self._peers[kme_id].request("GET", "/v1/saes", params={"sae_id": sae_id})
        except Refused as refused:
            if refused.status == 404:
                return False
            raise Unavailable(f"{kme_id} can't say whether SAE {sae_id} is there: {refused.message}") from None
        except PeerError as error:
            raise Unavailable(f"{kme_id} can't be asked for SAE {sae_id}: {error}") from None
        with self._lock:
            if len(self._known) >= _KEPT_COUNT:
                self._known.clear()
            self._known[sae_id, kme_id] = now_s
        return True
