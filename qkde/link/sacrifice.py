"""A frame to look at: made by the link itself, for nobody's key.

Whoever sees bits, bases and clicks of a frame knows its key. So none of Alice's and Bob's frames is ever shown; the
link draws bits and bases of its own, as both ends would, sends them through the same physics, and shows what became of
them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from qkde.bb84.randomness import KEY_BASIS, TEST_BASIS
from qkde.link.channel import transmit
from qkde.link.physics import LinkPhysics
from qkde.link.source import poisson
from qkde.link.tap import Bits

SHOWN_PULSES = 64
BASES = "ZX"


class ImpossibleFrame(ValueError):
    """A setting no frame can have; the message names it and its range."""


def sacrificed_frame(
    physics: LinkPhysics,
    nature: np.random.Generator,
    key_basis_probability: float = 0.5,
    mean_photon_number: float | None = None,
) -> dict[str, Any]:
    """`SHOWN_PULSES` pulses, a character each: bits, bases, what clicked, Bob's outcomes, what is sifted, and of Eve
    where she measured. `mean_photon_number`: of weak coherent pulses; None: single photons.

    Raises ImpossibleFrame and qkde.link.aer.SimulationFailed.
    """
    _check("key_basis_probability", key_basis_probability, 1)
    numbers = None
    if mean_photon_number is not None:
        _check("mean_photon_number", mean_photon_number, 10)
        numbers = poisson((mean_photon_number,), np.zeros(SHOWN_PULSES, np.uint8), nature)
    bits = nature.integers(0, 2, SHOWN_PULSES, dtype=np.uint8)
    alice, bob = (
        np.where(nature.random(SHOWN_PULSES) < key_basis_probability, KEY_BASIS, TEST_BASIS).astype(np.uint8)
        for _ in range(2)
    )
    sent = transmit(bits, alice, bob, physics, nature, numbers)
    eve_bases, eve_results = np.full(SHOWN_PULSES, "·"), np.full(SHOWN_PULSES, "·")
    for knowledge in sent.knowledge:
        names = np.array([*BASES, "B"])  # B: a basis of her own
        eve_bases[knowledge.measured] = names[knowledge.bases]
        eve_results[knowledge.measured] = knowledge.results.astype(str)
    clicked = sent.clicks == 1
    return {
        "pulses": SHOWN_PULSES,
        "physics": physics.settings(),
        "key_basis": BASES[KEY_BASIS],
        "bits": _digits(bits),
        "alice_bases": _bases(alice),
        "eve_bases": "".join(eve_bases),
        "eve_results": "".join(eve_results),
        "bob_bases": _bases(bob),
        "clicks": _digits(sent.clicks),
        "outcomes": "".join(np.where(clicked, sent.outcomes.astype(str), "·")),
        "sifted": _digits((clicked & (alice == bob)).astype(np.uint8)),
    }


def _check(name: str, value: Any, most: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ImpossibleFrame(f"{name} is {value!r}: expected a number from 0 to {most}")


def _digits(values: Bits) -> str:
    return "".join(values.astype(str))


def _bases(values: Bits) -> str:
    return "".join(BASES[value] for value in values)
