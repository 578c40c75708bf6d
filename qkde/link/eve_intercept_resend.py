"""Intercept–resend: Eve measures a pulse and sends on what she found (Bennett and Brassard 1984)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from qkde.link.tap import ImpossibleAttack, Knowledge, Tap

NAMED_BASES = {"z": 0, "x": 1}


@dataclass(frozen=True)
class InterceptResend:
    """Eve measures each pulse with probability `fraction` (0..1) and sends her result on.

    `basis`: `random`, `z`, `x`, or a polarisation angle in degrees between Z at 0 and X at 45; 22.5 is Breidbart's.
    To a channel without noise it adds fraction/4 in both bases (`random`); 0 in her own and fraction/2 in the other;
    at an angle φ, fraction·sin²(2φ)/2 in Z and fraction·cos²(2φ)/2 in X.
    """

    fraction: float
    basis: str = "random"
    name: ClassVar[str] = "intercept-resend"
    usage: ClassVar[str] = "intercept-resend:FRACTION[:BASIS] (BASIS random, z, x or an angle from 0 to 90 degrees)"

    def __post_init__(self) -> None:
        if not 0 <= self.fraction <= 1:
            raise ImpossibleAttack(f"fraction {self.fraction} of {self.name} is out of range: expected 0 to 1")
        if self.basis != "random" and self.basis not in NAMED_BASES and self.own_angle_degrees is None:
            raise ImpossibleAttack(f"basis {self.basis!r} of {self.name}: expected random, z, x or 0 to 90 degrees")

    @property
    def own_angle_degrees(self) -> float | None:
        """The angle, where the basis is one."""
        try:
            angle = float(self.basis)
        except ValueError:
            return None
        return angle if math.isfinite(angle) and 0 <= angle <= 90 else None

    def on(self, tap: Tap, nature: np.random.Generator) -> Knowledge:
        lit = tap.photon_numbers > 0
        where = np.flatnonzero((nature.random(lit.size) < self.fraction) & lit)
        if self.basis == "random":
            bases = nature.integers(0, 2, where.size, dtype=np.uint8)
        else:
            bases = np.full(where.size, NAMED_BASES.get(self.basis, 2), np.uint8)
        return Knowledge(where, bases, tap.measure(where, bases), own_angle_degrees=self.own_angle_degrees)

    @classmethod
    def from_arguments(cls, arguments: list[str]) -> InterceptResend:
        fraction, *basis = arguments
        return cls(float(fraction), *basis)

    def __str__(self) -> str:
        basis = "" if self.basis == "random" else f":{self.basis}"
        return f"{self.name}:{repr(float(self.fraction)).removesuffix('.0')}{basis}"
