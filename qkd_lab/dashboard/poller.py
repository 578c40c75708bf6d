"""One thread asks all operator listeners once a second, whoever watches, and publishes what there is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.picture import (
    connection_pictures,
    disclosed_share,
    link_picture,
    round_row,
    site_picture,
)
from qkd_lab.dashboard.series import Newest, Rate, Series
from qkd_lab.dashboard.words import event_in_words, round_in_words
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import OperatorCalls

log = logging.getLogger(__name__)

EVERY_S = 1.0
HEALTH_EVERY = 3  # polls
TIMEOUT_S = 3.0
KEPT_EVENTS, KEPT_ROUNDS = 300, 40
AT_ONCE = 500  # events of one KME in one poll

Json = dict[str, Any]


class Poller:
    """`traffic_is_on`: whether the demo SAEs send messages all the time; `clock` gives Unix seconds."""

    def __init__(
        self,
        network: OperatorCalls,
        hub: Hub,
        traffic_is_on: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._network = network
        self._topology = network.topology
        self._hub = hub
        self._traffic_is_on = traffic_is_on
        self._clock = clock
        self._health: dict[str, str] = {}
        self.statuses: dict[str, Json] = {}  # what each KME last said of itself
        self._last_event: dict[str, int | None] = {}
        self._events, self._rounds = Newest(KEPT_EVENTS), Newest(KEPT_ROUNDS)
        self._links, self._connections = Series(), Series()
        self._rates: dict[tuple[str, str], Rate] = {}
        self._polls = 0
        self._own: list[Json] = []
        self._own_lock = threading.Lock()

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`; then every browser is let go."""
        with ThreadPoolExecutor(4, "ask") as threads:
            while not stopping.is_set():
                started = time.monotonic()
                try:
                    self.poll(threads.map)
                except Exception as error:
                    log.error("a poll ended in %s: %s", type(error).__name__, error)
                stopping.wait(max(0.05, EVERY_S - (time.monotonic() - started)))
        self._hub.close()

    def tell(self, text: str, *, link: str | None = None, connection: str | None = None) -> None:
        """What an operator has done here, for the feed."""
        with self._own_lock:
            now = self._clock()
            at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
            own = {"id": f"own-{now}", "at": at, "kme": None, "kind": "operator", "text": text}
            self._own.append(own | {"link": link, "connection": connection})

    def poll(self, map_: Callable[..., Iterable[Any]] = map) -> None:
        """Asks everybody once, and publishes."""
        now = self._clock()
        processes = self._network.processes
        if self._polls % HEALTH_EVERY == 0:
            names = [process.name for process in processes if process.kind != "dashboard"]
            self._health = dict(zip(names, map_(self._network.health, names), strict=True))
        self._polls += 1
        kmes = [process.name for process in processes if process.kind == "kme"]
        qkdes = [process.name for process in processes if process.kind == "qkde"]
        qlinks = [process.name for process in processes if process.kind == "qlink"]
        calls = [(name, "/v1/status") for name in kmes]
        calls += [(name, self._events_path(name)) for name in kmes]
        calls += [(name, f"/v1/reports?count={KEPT_ROUNDS if self._polls == 1 else 6}") for name in qkdes]
        calls += [(name, "/v1/links") for name in qkdes]
        calls += [(name, "/v1/physics") for name in qlinks]
        calls += [(name, f"/v1/rounds?count={KEPT_ROUNDS if self._polls == 1 else 6}") for name in qlinks]
        answers = dict(zip(calls, map_(self._ask, calls), strict=True))

        def of(names: list[str], path: str, otherwise: Any) -> dict[str, Any]:
            found = {name: one for (name, asked), one in answers.items() if name in names and asked.startswith(path)}
            return {name: otherwise if one is None else one for name, one in found.items()}

        statuses = {name: one for name, one in of(kmes, "/v1/status", None).items() if one}
        self.statuses = statuses or self.statuses
        rounds = self._new_rounds(of(qkdes, "/v1/reports", []), of(qlinks, "/v1/rounds", []), now)
        state = self._state(now, of(qlinks, "/v1/physics", {}), of(qkdes, "/v1/links", []))
        events = self._new_events(of(kmes, "/v1/events", None), rounds, state["connections"], now)
        samples = self._samples(now, state, rounds)
        self._links.add(samples["links"])
        self._connections.add(samples["connections"])
        tick = {"state": state, "samples": samples, "rounds": rounds, "events": events}
        self._hub.publish(tick, {"state": state, "series": self._series(), "rounds": self._rounds.all(),
                                 "events": self._events.all()})  # fmt: skip

    def _series(self) -> Json:
        return {"links": self._links.all(), "connections": self._connections.all()}

    def _ask(self, call: tuple[str, str]) -> Any:
        """None where there is no answer: what is wrong shows in the process's health."""
        process, path = call
        try:
            return self._network.call(process, "GET", path, timeout_s=TIMEOUT_S)
        except LabError as error:
            log.debug("%s %s: %s", process, path, error)
            return None

    def _events_path(self, kme: str) -> str:
        after = self._last_event.get(kme)
        return "/v1/events?count=100" if after is None else f"/v1/events?after={after}&count={AT_ONCE}"

    def _new_rounds(self, reports: dict[str, list[Json]], records: dict[str, list[Json]], now: float) -> list[Json]:
        known = {record["round_id"]: record for of_link in records.values() for record in of_link}
        placed = []
        for end in reports.values():
            place = ""
            for report in end:  # oldest first; one that the link has forgotten keeps its place among the others
                row = round_row(report, known.get(report["block_id"]))
                place = row["began_at"] or place
                placed.append((place, row))
        placed.sort(key=lambda one: one[0])
        new = self._rounds.add(row for _, row in placed)  # both ends report each round
        if self._polls > 1:
            for row in new:
                self._rate(row["link"], "sifted").add(now, row["sifted_bits"] or 0)
                self._rate(row["link"], "secret").add(now, row["secret_bits"] or 0)
        return new

    def _new_events(
        self, answers: dict[str, list[Json] | None], rounds: list[Json], connections: list[Json], now: float
    ) -> list[Json]:
        pairs = {one["id"]: (one["master"], one["slave"]) for one in connections}
        told = []
        for kme, events in answers.items():
            if events is None:
                continue
            for event in events:
                told.append(event_in_words(kme, event, pairs))
                detail = event["detail"]
                if self._last_event.get(kme) is not None and detail.get("role") == "master":
                    self._rate(detail.get("connection_id"), "keys").add(now, detail.get("key_count", 0))
            if events:
                self._last_event[kme] = events[-1]["id"]
            else:
                self._last_event.setdefault(kme, 0)
        at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds")
        for row in rounds:
            told.append(
                {
                    "id": f"round-{row['id']}",
                    "at": row["began_at"] if self._polls == 1 else at,
                    "kme": None,
                    "kind": "round",
                    "text": round_in_words(row),
                    "connection": None,
                    "link": row["link"],
                }
            )
        with self._own_lock:
            told += self._own
            self._own = []
        told.sort(key=lambda one: one["at"] or "")
        return self._events.add(told)

    def _state(self, now: float, physics: dict[str, Json], stopped: dict[str, list[Json]]) -> Json:
        topology = self._topology
        halted = {one["link"] for links in stopped.values() for one in links if one["stopped"]}
        newest = {row["link"]: row for row in self._rounds.all()}
        homes = {sae: status["site"] for status in self.statuses.values() for sae in status.get("saes", [])}
        return {
            "at": now,
            "network": topology.name,
            "traffic": self._traffic_is_on(),
            "sites": [
                site_picture(site, topology, self._health, self.statuses.get(site.kme_id, {}))
                for site in topology.sites
            ],
            "links": [
                link_picture(
                    link,
                    topology,
                    self._health,
                    physics.get(link.qlink_id, {}),
                    link.name in halted,
                    newest.get(link.name),
                    self.statuses,
                )
                for link in topology.links
            ],
            "connections": connection_pictures(self.statuses, topology, homes),
            "processes": [{"name": name, "health": health} for name, health in self._health.items()],
        }

    def _samples(self, now: float, state: Json, rounds: list[Json]) -> Json:
        """Of a link: time, QBER and disclosed share of a round that is new, sifted and secret bits/s, whether Eve is
        there. Of a connection: time, level, deliveries/s."""
        newest = {row["link"]: row for row in rounds}
        links = {}
        for link in state["links"]:
            name, row = link["name"], newest.get(link["name"])
            links[name] = [
                round(now, 1),
                row["qber"] if row else None,
                disclosed_share(row) if row else None,
                self._rate(name, "sifted").per_s(now),
                self._rate(name, "secret").per_s(now),
                int(link["eve"] != "none"),
            ]
        connections = {}
        for one in state["connections"]:
            one["rate"] = self._rate(one["id"], "keys").per_s(now)
            connections[one["id"]] = [round(now, 1), one["level"], one["rate"]]
        return {"links": links, "connections": connections}

    def _rate(self, name: str, what: str) -> Rate:
        return self._rates.setdefault((name, what), Rate())
