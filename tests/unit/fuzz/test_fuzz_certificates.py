"""Certificates with strange names: an identity, or NoIdentity, which a listener answers with 401."""

import json
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from kme.certificates import CertificateName, Certificates, certificate_in
from kme.errors import BadRequest
from kme.limits import is_sae_id
from kme.web.sae import sae_app
from mutual_tls.app import CERTIFICATE
from mutual_tls.identity import ROLES, Identity, NoIdentity, identity_of_der

from malformed import FUZZ, TEXTS, strange_octets

KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASCII = st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=20)
URIS = (
    ASCII
    | ASCII.map(lambda text: f"urn:qkd:{text}")
    | st.tuples(st.sampled_from([*ROLES, "SAE", "king", ""]), ASCII).map(lambda pair: f"urn:qkd:{pair[0]}:{pair[1]}")
    | st.sampled_from(
        ["urn:qkd:sae:%ff", "urn:qkd:sae:%00", "urn:qkd:sae:%", "urn:qkd:sae:" + "a" * 5000, "URN:QKD:sae:a"]
    )
)
OTHER_NAMES = st.sampled_from(
    [x509.DNSName("localhost"), x509.RFC822Name("a@b"), x509.OtherName(ObjectIdentifier("1.2.3.4"), b"\x0c\x01a")]
)
SAN = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
URN = b"urn:qkd:sae:sae-a"
SANS = [
    b"\x30\x13\x86\x11" + URN,
    b"\x30\x15\xa3\x13\x86\x11" + URN,
    b"\x30\x02\xa5\x00",
    b"\x30\x00",
    b"",
    b"\x04\x00",
]
COMMON_NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)


def der(common_names: list[str], names: list[x509.GeneralName], *more: x509.ExtensionType) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, one) for one in common_names])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    for extension in more:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


VALID = der(["sae-a"], [x509.DNSName("localhost"), x509.UniformResourceIdentifier("urn:qkd:sae:sae-a")])


@pytest.fixture(scope="module")
def status_of():
    """What a listener of a KME answers to the holder of a certificate."""

    class Delivery:
        def dec_keys(self, caller, master, key_ids):
            return []

    client = sae_app(Delivery()).test_client()
    path = "/api/v1/keys/sae-b/dec_keys?key_ID=123e4567-e89b-42d3-a456-426614174000"
    return lambda shown: client.get(path, environ_overrides={CERTIFICATE: shown}).status_code


@FUZZ
@given(
    st.lists(COMMON_NAMES, max_size=2),
    st.lists(st.builds(x509.UniformResourceIdentifier, URIS) | OTHER_NAMES, max_size=3),
    st.booleans(),
)
def test_strange_names_are_an_identity_or_none(tried, status_of, common_names, names, subject_counts):
    shown = der(common_names, names)
    found = tried.only(NoIdentity, identity_of_der, shown, subject_counts)
    urns = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    urns = [urn for urn in urns if urn.startswith("urn:qkd:")]
    if found is not None and urns:
        assert len(urns) == 1 and Identity.from_urn(urns[0]) == found
    elif found is not None:
        assert subject_counts and [found.id] == common_names and found.role == "sae"
    assert tried.status(status_of(shown)) in (200, 401)


@FUZZ
@given(st.sampled_from(SANS) | st.sampled_from(SANS).flatmap(strange_octets))
def test_names_of_any_form_are_an_identity_or_none(tried, status_of, san):
    shown = der(["sae-a"], [], x509.UnrecognizedExtension(SAN, san))
    tried.only(NoIdentity, identity_of_der, shown, True)
    assert tried.status(status_of(shown)) in (200, 401)


def test_a_certificate_with_its_names_twice_is_no_identity(tried, status_of):
    names = [x509.UniformResourceIdentifier("urn:qkd:sae:sae-a")]
    once = der(["sae-a"], names, x509.BasicConstraints(False, None))
    twice = once.replace(bytes.fromhex("0603551d13"), bytes.fromhex("0603551d11"))
    assert twice != once and tried.only(NoIdentity, identity_of_der, twice, True) is None
    assert tried.status(status_of(twice)) == 401


@pytest.mark.filterwarnings("ignore:Parsed a")  # cryptography's, of serial numbers that RFC 5280 does not allow
@FUZZ
@given(strange_octets(VALID) | st.binary(max_size=100))
def test_a_damaged_certificate_is_no_identity_or_that_of_its_names(tried, status_of, shown):
    tried.only(NoIdentity, identity_of_der, shown, True)
    assert tried.status(status_of(shown)) in (200, 401)


@FUZZ
@given(
    st.sampled_from(SANS).flatmap(strange_octets).map(lambda san: der(["a"], [], x509.UnrecognizedExtension(SAN, san)))
)
def test_a_certificate_to_be_registered_is_named_or_refused(tried, shown):
    pem = ssl.DER_cert_to_PEM_cert(shown)
    found = tried.only(BadRequest, certificate_in, json.dumps({"certificate": pem}).encode())
    assert found is None or found.serial_number == 1


@FUZZ
@given(
    TEXTS | st.sampled_from(["CN=a", "CN=#0403", "1.2.3=a", "CN=a+CN=b", "CN=\\", "=", "C=GERMANY"]),
    TEXTS | st.sampled_from(["1:2", "0x", "1" * 49, "0x" + "f" * 40]),
)
def test_an_issuer_and_a_serial_number_are_a_name_or_are_refused(tried, issuer, serial):
    tried.only(BadRequest, certificate_in, json.dumps({"issuer": issuer, "serial": serial}).encode())


@FUZZ
@given(TEXTS.filter(lambda text: not is_sae_id(text)))
def test_no_other_text_than_an_sae_id_reaches_the_database(tried, sae_id):
    certificates, name = Certificates(database=None), CertificateName("CN=a", 1)
    for ask in (certificates.register, certificates.remove):
        assert tried.only(BadRequest, ask, sae_id, name) is None
