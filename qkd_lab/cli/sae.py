"""`qkd-lab sae`: look at the SAEs that are registered, limit, suspend and remove them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import click

from qkd_lab.cli.administration import as_json, connection_line, of_all_kmes, removed_line, show_answer
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator


class _Limit(click.ParamType):
    """A number of 1 or more, or `default`."""

    name = "N|default"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "default":
            return value
        if not (str(value).isascii() and str(value).isdecimal() and int(value)):
            self.fail(f"{value!r}: expected a number of 1 or more, or `default`", param, ctx)
        return int(value)


@click.group()
def sae() -> None:
    """SAEs that are registered. A new one: `qkd-lab register sae`."""


@sae.command("list")
@as_json
def list_saes(as_json: bool) -> None:
    """All SAEs of all KMEs."""
    found = [one for _, saes in of_all_kmes(Operator(LabFolder.here()), "/v1/saes") for one in saes]
    show_answer(found, as_json, _sae_line)


@sae.command("show")
@click.argument("sae_id", metavar="ID")
@as_json
def show_sae(sae_id: str, as_json: bool) -> None:
    """One SAE, its limits, and its connections."""
    operator = Operator(LabFolder.here())
    found = operator.call(_home(operator, sae_id), "GET", _sae_path(sae_id))
    if as_json:
        return show_answer(found, True, _sae_line)
    click.echo(_sae_line(found))
    for name, value in found["effective_limits"].items():
        own = " (its own)" if found["limits"][name] is not None else ""
        click.echo(f"  {name}: {'no limit' if value is None else value}{own}")
    for one in found["connections"]:
        click.echo(f"  {connection_line(one)}")


@sae.command("set")
@click.argument("sae_id", metavar="ID")
@click.option("--requests-per-s", type=_Limit(), help="Calls a second.")
@click.option("--request-burst", type=_Limit(), help="Calls at once, 2 or more.")
@click.option("--bits-per-hour", type=_Limit(), help="Of the keys given to it as a master.")
@click.option("--bits-per-day", type=_Limit(), help="The same in a day.")
@as_json
def set_sae(sae_id: str, as_json: bool, **limits: Any) -> None:
    """Change what an SAE may use; `default` is the KME's."""
    wanted = {name: None if value == "default" else value for name, value in limits.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to set: give --requests-per-s, --bits-per-day or another")
    show_answer(_change_sae(sae_id, wanted), as_json, _sae_line)


@sae.command("suspend")
@click.argument("sae_id", metavar="ID")
@as_json
def suspend_sae(sae_id: str, as_json: bool) -> None:
    """Refuse all its calls with 401; its keys remain."""
    show_answer(_change_sae(sae_id, {"suspended": True}), as_json, _sae_line)


@sae.command("resume")
@click.argument("sae_id", metavar="ID")
@as_json
def resume_sae(sae_id: str, as_json: bool) -> None:
    """End a suspension."""
    show_answer(_change_sae(sae_id, {"suspended": False}), as_json, _sae_line)


@sae.command("remove")
@click.argument("sae_id", metavar="ID")
@as_json
def remove_sae(sae_id: str, as_json: bool) -> None:
    """Remove an SAE and its connections; their keys are destroyed at both KMEs. Its certificate stays as it is."""
    operator = Operator(LabFolder.here())
    found = operator.call(_home(operator, sae_id), "DELETE", _sae_path(sae_id), timeout_s=30.0)
    show_answer(found, as_json, _removed_sae)


def _home(operator: Operator, sae_id: str) -> str:
    """The KME where an SAE is registered."""
    for kme_id, saes in of_all_kmes(operator, "/v1/saes"):
        if any(one["sae_id"] == sae_id for one in saes):
            return kme_id
    raise LabError(f"no SAE {sae_id!r} is registered: `qkd-lab sae list` shows those that are")


def _change_sae(sae_id: str, wanted: dict[str, Any]) -> dict[str, Any]:
    operator = Operator(LabFolder.here())
    return operator.call(_home(operator, sae_id), "PATCH", _sae_path(sae_id), wanted)


def _sae_path(sae_id: str) -> str:
    return f"/v1/saes/{quote(sae_id, safe='')}"


def _sae_line(one: dict[str, Any]) -> str:
    own = ", ".join(f"{name} {value}" for name, value in one["limits"].items() if value is not None)
    parts = [f"{one['sae_id']} at {one['kme_id']}", "suspended" if one["suspended"] else "", own]
    return ", ".join(part for part in parts if part)


def _removed_sae(found: dict[str, Any]) -> str:
    lines = [f"SAE {found['sae_id']} is removed, {found['destroyed_key_count']} keys destroyed at its KME"]
    return "\n".join(lines + [removed_line(one) for one in found["connections"]])
