"""`qkd-lab register`: a new SAE with its certificate, or a connection between two SAEs."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.authority import authority_folder
from qkd_lab.pki.store import Pki
from qkd_lab.processes import sae_authority

# ETSI GS QKD 004's, as the KME's operator listener has them (docs/protocols.md): integers, 0 or more.
QOS_MEMBERS = ("Key_chunk_size", "Max_bps", "Min_bps", "Jitter", "Priority", "Timeout", "TTL")


def _qos(_context: click.Context, _option: click.Parameter, given: tuple[str, ...]) -> dict[str, int]:
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
@click.option("--max-sae-ids", type=click.IntRange(0, 0), default=0, help="Only 0: multicast is not there yet.")
@click.option("--qos", multiple=True, callback=_qos, metavar="NAME=VALUE", help=f"One of {', '.join(QOS_MEMBERS)}.")
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
    click.echo(
        f"connection {master} → {slave} is registered at kme-{site} and kme-{other}: {found.get('connection_id', '')}"
    )


@register.command()
@click.argument("sae_id", metavar="ID")
@click.option("--site", required=True, help="The site whose KME serves it.")
@click.option(
    "--certificate",
    "file",
    type=click.Path(path_type=Path),
    help="PEM, signed by the site's SAE authority: the SAE is known by its issuer and serial number; none is made.",
)
def sae(sae_id: str, site: str, file: Path | None) -> None:
    """Register an SAE at its site's KME and issue its certificate, or take one that it has."""
    operator = Operator(LabFolder.here())
    operator.topology.site(site)
    kme = f"kme-{site}"
    if file is not None:
        pem = _certificate_in(file, operator.lab, site)
        operator.call(kme, "POST", "/v1/saes", {"sae_id": sae_id})
        found = operator.call(kme, "PUT", f"/v1/saes/{quote(sae_id, safe='')}/certificate", {"certificate": pem})
        click.echo(f"SAE {sae_id} is registered at {kme} by serial number {found['serial']} of {found['issuer']}")
        return
    folder = Pki(operator.lab.pki, datetime.now(UTC)).issue_sae(sae_id, site)
    operator.call(kme, "POST", "/v1/saes", {"sae_id": sae_id})
    shown = folder.relative_to(operator.lab.path.parent)
    click.echo(f"SAE {sae_id} is registered at {kme}; its certificate is in {shown}")


def _certificate_in(file: Path, lab: LabFolder, site: str) -> str:
    try:
        data = file.read_bytes()
        certificate = x509.load_pem_x509_certificate(data)
    except OSError as error:
        raise LabError(f"--certificate: {file}: {error.strerror}") from None
    except ValueError:
        raise LabError(f"--certificate: {file} holds no PEM certificate") from None
    authority = authority_folder(lab.pki, sae_authority(site)) / "cert.pem"
    if authority.exists():  # the tool's container has none, and the KME's listener decides
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.read_bytes()))
        except (ValueError, TypeError, InvalidSignature):
            raise LabError(
                f"--certificate: {file} is not signed by the SAE authority of site {site}, whose certificates alone "
                f"its KME lets in: `qkd-lab pki issue ID --site {site} --csr FILE` certifies a key of yours"
            ) from None
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _site_of(operator: Operator, sae_id: str) -> str:
    """The site of an SAE: of the topology, of the authority that signed its certificate, or the one that knows it."""
    for site in operator.topology.sites:
        if sae_id in site.saes:
            return site.name
    for held in Pki(operator.lab.pki, datetime.now(UTC)).list():
        if held.name == sae_id and held.authority.startswith("sae-"):
            return held.authority.removeprefix("sae-")
    for site in operator.topology.sites:  # an SAE whose certificate comes from elsewhere
        with contextlib.suppress(LabError):
            if any(one.get("sae_id") == sae_id for one in operator.call(site.kme_id, "GET", "/v1/saes")):
                return site.name
    raise LabError(
        f"no SAE {sae_id!r} in this lab: register it first with `qkd-lab register sae {quote(sae_id)} --site S`"
    )
