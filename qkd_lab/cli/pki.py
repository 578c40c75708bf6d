"""`qkd-lab pki`: the lab's certificates. Making some from a file of one's own: `qkd_lab.cli.pki_generate`."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from qkd_lab.cli.pki_generate import generate
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.pki.contents import LEAF_LIFE
from qkd_lab.pki.holders import Holder, operator_client, sae_client
from qkd_lab.pki.listed import Listed
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

DAYS = click.IntRange(1, 3650)
# Processes look at their files every second; who is told to use the new certificate has it by then.
TAKEN_UP_WITHIN_S = 3.0


def _pki(lab: LabFolder) -> Pki:
    return Pki(lab.pki, datetime.now(UTC))


@click.group()
def pki() -> None:
    """Certificates: an authority per role, a folder per holder in .lab/pki."""


pki.add_command(generate)


@pki.command()
@click.option(
    "--topology", "file", type=click.Path(path_type=Path), help="TOML file; the shipped two sites by default."
)
def init(file: Path | None) -> None:
    """Make what is missing, renew what expires within 30 days, publish the revocation lists."""
    lab = LabFolder.here()
    lab.make()
    wanted = file or (lab.topology if lab.topology.exists() else SHIPPED / "two-sites.toml")
    made = _pki(lab).make(lab.keep_topology(wanted))
    click.echo(f"made: {', '.join(made)}" if made else "every certificate is good: nothing to do")
    if made:
        _tell_containers(lab)


@pki.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["sae", "operator"]), default="sae", show_default=True)
@click.option("--site", help="For an SAE: the site whose authority signs it.")
@click.option("--cn-only", is_flag=True, help="For an SAE: the id in the subject's common name, and no SAN.")
@click.option("--days", type=DAYS, help=f"Its life, {LEAF_LIFE.days} by default.")
@click.option("--csr", "request", type=click.Path(path_type=Path), help="PEM request: its key is certified, no other.")
def issue(name: str, role: str, site: str | None, cn_only: bool, days: int | None, request: Path | None) -> None:
    """A client certificate; `qkd-lab register sae` makes one for an SAE and registers it as well.

    Of a --csr only the key counts; who it is for is NAME. What the topology lists is made by `pki init`.
    """
    lab = LabFolder.here()
    life = timedelta(days=days) if days else LEAF_LIFE
    if role == "sae" and not site:
        raise click.UsageError("--site is missing: whose authority is to sign the certificate of an SAE?")
    if role != "sae" and (site or cn_only):
        raise click.UsageError("--site and --cn-only are for --role sae")
    if site and lab.topology.exists():
        load(lab.topology).site(site)
    named_by = "cn" if cn_only else "urn"
    holder: Holder = sae_client(name, site or "", named_by, life) if role == "sae" else operator_client(name, life)
    held = _find(lab, name)
    if held and not request and held.revoked_at is None and (days or held.has_urn == cn_only):
        raise LabError(
            f"{name!r} has a certificate already: revoke it, or choose another name; `qkd-lab pki renew` renews"
        )
    click.echo(str(_pki(lab).issue(holder, _request_in(request) if request else None).relative_to(lab.path.parent)))


def _request_in(file: Path) -> x509.CertificateSigningRequest:
    try:
        request = x509.load_pem_x509_csr(file.read_bytes())
        public_key, signed = request.public_key(), request.is_signature_valid
    except OSError as error:
        raise LabError(f"--csr: {file}: {error.strerror}") from None
    except Exception:  # keys of kinds that are not supported raise their own
        raise LabError(f"--csr: {file} is no PEM certificate request: `openssl req -new` makes one") from None
    if not signed:
        raise LabError(f"--csr: {file} is not signed with its own key")
    least = 2048 if isinstance(public_key, rsa.RSAPublicKey) else 256
    if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey) or public_key.key_size < least:
        raise LabError(f"--csr: {file}: expected an EC key of 256 bits or more, or an RSA key of 2048 or more")
    return request


@pki.command("list")
@click.option("--json", "as_json", is_flag=True, help="For a program.")
def list_(as_json: bool) -> None:
    """Every certificate, one per line."""
    held = _pki(LabFolder.here()).list()
    if not held:
        raise LabError("no certificates here: make them with `qkd-lab pki init`")
    if as_json:
        click.echo(json.dumps([_as_json(one) for one in held], indent=2))
        return
    for one in held:
        ends = f"expires {one.expires:%Y-%m-%d}{_state(one)}"
        click.echo(f"{one.name}\t{_who(one)}\t{one.authority}\t{ends}\t{one.serial_number:x}")


@pki.command()
@click.argument("name")
def show(name: str) -> None:
    """One certificate in words."""
    lab = LabFolder.here()
    held = _find(lab, name)
    if held is None:
        raise LabError(f"no certificate {name!r} here: `qkd-lab pki list` shows those there are")
    click.echo(f"identity   {_who(held)}")
    click.echo(f"authority  {held.authority}")
    click.echo(f"names      {', '.join(held.names) or 'none: a client'}")
    click.echo(f"expires    {held.expires:%Y-%m-%d %H:%M} UTC{_state(held)}")
    click.echo(f"serial     {held.serial_number:x}")
    click.echo(f"files      {lab.identity(name).relative_to(lab.path.parent)}/{{cert,key,ca}}.pem")


@pki.command()
@click.argument("name", required=False)
@click.option("--serial", help="Instead of NAME: hexadecimal, as `list` shows it; of a certificate that was renewed.")
@click.option("--authority", help="With --serial: who signed it, as `list` shows it.")
def revoke(name: str | None, serial: str | None, authority: str | None) -> None:
    """Revoke a certificate: every process refuses it within seconds, also on connections that are open."""
    lab = LabFolder.here()
    if (name is None) == (serial is None):
        raise click.UsageError("give a NAME, or --serial with --authority")
    if name is not None:
        if authority:
            raise click.UsageError("--authority goes with --serial")
        signer, number, is_new = _pki(lab).revoke(name)
    else:
        if not authority:
            known = ", ".join(_pki(lab).authorities()) or "none"
            raise click.UsageError(f"--authority is missing: serial numbers are unique with their authority ({known})")
        signer, number = authority, _serial(serial or "")
        is_new = _pki(lab).revoke_serial(number, signer)
    text = "is revoked" if is_new else "was revoked before"
    click.echo(
        f"{name or 'the certificate'} ({signer}, serial {number:x}) {text}; running processes refuse it within 5 s"
    )


@pki.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--all", "everyone", is_flag=True, help="Every certificate that is not revoked.")
@click.option("--expiring", "days", type=click.IntRange(0, 3650), metavar="DAYS", help="Those that end within DAYS.")
@click.option("--revoke-old", is_flag=True, help="Revoke what was renewed, once running processes use the new one.")
def renew(names: tuple[str, ...], everyone: bool, days: int | None, revoke_old: bool) -> None:
    """Another certificate for the same holder, with a new key; nothing needs to be restarted.

    The old certificate stays good until it expires, or is revoked.
    """
    lab = LabFolder.here()
    if (bool(names), everyone, days is not None).count(True) != 1:
        raise click.UsageError("give NAMEs, or --all, or --expiring DAYS")
    if revoke_old and lab.in_containers:
        raise LabError(
            "--revoke-old: containers have the new files only after `docker compose run --rm init`; run that, "
            "then `qkd-lab pki revoke --serial S --authority A`"
        )
    store = _pki(lab)
    if not names:
        until = datetime.now(UTC) + timedelta(days=days or 0)
        held = [one for one in store.list() if one.revoked_at is None]
        names = tuple(one.name for one in held if everyone or one.expires <= until)
    old = []
    for name in names:
        authority, serial_number = store.renew(name)
        old.append((authority, serial_number))
        click.echo(f"{name} is renewed; before: {authority}, serial {serial_number:x}")
        if (held_now := _find(lab, name)) and not held_now.has_urn:
            click.echo(f"{name} is another serial number now: where a KME knows it by that, register it again")
    if not names:
        click.echo("nothing to renew")
    elif revoke_old:
        time.sleep(TAKEN_UP_WITHIN_S)
        for authority, serial_number in old:
            store.revoke_serial(serial_number, authority)
        click.echo(f"{len(old)} revoked")
    else:
        _tell_containers(lab)


def _tell_containers(lab: LabFolder) -> None:
    if lab.in_containers:
        click.echo("containers get the new files by `docker compose run --rm init`")


def _find(lab: LabFolder, name: str) -> Listed | None:
    return next((one for one in _pki(lab).list() if one.name == name), None)


def _serial(text: str) -> int:
    try:
        number = int(text.replace(":", ""), 16)
    except ValueError:
        number = 0
    if not 0 < number < 1 << 160:
        raise click.UsageError(f"--serial: expected a serial number in hexadecimal, got {text[:60]!r}")
    return number


def _who(one: Listed) -> str:
    if one.identity is None:
        return "by serial number"
    return one.identity.urn if one.has_urn else f"CN={one.identity.id}"


def _state(one: Listed) -> str:
    if one.revoked_at:
        return f", revoked {one.revoked_at:%Y-%m-%d %H:%M} UTC"
    now = datetime.now(UTC)
    return ", expired" if one.expires < now else ", soon" if one.renewed_from < now else ""


def _as_json(one: Listed) -> dict[str, Any]:
    return {
        "name": one.name,
        "role": one.identity.role if one.identity else "sae",
        "id": one.identity.id if one.identity else None,
        "identity": _who(one),
        "authority": one.authority,
        "serial": f"{one.serial_number:x}",
        "names": one.names,
        "not_after": one.expires.isoformat(),
        "revoked_at": one.revoked_at.isoformat() if one.revoked_at else None,
        "expires_soon": one.renewed_from < datetime.now(UTC),
    }
