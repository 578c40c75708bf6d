"""Eve's attacks on a link as text. Another attack is one more file with a class like these, named in ATTACKS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qkde.link.eve_intercept_resend import InterceptResend
from qkde.link.eve_photon_splitting import BeamSplitting, PhotonNumberSplitting
from qkde.link.tap import Attack, ImpossibleAttack, Knowledge, Tap, nothing


@dataclass(frozen=True)
class NoEve:
    """Nobody on the line."""

    name: ClassVar[str] = "none"
    usage: ClassVar[str] = "none"

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        return nothing()

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> NoEve:
        if arguments:
            raise TypeError("no arguments expected")
        return cls()

    def __str__(self) -> str:
        return self.name


ATTACKS = {attack.name: attack for attack in (NoEve, InterceptResend, PhotonNumberSplitting, BeamSplitting)}
USAGE = " or ".join(attack.usage for attack in ATTACKS.values()) + "; FRACTION from 0 to 1"


def attack_from_text(text: str) -> Attack:
    """An attack by its text, `NAME[:ARGUMENT...]`. Raises ValueError, saying what is expected, for anything else."""
    name, *arguments = text.split(":")
    try:
        return ATTACKS[name].from_arguments(arguments)
    except ImpossibleAttack:
        raise
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"{text!r} is not an attack: expected {USAGE}") from None
