"""The lab's certificates, as OpenSSL sees them at its strictest."""

import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from mutual_tls.contexts import Credentials, client_context, server_context
from mutual_tls.identity import Identity, identity_of
from qkd_lab.lab_folder import LabFolder
from qkd_lab.pki.authority import PkiError
from qkd_lab.pki.holders import holders
from qkd_lab.pki.secrets import make_secrets, renew_pre_shared_key
from qkd_lab.pki.store import Pki
from qkd_lab.processes import processes, services
from qkd_lab.topology import SHIPPED, load
from services.compose_init import renew_pre_shared_keys

TOPOLOGY = load(SHIPPED / "two-sites.toml")
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, NOW).make(TOPOLOGY)
    return folder


def certificate(folder):
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def handshake(server_folder, authority, client_folder, host):
    """A TLS handshake in memory, both sides strict; returns (client's, server's) view of the other's certificate."""
    server = server_context(Credentials.in_folder(server_folder), server_folder / "trust" / f"{authority}.pem")
    client = client_context(Credentials.in_folder(client_folder))
    for context in (server, client):
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(down, up, server_hostname=host), server.wrap_bio(up, down, server_side=True)]
    for _ in range(6):
        for end in ends:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return [x509.load_der_x509_certificate(end.getpeercert(binary_form=True)) for end in ends]


@pytest.mark.parametrize(
    "server, authority, client, host",
    [
        ("kme-a", "sae-a", "sae-a", "127.0.0.1"),
        ("kme-a", "kme", "kme-b", "kme-a"),
        ("kme-a", "kme", "kme-b-scheduler", "kme-a.peer"),
        ("kme-a", "qkd", "qkde-a", "localhost"),
        ("kme-a", "operator", "probe", "::1"),
        ("kme-a-scheduler", "operator", "operator", "localhost"),
        ("qkde-b", "kme", "kme-b", "qkde-b"),
        ("qkde-b", "qkd", "qkde-a", "qkde-b"),
        ("qlink-a-b", "qkd", "qkde-a", "127.0.0.1"),
        ("qlink-a-b", "operator", "operator", "127.0.0.1"),
        ("sae-b-app", "app", "sae-a-app", "sae-b"),
        ("sae-b-app", "operator", "operator", "127.0.0.1"),
    ],
)
def test_every_call_of_the_protocol_table_verifies_under_strict_rules(made, server, authority, client, host):
    seen_by_client, seen_by_server = handshake(made / server, authority, made / client, host)
    named = {holder.name: holder.identity for holder in holders(TOPOLOGY)}
    assert identity_of(seen_by_client) == named[server]
    assert identity_of(seen_by_server) == named[client]


@pytest.mark.parametrize(
    "server, authority, client",
    [
        ("kme-a", "sae-a", "sae-b"),  # another site's SAE
        ("kme-a", "kme", "sae-a"),
        ("kme-a", "kme", "qkde-a"),
        ("qlink-a-b", "operator", "qkde-a"),
        ("qkde-a", "kme", "operator"),
        ("sae-b-app", "app", "sae-a"),  # its certificate for KMEs
    ],
)
def test_a_listener_refuses_whoever_its_authority_did_not_sign(made, server, authority, client):
    with pytest.raises(ssl.SSLError):
        handshake(made / server, authority, made / client, "localhost")


def test_each_authority_signs_its_own_roles_only(made):
    found = {}
    for held in Pki(made, NOW).list():
        found.setdefault(held.authority, set()).add(held.identity.role)
    assert found == {
        "sae-a": {"sae"},
        "sae-b": {"sae"},
        "kme": {"kme"},
        "qkd": {"qkde", "qlink"},
        "operator": {"operator", "probe", "monitor"},
        "app": {"app"},
    }


