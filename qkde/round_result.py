"""What came of a simulated round: an object for a notebook, a JSON report for a file, a row for a table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from qkde.bb84.report import RoundReport
from qkde.ground_truth import GroundTruth
from qkde.link.noise import noise_as_text
from qkde.link.physics import LinkPhysics
from qkde.link.source import Source

FLATTENED = ("parameters", "ground_truth", "stages")
LEFT_OUT = ("qber_interval", "counts", "provenance", "intensities")  # no single values


@dataclass(frozen=True, repr=False)
class RoundResult:
    """`report`: what Bob sees, `ground_truth`: what nobody in the protocol sees. Neither has a bit of key.

    `intensities`: what a weak coherent source's intensities gave, each with its theory; empty for single photons.
    Every member of the JSON report is an attribute, too: `result.qber` is `result.to_json()["qber"]`.
    """

    report: RoundReport
    ground_truth: GroundTruth
    physics: LinkPhysics
    source: Source
    mode: str
    seed: int | None
    intensities: tuple[dict[str, Any], ...] = ()

    @property
    def simulated_s(self) -> float:
        """How long the source takes to send so many pulses."""
        return self.report.pulses / self.physics.repetition_rate_hz

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types. `parameters` has all that was set; `seed` is None for operating-system randomness."""
        plain = self.report.to_json()
        plain["parameters"] |= {**self.physics.settings(), **self.source.settings(), "mode": self.mode}
        return {
            **plain,
            "aborted": self.report.outcome != "key",
            "seed": self.seed,
            "simulated_s": self.simulated_s,
            "secret_bits_per_simulated_s": self.report.secret_bits / self.simulated_s,
            "intensities": list(self.intensities),
            "ground_truth": self.ground_truth.to_json(),
        }

    def to_row(self) -> dict[str, Any]:
        """The report flat, for a table: `parameters` and `ground_truth` as `parameters.depolarizing` and so on. Every
        setting of the link is there, also those that are as on a plain one; lists and the provenance are left out.
        """
        physics = vars(self.physics) | {"noise": noise_as_text(self.physics.noise)}
        whole = self._json | {"parameters": physics | self._json["parameters"]}
        flat: dict[str, Any] = {}
        for name, value in whole.items():
            if name in FLATTENED:
                flat |= {f"{name}.{inner}": one for inner, one in value.items() if not isinstance(one, list | tuple)}
            elif name not in LEFT_OUT:
                flat[name] = value
        return flat

    def to_pandas(self) -> Any:
        """A DataFrame of one row; `results_to_pandas` makes one of many results. Needs pandas."""
        return results_to_pandas([self])

    @cached_property
    def _json(self) -> dict[str, Any]:
        return self.to_json()

    def __getattr__(self, name: str) -> Any:
        # Only called where there is no such attribute. Of a copy that is still being made Python asks for names with an
        # underscore, and it has no fields yet.
        if name.startswith("_") or name in self.__dataclass_fields__:
            raise AttributeError(name)
        if name not in self._json:
            raise AttributeError(f"a result has no {name!r}: expected some of {', '.join(dir(self))}")
        return self._json[name]

    def __dir__(self) -> list[str]:
        own = (*vars(self), *vars(type(self)), *self._json)
        return sorted({name for name in own if not name.startswith("_")})

    def __repr__(self) -> str:
        report = self.report
        came = f"{report.secret_bits:,} secret bits" if report.outcome == "key" else f"no key ({report.abort_reason})"
        qber = "undefined" if report.qber is None else f"{report.qber:.3%}"
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"<RoundResult: {came}; {report.pulses:,} pulses, QBER {qber}{seed}>"


def results_to_pandas(results: Iterable[RoundResult]) -> Any:
    """A DataFrame with a row for each result, see `RoundResult.to_row`. Needs pandas."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("a table of results needs pandas: pip install pandas, or the extra `research`") from error
    return pandas.DataFrame([result.to_row() for result in results])
