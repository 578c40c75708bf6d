"""`qkd-lab pki` and `register sae --certificate`: what an operator types, and what is said where it can't be done."""

import importlib
import json
import os
import re
import shutil
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

from mutual_tls.contexts import Credentials, client_context, server_context
from mutual_tls.identity import Identity, identity_of
from mutual_tls.revocation import Revocations
from qkd_lab.cli import cli
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.pki.authority import PkiError
from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, TopologyError, load

CHECKOUT = Path(__file__).resolve().parents[3]
register_command = importlib.import_module("qkd_lab.cli.register")
pki_command = importlib.import_module("qkd_lab.cli.pki")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    lab = LabFolder(tmp_path_factory.mktemp("made") / ".lab")
    lab.make()
    lab.keep_topology(SHIPPED / "two-sites.toml")
    Pki(lab.pki, datetime.now(UTC)).make(load(lab.topology))
    return lab


@pytest.fixture
def lab(made, tmp_path, monkeypatch):
    shutil.copytree(made.path, tmp_path / ".lab")
    monkeypatch.chdir(tmp_path)
    return LabFolder.here()


def run(*arguments):
    """What is printed. Raises what the command raises, which `main` prints as one line."""
    done = CliRunner().invoke(cli, ["pki", *map(str, arguments)], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def refused(*arguments) -> str:
    done = CliRunner().invoke(cli, ["pki", *map(str, arguments)])
    if done.exit_code == 2:
        return done.output
    assert isinstance(done.exception, LabError | PkiError | TopologyError), done.output
    return str(done.exception)


def certificate(folder) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def listed(name):
    return next(one for one in json.loads(run("list", "--json")) if one["name"] == name)


def is_revoked(lab, shown, trusting="kme-a/trust/sae-a.pem") -> bool:
    return Revocations(lab.revocations, lab.pki / trusting).is_revoked(shown.public_bytes(serialization.Encoding.DER))


def is_let_in(lab, name, authority="sae-a") -> bool:
    """Whether KME a's listener for the authority accepts what the holder shows."""
    folder = lab.pki / "kme-a"
    server = server_context(Credentials.in_folder(folder), folder / "trust" / f"{authority}.pem")
    client = client_context(Credentials.in_folder(lab.identity(name)))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname="localhost"), server.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
    return True


def test_a_certificate_for_an_sae_is_issued_once_and_lets_it_in(lab):
    assert run("issue", "vpn/1", "--site", "a") == ".lab/pki/vpn%2F1\n"
    before = certificate(lab.identity("vpn/1")).serial_number
    run("issue", "vpn/1", "--site", "a")
    assert certificate(lab.identity("vpn/1")).serial_number == before
    assert listed("vpn/1") | {"serial": "", "not_after": ""} == {
        "name": "vpn/1", "role": "sae", "id": "vpn/1", "identity": "urn:qkd:sae:vpn%2F1", "authority": "sae-a",
        "serial": "", "names": [], "not_after": "", "revoked_at": None, "expires_soon": False,
    }  # fmt: skip
    assert is_let_in(lab, "vpn/1") and not is_let_in(lab, "vpn/1", "kme")


def test_a_certificate_with_a_common_name_alone_has_no_san_and_is_that_sae(lab):
    run("issue", "7", "--site", "a", "--cn-only", "--days", "3")
    shown = certificate(lab.identity("7"))
    with pytest.raises(x509.ExtensionNotFound):
        shown.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert identity_of(shown, subject_counts=True) == Identity("sae", "7")
    assert timedelta(days=2) < shown.not_valid_after_utc - datetime.now(UTC) <= timedelta(days=3)
    assert listed("7")["identity"] == "CN=7" and is_let_in(lab, "7")


def test_another_operator_has_a_certificate_of_the_operators_authority(lab):
    run("issue", "alice", "--role", "operator")
    assert identity_of(certificate(lab.identity("alice"))) == Identity("operator", "alice")
    assert is_let_in(lab, "alice", "operator") and not is_let_in(lab, "alice")


def request(key, name="whoever") -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("urn:qkd:operator:operator")])
    csr = x509.CertificateSigningRequestBuilder().subject_name(subject).add_extension(names, critical=False)
    return csr.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_of_a_request_only_the_key_counts(lab):
    key = ec.generate_private_key(ec.SECP256R1())
    Path("hsm.csr").write_bytes(request(key))
    run("issue", "hsm", "--site", "a", "--csr", "hsm.csr")
    folder = lab.identity("hsm")
    assert certificate(folder).public_key() == key.public_key()
    assert identity_of(certificate(folder)) == Identity("sae", "hsm")
    assert {path.name for path in folder.iterdir()} == {"cert.pem", "ca.pem"}
    before = certificate(folder).serial_number
    run("renew", "hsm")  # the key is elsewhere, so it stays
    assert certificate(folder).public_key() == key.public_key() and certificate(folder).serial_number != before


