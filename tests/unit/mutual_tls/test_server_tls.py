"""A listener's TLS with lists whose times OpenSSL would refuse: in memory, without a server."""

import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mutual_tls.contexts import Credentials, client_context
from mutual_tls.server_tls import ServerTls
from qkd_lab.pki.authority import LIST_LIFE, Authority
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "lab"
    Pki(folder / "pki", NOW).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture
def pki(made, tmp_path) -> Pki:
    shutil.copytree(made, tmp_path / "lab")
    return Pki(tmp_path / "lab" / "pki", NOW)


def listener(pki) -> ServerTls:
    folder = pki.folder / "kme-a"
    return ServerTls("peer", Credentials.in_folder(folder), folder / "trust" / "kme.pem")


def certificate(pki, name) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki.folder / name / "cert.pem").read_bytes())


def refusal(pki, tls, name) -> str | None:
    return tls.refusal(certificate(pki, name).public_bytes(serialization.Encoding.DER))


def handshake(pki, tls, name) -> str:
    """Why the listener ends a full handshake, or nothing."""
    client = client_context(Credentials.in_folder(pki.folder / name))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="localhost"), tls.context.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
    return ""


def publish(pki, updated, number=2):
    """A list in which KME b is revoked."""
    pem = Authority.at(pki.folder, "kme", NOW).sign_list(
        {certificate(pki, "kme-b").serial_number: NOW}, number, updated
    )
    (pki.lists / "kme.pem").write_bytes(pem)


def test_a_revoked_caller_is_refused_in_the_handshake_and_others_are_not(pki):
    tls = listener(pki)
    assert handshake(pki, tls, "kme-b") == ""
    publish(pki, NOW - timedelta(minutes=1))
    tls.refresh()
    assert handshake(pki, tls, "kme-b") == "certificate revoked"
    assert handshake(pki, tls, "kme-b-scheduler") == "" and tls.fault() is None


@pytest.mark.parametrize("updated", [NOW - LIST_LIFE - timedelta(days=1), NOW + timedelta(hours=1)])
@pytest.mark.parametrize("at_the_start", [True, False])
def test_a_list_that_has_expired_or_is_from_a_clock_ahead_keeps_nobody_out_but_the_revoked(pki, updated, at_the_start):
    if at_the_start:
        publish(pki, updated)
    tls = listener(pki)
    if not at_the_start:
        publish(pki, updated)
    tls.refresh()
    assert handshake(pki, tls, "kme-b-scheduler") == "" and refusal(pki, tls, "kme-b-scheduler") is None
    assert refusal(pki, tls, "kme-b") == "the caller's certificate was revoked"
    assert ("has expired" in (tls.fault() or "")) is (updated < NOW)
    publish(pki, NOW - timedelta(minutes=1), number=3)
    tls.refresh()
    assert tls.fault() is None and refusal(pki, tls, "kme-b")
    assert handshake(pki, tls, "kme-b-scheduler") == "" and handshake(pki, tls, "kme-b") == "certificate revoked"


def test_hundreds_of_revocations_in_a_second_keep_nobody_else_out(pki):
    tls = listener(pki)
    authority = Pki(pki.folder, NOW)._revoked_by("kme")
    for serial in range(1, 400):
        authority.revoke(serial)
    authority.revoke(certificate(pki, "kme-b").serial_number)
    tls.refresh()
    assert handshake(pki, tls, "kme-b-scheduler") == "" and tls.fault() is None
    assert refusal(pki, tls, "kme-b") is not None
