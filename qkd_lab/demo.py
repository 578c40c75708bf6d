"""The demonstration: a message under QKD keys, then Eve on the link, then keys again. It uses the doors a user has."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from mutual_tls.client import Peer, PeerError, Refused
from mutual_tls.contexts import Credentials
from mutual_tls.identity import Identity
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Connection, Topology

MESSAGES = (("aes-256-gcm", "Meet me at noon."), ("one-time-pad", "Bring the key."))
POLL_S = 0.2
JUST_BEFORE_S = 30.0

# `wait(what, condition, within_s)` shows progress until `condition()` gives something, and returns that.
Wait = Callable[[str, Callable[[], Any], float], Any]
Say = Callable[[str], None]


def kme_for_the_master(operator: Operator) -> Peer:
    """The master's KME as its SAE sees it: an ETSI GS QKD 014 client like any other."""
    connection = first_connection(operator.topology)
    kme_id = operator.topology.site_of_sae(connection.master).kme_id
    credentials = Credentials.in_folder(operator.lab.identity(connection.master))
    return Peer(operator.endpoints[kme_id].removeprefix("https://"), Identity("kme", kme_id), credentials)


def first_connection(topology: Topology) -> Connection:
    if not topology.demo_saes:
        raise LabError("the topology has demo_saes = false: the demo needs the SAEs' processes")
    if not topology.connections:
        raise LabError("the topology has no connection: the demo needs one")
    return topology.connections[0]