def test_a_listener_has_a_trust_file_with_one_authority_for_each_kind_of_caller(made):
    for process in services(TOPOLOGY):
        trust = made / process.certificate / "trust"
        assert {path.stem for path in trust.iterdir()} == set(process.listeners.values())
        for path in trust.iterdir():
            assert len(x509.load_pem_x509_certificates(path.read_bytes())) == 1


def test_a_scheduler_is_its_kme_under_another_name(made):
    assert identity_of(certificate(made / "kme-a-scheduler")) == Identity("kme", "kme-a")


def test_clients_can_not_serve(made):
    for name, expected in (
        ("sae-a", False),
        ("operator", False),
        ("probe", False),
        ("kme-a", True),
        ("sae-a-app", True),
    ):
        usage = certificate(made / name).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert (ExtendedKeyUsageOID.SERVER_AUTH in usage) is expected, name
        assert ExtendedKeyUsageOID.CLIENT_AUTH in usage


def test_keys_are_their_owners_alone(made):
    for path in made.rglob("*"):
        mode = path.stat().st_mode & 0o777
        if path.is_dir():
            assert mode == 0o700, path
        elif path.name == "key.pem":
            assert mode == 0o600, path


def test_validity_is_397_days_and_begins_a_little_earlier(made):
    leaf = certificate(made / "kme-a")
    assert timedelta(days=396) < leaf.not_valid_after_utc - NOW <= timedelta(days=397)
    assert leaf.not_valid_before_utc <= NOW - timedelta(minutes=4)


def test_making_them_again_changes_nothing(made):
    before = files(made)
    assert Pki(made, NOW + timedelta(days=300)).make(TOPOLOGY) == []
    assert files(made) == before


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "pki"
    Pki(folder, NOW).make(TOPOLOGY)
    return folder


def test_certificates_are_renewed_within_30_days_of_their_end_and_the_authorities_stay(tmp_path):
    own = tmp_path / "pki"
    Pki(own, NOW - timedelta(days=368)).make(TOPOLOGY)
    authority = (own / "authorities" / "kme" / "cert.pem").read_bytes()
    made = Pki(own, NOW).make(TOPOLOGY)
    assert set(made) == {holder.name for holder in holders(TOPOLOGY)}
    assert (own / "authorities" / "kme" / "cert.pem").read_bytes() == authority
    handshake(own / "kme-a", "sae-a", own / "sae-a", "localhost")


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "key.pem").unlink(),
        lambda folder: (folder / "cert.pem").write_text("nonsense"),
        lambda folder: (folder / "key.pem").write_bytes((folder.parent / "kme-b" / "key.pem").read_bytes()),
        # a certificate without the names this process is reached by
        lambda folder: [
            (folder / name).write_bytes((folder.parent / "kme-a-scheduler" / name).read_bytes())
            for name in ("cert.pem", "key.pem")
        ],
    ],
)
def test_what_is_missing_or_damaged_is_made_anew_and_nothing_else(own, damage):
    damage(own / "kme-a")
    assert Pki(own, NOW).make(TOPOLOGY) == ["kme-a"]
    handshake(own / "kme-a", "kme", own / "kme-b", "kme-a")


def test_a_new_authority_reissues_what_the_old_one_signed(own):
    for path in (own / "authorities" / "app").iterdir():
        path.unlink()
    assert Pki(own, NOW).make(TOPOLOGY) == ["sae-a-app", "sae-b-app"]
    handshake(own / "sae-b-app", "app", own / "sae-a-app", "localhost")


@pytest.mark.parametrize("sae_id", ["vpn/1", "Zoë Müller?#%", "alice@example.com", "鍵", "x" * 200])
def test_an_sae_id_survives_as_folder_name_and_as_identity(own, sae_id):
    folder = Pki(own, NOW).issue_sae(sae_id, "a")
    assert folder.parent == own
    _, seen_by_server = handshake(own / "kme-a", "sae-a", folder, "127.0.0.1")
    assert identity_of(seen_by_server) == Identity("sae", sae_id)
    before = files(folder)
    assert Pki(own, NOW).issue_sae(sae_id, "a") == folder and files(folder) == before


