"""Limits of what an SAE may ask for, the same for all processes of its site, and the record of what was refused.

A call costs a token (`SaeLimits`). One that fails gets four fifths of it back, so that a client that repeats a failed
call five times pays for one; one that is refused for its rate costs nothing, so waiting always helps.
"""

from __future__ import annotations

import json
import math
import threading
from collections import Counter
from collections.abc import Callable

from kme.catalogue import Catalogue
from kme.errors import TooManyRequests, Unavailable
from kme.keystore import KeyStore
from kme.model import KmeSettings, SaeLimits

REFUND = 0.8
KINDS_KEPT = 1_000


class Admission:
    def __init__(
        self, settings: KmeSettings, catalogue: Catalogue, keystore: KeyStore, require_store: Callable[[], None]
    ) -> None:
        """`require_store` raises Unavailable unless the key store is this KME's, in its newest state."""
        self._settings = settings
        self._catalogue = catalogue
        self._keystore = keystore
        self._require_store = require_store
        self._counting = threading.Lock()
        self._uncounted: Counter[str] = Counter()

    def limits(self, sae_id: str) -> SaeLimits:
        # As remembered: a call that goes on makes sure that it is what holds now (`Catalogue.decided`).
        sae = self._catalogue.remembered().saes.get(sae_id)
        return sae.limits.over(self._settings.default_limits) if sae else SaeLimits()

    def admit(self, sae_id: str) -> None:
        """Before anything else is looked at. Raises TooManyRequests with the time to wait; Unavailable.

        An SAE that is not registered has no bucket: what it asks for is refused anyway.
        """
        bucket = _bucket(self.limits(sae_id))
        if bucket is None:
            return
        rate, burst = bucket
        wait_ms = int(self._keystore.run("admit_call", [f"calls:{sae_id}"], [self._keystore.now(), rate, burst]))
        if wait_ms:
            raise TooManyRequests(
                f"SAE {sae_id} may make {rate} calls a second: this one was not looked at, try again later",
                math.ceil(wait_ms / 1000),
            )

    def refused(self, sae_id: str, method: str, status: int, reason: str) -> None:
        """A call ended in an error: into the audit trail with it, repeats counted, and most of its token back.

        Never raises: what can't be counted now is counted with the next.
        """
        kind = json.dumps({"sae_id": sae_id, "method": method, "status": status, "reason": reason}, sort_keys=True)
        with self._counting:
            kept = kind if kind in self._uncounted or len(self._uncounted) < KINDS_KEPT else _others()
            self._uncounted[kept] += 1
            if status == 503 and reason != "TooFewKeys":
                return  # perhaps the very store that does not answer: the caller must not wait for it twice
            counts, self._uncounted = self._uncounted, Counter()
        try:
            self._require_store()
            bucket = None if status == 429 else _bucket(self.limits(sae_id))
            calls, burst = (f"calls:{sae_id}", bucket[1]) if bucket else ("", 0)
            kinds = [part for kind, count in counts.items() for part in (kind, count)]
            self._keystore.run("count_refusals", ["refusals", calls], [KINDS_KEPT, _others(), REFUND, burst, *kinds])
        except Unavailable:
            with self._counting:
                self._uncounted += counts

    def report(self) -> int:
        """Writes what was counted into the audit trail, once a window; the number of entries. For the scheduler."""
        window_ms = int(self._settings.refusal_window_s * 1000)
        return int(self._keystore.run("report_refusals", ["refusals", "audit"], [self._keystore.now(), window_ms]))


def _bucket(limits: SaeLimits) -> tuple[int, int] | None:
    """Tokens a second and size; None where calls are not limited."""
    rate = limits.requests_per_s
    return None if rate is None else (rate, limits.request_burst or max(2, rate))


def _others() -> str:
    return json.dumps({"sae_id": "others", "method": "any", "status": 0, "reason": "too many kinds"}, sort_keys=True)