def test_every_client_has_a_pkcs12_file_and_its_password_for_its_owner_alone(lab):
    for name in ("sae-a", "operator"):
        folder = lab.identity(name)
        for file in ("cert.p12", "p12.password", "key.pem"):
            assert (folder / file).stat().st_mode & 0o777 == 0o600
        password = (folder / "p12.password").read_bytes()
        key, shown, authorities = pkcs12.load_key_and_certificates((folder / "cert.p12").read_bytes(), password)
        assert shown == certificate(folder) and key.public_key() == shown.public_key()
        assert authorities == x509.load_pem_x509_certificates((folder / "ca.pem").read_bytes())
    run("renew", "sae-a")
    folder = lab.identity("sae-a")
    password = (folder / "p12.password").read_bytes()
    assert pkcs12.load_key_and_certificates((folder / "cert.p12").read_bytes(), password)[1] == certificate(folder)


def test_a_revoked_certificate_is_in_the_list_and_is_not_replaced_by_itself(lab):
    shown = certificate(lab.identity("sae-a"))
    assert not is_revoked(lab, shown)
    assert "sae-a (sae-a, serial" in run("revoke", "sae-a") and "was revoked before" in run("revoke", "sae-a")
    assert is_revoked(lab, shown) and listed("sae-a")["revoked_at"] and ", revoked " in run("list")
    assert "nothing to do" in run("init")
    assert certificate(lab.identity("sae-a")) == shown
    assert "was revoked" in refused("issue", "sae-a", "--site", "a")
    run("renew", "sae-a")
    assert not is_revoked(lab, certificate(lab.identity("sae-a"))) and listed("sae-a")["revoked_at"] is None
    assert is_revoked(lab, shown)


@pytest.mark.parametrize("lost", ["authorities/sae-a/crl.pem", "../crl/sae-a.pem"])
def test_what_was_revoked_is_remembered_while_one_copy_of_the_list_is_left(lab, lost):
    shown = certificate(lab.identity("sae-a"))
    run("revoke", "sae-a")
    (lab.pki / lost).unlink()
    run("init")
    assert is_revoked(lab, shown) and (lab.pki / lost).exists()
    assert len({(lab.pki / path).read_bytes() for path in ("authorities/sae-a/crl.pem", "../crl/sae-a.pem")}) == 1


def test_a_garbled_record_of_an_authority_is_not_written_over(lab):
    run("revoke", "sae-a")
    (lab.pki / "authorities" / "sae-a" / "crl.pem").write_text("nonsense")
    assert "crl.pem: it is no certificate revocation list" in refused("revoke", "sae-a")
    assert (lab.pki / "authorities" / "sae-a" / "crl.pem").read_text() == "nonsense"


def test_an_authority_that_was_made_anew_begins_a_list_of_its_own(lab):
    run("revoke", "sae-a")
    for name in ("cert.pem", "key.pem"):
        (lab.pki / "authorities" / "sae-a" / name).unlink()
    run("init")
    assert not is_revoked(lab, certificate(lab.identity("sae-a"))) and is_let_in(lab, "sae-a")


