"""`qkd-lab link watch`: a link's QBER, rates and pools as they move."""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from math import isnan
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from qkd_lab.cli.bb84_report import percent
from qkd_lab.lab_folder import LabFolder
from qkd_lab.link_watch import changes, look
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link

Json = dict[str, Any]

BARS = "▁▂▃▄▅▆▇█"
ROUNDS_SHOWN = 40
ALL_FULL = "all full: the next round comes when keys are taken"


class Seconds(click.FloatRange):
    """A range that NaN is not in: it compares with nothing."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


@click.command()
@click.argument("name")
@click.option("--every", "every_s", type=Seconds(0.1, 3600), default=1.0, show_default=True, help="Seconds.")
@click.option("--for", "for_s", type=Seconds(0, min_open=True), help="End after so many seconds.")
@click.option("--count", type=click.IntRange(1), help="End after so many changes.")
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each change.")
def watch(name: str, every_s: float, for_s: float | None, count: int | None, as_json: bool) -> None:
    """Watch a link: QBER and abort threshold, sifted and secret bits a second, pools. Ctrl-C ends it.

    A display on a terminal; in a pipe a line for each change. It goes on while parts of the lab are away.
    """
    operator = Operator(LabFolder.here())
    link = operator.quantum_link(name)
    seen = islice(changes(_views(operator, link, every_s, for_s)), count)
    console = Console(highlight=False)
    try:
        if console.is_terminal and not as_json:
            _show(seen, console)
        else:
            for view in seen:
                now = datetime.now().astimezone()
                line = json.dumps({"at": now.isoformat(), **view}) if as_json else f"{now:%H:%M:%S} {as_line(view)}"
                click.echo(line)
    except KeyboardInterrupt:
        pass  # the way to end it


def _views(operator: Operator, link: Link, every_s: float, for_s: float | None) -> Iterator[Json]:
    started = time.monotonic()
    while True:
        yield look(operator, link)
        left_s = every_s if for_s is None else min(every_s, started + for_s - time.monotonic())
        if left_s <= 0:
            return
        time.sleep(left_s)


def as_line(view: Json) -> str:
    """One change for a pipe."""
    parts = [view["link"], *_stopped(view), *_away(view)]
    if view["round"]:
        parts += [_outcome(view["round"]), f"QBER {_qber(view['round'])}", _rates(view["round"])]
    else:
        parts.append("no round known")
    if view["pools"]:
        full = f" ({ALL_FULL})" if _are_full(view["pools"]) else ""
        parts.append("pools " + " ".join(f"{_name(one)} {_level(one)}" for one in view["pools"]) + full)
    if view["physics"]:
        parts.append(_physics(view["physics"]))
    return "; ".join(parts)


def _show(seen: Iterator[Json], console: Console) -> None:
    rounds: dict[str, float | None] = {}
    newest: deque[float | None] = deque(maxlen=ROUNDS_SHOWN)
    with Live(console=console, auto_refresh=False) as live:
        for view in seen:
            if view["round"] and view["round"]["block_id"] not in rounds:
                rounds = {view["round"]["block_id"]: view["round"]["qber"]}
                newest.append(view["round"]["qber"])
            live.update(_display(view, newest), refresh=True)


def _display(view: Json, qbers: deque[float | None]) -> Group:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_row("link", view["link"] + (f": {_physics(view['physics'])}" if view["physics"] else ""))
    for text in _stopped(view):
        table.add_row("", Text(text, "yellow"))
    latest = view["round"]
    if latest:
        bad = latest["outcome"] != "key"
        table.add_row("round", Text(_outcome(latest), "red" if bad else "green"))
        table.add_row("QBER", Text(_qber(latest), "red" if bad else ""))
        table.add_row("", f"{_sparks(qbers, latest['qber_tolerance'])}  a full block is twice the tolerance")
        table.add_row("bits", _rates(latest))
    else:
        table.add_row("round", "none known")
    pools = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for one in view["pools"]:
        bar = ProgressBar(one["high_watermark"], one["stored_key_count"], width=30)
        pools.add_row(_name(one), bar, f"{_level(one)} keys, filled below {one['low_watermark']}")
    if _are_full(view["pools"]):
        pools.add_row("", ALL_FULL)
    return Group(table, pools, *(Text(text, "yellow") for text in _away(view)))


def _stopped(view: Json) -> list[str]:
    return ["stopped by an operator: no round begins"] if view["stopped"] else []


def _away(view: Json) -> list[str]:
    return [f"away: {', '.join(view['away'])} (`qkd-lab status` says why)"] if view["away"] else []


def _sparks(qbers: deque[float | None], tolerance: float) -> str:
    most = 2 * tolerance
    return "".join("·" if one is None else BARS[min(7, int(8 * one / most))] for one in qbers)


def _outcome(latest: Json) -> str:
    return "key" if latest["outcome"] == "key" else f"no key ({latest['abort_reason']})"


def _qber(latest: Json) -> str:
    qber, of_test, most = (percent(latest[name]) for name in ("qber", "qber_test", "qber_tolerance"))
    return f"{qber} (test basis {of_test}, aborts above {most})"


def _rates(latest: Json) -> str:
    sifted, secret = (latest[f"{kind}_bits_per_s"] for kind in ("sifted", "secret"))
    return f"sifted {sifted or 0:,.0f}/s, secret {secret or 0:,.0f}/s"


def _name(pool: Json) -> str:
    return f"{pool['master_sae_id']}→{pool['slave_sae_id']}"


def _are_full(pools: list[Json]) -> bool:
    return bool(pools) and all(one["stored_key_count"] >= one["high_watermark"] for one in pools)


def _level(pool: Json) -> str:
    return f"{pool['stored_key_count']}/{pool['high_watermark']}"


def _physics(physics: Json) -> str:
    return ", ".join(f"{name} {value}" for name, value in physics.items())
