"""`qkd-lab pki generate`: a PKI from one file, without a lab."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from mutual_tls.contexts import Credentials, client_context, server_context
from mutual_tls.identity import Identity, identity_of
from mutual_tls.revocation import Revocations
from qkd_lab.lab_folder import LabFolder

from pki_steps import certificate, refused, run

CHECKOUT = Path(__file__).resolve().parents[3]

CONFIGURATION = """
[defaults]
key_type = "p384"
days = 30

[[authorities]]
name = "kme"
key_type = "rsa3072"
[[authorities]]
name = "zone-1"

[[certificates]]
name = "kme-1"
role = "kme"
authority = "kme"
calls = ["kme"]
callers = ["zone-1", "kme"]
hosts = ["localhost", "kme-1.example", "192.0.2.1"]
[[certificates]]
name = "1"
role = "sae"
authority = "zone-1"
calls = ["kme"]
named_by = "serial"
serial = "0x1001"
[[certificates]]
name = "2"
role = "sae"
authority = "zone-1"
calls = ["kme"]
named_by = "cn"
key_type = "p256"
[[certificates]]
name = "3"
role = "sae"
authority = "zone-1"
"""


def test_a_pki_is_made_from_one_file_without_a_lab(tmp_path):
    (tmp_path / "pki.toml").write_text(CONFIGURATION)
    arguments = ("generate", "--config", tmp_path / "pki.toml", "--out", tmp_path / "out")
    said = run(*arguments)
    assert "made: kme-1, 1, 2, 3" in said and "1: known by serial number 4097 (0x1001) of zone-1" in said
    assert "nothing to do" in run(*arguments)
    pki = tmp_path / "out" / "pki"
    kme, one, two, three = (certificate(pki / name) for name in ("kme-1", "1", "2", "3"))
    assert identity_of(kme) == Identity("kme", "kme-1") and kme.public_key().curve.name == "secp384r1"
    assert timedelta(days=29) < kme.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=30)
    names = kme.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "kme-1.example"]
    assert one.serial_number == 0x1001 and not one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert identity_of(one, subject_counts=True, registered=lambda *_: "1") == Identity("sae", "1")
    assert identity_of(two, subject_counts=True) == Identity("sae", "2") and two.public_key().curve.name == "secp256r1"
    assert identity_of(three) == Identity("sae", "3")
    lab = LabFolder(tmp_path / "out")
    authority = x509.load_pem_x509_certificate((pki / "authorities" / "kme" / "cert.pem").read_bytes())
    assert authority.public_key().key_size == 3072
    folder = pki / "kme-1"
    Revocations(lab.revocations, folder / "trust" / "zone-1.pem")
    server_context(Credentials.in_folder(folder), folder / "trust" / "zone-1.pem")
    client_context(Credentials.in_folder(pki / "1"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('key_type = "p384"', 'key_type = "dsa"', "table defaults, key key_type: expected one of p256, p384, rsa3072"),
        ("days = 30", "days = 0", "table defaults, key days"),
        ("days = 30", "days = true", "table defaults, key days"),
        ('name = "zone-1"', 'name = "kme"', "table authorities[2], key name: 'kme' is there twice"),
        ('role = "kme"', 'role = "king"', "table certificates[1], key role"),
        ('authority = "kme"', 'authority = "x"', "table certificates[1], key authority: expected one of kme, zone-1"),
        ('callers = ["zone-1", "kme"]', 'callers = ["x"]', "table certificates[1], key callers"),
        ('"192.0.2.1"', '"not a host"', "table certificates[1], key hosts"),
        ('"192.0.2.1"', '"1:2"', "table certificates[1], key hosts"),
        ('serial = "0x1001"', 'serial = "-1"', "table certificates[2], key serial"),
        ('serial = "0x1001"', "serial = 0", "table certificates[2], key serial"),
        (
            'named_by = "serial"',
            'named_by = "email"',
            "table certificates[2], key named_by: expected urn, cn or serial",
        ),
        ('role = "kme"', 'role = "kme"\nnamed_by = "cn"', "named_by: cn is for SAEs"),
        ('name = "3"', 'name = "2"', "table certificates[4], key name: '2' is there twice"),
        ('name = "3"', 'name = ".."', "table certificates[4], key name"),
        ('name = "3"', 'name = "3"\nserial = 4097', "'1' and '3' of zone-1 have the same one"),
        ('name = "3"', 'name = "3"\ncolor = "red"', "table certificates[4], key color: unknown"),
        ("[[authorities]]", "[[authorities", "not a TOML file"),
    ],
)
def test_what_is_wrong_in_the_file_is_named_and_nothing_is_made(tmp_path, old, new, words):
    (tmp_path / "pki.toml").write_text(CONFIGURATION.replace(old, new, 1))
    assert words in refused("generate", "--config", tmp_path / "pki.toml", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_example_of_the_documentation_is_good(tmp_path):
    (example,) = re.findall(r"```toml\n(.*?)```", (CHECKOUT / "docs" / "pki.md").read_text(), re.S)
    (tmp_path / "pki.toml").write_text(example)
    assert "made: kme-1, 1" in run("generate", "--config", tmp_path / "pki.toml", "--out", tmp_path / "out")
