"""`qkd-lab bench`."""

from __future__ import annotations

import signal
from collections.abc import Callable
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
from qkd_lab.cli.bench_options import check_options
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
@click.pass_context
def bench(
    ctx: click.Context,
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
    from qkd_lab.bench import check, picture, results_file, run, table
    from qkd_lab.bench import pool_sizes as sized
    from qkd_lab.bench import sustained as to_the_end
    from qkd_lab.bench.working_folder import working_folder

    check_options(ctx, checks, pool_sizes is not None, sustained)
    if plot_file is not None:
        if checks or sustained:
            raise click.UsageError("--plot draws requests/s: leave out --check and --sustained")
        picture.check_place(plot_file, "--plot")
        results_file.check_place("--plot", plot_file)
    if json_file is not None:
        results_file.check_place("--json", json_file)
    operator = Operator(LabFolder.here())
    link = _link(operator, link_name)
    console = Console(stderr=True)
    _clean_up_when_told_to_end()

    def say(line: str) -> None:
        console.print(f"• {line}", highlight=False, soft_wrap=True)

    with working_folder(operator, say) as folder:
        if checks:
            checked = check.run_check(operator, link, numbers, max(clients), requests, say)
            words = checked.in_words()
            if checked.is_well:
                _keep(lambda: click.echo(words), json_file, checked.as_json())
            else:
                _keep(lambda: None, json_file, checked.as_json(), wrong=[words])
        elif sustained:
            flow = to_the_end.sustained(operator, link, seconds, say)
            _keep(lambda: click.echo(flow.in_words()), json_file, flow.as_json())
        elif pool_sizes is not None:
            found: list[sized.Sized] = []
            measured = sized.measure_pool_sizes(operator, link, pool_sizes, max(clients), requests, folder, say)
            ended = _ended_by(lambda: found.extend(measured))
            results = {"complete": ended is None, "pool_fed_by": run.fed_by(link)}
            results["sizes"] = [one.as_json() for one in found]
            if found:
                shown = [table.pool_sizes_table(found, run.fed_by(link), len(pool_sizes))]
                figure = plot_file if ended is None else None
                _keep(lambda: _show(*shown), json_file, results, figure, picture.draw_pool_sizes, _said_by(ended))
            if ended is not None:
                raise ended
            if any(one.driven.load.error_count for one in found):
                raise click.exceptions.Exit(1)
        else:
            cells = matrix(methods or METHODS, numbers, connections or CONNECTIONS, clients, requests)
            done = run.Run(run.fed_by(link), len(cells))
            ended = _ended_by(lambda: run.bench(done, operator, link, cells, folder, say))
            if done.measured:
                shown = [table.cells_table(done), table.beside_table(done), table.scripts_table(done)]
                figure = plot_file if ended is None else None
                _keep(lambda: _show(*shown), json_file, done.as_json(), figure, picture.draw, _said_by(ended))
            if ended is not None:
                raise ended
            if done.had_errors:
                raise click.exceptions.Exit(1)


def _ended_by(measure: Callable[[], object]) -> BaseException | None:
    """What ended it early, so that what was measured until then can be kept before that is told."""
    try:
        measure()
    except (LabError, KeyboardInterrupt) as error:
        return error
    return None


def _said_by(ended: BaseException | None) -> list[str]:
    return [str(ended)] if isinstance(ended, LabError) else []


def _clean_up_when_told_to_end() -> None:
    """However it is ended, nothing is left. A closed terminal (SIGHUP) may tell more than once, the shell and the
    system each, which is not to end the cleaning up. With nohup it goes on."""
    told_by = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        told_by.append(signal.SIGHUP)

    def end(number: int, frame: Any) -> None:
        for one in told_by:
            signal.signal(one, signal.SIG_IGN)
        signal.default_int_handler(number, frame)

    for one in told_by:
        signal.signal(one, end)


def _keep(
    show: Callable[[], None],
    json_file: Path | None,
    results: dict[str, Any],
    plot_file: Path | None = None,
    draw: Callable[[dict[str, Any], Path], None] | None = None,
    wrong: list[str] | None = None,
) -> None:
    """Shows results before they are written, and writes each file whatever becomes of the others. Raises LabError that
    has `wrong` and what could not be written."""
    from qkd_lab.bench import results_file

    failed = list(wrong or [])
    try:
        show()
    finally:
        if json_file is not None:
            try:
                results_file.write_json("--json", json_file, results)
            except LabError as error:
                failed.append(str(error))
        if plot_file is not None and draw is not None:
            try:
                draw(results, plot_file)
            except LabError as error:
                failed.append(f"--plot: {error}")
    if failed:
        raise LabError("; ".join(failed))


def _show(*tables: Table) -> None:
    out = Console()
    if not out.is_terminal:
        out.width = 240  # a file is as wide as the table
    for one in tables:
        if one.row_count:
            out.print(one)


def _link(operator: Operator, name: str | None) -> Link:
    if name is not None:
        return operator.link(name)
    if not operator.topology.links:
        raise LabError("this lab has no link, so it has no keys")
    return operator.topology.links[0]
