"""`qkd-lab bench`."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qkd_lab.bench.cells import (
    CONNECTIONS,
    LEAST_STORED,
    METHODS,
    MOST_CLIENTS,
    MOST_KEYS_AT_A_TIME,
    MOST_STORED,
    matrix,
)
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link


class _Counts(click.ParamType):
    """Integers in a range, with commas between."""

    name = "N,N,…"

    def __init__(self, most: int, least: int = 1) -> None:
        self._range = range(least, most + 1)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in value.split(",")]
        for part in parts:
            if not (part.isascii() and part.isdecimal() and len(part) < 10 and int(part) in self._range):
                wanted = f"expected integers from {self._range[0]} to {self._range[-1]}, with commas between"
                self.fail(f"{part!r}: {wanted}", param, ctx)
        return tuple(dict.fromkeys(int(part) for part in parts))


@click.command()
@click.option("--method", "methods", type=click.Choice(METHODS), multiple=True, help="By default both.")
@click.option(
    "--number", "numbers", type=_Counts(MOST_KEYS_AT_A_TIME), default="1,128", show_default=True, help="Keys at a time."
)
@click.option(
    "--connections",
    type=click.Choice(CONNECTIONS),
    multiple=True,
    help="Kept for all requests of a client, or a new one for each. By default both.",
)
@click.option(
    "--clients", type=_Counts(MOST_CLIENTS), default="1,8,32,128", show_default=True, help="How many at once."
)
@click.option(
    "--requests",
    type=click.IntRange(1, 10_000_000),
    default=2000,
    show_default=True,
    help="In each measurement; a tenth where several keys are asked for at a time.",
)
@click.option("--link", "link_name", help="Between whose sites. By default the first of the topology.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write the results here.")
@click.option("--plot", "plot_file", type=click.Path(path_type=Path, dir_okay=False), help="PNG, SVG or PDF.")
@click.option("--check", "checks", is_flag=True, help="Measure nothing: compare every key with that of the other end.")
@click.option(
    "--pool-sizes", type=_Counts(MOST_STORED, LEAST_STORED), help="Measure one cell with so many keys in the store."
)
@click.option("--sustained", is_flag=True, help="Measure what BB84 feeds, from pulses to both SAEs.")
@click.option(
    "--seconds", type=click.IntRange(5, 3600), default=30, show_default=True, help="How long --sustained measures."
)
def bench(
    methods: tuple[str, ...],
    numbers: tuple[int, ...],
    connections: tuple[str, ...],
    clients: tuple[int, ...],
    requests: int,
    link_name: str | None,
    json_file: Path | None,
    plot_file: Path | None,
    checks: bool,
    pool_sizes: tuple[int, ...] | None,
    sustained: bool,
    seconds: int,
) -> None:
    """Put load on a running lab, and on the floor under it: what a bare Flask view and Redis alone would do.

    It registers two SAEs and a connection of its own and removes them. On a link that is fed with key files
    (`qkd-lab up --topology two-sites-directory`) it prefills its pool by such a file; on a quantum link BB84 fills it.
    """
    from qkd_lab.bench import check, picture, run, table
    from qkd_lab.bench import pool_sizes as sized
    from qkd_lab.bench import sustained as to_the_end
    from qkd_lab.bench.working_folder import working_folder

    if checks + sustained + (pool_sizes is not None) > 1:
        raise click.UsageError("--check, --pool-sizes and --sustained are runs of their own: expected one of them")
    if plot_file is not None:
        if checks or sustained:
            raise click.UsageError("--plot draws requests/s: leave out --check and --sustained")
        picture.check_place(plot_file)
    operator = Operator(LabFolder.here())
    link = _link(operator, link_name)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # however it is ended, it cleans up

    def say(line: str) -> None:
        console.print(f"• {line}", highlight=False, soft_wrap=True)

    with working_folder(operator, say) as folder:
        if checks:
            checked = check.run_check(operator, link, numbers, max(clients), requests, say)
            _write(json_file, checked.as_json())
            if not checked.is_well:
                raise LabError(checked.in_words())
            click.echo(checked.in_words())
        elif sustained:
            flow = to_the_end.sustained(operator, link, seconds, say)
            _write(json_file, flow.as_json())
            click.echo(flow.in_words())
        elif pool_sizes is not None:
            found: list[sized.Sized] = []
            try:
                found.extend(sized.measure_pool_sizes(operator, link, pool_sizes, max(clients), requests, folder, say))
            finally:  # also where it fails, or is interrupted
                results = {"complete": len(found) == len(pool_sizes), "pool_fed_by": run.fed_by(link)}
                results["sizes"] = [one.as_json() for one in found]
                if found:
                    _show(table.pool_sizes_table(found, run.fed_by(link), len(pool_sizes)))
                    _write(json_file, results)
            if plot_file is not None:
                picture.draw_pool_sizes(results, plot_file)
            if any(one.driven.load.error_count for one in found):
                raise click.exceptions.Exit(1)
        else:
            cells = matrix(methods or METHODS, numbers, connections or CONNECTIONS, clients, requests)
            done = run.Run(run.fed_by(link), len(cells))
            try:
                run.bench(done, operator, link, cells, folder, say)
            finally:  # also where it fails, or is interrupted
                if done.measured:
                    _show(table.cells_table(done), table.floor_table(done), table.scripts_table(done))
                    _write(json_file, done.as_json())
            if plot_file is not None:
                picture.draw(done.as_json(), plot_file)
            if done.had_errors:
                raise click.exceptions.Exit(1)


def _show(*tables: Table) -> None:
    out = Console()
    if not out.is_terminal:
        out.width = 200  # a file is as wide as the table
    for one in tables:
        if one.row_count:
            out.print(one)


def _link(operator: Operator, name: str | None) -> Link:
    if name is not None:
        return operator.link(name)
    if not operator.topology.links:
        raise LabError("this lab has no link, so it has no keys")
    return operator.topology.links[0]


def _write(file: Path | None, content: dict[str, Any]) -> None:
    if file is None:
        return
    try:
        file.write_text(json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise LabError(f"--json: {file}: {error.strerror}") from None