@pytest.mark.parametrize("mask", [0o077, 0o022])
def test_lists_can_be_read_by_the_users_of_containers_and_keys_can_not(tmp_path, mask):
    before = os.umask(mask)
    try:
        Pki(tmp_path / "lab" / "pki", datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    finally:
        os.umask(before)
    assert (tmp_path / "lab" / "crl").stat().st_mode & 0o777 == 0o755
    for path in (tmp_path / "lab").rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.parent.name == "crl":
            assert mode == 0o644
        elif path.name in ("key.pem", "cert.p12", "p12.password"):
            assert mode == 0o600


def test_a_certificate_that_was_renewed_is_good_until_its_serial_number_is_revoked(lab):
    shown = certificate(lab.identity("sae-a"))
    run("renew", "sae-a")
    new = certificate(lab.identity("sae-a"))
    assert (new.subject, new.public_key() == shown.public_key()) == (shown.subject, False)
    assert identity_of(new) == identity_of(shown) and not is_revoked(lab, shown)
    run("revoke", "--serial", f"{shown.serial_number:x}", "--authority", "sae-a")
    assert is_revoked(lab, shown) and not is_revoked(lab, new)


def test_who_may_be_known_by_a_serial_number_is_told_that_it_changes(lab):
    run("issue", "7", "--site", "a", "--cn-only")
    assert "register it again" in run("renew", "7") and "register" not in run("renew", "sae-a")


def test_the_old_certificate_is_revoked_at_once_where_it_is_asked_for(lab, monkeypatch):
    waited = []
    monkeypatch.setattr(pki_command.time, "sleep", lambda s: waited.append((s, is_revoked(lab, shown))))
    shown = certificate(lab.identity("sae-a"))
    run("renew", "sae-a", "--revoke-old")
    assert is_revoked(lab, shown) and not is_revoked(lab, certificate(lab.identity("sae-a")))
    assert waited == [(pki_command.TAKEN_UP_WITHIN_S, False)]  # whoever uses it has time to take up the new one


def test_what_expires_soon_is_renewed_and_nothing_else(lab):
    run("issue", "short", "--site", "a", "--days", "10")
    run("issue", "gone", "--site", "a", "--days", "10")
    run("revoke", "gone")
    before = {one["name"]: one["serial"] for one in json.loads(run("list", "--json"))}
    assert "nothing to renew" in run("renew", "--expiring", "9")
    assert "short is renewed" in run("renew", "--expiring", "11")
    after = {one["name"]: one["serial"] for one in json.loads(run("list", "--json"))}
    assert {name for name in after if after[name] != before[name]} == {"short"}
    run("renew", "--all")
    last = {one["name"]: one["serial"] for one in json.loads(run("list", "--json"))}
    assert {name for name in last if last[name] == after[name]} == {"gone"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("issue", "x"), "--site is missing"),
        (("issue", "x", "--site", "z"), "no site 'z'"),
        (("issue", "x", "--site", "a", "--days", "0"), "--days"),
        (("issue", "x", "--role", "operator", "--site", "a"), "--role sae"),
        (("issue", "x", "--role", "kme"), "--role"),
        (("issue", "kme-a", "--site", "a"), "choose another"),
        (("issue", "sae-a", "--site", "a", "--cn-only"), "already"),
        (("issue", "x" * 65, "--site", "a", "--cn-only"), "at most 64"),
        (("issue", "a\nb", "--site", "a"), "printable"),
        (("issue", "x", "--site", "a", "--csr", "nowhere"), "--csr: nowhere: No such file"),
        (("issue", "x", "--site", "a", "--csr", "bad.csr"), "no PEM certificate request"),
        (("issue", "x", "--site", "a", "--csr", "weak.csr"), "2048 or more"),
        (("issue", "sae-a", "--site", "a", "--csr", "good.csr"), "has a key of its own"),
        (("revoke",), "--serial"),
        (("revoke", "ghost"), "no certificate 'ghost'"),
        (("revoke", ".."), "no certificate '..'"),
        (("revoke", "authorities"), "no certificate 'authorities'"),
        (("revoke", "--serial", "1f"), "--authority is missing"),
        (("revoke", "--serial", "xyz", "--authority", "kme"), "--serial: expected"),
        (("revoke", "--serial", "1f", "--authority", "nobody"), "expected one of app, kme"),
        (("revoke", "sae-a", "--serial", "1f"), "NAME, or --serial"),
        (("renew",), "NAMEs, or --all"),
        (("renew", "sae-a", "--all"), "NAMEs, or --all"),
        (("renew", "ghost"), "no certificate 'ghost'"),
        (("renew", "--expiring", "-1"), "--expiring"),
        (("generate", "--config", "nowhere.toml", "--out", "x"), "nowhere.toml: can't be read"),
        (("generate",), "--config"),
    ],
)
def test_bad_input_is_named_and_changes_nothing(lab, arguments, words):
    Path("bad.csr").write_text("nonsense")
    Path("weak.csr").write_bytes(request(rsa.generate_private_key(65537, 1024)))
    Path("good.csr").write_bytes(request(ec.generate_private_key(ec.SECP256R1())))
    before = {path: path.read_bytes() for path in lab.path.rglob("*") if path.is_file()}
    said = refused(*arguments)
    assert words in " ".join(said.split()), said
    assert {path: path.read_bytes() for path in lab.path.rglob("*") if path.is_file()} == before


def test_an_sae_brings_its_own_certificate(lab, monkeypatch):
    calls = []

    class Operator:
        topology = load(SHIPPED / "two-sites.toml")

        def __init__(self, folder):
            self.lab = folder

        def call(self, *call):
            calls.append(call)
            return {"serial": "31", "issuer": "CN=x"}

    monkeypatch.setattr(register_command, "Operator", Operator)
    arguments = ["register", "sae", "vpn/7", "--site", "a", "--certificate"]
    done = CliRunner().invoke(cli, [*arguments, str(lab.identity("sae-a") / "cert.pem")])
    assert done.exit_code == 0 and "by serial number 31 of CN=x" in done.output
    pem = (lab.identity("sae-a") / "cert.pem").read_text()
    assert calls == [
        ("kme-a", "POST", "/v1/saes", {"sae_id": "vpn/7"}),
        ("kme-a", "PUT", "/v1/saes/vpn%2F7/certificate", {"certificate": pem}),
    ]
    assert not lab.identity("vpn/7").exists()
    for file, words in (
        ("nowhere", "No such file"),
        (str(lab.identity("sae-a") / "key.pem"), "no PEM certificate"),
        (str(lab.identity("sae-b") / "cert.pem"), "not signed by the SAE authority of site a"),
    ):
        done = CliRunner().invoke(cli, [*arguments, file])
        assert words in str(done.exception) and len(calls) == 2


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
