"""`qkd-lab sweep`: the points of an experiment, in parallel, to a results file that can be gone on with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qkd_lab.experiments.errors import ExperimentError

if TYPE_CHECKING:
    from qkd_lab.experiments.results import ResultsFile
    from qkd_lab.experiments.tasks import Task


@click.command()
@click.argument("experiment", required=False)
@click.option("--list", "as_list", is_flag=True, help="Only list the experiments that come with the package.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Results. By default EXPERIMENT.jsonl here.")
@click.option("--workers", type=click.IntRange(1, 1024), help="Processes. By default as many as there are cores.")
@click.option("--dask", metavar="ADDRESS", help="On the Dask cluster of this scheduler, as tcp://127.0.0.1:8786.")
@click.option("--parquet", is_flag=True, help="In the end also write the results as Parquet, beside the output.")
def sweep(
    experiment: str | None, as_list: bool, output: Path | None, workers: int | None, dask: str | None, parquet: bool
) -> None:
    """Run EXPERIMENT, by name or a .toml file, to a file of JSON Lines. The same command goes on where it stopped."""
    try:
        from qkd_lab.experiments import computed, results
        from qkd_lab.experiments import parquet as tables
        from qkd_lab.experiments.experiment import read, shipped
        from qkd_lab.experiments.tasks import tasks_of
    except ImportError as error:
        raise click.ClickException(f"sweep needs {error.name}: install the whole project (pip install .)") from error
    if as_list:
        for name in shipped():
            click.echo(f"{name:24} {read(name).title}")
        return
    if experiment is None:
        raise click.UsageError(f"EXPERIMENT is missing: one of {', '.join(shipped())}, or a .toml file")
    if dask and workers:
        raise click.UsageError("--workers is for this machine: a Dask cluster has its own")
    if parquet:
        tables.check_installed()
    chosen = read(experiment)
    tasks = list(tasks_of(chosen))
    for task in tasks:
        if task.repetition == 0:
            computed.check(task, experiment)
    output = output or Path(f"{chosen.name}.jsonl")
    file = results.ResultsFile(output, chosen)
    open_tasks = [task for task in tasks if task.identity not in file.finished]
    if len(open_tasks) < len(tasks):
        click.echo(f"{output}: {len(tasks) - len(open_tasks)} of {len(tasks)} points are there", err=True)
    count = min(workers or len(os.sched_getaffinity(0)), max(1, len(open_tasks)))
    where = f"the cluster {dask}" if dask else f"{count} {'core' if count == 1 else 'cores'}"
    started = time.perf_counter()
    try:
        with closing(file):
            _run(open_tasks, count, dask, file, chosen.title)
    except (KeyboardInterrupt, ExperimentError) as error:
        finished = f"{len(results.read(output).rows)} of {len(tasks)} points are in {output}: the same command goes on"
        if isinstance(error, ExperimentError):
            raise ExperimentError(f"{error}; {finished}") from None
        click.echo(f"interrupted; {finished}", err=True)
        raise click.exceptions.Exit(130) from None
    elapsed_s = time.perf_counter() - started
    if parquet:
        tables.write(results.read(output), output.with_suffix(".parquet"))
    speed = f"{len(open_tasks) / elapsed_s:.3g} points/s" if open_tasks else "nothing was left to do"
    click.echo(f"{output}: {len(open_tasks)} points in {elapsed_s:.1f} s on {where}, {speed}")


def _run(tasks: list[Task], worker_count: int, dask: str | None, file: ResultsFile, title: str) -> None:
    from rich import progress as rich_progress
    from rich.console import Console

    if not tasks:
        return
    console = Console(stderr=True)
    columns = (
        "{task.description}", rich_progress.BarColumn(), rich_progress.MofNCompleteColumn(),
        rich_progress.TimeElapsedColumn(), "left", rich_progress.TimeRemainingColumn(),
    )  # fmt: skip
    with rich_progress.Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=len(tasks))
        found = _results(tasks, worker_count, dask)
        try:
            for task, result, elapsed_s, made_by in found:
                file.add(task, result, elapsed_s, made_by)
                progress.advance(bar)
        finally:
            found.close()


def _results(tasks: list[Task], worker_count: int, dask: str | None) -> Iterator[tuple[Any, ...]]:
    from qkd_lab.experiments import dask_workers, local_workers

    return dask_workers.run(tasks, dask) if dask else local_workers.run(tasks, worker_count)
