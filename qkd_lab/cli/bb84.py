"""`qkd-lab bb84`: one link, both ends in one process, no servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from qkd_lab.cli.bb84_report import as_text


class Impossible(click.ClickException):
    """Input that describes no run: one line, exit 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        click.echo(f"qkd-lab bb84: {' '.join(self.message.split())}", err=True)


LARGEST_INTEGER = 10**18


class Number(click.ParamType):
    """A number, also as 1e6; whole where `whole`."""

    name = "number"

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float | int:
        name = param.name if param else "value"
        try:
            number = float(value)
            if not self.whole:
                return number
            if number == int(number) and abs(number) < LARGEST_INTEGER:
                return int(value) if str(value).isdecimal() else int(number)
        except (ValueError, OverflowError):
            pass
        expected = "an integer, such as 1000 or 1e6, below 1e18" if self.whole else "a number"
        raise Impossible(f"{name} is {value!r}: expected {expected}")


NUMBER, INTEGER = Number(), Number(whole=True)
# Option, type, help. What is not given comes from the parameter set, or is the default that `qkde` has for it.
SETTINGS = [
    ("--set", str, "Parameter set: ideal, lab, gys, or a TOML file."),
    ("--source", str, "single-photon, or weak-coherent (Poisson, phase-randomised, decoy states)."),
    ("--signal-intensity", NUMBER, "Mean photon number of a signal pulse."),
    ("--decoy-intensity", NUMBER, "... of a decoy pulse."),
    ("--vacuum-intensity", NUMBER, "... of a vacuum pulse."),
    ("--signal-probability", NUMBER, "How often Alice sends a signal pulse."),
    ("--decoy-probability", NUMBER, "... a decoy pulse."),
    ("--vacuum-probability", NUMBER, "... a vacuum pulse; 0 is the one-decoy protocol."),
    ("--loss-db", NUMBER, "Loss in dB beside the fibre's."),
    ("--distance-km", NUMBER, "Length of the fibre."),
    ("--attenuation-db-per-km", NUMBER, "Of the fibre."),
    ("--misalignment", NUMBER, "Probability that a photon ends in the wrong detector: adds as much to the QBER."),
    ("--depolarizing", NUMBER, "Qiskit's depolarizing_error: adds half of it to the QBER."),
    ("--noise", str, "More noise, in order: bit_flip:P, phase_flip:P, amplitude_damping:P, phase_damping:P, "
                     "depolarizing:P, pauli:PX/PY/PZ, with commas between."),
    ("--noise-file", click.Path(), "Python file whose `noise` is a QuantumError or Kraus matrices. It is run."),
    ("--detector-efficiency", NUMBER, "Bob's, optics included."),
    ("--dark-count-probability", NUMBER, "Per pulse, both detectors together (Y0)."),
    ("--dead-time-s", NUMBER, "After a click, of both detectors."),
    ("--afterpulse-probability", NUMBER, "That a click is followed by one without light."),
    ("--repetition-rate-hz", NUMBER, "Pulses per simulated second."),
    ("--eve", str, "none, intercept-resend:FRACTION[:random|z|x|DEGREES], photon-number-splitting[:FRACTION], "
                   "beam-splitting[:FRACTION]."),
    ("--key-basis-probability", NUMBER, "Of either end, for each pulse."),
    ("--tolerance", NUMBER, "QBER of the test basis above which the round aborts, set before the run."),
    ("--epsilon-secrecy", NUMBER, "Of the key."),
    ("--epsilon-correctness", NUMBER, "That the two ends differ unnoticed."),
    ("--verification-bits", INTEGER, "Length of the verification hash."),
    ("--security-margin-bits", INTEGER, "Taken off the proven length on top."),
    ("--reconciliation", str, "Cascade variant: original or efficient."),
    ("--leak-counted", str, "alice: her parities only; both: Bob's as well."),
]  # fmt: skip


