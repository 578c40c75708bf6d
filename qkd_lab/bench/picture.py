"""Results of the bench, as `--json` writes them, as figures. The floor is a broken line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qkd_lab.bench.results_file import in_its_place
from qkd_lab.experiments.figure import COLOURS, MARKERS, NO_DATES, SUFFIXES
from qkd_lab.lab_folder import LabError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = tuple[int, str, str, dict[str, Any]]  # place on the x axis, name of the curve and of its floor, the cell

RATES = (("requests/s", "requests_per_s"), ("99th percentile (ms)", "p99_ms"))
ROUND_NUMBERS = [step * 10.0**power for power in range(-4, 8) for step in (1, 2, 5)]
DECADES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)


def check_place(path: Path, option: str = "-o") -> None:
    """Raises LabError where no figure can be drawn, before anything is measured. `option` gave the path."""
    if path.suffix not in SUFFIXES:
        raise LabError(f"{option}: {path}: expected a name that ends in {', '.join(SUFFIXES)}")
    if not path.resolve().parent.is_dir():
        raise LabError(f"{option}: {path}: there is no folder {path.resolve().parent}, expected one that is there")
    _matplotlib()


def draw(run: dict[str, Any], path: Path) -> None:
    """Requests a second and the 99th percentile against clients."""
    points = [(one["clients"], f"{one['method']}, n = {one['number']}", one["method"], one) for one in run["cells"]]
    _draw(points, "clients", run["pool_fed_by"], path)


def draw_workers(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """The same against the workers of a KME, of which each of `runs` had another number."""
    points = [
        (
            run["kme_workers"],
            f"{one['method']}, n = {one['number']}, {one['clients']} clients",
            f"{one['method']}, {one['clients']} clients",
            one,
        )
        for run in sorted(runs, key=lambda run: run["kme_workers"])
        for one in run["cells"]
    ]
    _draw(points, "workers of each KME", runs[0]["pool_fed_by"], path)


def _draw(points: Sequence[Point], x_name: str, fed_by: str, path: Path) -> None:
    """A row for each kind of connection, one curve for each name; cells with one floor have it once."""
    kinds = list(dict.fromkeys(cell["connections"] for *_, cell in points))
    names = list(dict.fromkeys(name for _, name, *_ in points))
    with page(path, len(kinds), f"pool fed by {fed_by}") as axes:
        for row, kind in zip(axes, kinds, strict=True):
            for panel, (title, value) in zip(row, RATES, strict=True):
                floors: set[str] = set()
                for at, name in enumerate(names):
                    these = [point for point in points if point[1] == name and point[3]["connections"] == kind]
                    if not these:
                        continue
                    x, floor, color = [point[0] for point in these], these[0][2], COLOURS[at % len(COLOURS)]
                    panel.plot(x, [cell[value] for *_, cell in these], label=name, color=color,
                               marker=MARKERS[at % len(MARKERS)], markersize=4)  # fmt: skip
                    if floor not in floors:
                        floors.add(floor)
                        of_floor = [cell["floor"][value] for *_, cell in these]
                        panel.plot(x, of_floor, "--", label=f"the floor ({floor})", color=color)
                panel.set(title=f"{kind}: {title}", xlabel=x_name, xscale="log")
                ticks = sorted({x for x, *_ in points})
                panel.set_xticks(ticks, [str(one) for one in ticks])
                log_y(panel)
            row[1].legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))


def draw_pool_sizes(found: dict[str, Any], path: Path) -> None:
    """Requests a second, and processor time of one, against the keys that are stored. In its place the 99th
    percentile where the lab's processes are not on this machine."""
    sizes = found["sizes"]
    keys = [one["key_count"] for one in sizes]
    spent = {"KME": "kme_cpu_ms", "Redis": "redis_cpu_ms"}
    with page(path, 1, f"enc_keys, n = 1, kept connections; pools fed by {found['pool_fed_by']}") as ((rate, second),):
        rate.plot(keys, [one["requests_per_s"] for one in sizes], "o-", color=COLOURS[0])
        rate.set(title="requests/s")
        if all(one[value] is not None for one in sizes for value in spent.values()):
            for at, (name, value) in enumerate(spent.items()):
                style = {"marker": MARKERS[at], "color": COLOURS[at], "label": name}
                second.plot(keys, [one[value] for one in sizes], **style)
            second.set(title="processor time of one request (ms)")
            second.legend()
        else:
            second.plot(keys, [one["p99_ms"] for one in sizes], "o-", color=COLOURS[0])
            second.set(title="99th percentile (ms)")
        for panel in (rate, second):
            panel.set(xlabel="keys that are stored")
            decades(panel, 1_000, 1_000_000)
            from_zero(panel)


@contextmanager
def page(path: Path, rows: int, title: str) -> Iterator[Any]:
    """Gives two panels a row, and saves them. Raises LabError where that can't be."""
    check_place(path)
    from matplotlib import pyplot, rc_context

    # The same results give the same file.
    with rc_context({"svg.hashsalt": "qkd-lab", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}):
        figure, axes = pyplot.subplots(rows, 2, squeeze=False, figsize=(9.5, 3.4 * rows), layout="constrained")
        try:
            yield axes
            figure.suptitle(title, fontsize=9, parse_math=False)  # it may be of a file, with any signs
            with in_its_place(path) as written:
                figure.savefig(written, dpi=130, metadata=NO_DATES[path.suffix])
        except OSError as error:
            raise LabError(f"{path}: {error.strerror or error}, expected a place to write a figure") from error
        finally:
            pyplot.close(figure)


def decades(panel: Axes, first: int, last: int) -> None:
    """A logarithmic x axis from `first` to `last`, its ticks as plain numbers."""
    ticks = [one for one in DECADES if first <= one <= last]
    panel.set(xscale="log", xlim=(first / 1.3, last * 1.3))
    panel.set_xticks(ticks, [f"{one:,}" for one in ticks])
    panel.minorticks_off()


def from_zero(panel: Axes) -> None:
    """A linear y axis, on which what is flat looks flat."""
    panel.set_ylim(0, 1.2 * max(_drawn(panel), default=1.0))
    panel.yaxis.set_major_formatter("{x:,g}")


def log_y(panel: Axes) -> None:
    """A logarithmic y axis from a round number below all that is drawn to one above, its ticks as plain numbers.
    A linear one where nothing above zero is drawn: nothing was answered."""
    if values := _drawn(panel):
        panel.set_yscale("log")
        bottom = max((one for one in ROUND_NUMBERS if one <= min(values)), default=ROUND_NUMBERS[0])
        top = min((one for one in ROUND_NUMBERS if one > max(values)), default=ROUND_NUMBERS[-1])
        ticks = [one for one in ROUND_NUMBERS if bottom <= one <= top]
        panel.set_yticks(ticks, [f"{one:,.10g}" for one in ticks])
        panel.set_ylim(bottom, top)
    panel.minorticks_off()


def _drawn(panel: Axes) -> list[float]:
    return [y for line in panel.get_lines() for y in line.get_ydata() if y and y > 0]


def _matplotlib() -> None:
    try:
        import matplotlib
    except ImportError:
        raise LabError("a figure needs the package matplotlib: pip install -e '.[research]'") from None
    matplotlib.use("Agg")
