"""A lab that runs: its processes and what they need of others, clocks, versions, pools, links, witnesses, accounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from qkd_lab import __version__
from qkd_lab.doctor.finding import Finding
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator

CLOCKS_WITHIN_S = 2.0
STORES = {"Postgres": "postgres", "Redis": "redis"}


@dataclass(frozen=True)
class Answer:
    """What a process said of itself; `ahead_s`: how far its clock is before this host's, None where it did not say;
    `unsure_s`: how exactly that is known."""

    readiness: Mapping[str, Any]
    ahead_s: float | None = None
    unsure_s: float = 0.0

    @property
    def answered(self) -> bool:
        return "process" in self.readiness


def ask(operator: Operator, clock: Callable[[], float] = time.time) -> dict[str, Answer]:
    """Every process at once, by name."""

    def one(name: str) -> Answer:
        sent = clock()
        said = operator.readiness(name)
        # What it asks of others takes time before it looks at its clock; the way back takes next to none.
        return Answer(said, said["time"] - clock(), clock() - sent) if "time" in said else Answer(said)

    names = [process.name for process in operator.processes]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def processes(operator: Operator, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """Who does not answer, or has trouble of its own; the supervised stores too."""
    for name, child in operator.lab.read_state().get("processes", {}).items():
        if name not in answers:
            hint = f"`qkd-lab logs {name}` shows what it said last; it is started again by itself"
            yield Finding("processes", child["state"] == "ready", f"{name}: {child['state']}", hint)
    for name, answer in answers.items():
        of_others = [text for text in answer.readiness.get("needs", {}).values() if text != "ok"]
        own = [text for text in answer.readiness["why"] if text not in of_others]
        if not answer.answered:
            start = "docker compose up" if operator.lab.in_containers else "qkd-lab up"
            hint = f"`qkd-lab logs {name}` shows what it said last; `{start}` starts what does not run"
        else:
            hint = f"`qkd-lab logs {name}` has more"
        yield Finding("processes", not own, f"{name}: {'; '.join(own) or 'answers'}", hint)


def needs(operator: Operator, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    """What processes need of others: databases, and peers."""
    sites = {process.name: process.site for process in operator.processes}
    for name, answer in answers.items():
        for what, state in answer.readiness.get("needs", {}).items():
            store = f"{STORES[what]}-{sites[name]}" if what in STORES else None
            hint = f"`qkd-lab logs {store or what.split()[-1]}` shows what it said last"
            text = f"{name} → {store or what}: {state}"
            yield Finding("databases" if store else "peers", state == "ok", text, hint)


def clocks(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    known = {name: one for name, one in answers.items() if one.ahead_s is not None}
    off = [
        f"{name} by {one.ahead_s:+.1f} s"
        for name, one in known.items()
        if abs(one.ahead_s or 0.0) > CLOCKS_WITHIN_S + one.unsure_s
    ]
    text = (
        f"clocks are off: {', '.join(off)}" if off else f"the clocks of {len(known)} processes agree with this host's"
    )
    yield Finding("clocks", not off, text, "run NTP on every host: certificates and the log's order depend on the time")


def versions(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    other = [
        f"{name} runs {one.readiness['version']}"
        for name, one in answers.items()
        if one.readiness.get("version", __version__) != __version__
    ]
    text = f"this is {__version__}, but {', '.join(other)}" if other else f"all processes run {__version__}"
    yield Finding("versions", not other, text, "restart the lab, so that all of it is of one version")


def keys(operator: Operator) -> Iterator[Finding]:
    """Pools, links and accounts, as the KMEs tell."""
    for process in operator.processes:
        if process.kind == "kme":
            try:
                status = operator.call(process.name, "GET", "/v1/status")
            except LabError:
                continue  # which `processes` or `needs` have said
            yield from _pools(status)
            yield from _links(status)
            yield from _witness(status)
            text = f"{process.name}: every secret bit is accounted for"
            if not status["account"]["balanced"]:
                text = f"{process.name}: the account of secret bits does not add up"
            hint = "look again in a moment; if it stays so, stop using the site's keys and report it"
            yield Finding("account", status["account"]["balanced"], text, hint)


def _witness(status: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether what is stored at a site may be used: until it is known, nobody gets a key there."""
    witness = status["witness"]
    troubles = [witness["state"]] if witness["state"] != "well" else []
    troubles += [f"{peer}: {state}" for peer, state in witness["peers"].items() if state != "confirmed"]
    text = f"{status['kme_id']}: {'; '.join(troubles) or 'no store is behind what was seen of it'}"
    hint = "a start takes some seconds; else both KMEs of a link and their schedulers must run"
    yield Finding("witness", not troubles, text, hint)


def _pools(status: Mapping[str, Any]) -> Iterator[Finding]:
    for pool in status["pools"]:
        count, low = pool["stored_key_count"], pool["low_watermark"]
        text = f"{pool['master_sae_id']} → {pool['slave_sae_id']}: {count} keys of {pool['high_watermark']}"
        if 0 < count < low:
            text += ", being filled"
        hint = "a new lab needs some seconds; else the link gives none: `qkd-lab status` shows its newest rounds"
        yield Finding("pools", count > 0, text, hint)


def _links(status: Mapping[str, Any]) -> Iterator[Finding]:
    for link in status["links"]:
        name, reports = link["link"], link["last_reports"]
        if reports and reports[0]["outcome"] != "key":
            text = f"{name}: the last round that {status['kme_id']} ordered gave no key: {reports[0]['abort_reason']}"
            yield Finding("links", False, text, f"`qkd-lab link show {name}` shows its noise, and whether Eve is on it")
        elif reports:
            yield Finding("links", True, f"{name}: the last round that {status['kme_id']} ordered gave key")
        pads = next((report["pad_bits_left"] for report in reports if report["pad_bits_left"] is not None), None)
        if pads == 0:
            hint = f"`qkd-lab link rekey {name}` gives both ends new ones"
            yield Finding("links", False, f"{name}: no pads are left to authenticate rounds with", hint)
