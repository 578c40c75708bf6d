"""Reading revocation lists: what is taken, what is not, and what stays in force."""

import os
import shutil
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mutual_tls.revocation import RevocationError, Revocations, list_file
from qkd_lab.pki.authority import Authority
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

NOW = datetime.now(UTC)
TOPOLOGY = load(SHIPPED / "two-sites.toml")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "lab"
    Pki(folder / "pki", NOW).make(TOPOLOGY)
    return folder


@pytest.fixture
def pki(lab, tmp_path):
    shutil.copytree(lab, tmp_path / "lab")
    return Pki(tmp_path / "lab" / "pki", NOW)


@pytest.fixture
def revocations(pki):
    return Revocations(pki.lists, pki.folder / "kme-a" / "trust" / "kme.pem")


def der(pki, name):
    certificate = x509.load_pem_x509_certificate((pki.folder / name / "cert.pem").read_bytes())
    return certificate.public_bytes(serialization.Encoding.DER)


def replace(file, content):
    """As a careful writer does, so that no reader sees a part."""
    file.with_suffix(".new").write_bytes(content)
    os.replace(file.with_suffix(".new"), file)


def test_a_revoked_certificate_is_known_after_the_next_look_and_others_are_not(pki, revocations):
    assert not revocations.is_revoked(der(pki, "kme-b"))
    assert not revocations.refresh()
    pki.revoke("kme-b")
    assert revocations.refresh() and not revocations.refresh()
    assert revocations.is_revoked(der(pki, "kme-b"))
    assert not revocations.is_revoked(der(pki, "kme-a")) and revocations.fault() is None


def test_the_same_serial_number_of_another_authority_is_not_revoked(pki, revocations):
    serial = x509.load_der_x509_certificate(der(pki, "kme-b")).serial_number
    pki.revoke_serial(serial, "qkd")
    everyone = Revocations(pki.lists, pki.folder / "operator" / "ca.pem")
    assert not everyone.is_revoked(der(pki, "kme-b")) and not revocations.refresh()


def test_a_client_reads_the_lists_of_all_its_authorities(pki):
    everyone = Revocations(pki.lists, pki.folder / "operator" / "ca.pem")
    for name in ("kme-b", "qkde-a", "sae-b-app"):
        pki.revoke(name)
        assert everyone.refresh() and everyone.is_revoked(der(pki, name))


def signed_elsewhere(pki, before):
    other = Pki(pki.folder.parent / "other" / "pki", NOW)
    other.make(TOPOLOGY)
    for serial in range(1, 9):
        other.revoke_serial(serial, "kme")
    return (other.lists / "kme.pem").read_bytes()


def altered(pki, before):
    data = bytearray(
        x509.load_pem_x509_crl((pki.lists / "kme.pem").read_bytes()).public_bytes(serialization.Encoding.DER)
    )
    data[-1] ^= 1
    return bytes(data)


def without_a_number(pki, before):
    return _signed(pki, lambda builder: builder)


def of_a_part(pki, before):
    delta = x509.DeltaCRLIndicator(1)
    return _signed(pki, lambda b: b.add_extension(x509.CRLNumber(9), False).add_extension(delta, True))


def _signed(pki, extend):
    authority = Authority.at(pki.folder, "kme", NOW)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.certificate.subject)
    builder = extend(builder.last_update(NOW).next_update(NOW + timedelta(days=1)))
    key = serialization.load_pem_private_key((pki.folder / "authorities" / "kme" / "key.pem").read_bytes(), None)
    from cryptography.hazmat.primitives import hashes

    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


BAD = [
    (lambda pki, before: None, "No such file"),
    (lambda pki, before: b"", "no certificate revocation list"),
    (lambda pki, before: b"\x00" * 100, "no certificate revocation list"),
    (lambda pki, before: b"-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n", "no certificate revocation"),
    (lambda pki, before: (pki.folder / "kme-a" / "cert.pem").read_bytes(), "no certificate revocation list"),
    (lambda pki, before: (pki.lists / "qkd.pem").read_bytes(), "not signed by the authority"),
    (lambda pki, before: before, "number is 1, and number 2 is in force"),
    (signed_elsewhere, "not signed by the authority"),
    (altered, "not signed by the authority"),
    (without_a_number, "no CRL number"),
    (of_a_part, "not understood"),
]


@pytest.mark.parametrize(("made", "words"), BAD)
def test_a_list_that_cannot_be_used_changes_nothing_and_is_a_fault_until_a_good_one_comes(
    pki, revocations, made, words, caplog
):
    file = pki.lists / "kme.pem"
    before = file.read_bytes()
    pki.revoke("kme-b")
    assert revocations.refresh()
    good, bad = file.read_bytes(), made(pki, before)
    if bad is None:
        file.unlink()
    else:
        replace(file, bad)
    for _ in range(3):
        assert not revocations.refresh()
    assert words in revocations.fault() and "qkd-lab pki init" in revocations.fault()
    assert sum(words in line for line in caplog.messages) == 1  # said once, not each second
    assert revocations.is_revoked(der(pki, "kme-b"))
    replace(file, good)
    assert not revocations.refresh() and revocations.fault() is None


@pytest.mark.parametrize(("made", "words"), [one for one in BAD if "number is" not in one[1]])
def test_without_a_good_list_at_the_start_nobody_is_trusted(pki, made, words):
    file = pki.lists / "kme.pem"
    bad = made(pki, file.read_bytes())
    file.unlink() if bad is None else replace(file, bad)
    with pytest.raises(RevocationError, match=words):
        Revocations(pki.lists, pki.folder / "kme-a" / "ca.pem")


def test_an_expired_list_stays_in_force_and_is_a_fault(pki):
    pki.revoke("kme-b")
    later = [NOW]
    revocations = Revocations(pki.lists, pki.folder / "kme-a" / "trust" / "kme.pem", clock=lambda: later[0])
    assert revocations.fault() is None
    later[0] += timedelta(days=400)
    assert "has expired" in revocations.fault() and revocations.is_revoked(der(pki, "kme-b"))
    again = Pki(pki.folder, later[0])
    again.publish_lists()
    assert revocations.refresh() and revocations.fault() is None and revocations.is_revoked(der(pki, "kme-b"))


def test_a_list_file_is_named_by_its_authority(pki):
    authority = Authority.at(pki.folder, "sae-a", NOW)
    assert list_file(pki.lists, authority.certificate) == pki.lists / "sae-a.pem"
    assert {path.name for path in pki.lists.iterdir()} == {
        f"{name}.pem" for name in ("sae-a", "sae-b", "kme", "qkd", "operator", "app")
    }
