from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mutual_tls.identity import Identity, NoIdentity, identity_of


def certificate(*uris: str, common_name: str | None = "sae-1") -> x509.Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
    )
    if uris:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(key, hashes.SHA256())


@pytest.mark.parametrize("name", ["sae-a", "a/b?c d", "alice@example.com", "Zoë", "50%", "urn:qkd:kme:a"])
def test_an_id_survives_the_round_trip_through_its_urn(name):
    assert Identity.from_urn(Identity("sae", name).urn) == Identity("sae", name)


@pytest.mark.parametrize(
    "urn", ["", "urn:qkd:", "urn:qkd:sae", "urn:qkd:sae:", "urn:qkd:king:a", "urn:x:sae:a", "urn:qkd::a"]
)
def test_a_malformed_urn_is_no_identity(urn):
    with pytest.raises(NoIdentity):
        Identity.from_urn(urn)


def test_the_urn_in_the_san_is_the_identity_whatever_the_subject_says():
    shown = certificate("https://example.org", "urn:qkd:kme:kme-a", common_name="sae-a")
    assert identity_of(shown, subject_counts=True) == Identity("kme", "kme-a")


def test_the_common_name_counts_only_where_it_is_said_to():
    assert identity_of(certificate(), subject_counts=True) == Identity("sae", "sae-1")
    with pytest.raises(NoIdentity):
        identity_of(certificate())


def test_a_malformed_urn_does_not_fall_back_to_the_common_name():
    with pytest.raises(NoIdentity):
        identity_of(certificate("urn:qkd:king:a"), subject_counts=True)


def test_two_urns_are_no_identity_because_the_caller_could_choose():
    with pytest.raises(NoIdentity, match="2"):
        identity_of(certificate("urn:qkd:sae:a", "urn:qkd:sae:b"), subject_counts=True)


def test_an_empty_subject_is_no_identity():
    with pytest.raises(NoIdentity):
        identity_of(certificate(common_name=None), subject_counts=True)


def is_seven(issuer: str, serial_number: int) -> str | None:
    return "7" if (issuer, serial_number) == ("CN=sae-1", 1) else None


def test_a_registered_pair_comes_before_the_common_name_and_after_the_urn():
    assert identity_of(certificate(), subject_counts=True, registered=is_seven) == Identity("sae", "7")
    shown = certificate("urn:qkd:sae:a")
    assert identity_of(shown, subject_counts=True, registered=is_seven) == Identity("sae", "a")
    elsewhere = certificate(common_name="sae-2")  # the same serial number of another issuer
    assert identity_of(elsewhere, subject_counts=True, registered=is_seven) == Identity("sae", "sae-2")


def test_a_registered_pair_counts_only_where_the_subject_does():
    with pytest.raises(NoIdentity):
        identity_of(certificate(), registered=is_seven)
    with pytest.raises(NoIdentity):
        identity_of(certificate("urn:qkd:king:a"), subject_counts=True, registered=is_seven)
