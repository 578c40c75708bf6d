"""`qkd-lab plot`: a figure of what a sweep has found; it runs nothing itself."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("results", type=click.Path(path_type=Path), nargs=-1)
@click.option("--compare", type=click.Path(path_type=Path), nargs=2, metavar="A B", help="Two results on one axis.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="PNG, SVG or PDF. By default RESULTS.png.")
def plot(results: tuple[Path, ...], compare: tuple[Path, Path] | None, output: Path | None) -> None:
    """Draw RESULTS, a file that `qkd-lab sweep` wrote, with error bars and the theory that is in it."""
    from qkd_lab.experiments import figure
    from qkd_lab.experiments.results import read

    if bool(compare) == bool(results) or len(results) > 1:
        raise click.UsageError("expected one file of RESULTS, or --compare A B")
    found = [read(path) for path in compare or results]
    output = output or found[0].path.with_suffix(".png")
    figure.draw(found, output)
    click.echo(output)
