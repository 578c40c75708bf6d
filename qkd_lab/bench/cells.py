"""What is measured: a method, keys at a time, kind of connections, clients at once; and what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, product
from math import ceil

# The lightest generator of each: `ab` makes the same request again and again, of `dec_keys` each names other keys.
GENERATORS = {"enc_keys": "ab", "dec_keys": "curl"}
METHODS = tuple(GENERATORS)
CONNECTIONS = ("keep-alive", "new")
MOST_CLIENTS = 300  # as many as curl has at once
MOST_KEYS_AT_A_TIME = 128
LEAST_STORED, MOST_STORED = 1000, 1_000_000  # keys in the store, for measurements of how much they matter
# Of several keys, a tenth of the requests: they would empty the pools faster than these can be filled.
FEWER_OF_SEVERAL_KEYS = 10
ROUNDING = 1e-9  # of sums of weights, so that a rank that is met exactly is met


@dataclass(frozen=True)
class Cell:
    method: str
    number: int
    connections: str
    clients: int
    request_count: int
    is_by_curl: bool = False  # whichever its method

    @property
    def generator(self) -> str:
        return "curl" if self.is_by_curl else GENERATORS[self.method]

    @property
    def key_count(self) -> int:
        return self.number * self.request_count

    @property
    def keep_alive(self) -> bool:
        return self.connections == "keep-alive"

    def __str__(self) -> str:
        by_curl = " by curl" if self.is_by_curl else ""
        return f"{self.method}{by_curl}, number {self.number}, {self.connections}, {self.clients} at once"


def matrix(
    methods: Sequence[str], numbers: Sequence[int], connections: Sequence[str], clients: Sequence[int], requests: int
) -> list[Cell]:
    """Every combination. `requests`: those of a cell whose requests are for one key; each client has one at least."""

    def count(number: int, at_once: int) -> int:
        return max(at_once, requests if number == 1 else ceil(requests / FEWER_OF_SEVERAL_KEYS))

    return [
        Cell(method, number, kind, at_once, count(number, at_once))
        for method, number, kind, at_once in product(methods, numbers, connections, clients)
    ]


@dataclass(frozen=True)
class Load:
    """What a load generator saw. `answered_count`: requests with a status of 2xx; the rate is theirs, since a refusal
    takes less time. `errors`: how many, by kind. `weights`: for how many requests each of `latencies_ms` stands; where
    there are none, for equally many."""

    request_count: int
    answered_count: int
    elapsed_s: float
    latencies_ms: tuple[float, ...]
    errors: Mapping[str, int]
    generator_cpu_s: float
    weights: tuple[float, ...] = ()

    @property
    def per_s(self) -> float:
        return self.answered_count / self.elapsed_s

    @property
    def error_count(self) -> int:
        return sum(self.errors.values())

    def percentile_ms(self, percent: float) -> float | None:
        """The nearest rank; None where nothing was answered."""
        weights = self.weights or (1.0,) * len(self.latencies_ms)
        ordered = sorted(zip(self.latencies_ms, weights, strict=True))
        wanted = percent / 100 * sum(weights) * (1 - ROUNDING)
        reached = accumulate(weight for _, weight in ordered)
        return next((one for (one, _), so_far in zip(ordered, reached, strict=True) if so_far >= wanted), None)


def together(loads: Sequence[Load]) -> Load:
    """Parts of one cell. `ab` gives as many latencies for few requests as for many, so they are weighted."""
    errors: dict[str, int] = {}
    for load in loads:
        for kind, count in load.errors.items():
            errors[kind] = errors.get(kind, 0) + count
    return Load(
        sum(load.request_count for load in loads),
        sum(load.answered_count for load in loads),
        sum(load.elapsed_s for load in loads),
        tuple(latency for load in loads for latency in load.latencies_ms),
        errors,
        sum(load.generator_cpu_s for load in loads),
        tuple(load.answered_count / len(load.latencies_ms) for load in loads for _ in load.latencies_ms),
    )
