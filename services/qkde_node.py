"""A QKD Entity: Alice or Bob at each of its site's links."""

from __future__ import annotations

import ctypes
import logging
import time
from collections.abc import Callable
from dataclasses import asdict

from mutual_tls.identity import Identity
from qkd_lab.topology import Link
from qkde.bb84.parameters import RoundParameters
from qkde.bb84.randomness import OsRandomness
from qkde.node.ends import AliceEnd, BobEnd, LinkEnd, RandomnessOfRound
from qkde.node.entity import QkdEntity
from qkde.node.halt import Halt
from qkde.node.handover import Handover
from qkde.node.pads import FilePads
from qkde.node.seeded import SeededRounds
from qkde.node.spool import Spool
from qkde.node.web import classical_app, kme_app, ops_app
from qkde.parameter_sets.rounds import round_parameters

from .listeners import Listener, Server
from .process import run
from .qkde_metrics import CountedReports
from .settings import Settings, SettingsError

log = logging.getLogger(__name__)

REPORTS_KEPT = 50
QKDE_TIMEOUT_S = 10.0
M_ARENA_MAX = -8  # of glibc's malloc.h
QLINK_TIMEOUT_S = 5.0  # less than Bob waits for Alice, who asks the link meanwhile


def _parameters(link: Link) -> RoundParameters:
    try:
        return round_parameters(asdict(link.protocol), link.source.given)
    except ValueError as error:
        raise SettingsError(f"link {link.name}: {error}") from error


def share_freed_memory() -> None:
    """One arena for all threads. By default glibc keeps what a thread has freed for the next in the same arena, and a
    round's large arrays pass through many. Other C libraries have no such setting.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(M_ARENA_MAX, 1)


def make(settings: Settings) -> Server:
    share_freed_memory()
    site = settings.process.removeprefix("qkde-")
    links = settings.topology.quantum_links_of(site)
    if not links:
        raise SettingsError(f"the topology has no quantum link with site {site!r}")
    kme = Identity("kme", f"kme-{site}")
    spool_key = bytes.fromhex(settings.secret("spool-key"))
    spool = Spool(settings.state / "spool", spool_key)
    spool.discard_unfinished()
    own_kme = settings.peer(kme.id, "qkde", kme)
    handover = Handover(spool, own_kme)
    reports = CountedReports(maxlen=REPORTS_KEPT)
    needs: dict[str, Callable[[], object]] = {f"KME {kme.id}": own_kme.check}

    def randomness(link: Link) -> RandomnessOfRound:
        if settings.seed is None:
            return lambda _owner: OsRandomness()
        log.warning("link %s: QKD_SEED is set, so every key of this network can be told beforehand", link.name)
        return SeededRounds(settings.seed, settings.process, link.name)

    def end(link: Link) -> AliceEnd | BobEnd:
        other = link.bob if site == link.alice else link.alice
        pre_shared_key = bytes.fromhex(settings.secret(link.pre_shared_key))
        other_qkde, quantum = Identity("qkde", f"qkde-{other}"), Identity("qlink", link.qlink_id)
        hosted = LinkEnd(
            link=link.name,
            owners=(kme.id, f"kme-{other}"),
            other_qkde=settings.peer(other_qkde.id, "classical", other_qkde, timeout_s=QKDE_TIMEOUT_S),
            quantum=settings.peer(quantum.id, "qkd", quantum, timeout_s=QLINK_TIMEOUT_S),
            parameters=_parameters(link),
            randomness=randomness(link),
            pads=FilePads(settings.state / "pads", spool_key, link.name, pre_shared_key),
            clock=time.monotonic,
            spool=spool,
            handover=handover,
            reports=reports,
            halt=Halt(settings.state / "stopped" / link.name),
        )
        needs[f"QKDE {other_qkde.id}"] = hosted.other_qkde.check
        needs[f"quantum link {link.name}"] = hosted.quantum.check
        return AliceEnd(hosted) if site == link.alice else BobEnd(hosted)

    entity = QkdEntity(settings.process, {link.name: end(link) for link in links}, handover, reports)
    return Server(
        settings.process,
        settings.credentials,
        [
            Listener("kme", settings.bind("kme"), settings.authority("kme"), lambda: kme_app(entity, kme)),
            Listener("classical", settings.bind("classical"), settings.authority("qkd"), lambda: classical_app(entity)),
            Listener("ops", settings.bind("ops"), settings.authority("operator"), lambda: ops_app(entity)),
        ],
        threads=12,
        limits=settings.limits,
        background=entity.run,
        needs=needs,
    )


if __name__ == "__main__":
    run(make)
