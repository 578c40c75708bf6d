"""A figure of results, to be printed: points with error bars, theory as lines, told apart without colour too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkd_lab.experiments.curves import Curve, curves_of
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.quantities import label
from qkd_lab.experiments.results import Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".png", ".svg", ".pdf")
# Okabe and Ito's, apart for all kinds of sight and, from dark to light, in grey.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3)))
MARKERS = "os^Dv<>"
PANEL_INCHES = (8.2, 3.2)
NO_DATES = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def draw(results: Sequence[Results], path: Path) -> None:
    """One results file, or two to compare: the panels of the first, the curves of both. Raises ExperimentError."""
    if path.suffix not in SUFFIXES:
        raise ExperimentError(f"{path}: expected a name that ends in {', '.join(SUFFIXES)}")
    try:
        import matplotlib
    except ImportError:
        raise ExperimentError("plot needs the package matplotlib: pip install -e '.[research]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = results[0].header["experiment"]["panels"]
    drawn = [[(of, curve) for of, one in enumerate(results) for curve in curves_of(one, panel)] for panel in panels]
    for of, one in enumerate(results):
        if not any(number == of for curves in drawn for number, _ in curves):
            wanted = ", ".join(f"{' or '.join(panel['y'])} against {panel['x']}" for panel in panels)
            raise ExperimentError(f"{one.path}: nothing to plot, expected rows with {wanted}")
    # The same data give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "qkd-lab", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        size = PANEL_INCHES[0], PANEL_INCHES[1] * len(panels) + 0.6
        figure, all_axes = pyplot.subplots(len(panels), squeeze=False, figsize=size, layout="constrained")
        for axes, panel, curves in zip(all_axes[:, 0], panels, drawn, strict=True):
            _panel(axes, panel, curves, [one.path.stem for one in results])
        figure.suptitle(results[0].header["experiment"]["title"], fontsize=10)
        figure.supxlabel(_footer(panels, [curve for curves in drawn for _, curve in curves]), fontsize=7)
        try:
            figure.savefig(path, dpi=130, metadata=NO_DATES[path.suffix])
            if path.suffix == ".png":
                _with_palette(path)
        except OSError as error:
            raise ExperimentError(f"{path}: {error.strerror or error}, expected a place to write a figure") from error
        finally:
            pyplot.close(figure)


def _with_palette(path: Path) -> None:
    """256 colours are more than a figure needs, and take a third of the bytes."""
    from PIL import Image  # Matplotlib writes PNG with it

    with Image.open(path) as image:
        plain = image.convert("RGB")
    plain.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


def _panel(axes: Axes, panel: dict[str, Any], curves: list[tuple[int, Curve]], names: list[str]) -> None:
    axes.set_xscale(panel["x_scale"])
    axes.set_yscale(panel["y_scale"])
    positive = panel["y_scale"] == "log"
    styles = {"lines": 0, "points": 0}
    # Theory and simulation at the same parameters have the same colour.
    colours: dict[tuple[Any, ...], int] = {}
    for of, curve in curves:
        what = "lines" if curve.kind == "theory" else "points"
        number = styles[what]
        styles[what] += 1
        place = colours.setdefault(curve.distinct, len(colours)) if curve.distinct else number
        shown = curve.label if len(names) == 1 else f"{names[of]}: {curve.label}"
        _curve(axes, curve, shown, number, COLOURS[place % len(COLOURS)], bool(of), positive)
    axes.set_xlabel(label(panel["x"]))
    axes.set_ylabel(label(panel["y"][0]))
    if curves:
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))  # beside: it covers nothing
    drawn = [y for _, curve in curves for y in curve.y if y > 0]
    if positive and drawn:
        axes.set_ylim(bottom=min(drawn) / 2)  # a bar that reaches below 0 would stretch the axis for ever


def _curve(axes: Axes, curve: Curve, name: str, number: int, colour: str, is_second: bool, positive: bool) -> None:
    rows = [row for row in zip(curve.x, curve.y, curve.sigma, strict=True) if row[1] > 0 or not positive]
    if not rows:
        return
    x, y, sigma = (list(column) for column in zip(*rows, strict=True))
    if curve.kind == "theory":
        axes.plot(x, y, linestyle=LINES[number % len(LINES)], color=colour, linewidth=1.2, label=name)
        return
    bars = [[min(s or 0, v * 0.999) if positive else s or 0 for s, v in zip(sigma, y, strict=True)],
            [s or 0 for s in sigma]]  # fmt: skip
    axes.errorbar(
        x, y, yerr=bars, fmt=MARKERS[number % len(MARKERS)], color=colour, markersize=4, capsize=2, linewidth=0.9,
        markerfacecolor="white" if is_second else colour, label=name,
    )  # fmt: skip


def _footer(panels: Sequence[dict[str, Any]], curves: Sequence[Curve]) -> str:
    meanings = dict.fromkeys(curve.sigma_means for curve in curves if curve.kind != "theory" and curve.sigma_means)
    sentences = [f"Error bars: {'; '.join(meanings)}."] if meanings else []
    if any(panel["y_scale"] == "log" for panel in panels):
        sentences.append("What is not above 0 is not drawn on a logarithmic axis.")
    return " ".join(sentences)