@dataclass
class Demo:
    """One run on a running lab; `kme` is the master's, `figures` are the lines to print last."""

    operator: Operator
    kme: Peer
    say: Say
    wait: Wait
    keys_within_s: float = 120.0
    figures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        topology = self.operator.topology
        self.connection = first_connection(topology)
        sites = [topology.site_of_sae(sae) for sae in (self.connection.master, self.connection.slave)]
        self.kmes = [site.kme_id for site in sites]
        self._qkde = sites[0].qkde_id
        self.link = next(link.name for link in topology.links if link.joins(sites[0].name, sites[1].name))

    def exchange(self) -> None:
        """Waits for keys, then sends a message in each mode."""
        master, slave = self.connection.master, self.connection.slave
        what = f"waiting for keys that {self.kmes[0]} can deliver to {master}"
        self.wait(what, self.stored_key_count, self.keys_within_s)
        self.say(f"{self.kmes[0]} has keys of {self.connection.key_size_bits} bits for {master} → {slave}")
        if seconds := self._since_up():
            self.figures.append(f"from `qkd-lab up` to the first deliverable key: at most {seconds:.1f} s")
        for mode, text in MESSAGES:
            sent = self.operator.call(master, "POST", "/v1/messages", {"to": slave, "text": text, "mode": mode}, 30)
            ids = sent["key_IDs"]
            self.say(f"{master} took {len(ids)} key(s) from {self.kmes[0]} for mode {mode}: key_ID {ids[0]}")
            self.say(f"{master} sent {slave} the ciphertext {sent['ciphertext']} with the key_ID")
            got = self.operator.call(slave, "GET", "/v1/inbox")[-1]
            if got["text"] != text or got["key_IDs"] != ids:
                raise LabError(f"{slave} did not get what {master} sent: see .lab/log/{slave}.log")
            self.say(f"{slave} fetched the same key(s) from {self.kmes[1]} and read: {got['text']}")

    def eve(self) -> None:
        """Eve on all pulses: keys stop. Without her they flow again."""
        before = self._physics()["eve"]
        known = {report["block_id"] for report in self._reports()}
        self._set_eve("intercept-resend:1")
        self.say(f"Eve measures every pulse on the link {self.link} and sends on what she found")
        try:
            aborted = self.wait(
                "taking keys until a new round is needed",
                lambda: self._next_round(known, "aborted"),
                self.keys_within_s,
            )
            self.say(f"the round was aborted and gave no key: {aborted['abort_reason']}")
            self._say_round(aborted, "with Eve")
            self.wait("taking the keys made before Eve came", lambda: not self._take_keys(), self.keys_within_s)
            self.say(f"{self.kmes[0]} has no key left for {self.connection.master}: nobody gets key while Eve listens")
        finally:
            self._set_eve(before)
        self.say("Eve has gone")
        started = time.monotonic()
        known = {report["block_id"] for report in self._reports()}
        self.wait("waiting for keys to flow again", self.stored_key_count, self.keys_within_s)
        self.say(f"keys flow again, {time.monotonic() - started:.1f} s after Eve left")
        self._say_round(
            self.wait("waiting for the round's report", lambda: self._round(known, "key"), 30), "without Eve"
        )

    def tell_speeds(self) -> None:
        """Aer's speed by itself; then, of the link's latest round with a key, that of the whole and of Cascade."""
        if speed := self._physics().get("pulses_per_second"):
            self.figures.append(f"quantum link: {speed / 1e6:.2f} million pulses/s, Aer alone")
        report = self._round(set(), "key")
        if report is None:
            return
        speed = report["pulses"] / report["elapsed_s"]
        self.figures.append(f"whole round: {speed / 1e6:.2f} million pulses/s, all processes and the network included")
        speed = (report["sifted_bits"] - report["sample_bits"]) / report["stages"]["reconciliation"]
        self.figures.append(f"Cascade in that round: {speed / 1e6:.2f} Mbit/s, through the classical channel")

    def stored_key_count(self) -> int:
        """What the master could take now (ETSI GS QKD 014, Get status); 0 while the KME can't say."""
        try:
            return self.kme.request("GET", f"{self._path()}/status").json["stored_key_count"]
        except PeerError:
            return 0

    def _take_keys(self) -> bool:
        """Takes as many keys as one request may have, and forgets them; False when there are none left."""
        count = min(self.stored_key_count(), self.connection.max_keys_per_request)
        if not count:
            return False
        try:
            self.kme.request("POST", f"{self._path()}/enc_keys", json={"number": count})
        except Refused as refusal:
            if refusal.status != 503:
                raise LabError(str(refusal)) from None
        except PeerError as error:
            raise LabError(str(error)) from None
        return True

    def _next_round(self, known: set[str], outcome: str) -> dict[str, Any] | None:
        """As `_round`, but takes keys before: a full pool needs no round."""
        self._take_keys()
        return self._round(known, outcome)

    def _round(self, known: set[str], outcome: str) -> dict[str, Any] | None:
        reports = [report for report in self._reports() if report["link"] == self.link]
        found = [r for r in reports if r["block_id"] not in known and r["outcome"] == outcome]
        return found[-1] if found else None

    def _say_round(self, report: dict[str, Any], when: str) -> None:
        qber = report.get("qber")
        shown = "undefined: nothing was sifted" if qber is None else f"{qber:.2%}"
        self.say(f"the latest round {when}: QBER {shown}, {report.get('secret_bits', 0):,} secret bits")
        self.figures.append(f"QBER {when}: {shown}")

    def _reports(self) -> list[dict[str, Any]]:
        """The latest rounds of the links that end at the master's site, oldest first."""
        return self.operator.call(self._qkde, "GET", "/v1/reports")

    def _physics(self) -> dict[str, Any]:
        return self.operator.call(f"qlink-{self.link}", "GET", "/v1/physics")

    def _set_eve(self, eve: str) -> None:
        self.operator.call(f"qlink-{self.link}", "PATCH", "/v1/physics", {"eve": eve})

    def _path(self) -> str:
        return f"/api/v1/keys/{quote(self.connection.slave, safe='')}"

    def _since_up(self) -> float | None:
        """Seconds since `qkd-lab up`, where that was just before; later they would say nothing about the first key."""
        seconds = time.time() - self.operator.lab.read_state().get("started_at", 0)
        return seconds if seconds < JUST_BEFORE_S else None
