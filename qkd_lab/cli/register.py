"""`qkd-lab register`: a new SAE with its certificate, or a connection between two SAEs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.store import Pki
from qkd_lab.topology_fields import MAX_SAE_IDS

# ETSI GS QKD 004's, as the KME's operator listener has them (docs/protocols.md): integers, 0 or more.
QOS_MEMBERS = ("Key_chunk_size", "Max_bps", "Min_bps", "Jitter", "Priority", "Timeout", "TTL")


def qos_members(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
    members: dict[str, int] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in QOS_MEMBERS:
            raise click.BadParameter(f"{text!r}: expected NAME=VALUE with a NAME of {', '.join(QOS_MEMBERS)}")
        if name in members:
            raise click.BadParameter(f"{name} is given twice")
        if not (value.isascii() and value.isdecimal()):
            raise click.BadParameter(f"{text!r}: expected {name}=VALUE with an integer VALUE, 0 or more")
        members[name] = int(value)
    return members


@click.group(invoke_without_command=True)
@click.option("--master", help="The SAE that asks for keys first.")
@click.option("--slave", help="The SAE that fetches them.")
@click.option("--key-size", default=256, show_default=True, help="Bits of a key.")
@click.option("--max-keys", default=1000, show_default=True, help="Keys in the pool when it is full.")
@click.option("--max-keys-per-request", type=int, help="By default 128, or --max-keys where that is less.")
@click.option(
    "--max-sae-ids",
    type=click.IntRange(MAX_SAE_IDS[0], MAX_SAE_IDS[-1]),
    default=0,
    show_default=True,
    help="Additional slaves that a request may name.",
)
@click.option("--qos", multiple=True, callback=qos_members, metavar="NAME=VALUE", help=f"{', '.join(QOS_MEMBERS)}.")
@click.pass_context
def register(
    context: click.Context, master: str | None, slave: str | None, qos: dict[str, int], **sizes: int | None
) -> None:
    """Register a connection: --master M --slave S, or an SAE: sae ID --site S."""
    if context.invoked_subcommand:
        if master or slave:
            raise click.UsageError("--master and --slave register a connection: leave them out, or leave out `sae`")
        return
    if not master or not slave:
        raise click.UsageError("give both --master and --slave, or `sae ID --site S`")
    per_request = sizes["max_keys_per_request"]
    operator = Operator(LabFolder.here())
    site, other = _site_of(operator, master), _site_of(operator, slave)
    body = {
        "source_KME_ID": f"kme-{site}",
        "target_KME_ID": f"kme-{other}",
        "master_SAE_ID": master,
        "slave_SAE_ID": slave,
        "key_size": sizes["key_size"],
        "max_keys_count": sizes["max_keys"],
        "max_key_per_request": min(128, sizes["max_keys"]) if per_request is None else per_request,
        "max_SAE_ID_count": sizes["max_sae_ids"],
        **qos,
    }
    found: dict[str, Any] = operator.call(f"kme-{site}", "POST", "/register_connection", body)
    kmes = f"kme-{site}" if site == other else f"kme-{site} and kme-{other}"
    click.echo(f"connection {master} → {slave} is registered at {kmes}: {found.get('connection_id', '')}")


@register.command()
@click.argument("sae_id", metavar="ID")
@click.option("--site", required=True, help="The site whose KME serves it.")
def sae(sae_id: str, site: str) -> None:
    """Register an SAE at its site's KME and issue its certificate."""
    operator = Operator(LabFolder.here())
    operator.topology.site(site)
    folder = Pki(operator.lab.pki, datetime.now(UTC)).issue_sae(sae_id, site)
    operator.call(f"kme-{site}", "POST", "/v1/saes", {"sae_id": sae_id})
    shown = folder.relative_to(operator.lab.path.parent)
    click.echo(f"SAE {sae_id} is registered at kme-{site}; its certificate is in {shown}")


def _site_of(operator: Operator, sae_id: str) -> str:
    """The site of an SAE: of the topology, or of the authority that signed its certificate."""
    for site in operator.topology.sites:
        if sae_id in site.saes:
            return site.name
    for held in Pki(operator.lab.pki, datetime.now(UTC)).list():
        if held.name == sae_id and held.identity.role == "sae":
            return held.authority.removeprefix("sae-")
    raise LabError(
        f"no SAE {sae_id!r} in this lab: register it first with `qkd-lab register sae {quote(sae_id)} --site S`"
    )