def _with_settings(command: Callable[..., Any]) -> Callable[..., Any]:
    for name, kind, text in reversed(SETTINGS):
        command = click.option(name, type=kind, help=text)(command)
    return command


@click.command()
@click.option("--pulses", type=INTEGER, default="1e6", show_default=True, help="How many Alice sends.")
@_with_settings
@click.option("--seed", type=INTEGER, help="A reproducible run, whose key is worth nothing.")
@click.option("--mode", default="grouped", show_default=True, help="grouped, or exact: n-qubit circuits, the oracle.")
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option("--export-qasm", type=INTEGER, metavar="N", help="Only print circuits of N pulses as OpenQASM 3.")
@click.option("--bench", is_flag=True, help="Only measure how fast the stages are, at --pulses or at 1e6 and 1e7.")
@click.option("--bench-frames", type=INTEGER, default=0, help="With --bench: also so many frames of 1e4 bits each.")
@click.pass_context
def bb84(
    context: click.Context, pulses: int, seed: int | None, mode: str, as_json: bool, export_qasm: int | None,
    bench: bool, bench_frames: int, **settings: Any,
) -> None:  # fmt: skip
    """One BB84 round on a simulated link. No key is printed; a round that aborts is a result, too."""
    try:
        from qkde.link.aer import SimulationFailed
        from qkde.simulation import simulate_round
        from qkde.simulation_settings import setting_of
    except ImportError as error:
        raise click.ClickException(f"bb84 needs {error.name}: install the whole project (pip install .)") from error
    if bench:
        chosen = context.get_parameter_source("pulses") is not ParameterSource.DEFAULT
        _bench([pulses] if chosen else [10**6, 10**7], bench_frames, as_json)
        return
    values = {name: value for name, value in settings.items() if value is not None}
    if "tolerance" in values:
        values["qber_tolerance"] = values.pop("tolerance")
    try:
        setting = setting_of(pulses, values)
        if export_qasm is not None:
            click.echo(_qasm(export_qasm, setting, seed), nl=False)
            return
        result = simulate_round(setting.parameters, setting.physics, setting.source, seed=seed, mode=mode).to_json()
        result["parameters"]["set"] = values.get("set")
    except ValueError as error:  # every kind of impossible input is one, and says what was expected
        raise Impossible(_option_names(str(error))) from error
    except SimulationFailed as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result, indent=2) if as_json else as_text(result))


def _option_names(text: str) -> str:
    return text.replace("qber_tolerance", "tolerance")


def _qasm(pulses: int, setting: Any, seed: int | None) -> str:
    from qkde.chance import Chance
    from qkde.link.openqasm import MAX_PULSES, program

    if not 1 <= pulses <= MAX_PULSES:
        raise ValueError(f"export_qasm is {pulses}: expected from 1 to {MAX_PULSES} pulses")
    chance, probability = Chance.of(seed), setting.parameters.key_basis_probability
    alice, bob = (end.bases(pulses, probability) for end in (chance.alice, chance.bob))
    return program(chance.alice.bits(pulses), alice, bob, setting.physics, chance.nature)


def _bench(pulse_counts: list[int], frame_count: int, as_json: bool) -> None:
    from qkde.bench import figures
    from qkde.simulation_settings import frames_of

    try:
        for pulses in pulse_counts:
            frames_of(pulses)
        if frame_count < 0:
            raise ValueError(f"bench_frames is {frame_count}: expected a number of frames from 0")
    except ValueError as error:
        raise Impossible(str(error)) from error
    found = []
    for figure in figures(pulse_counts, frame_count):
        found.append(figure.to_json())
        if not as_json:
            beside = f"  (NumPy {figure.beside:,.0f})" if figure.beside else ""
            value = f"{figure.value:,.0f}" if figure.value >= 1000 else f"{figure.value:.3g}"
            click.echo(f"{figure.what:62} {value:>11} {figure.unit:9}{beside}  {figure.note}".rstrip())
    if as_json:
        click.echo(json.dumps(found, indent=2))
