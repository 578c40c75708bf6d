"""SAEs known by issuer and serial number of their certificates, as users of other KMEs are used to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kme import certificates as module
from kme.errors import Unavailable
from mutual_tls.app import CERTIFICATE

KEY = ec.generate_private_key(ec.SECP256R1())
ISSUER = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Café, Ltd"), x509.NameAttribute(NameOID.COMMON_NAME, "SAE CA")]
)


def certificate(serial: int, common_name: str | None = None, urn: str | None = None) -> x509.Certificate:
    named = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name(named)).issuer_name(ISSUER)
    builder = builder.public_key(KEY.public_key()).serial_number(serial)
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=1))
    if urn:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(urn)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(KEY, hashes.SHA256())


def pem(shown: x509.Certificate) -> str:
    return shown.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def site(make_site):
    site = make_site("kme-a")
    site.entity.prepare(["1", "2", "sae-a"], [])
    return site


def ask(site, shown, path="/api/v1/sae/info/me"):
    client = site.apps["sae"].test_client()
    der = shown.public_bytes(serialization.Encoding.DER)
    return client.get(path, environ_overrides={CERTIFICATE: der})


def register(site, sae_id, **body):
    return site.operator.put(f"/v1/saes/{sae_id}/certificate", json=body)


@pytest.mark.parametrize("serial", ["7946", "0x1f0a", "0X1F0A", "1F:0A", "1f:0a"])
def test_a_pair_is_registered_by_an_issuer_in_rfc_4514_and_a_serial_number(site, serial):
    shown = certificate(0x1F0A)
    assert ask(site, shown).status_code == 401
    answer = register(site, "1", issuer=shown.issuer.rfc4514_string(), serial=serial)
    assert (answer.status_code, answer.json["serial"]) == (201, "7946")
    assert register(site, "1", issuer=shown.issuer.rfc4514_string(), serial=serial).status_code == 200
    assert ask(site, shown).json == {"SAE_ID": "1", "KME_ID": "kme-a"}
    assert ask(site, certificate(0x1F0B)).status_code == 401


def test_a_pair_is_registered_by_the_certificate_and_listed_and_removed(site):
    shown = certificate(2**159 - 1, common_name="vpn")
    assert register(site, "2", certificate=pem(shown)).status_code == 201
    assert ask(site, shown).json["SAE_ID"] == "2"
    (listed,) = site.operator.get("/v1/saes/2/certificate").json
    assert listed == {"sae_id": "2", "issuer": shown.issuer.rfc4514_string(), "serial": str(2**159 - 1)}
    assert site.operator.delete("/v1/saes/2/certificate", json={"certificate": pem(shown)}).status_code == 204
    assert site.operator.delete("/v1/saes/2/certificate", json={"certificate": pem(shown)}).status_code == 404
    assert ask(site, shown).status_code == 404  # now it is its common name, which is no SAE here
    assert site.operator.get("/v1/saes/2/certificate").json == []


def test_a_urn_in_the_san_counts_and_nothing_else(site):
    shown = certificate(5, common_name="2", urn="urn:qkd:sae:sae-a")
    body = {"issuer": shown.issuer.rfc4514_string(), "serial": "5"}
    assert register(site, "1", **body).status_code == 201
    assert ask(site, shown).json["SAE_ID"] == "sae-a"
    refused = register(site, "1", certificate=pem(shown))
    assert refused.status_code == 400 and "nothing to register" in refused.json["message"]
    assert ask(site, certificate(5, urn="urn:qkd:king:a")).status_code == 401
    assert ask(site, certificate(5, urn="urn:qkd:operator:1")).status_code == 401


def test_a_certificate_belongs_to_one_sae(site):
    shown = certificate(9)
    assert register(site, "1", certificate=pem(shown)).status_code == 201
    refused = register(site, "2", certificate=pem(shown))
    assert refused.status_code == 409 and "SAE 1" in refused.json["message"]
    assert ask(site, shown).json["SAE_ID"] == "1"


def test_who_is_no_registered_sae_is_told_so_with_404(site):
    answer = ask(site, certificate(3, common_name="stranger"))
    assert answer.status_code == 404 and "stranger" in answer.json["message"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "issuer is missing"),
        ({"issuer": "CN=x"}, "serial is missing"),
        ({"issuer": "nonsense", "serial": "1"}, "RFC 4514"),
        ({"issuer": "CN=x", "serial": 1}, "serial: expected a string"),
        ({"issuer": "CN=x", "serial": "0"}, "above 0"),
        ({"issuer": "CN=x", "serial": "-1"}, "decimal digits"),
        ({"issuer": "CN=x", "serial": "1f0a"}, "0x1F"),
        ({"issuer": "CN=x", "serial": "0x" + "f" * 41}, "decimal digits"),
        ({"issuer": "CN=x", "serial": "9" * 49}, "20 octets"),
        ({"certificate": "nonsense"}, "PEM"),
        ({"certificate": 5}, "PEM"),
    ],
)
def test_what_is_no_certificate_is_refused_and_the_member_named(site, body, words):
    answer = register(site, "1", **body)
    assert answer.status_code == 400 and words in answer.json["message"]
    assert site.operator.get("/v1/saes/1/certificate").json == []


def test_an_sae_that_is_not_registered_gets_no_certificate(site):
    answer = register(site, "nobody", certificate=pem(certificate(4)))
    assert answer.status_code == 400 and "POST /v1/saes" in answer.json["message"]


def test_another_worker_knows_a_pair_soon_and_no_request_waits_for_postgres(site, make_site, monkeypatch):
    other, shown = make_site("kme-a"), certificate(11)
    assert ask(other, shown).status_code == 401
    assert register(site, "1", certificate=pem(shown)).status_code == 201
    now, certificates = [0.0], other.entity.certificates
    monkeypatch.setattr(certificates, "_clock", lambda: now[0])
    certificates.refresh()
    assert ask(other, shown).status_code == 200

    queries = []
    transaction = certificates._database.transaction

    def counted():
        queries.append(now[0])
        return transaction()

    monkeypatch.setattr(certificates._database, "transaction", counted)
    other.entity.catalogue.admit("1")
    before = len(queries)
    for _ in range(20):
        assert ask(other, shown).status_code == 200
    assert len(queries) == before

    def down():
        raise Unavailable("Postgres does not answer")

    monkeypatch.setattr(certificates._database, "transaction", down)
    now[0] += 10 * module.OLD_AFTER_S
    assert ask(other, shown).status_code == 200


def test_a_pair_that_was_removed_elsewhere_does_not_count_after_a_pause(site, make_site, monkeypatch):
    other, shown, now = make_site("kme-a"), certificate(12), [0.0]
    monkeypatch.setattr(other.entity.certificates, "_clock", lambda: now[0])
    register(site, "1", certificate=pem(shown))
    assert ask(other, shown).status_code == 200
    site.operator.delete("/v1/saes/1/certificate", json={"certificate": pem(shown)})
    now[0] += module.OLD_AFTER_S + 1
    assert ask(other, shown).status_code == 401
