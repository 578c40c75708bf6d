"""What is to be computed: one task for each repetition of each point, with a seed of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from qkd_lab.experiments.experiment import Experiment


@dataclass(frozen=True)
class Task:
    """One row of results to be. `seed` depends on the experiment and the place in it alone: neither on the number of
    workers nor on the order in which they come to it.
    """

    series: str
    kind: str
    point: int
    repetition: int
    seed: int
    parameters: Mapping[str, Any]

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.series, self.point, self.repetition


def tasks_of(experiment: Experiment) -> Iterator[Task]:
    """All of them, in the order of the file."""
    for number, series in enumerate(experiment.series):
        for point, parameters in enumerate(series.points):
            for repetition in range(series.repetitions):
                seed = derived_seed(experiment.seed, number, point, repetition)
                yield Task(series.name, series.kind, point, repetition, seed, parameters)


def derived_seed(seed: int, *place: int) -> int:
    """Independent of those of all other places (numpy.random.SeedSequence), from 0 to 2^63 − 1."""
    return int(np.random.SeedSequence(seed, spawn_key=place).generate_state(1, np.uint64)[0] >> np.uint64(1))
