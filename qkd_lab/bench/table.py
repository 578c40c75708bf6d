"""A run as a table of text."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from qkd_lab.bench.cells import Load
from qkd_lab.bench.driver import Driven
from qkd_lab.bench.pool_sizes import Sized
from qkd_lab.bench.run import PERCENTILES, Run, per_request_ms

RIGHT = ("requests/s", "keys/s", *(f"p{percent} ms" for percent in PERCENTILES))
# What each cell is compared with: by the name in `Measured`, the column.
COMPARED = {"floor": "of the floor", "gunicorn": "of gunicorn", "enc_keys": "of enc_keys"}
SERVERS = {"floor": "the KME's server", "gunicorn": "gunicorn as it comes"}
CPU = ("KME", "Redis", "generator")


def cells_table(run: Run) -> Table:
    early = "" if run.is_complete else _ended_early(len(run.measured), run.wanted_count)
    title = f"pool fed by {run.fed_by}{early}"
    table = Table(title=title, title_justify="left", title_style="")
    for name in ("method", "n", "connections", "clients"):
        table.add_column(name, justify="right" if name in ("n", "clients") else "left")
    for name in (*RIGHT, *COMPARED.values(), *(f"{name} CPU ms" for name in CPU), "errors"):
        table.add_column(name, justify="right")
    for one in run.measured:
        cell = one.cell
        table.add_row(
            cell.method, str(cell.number), cell.connections, str(cell.clients),
            *_rates(one.load, cell.number), *(_share(one.share_of(getattr(one, of))) for of in COMPARED),
            *_cpu(one.driven), _errors(one.load),
        )  # fmt: skip
    return table


def beside_table(run: Run) -> Table:
    """What the cells were compared with, each once."""
    title = "beside them: the floor, a bare Flask view, under two servers; and enc_keys by curl"
    table = Table(title=title, title_justify="left", title_style="")
    for name in ("what", "generator", "connections", "clients"):
        table.add_column(name, justify="right" if name == "clients" else "left")
    for name in ("requests/s", *RIGHT[2:], "generator CPU ms", "errors"):
        table.add_column(name, justify="right")
    rows = {}
    for of in COMPARED:
        for one in run.measured:
            if (load := getattr(one, of)) is not None:
                what = f"enc_keys, n = {one.cell.number}" if of == "enc_keys" else SERVERS[of]
                rows[what, one.cell.generator, one.cell.connections, str(one.cell.clients)] = load
    for names, load in rows.items():
        per_s, _, *latencies = _rates(load, 1)
        table.add_row(*names, per_s, *latencies, _ms(per_request_ms(load.generator_cpu_s, load)), _errors(load))
    return table


def scripts_table(run: Run) -> Table:
    table = Table(title="Redis scripts alone, from Python", title_justify="left", title_style="")
    for name in ("script", "n", "callers", "calls/s", "keys/s"):
        table.add_column(name, justify="left" if name == "script" else "right")
    for one in run.scripts:
        per_s = f"{one.per_s:,.0f}", f"{one.per_s * one.number:,.0f}"
        table.add_row(one.script, str(one.number), str(one.callers), *per_s)
    return table


def pool_sizes_table(found: Sequence[Sized], fed_by: str, wanted_count: int) -> Table:
    early = "" if len(found) == wanted_count else _ended_early(len(found), wanted_count)
    title = f"enc_keys, n = 1, keep-alive; pools fed by {fed_by}{early}"
    table = Table(title=title, title_justify="left", title_style="")
    for name in ("keys", "requests/s", *RIGHT[2:], *(f"{name} CPU ms" for name in CPU), "errors"):
        table.add_column(name, justify="right")
    for one in found:
        per_s, _, *latencies = _rates(one.driven.load, 1)
        table.add_row(f"{one.key_count:,}", per_s, *latencies, *_cpu(one.driven), _errors(one.driven.load))
    return table


def _ended_early(count: int, wanted_count: int) -> str:
    return f"; ended early, with {count} of {wanted_count} measured"


def _rates(load: Load, number: int) -> list[str]:
    latencies = (load.percentile_ms(percent) for percent in PERCENTILES)
    return [f"{load.per_s:,.0f}", f"{load.per_s * number:,.0f}", *(_ms(one, 1) for one in latencies)]


def _cpu(one: Driven) -> list[str]:
    spent = (one.kme_cpu_s, one.redis_cpu_s, one.load.generator_cpu_s)
    return [_ms(per_request_ms(seconds, one.load)) for seconds in spent]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _ms(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _errors(load: Load) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in load.errors.items()) or "0"
