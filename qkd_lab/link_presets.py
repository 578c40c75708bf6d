"""Named physics of a link, for `qkd-lab link set --preset`. A preset is all of it: what it does not name is as on a
plain link, and nobody listens.

Values with a source come from a parameter set (`qkde.parameter_sets`), whose file cites it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qkd_lab.lab_folder import LabError
from qkd_lab.topology import Physics
from qkde import parameter_sets


@dataclass(frozen=True)
class Preset:
    """`parameter_set`: where channel and detectors come from, None for a plain link; `changes` go before it."""

    description: str
    changes: dict[str, Any]
    parameter_set: str | None = None

    def physics(self) -> dict[str, Any]:
        """Every member of a link's physics."""
        plain = asdict(Physics())
        values = parameter_sets.load(self.parameter_set).values() if self.parameter_set else {}
        return plain | {name: values[name] for name in plain if name in values} | self.changes


BENCH = {"loss_db": 1.0, "depolarizing": 0.02}
PRESETS = {
    "ideal": Preset("nothing is lost, nothing goes wrong: QBER 0", {}, "ideal"),
    "quiet-lab": Preset("the shipped lab's link: 1 dB, QBER 1 %", BENCH),
    "metro": Preset("the set lab over 25 km: 8 dB with the detectors, QBER 1 %", {"distance_km": 25.0}, "lab"),
    "gys": Preset("Gobby, Yuan, Shields over 50 km: 24 dB, QBER 3.3 %; wants 10^9 pulses and more", {}, "gys"),
    "noisy": Preset("the shipped lab's link with too much noise: QBER 15 %, no key", BENCH | {"depolarizing": 0.3}),
    "intercepted": Preset(
        "the shipped lab's link with Eve on every pulse: QBER 26 %, no key", BENCH | {"eve": "intercept-resend:1"}
    ),
}


def preset(name: str) -> Preset:
    """Raises LabError: there is none of that name."""
    if name not in PRESETS:
        raise LabError(f"--preset is {name!r}: expected one of {', '.join(PRESETS)}; nothing was changed")
    return PRESETS[name]
