"""Which options of `qkd-lab bench` belong to which of its runs: one without effect would be taken for measured."""

from __future__ import annotations

import click
from click.core import ParameterSource

CELLS = "a measurement of every combination (without --check, --pool-sizes and --sustained)"
# By parameter; --link and --json belong to all of them, and --plot has words of its own.
BELONG_TO = {
    "methods": (CELLS,),
    "numbers": (CELLS, "--check"),
    "connections": (CELLS,),
    "clients": (CELLS, "--check", "--pool-sizes"),
    "requests": (CELLS, "--check", "--pool-sizes"),
    "seconds": ("--sustained",),
}


def check_options(ctx: click.Context, checks: bool, pool_sizes: bool, sustained: bool) -> None:
    """Raises UsageError where one is given that the run does not look at."""
    chosen = {"--check": checks, "--pool-sizes": pool_sizes, "--sustained": sustained}
    if sum(chosen.values()) > 1:
        raise click.UsageError("--check, --pool-sizes and --sustained are runs of their own: expected one of them")
    run = next((name for name, is_chosen in chosen.items() if is_chosen), CELLS)
    for parameter in ctx.command.params:
        belongs_to = BELONG_TO.get(parameter.name or "", (run,))
        if run not in belongs_to and ctx.get_parameter_source(parameter.name) != ParameterSource.DEFAULT:
            beside = "" if run == CELLS else f" beside {run}"
            raise click.UsageError(
                f"{parameter.opts[0]} has no effect{beside}: it belongs to {' or '.join(belongs_to)}, leave it out"
            )
