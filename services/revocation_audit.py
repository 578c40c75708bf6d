"""A KME's audit trail tells of every certificate that was revoked, by the lists that its listeners go by."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable

from kme.errors import Unavailable
from kme.revocations import RevocationRecords
from mutual_tls.revocation import RevocationError, Revocations

from .settings import Settings

log = logging.getLogger(__name__)

LOOKED_EVERY_S = 1.0


def audit_revocations(
    settings: Settings, authorities: Iterable[str], records: RevocationRecords
) -> Callable[[threading.Event], None]:
    """What a worker does beside its work, until it stops. Unlike the listeners' own look at the lists, which counts at
    once, it may wait for Postgres."""
    names = tuple(authorities)

    def run(stopping: threading.Event) -> None:
        folder = settings.credentials.revocations
        assert folder is not None
        lists: dict[str, Revocations] = {}
        while not stopping.wait(LOOKED_EVERY_S):
            try:
                for name in names:
                    one = lists.get(name) or lists.setdefault(name, Revocations(folder, settings.authority(name)))
                    one.refresh()
                    for held in one.lists.values():
                        records.record(name, held.serial_numbers)
            except (Unavailable, RevocationError) as error:  # the health check says so
                log.debug("revocations are not audited yet: %s", error)
            except Exception:
                log.exception("revocations were not audited; it is tried again")  # a worker does not end for that

    return run
