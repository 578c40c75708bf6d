"""`qkd-lab connection`: look at the connections that are registered, change, suspend and remove them."""

from __future__ import annotations

from typing import Any

import click

from qkd_lab.cli.administration import as_json, connection_line, of_all_kmes, removed_line, show_answer
from qkd_lab.cli.register import QOS_MEMBERS, qos_members
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator


@click.group()
def connection() -> None:
    """Connections that are registered. A new one: `qkd-lab register --master M --slave S`."""


@connection.command("list")
@as_json
def list_connections(as_json: bool) -> None:
    """All connections, as the masters' KMEs have them."""
    found = [
        one
        for kme_id, connections in of_all_kmes(Operator(LabFolder.here()), "/v1/connections")
        for one in connections
        if one["source_KME_ID"] == kme_id
    ]
    show_answer(found, as_json, connection_line)


@connection.command("show")
@click.argument("master")
@click.argument("slave")
@as_json
def show_connection(master: str, slave: str, as_json: bool) -> None:
    """One connection."""
    _, found = _connection(Operator(LabFolder.here()), master, slave)
    show_answer(found, as_json, connection_line)


@connection.command("set")
@click.argument("master")
@click.argument("slave")
@click.option("--max-keys", "max_keys_count", type=int, help="Keys in the pool when it is full.")
@click.option("--max-keys-per-request", "max_key_per_request", type=int, help="Keys in one request.")
@click.option("--max-sae-ids", "max_SAE_ID_count", type=int, help="Additional slaves in one request.")
@click.option("--ttl-s", type=int, help="For how long the pool keeps a key.")
@click.option("--qos", multiple=True, callback=qos_members, metavar="NAME=VALUE", help=f"{', '.join(QOS_MEMBERS)}.")
@as_json
def set_connection(master: str, slave: str, as_json: bool, **given: Any) -> None:
    """Change a connection at both its KMEs."""
    wanted = {name: value for name, value in given.items() if value not in (None, {})}
    if not wanted:
        raise click.UsageError("nothing to set: give --max-keys, --ttl-s, --qos or another")
    _change_connection(master, slave, wanted, as_json)


@connection.command("suspend")
@click.argument("master")
@click.argument("slave")
@as_json
def suspend_connection(master: str, slave: str, as_json: bool) -> None:
    """Give out no keys of it at either KME; they remain."""
    _change_connection(master, slave, {"suspended": True}, as_json)


@connection.command("resume")
@click.argument("master")
@click.argument("slave")
@as_json
def resume_connection(master: str, slave: str, as_json: bool) -> None:
    """End a suspension."""
    _change_connection(master, slave, {"suspended": False}, as_json)


@connection.command("remove")
@click.argument("master")
@click.argument("slave")
@as_json
def remove_connection(master: str, slave: str, as_json: bool) -> None:
    """Remove a connection and destroy its keys, at both KMEs."""
    operator = Operator(LabFolder.here())
    kme_id, known = _connection(operator, master, slave)
    path = f"/v1/connections/{known['connection_id']}"
    show_answer(operator.call(kme_id, "DELETE", path, timeout_s=30.0), as_json, removed_line)


def _connection(operator: Operator, master: str, slave: str) -> tuple[str, dict[str, Any]]:
    """The master's KME, and the connection as that has it."""
    for kme_id, connections in of_all_kmes(operator, "/v1/connections"):
        for one in connections:
            if (one["source_KME_ID"], one["master_SAE_ID"], one["slave_SAE_ID"]) == (kme_id, master, slave):
                return kme_id, one
    raise LabError(f"{master} and {slave} are not connected: `qkd-lab connection list` shows those that are")


def _change_connection(master: str, slave: str, wanted: dict[str, Any], as_json: bool) -> None:
    operator = Operator(LabFolder.here())
    kme_id, known = _connection(operator, master, slave)
    path = f"/v1/connections/{known['connection_id']}"
    show_answer(operator.call(kme_id, "PATCH", path, wanted, timeout_s=30.0), as_json, connection_line)