@pytest.mark.parametrize(
    "sae_id, site, words",
    [
        ("", "a", "printable"),
        ("a\nb", "a", "printable"),
        ("..", "a", "choose another"),
        ("authorities", "a", "choose another"),
        ("operator", "a", "choose another"),
        ("kme-a", "a", "choose another"),
        ("sae-b", "a", "choose another"),
        ("new", "z", "expected one of a, b"),
    ],
)
def test_an_sae_id_that_would_harm_others_is_refused(own, sae_id, site, words):
    before = files(own)
    with pytest.raises(PkiError, match=words):
        Pki(own, NOW).issue_sae(sae_id, site)
    assert files(own) == before


def test_a_site_shares_its_secrets_with_nobody_and_they_never_change(tmp_path):
    make_secrets(TOPOLOGY, tmp_path)
    first = files(tmp_path)
    make_secrets(TOPOLOGY, tmp_path)
    assert files(tmp_path) == first

    def secret(process, name):
        path = tmp_path / "secrets" / process / name
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
        return path.read_text()

    assert len(bytes.fromhex(secret("kme-a", "kek"))) == 32
    assert secret("kme-a", "kek") == secret("kme-a-scheduler", "kek") != secret("kme-b", "kek")
    for name, holder in (("postgres.password", "postgres-a"), ("redis.password", "redis-a")):
        assert secret("kme-a", name) == secret(holder, name) != secret("kme-b", name)
    assert len(set(map(secret, ("qkde-a", "qkde-b"), ("spool-key",) * 2))) == 2
    assert secret("qkde-a", "pre-shared-key.a-b") == secret("qkde-b", "pre-shared-key.a-b")
    assert {path.name for path in (tmp_path / "secrets").iterdir()} == {p.name for p in processes(TOPOLOGY)}


def test_a_links_pre_shared_key_is_with_its_two_qkdes_alone_and_is_renewed_at_both(tmp_path):
    make_secrets(TOPOLOGY, tmp_path)
    (link,) = TOPOLOGY.links
    first = {path: path.read_text() for path in tmp_path.rglob(link.pre_shared_key)}
    assert {path.parent.name for path in first} == {"qkde-a", "qkde-b"} and len(set(first.values())) == 1
    renewed = renew_pre_shared_key(TOPOLOGY, tmp_path, link)
    assert {path.read_text() for path in first} == {renewed.hex()} and renewed.hex() not in first.values()
    make_secrets(TOPOLOGY, tmp_path)
    assert {path.read_text() for path in first} == {renewed.hex()}


def test_a_lab_made_before_pre_shared_keys_gets_them(tmp_path):
    make_secrets(TOPOLOGY, tmp_path)
    before = files(tmp_path)
    for path in tmp_path.rglob("pre-shared-key.*"):
        path.unlink()
    make_secrets(TOPOLOGY, tmp_path)
    after = files(tmp_path)
    assert after.keys() == before.keys()
    assert {path.name for path in after if after[path] != before[path]} == {"pre-shared-key.a-b"}


def test_new_volumes_at_both_ends_of_a_link_get_a_new_pre_shared_key(tmp_path):
    make_secrets(TOPOLOGY, tmp_path / ".lab")
    (link,) = TOPOLOGY.links
    lab, path = LabFolder(tmp_path / ".lab"), tmp_path / ".lab" / "secrets" / "qkde-a" / link.pre_shared_key
    first = path.read_text()
    for held_by in (("qkde-a",), ("qkde-a", "qkde-b")):  # one end remembers what was used: it stays
        for name in held_by:
            (tmp_path / "identities" / name / "secrets").mkdir(parents=True, exist_ok=True)
        renew_pre_shared_keys(lab, TOPOLOGY, tmp_path / "identities")
        assert path.read_text() == first
    renew_pre_shared_keys(lab, TOPOLOGY, tmp_path / "new")
    assert path.read_text() != first
