"""`qkd-lab plot`: a figure of what a sweep or the bench has found; it runs nothing itself."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1)
@click.option("--compare", type=click.Path(path_type=Path), nargs=2, metavar="A B", help="Two results on one axis.")
@click.option(
    "--workers", is_flag=True, help="RESULTS are files of `qkd-lab bench --json`, one for each number of workers."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="PNG, SVG or PDF. By default RESULTS.png, or workers.png."
)
def plot(results: tuple[Path, ...], compare: tuple[Path, Path] | None, workers: bool, output: Path | None) -> None:
    """Draw RESULTS, a file that `qkd-lab sweep` wrote, with error bars and the theory that is in it."""
    if workers:
        if compare or len(results) < 2:
            raise click.UsageError("--workers: expected two files of RESULTS at least, one for each number of workers")
        from qkd_lab.bench import picture, several_runs

        output = output or Path("workers.png")
        picture.draw_workers(several_runs.read_several(results), output)
    else:
        if bool(compare) == bool(results) or len(results) > 1:
            raise click.UsageError("expected one file of RESULTS, or --compare A B")
        from qkd_lab.experiments import figure
        from qkd_lab.experiments.results import read

        found = [read(path) for path in compare or results]
        output = output or found[0].path.with_suffix(".png")
        figure.draw(found, output)
    click.echo(output)
