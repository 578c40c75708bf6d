"""A run as a figure: requests a second and the 99th percentile against clients, the floor as broken lines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qkd_lab.bench.pool_sizes import Sized
from qkd_lab.bench.run import Run
from qkd_lab.experiments.figure import COLOURS, MARKERS, NO_DATES, SUFFIXES
from qkd_lab.lab_folder import LabError

PANELS = (("requests/s", lambda load: load.per_s), ("99th percentile (ms)", lambda load: load.percentile_ms(99)))


def check_place(path: Path) -> None:
    """Raises LabError where no figure can be drawn, before anything is measured."""
    if path.suffix not in SUFFIXES:
        raise LabError(f"--plot: {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise LabError(f"--plot: {path}: there is no folder {path.resolve().parent}")
    _pyplot()


def draw(run: Run, path: Path) -> None:
    """A row for each kind of connection, one curve for each method and number of keys."""
    pyplot = _pyplot()
    kinds = list(dict.fromkeys(one.cell.connections for one in run.measured))
    curves = list(dict.fromkeys((one.cell.method, one.cell.number) for one in run.measured))
    figure, axes = pyplot.subplots(len(kinds), 2, squeeze=False, figsize=(9.5, 3.4 * len(kinds)), layout="constrained")
    for row, kind in zip(axes, kinds, strict=True):
        for panel, (title, value) in zip(row, PANELS, strict=True):
            for at, (method, number) in enumerate(curves):
                these = [one for one in run.measured if (one.cell.connections, one.cell.method, one.cell.number)
                         == (kind, method, number)]  # fmt: skip
                clients = [one.cell.clients for one in these]
                style = {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)], "markersize": 4}
                panel.plot(clients, [value(one.load) for one in these], label=f"{method}, n = {number}", **style)
                if number == 1:
                    floors = [value(one.floor) for one in these]
                    panel.plot(clients, floors, "--", color=style["color"], label=f"its floor ({method})")
            panel.set(title=f"{kind}: {title}", xlabel="clients", xscale="log", yscale="log")
            panel.set_xticks(clients, [str(one) for one in clients])
            panel.minorticks_off()
    axes[0, 1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(f"pool fed by {run.fed_by}", fontsize=9)
    figure.savefig(path, dpi=130, metadata=NO_DATES[path.suffix])
    pyplot.close(figure)


def draw_pool_sizes(found: Sequence[Sized], fed_by: str, path: Path) -> None:
    """Requests a second and the 99th percentile against the keys that are stored."""
    pyplot = _pyplot()
    figure, row = pyplot.subplots(1, 2, figsize=(9.5, 3.4), layout="constrained")
    for panel, (title, value) in zip(row, PANELS, strict=True):
        panel.plot([one.key_count for one in found], [value(one.driven.load) for one in found], "o-", color=COLOURS[0])
        panel.set(title=f"enc_keys, n = 1: {title}", xlabel="keys that are stored", xscale="log")
        panel.set_ylim(bottom=0)
    figure.suptitle(f"pools fed by {fed_by}", fontsize=9)
    figure.savefig(path, dpi=130, metadata=NO_DATES[path.suffix])
    pyplot.close(figure)


def _pyplot() -> Any:
    try:
        import matplotlib
    except ImportError:
        raise LabError("--plot needs the package matplotlib: pip install -e '.[research]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    return pyplot
