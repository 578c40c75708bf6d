"""The circuits of some pulses as one OpenQASM 3 program, to look at or to run elsewhere. A drawing, not a transport."""

from __future__ import annotations

import math

import numpy as np

from qkde.link.eve_intercept_resend import NAMED_BASES, InterceptResend
from qkde.link.noise import noise_as_text
from qkde.link.physics import LinkPhysics

ANGLES_DEGREES = (0.0, 45.0)
MAX_PULSES = 10_000


def program(
    bits: np.ndarray, bases: np.ndarray, measured_bases: np.ndarray, physics: LinkPhysics, nature: np.random.Generator
) -> str:
    """One qubit a pulse; arrays of shape (n,), 0 and 1. Noise and loss have no gate and are comments."""
    n = bits.size
    lines = [
        "OPENQASM 3.0;",
        'include "stdgates.inc";',
        f"// {n} pulses of BB84, drawn for this text alone: no key was or will be made of them",
        f"// a photon clicks with probability {physics.transmittance:.6g}, no photon with "
        f"{physics.dark_count_probability:g}",
        f"// eve: {physics.eve}",
        f"qubit[{n}] q;",
        f"bit[{n}] eve;",
        f"bit[{n}] bob;",
    ]
    attacked, eve_angles = _eve(physics, n, nature)
    for i in range(n):
        lines.append(f"// pulse {i}: bit {bits[i]} in {'ZX'[bases[i]]}, measured in {'ZX'[measured_bases[i]]}")
        if bits[i]:
            lines.append(f"x q[{i}];")
        lines += _turn(i, ANGLES_DEGREES[bases[i]])
        if attacked[i]:
            lines += [*_turn(i, -eve_angles[i]), f"eve[{i}] = measure q[{i}];", *_turn(i, eve_angles[i])]
        if physics.disturbance.noise:
            lines.append(f"// noise on q[{i}]: {noise_as_text(physics.disturbance.noise)}")
        lines += _turn(i, physics.disturbance.turn_degrees)
        lines += _turn(i, -ANGLES_DEGREES[measured_bases[i]])
        lines.append(f"bob[{i}] = measure q[{i}];")
    return "\n".join(lines) + "\n"


def _turn(qubit: int, angle_degrees: float) -> list[str]:
    return [f"ry({2 * math.radians(angle_degrees):.12g}) q[{qubit}];"] if angle_degrees else []


def _eve(physics: LinkPhysics, n: int, nature: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """Which pulses she measures, and at which angles; attacks on photon numbers have no gate."""
    eve = physics.eve
    if not isinstance(eve, InterceptResend):
        return np.zeros(n, bool), [0.0] * n
    attacked = nature.random(n) < eve.fraction
    if eve.own_angle_degrees is not None:
        return attacked, [eve.own_angle_degrees] * n
    bases = nature.integers(0, 2, n) if eve.basis == "random" else [NAMED_BASES[eve.basis]] * n
    return attacked, [ANGLES_DEGREES[basis] for basis in bases]
