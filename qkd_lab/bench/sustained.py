"""From pulses to SAEs: how many keys a second both ends get while nothing but BB84 feeds their pool."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from qkd_lab.bench.lost_calls import in_words
from qkd_lab.bench.pool import KEY_SIZE_BITS, Pool
from qkd_lab.bench.processors import Busy, Processors
from qkd_lab.bench.sustained_clients import Clients, Seen
from qkd_lab.bench.whole_rounds import Report, Rounds, stages_within
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link

TARGET_PER_S = 500
CAPACITY = 20_000  # more than comes in a round: the pool is always to be filled
ROUNDS_ASKED_EVERY_S = 1.0
# Where the end of a round is a boundary of the measurement.
END_ASKED_EVERY_S = 0.1
FIRST_KEYS_WITHIN_S = 120.0
ROUND_WITHIN_S = 120.0


@dataclass(frozen=True)
class Flow:
    """From the end of one round to the end of another, `elapsed_s` later. `stages_s`: of the rounds between, as Bob's
    end saw them, one after the other; `delivery_s`: how long clients waited for answers with keys, beside the rounds;
    `processors_s`: by process, None where a part of it was replaced meanwhile; empty where they are not on this
    machine; `lost_calls`: that brought no keys, by kind, but for those that came before there were enough keys."""

    key_count: int
    elapsed_s: float
    round_count: int
    secret_bits: int
    stages_s: dict[str, float]
    delivery_s: dict[str, float]
    processors_s: dict[str, float | None]
    lost_calls: dict[str, int] = field(default_factory=dict)

    @property
    def per_s(self) -> float:
        return self.key_count / self.elapsed_s

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"keys_per_s": round(self.per_s, 1), "key_size_bits": KEY_SIZE_BITS}

    def in_words(self) -> str:
        between_s = max(0.0, self.elapsed_s - sum(self.stages_s.values()))
        lines = [
            f"{self.per_s:,.0f} keys/s of {KEY_SIZE_BITS} bits at both SAEs over {self.elapsed_s:.1f} s "
            f"({self.key_count:,} keys, target {TARGET_PER_S}/s), from {self.round_count} rounds with "
            f"{self.secret_bits / self.elapsed_s:,.0f} secret bits/s",
            f"calls without keys: {in_words(self.lost_calls)}",
            "time of the rounds:",
            *self._shares({**self.stages_s, "between rounds": between_s}),
            "beside them, clients waited for keys:",
            *self._shares(self.delivery_s),
        ]
        if self.processors_s:
            lines += ["processors at work (100 % is one of them):", *self._shares(self.processors_s)]
        return "\n".join(lines)

    def _shares(self, seconds: Mapping[str, float | None]) -> list[str]:
        return [
            f"  {name:<18}" + ("not known: replaced meanwhile" if one is None else f"{one / self.elapsed_s:7.1%}")
            for name, one in seconds.items()
        ]


def sustained(operator: Operator, link: Link, seconds: float, say: Callable[[str], None]) -> Flow:
    """Of `seconds` or longer, up to the end of a round. Raises LabError."""
    if not link.is_quantum:
        raise LabError(f"--sustained: link {link.name} is fed with key files: expected a quantum link, see --link")
    processors = Processors(operator.lab)
    with Pool(operator, link, CAPACITY, say) as pool, Clients(pool) as clients:
        say("waiting for the first keys")
        pool.open()
        clients.wait_for_keys(FIRST_KEYS_WITHIN_S)
        say("waiting for a round to end")
        rounds = Rounds(operator, link)
        _wait_for_a_round(rounds, clients)
        begun = clients.seen()
        busy = processors.busy(processors.names)
        say(f"measuring for {seconds:g} s, and to the end of a round")
        return _measure(begun, seconds, rounds, clients, processors, busy)


def _wait_for_a_round(rounds: Rounds, clients: Clients) -> None:
    until = time.monotonic() + ROUND_WITHIN_S
    while not rounds.ended():
        clients.check()
        if time.monotonic() > until:
            raise _no_round()
        time.sleep(END_ASKED_EVERY_S)


def _no_round() -> LabError:
    return LabError(f"no round ended within {ROUND_WITHIN_S:.0f} s: `qkd-lab status` shows the link")


def _measure(
    begun: Seen,
    seconds: float,
    rounds: Rounds,
    clients: Clients,
    processors: Processors,
    busy: dict[str, Busy | None],
) -> Flow:
    """Where no round ends after `seconds`, because the link has stopped, say, it is up to the last that did."""
    reports: list[Report] = []
    unasked = Counter[str]()
    flow: Flow | None = None
    until, left_s = begun.at_s + seconds, float(seconds)
    while left_s > -ROUND_WITHIN_S:
        time.sleep(min(left_s, ROUNDS_ASKED_EVERY_S) if left_s > END_ASKED_EVERY_S else END_ASKED_EVERY_S)
        # A round that has ended since one was asked for a second ago is no boundary: it is not known when.
        is_boundary, left_s = left_s <= 0, until - time.monotonic()
        clients.check()
        try:
            new = rounds.ended()
        except LabError:
            unasked["reports of rounds"] += 1
            continue
        if new:
            reports += new
            seen = clients.seen()
            flow = _flow(begun, seen, reports, processors.spent_s(busy), unasked)
            if is_boundary:
                break
    if flow is None:
        raise _no_round()
    return flow


def _flow(
    begun: Seen, seen: Seen, reports: list[Report], spent_s: dict[str, float | None], unasked: Counter[str]
) -> Flow:
    elapsed_s = seen.at_s - begun.at_s
    # Only what took a hundredth of a processor or more is worth a line, and what may have.
    known = {name: one for name, one in spent_s.items() if one is not None and one > elapsed_s / 100}
    worth_telling: dict[str, float | None] = dict(sorted(known.items(), key=lambda item: -item[1]))
    return Flow(
        seen.key_count - begun.key_count,
        elapsed_s,
        len(reports),
        sum(report["secret_bits"] or 0 for report in reports),
        stages_within(reports, elapsed_s),
        {method: seen.waited_s[method] - begun.waited_s[method] for method in seen.waited_s},
        worth_telling | {name: None for name, one in spent_s.items() if one is None},
        dict(seen.lost - begun.lost + unasked),
    )
