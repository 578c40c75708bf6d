"""Every listener of a running network against every role's name under every authority: who is let in is said here once,
apart from the code, and everybody else is kept out. A listener or a role that is not in the tables fails."""

import contextlib
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mutual_tls.identity import ROLES
from qkd_lab.processes import services
from qkd_lab.topology import load

pytestmark = pytest.mark.parametrize("lab", ["embedded"], indirect=True)  # where all listeners are within reach

AUTHORITIES = ("app", "kme", "operator", "qkd", "sae-a", "sae-b")
NAMES = (
    "sae:sae-a", "sae:sae-b", "kme:kme-a", "kme:kme-b", "kme:kme-c", "qkde:qkde-a", "qkde:qkde-b", "qkde:qkde-c",
    "qlink:qlink-a-b", "operator:operator", "probe:probe", "monitor:monitor", "app:sae-a", "app:sae-b",
)  # fmt: skip
QKDES = {"qkde:qkde-a", "qkde:qkde-b"}
SAES, APPS = {"sae:sae-a", "sae:sae-b"}, {"app:sae-a", "app:sae-b"}
# By process and listener: the one authority, and whom of those it vouches for. Probe and monitor: below.
LET_IN = {
    # An authority of SAEs names its SAEs as it likes: only whose certificate it signed is an SAE of its site.
    ("kme-a", "sae"): ("sae-a", SAES),
    ("kme-b", "sae"): ("sae-b", SAES),
    ("kme-a", "peer"): ("kme", {"kme:kme-b"}),
    ("kme-b", "peer"): ("kme", {"kme:kme-a"}),
    ("kme-a", "qkde"): ("qkd", {"qkde:qkde-a"}),
    ("kme-b", "qkde"): ("qkd", {"qkde:qkde-b"}),
    ("qkde-a", "kme"): ("kme", {"kme:kme-a"}),
    ("qkde-b", "kme"): ("kme", {"kme:kme-b"}),
    # Each call is for the other end of its link alone: the next test.
    ("qkde-a", "classical"): ("qkd", {*QKDES, "qkde:qkde-c"}),
    ("qkde-b", "classical"): ("qkd", {*QKDES, "qkde:qkde-c"}),
    ("qlink-a-b", "qkd"): ("qkd", QKDES),
    ("sae-a", "app"): ("app", APPS),
    ("sae-b", "app"): ("app", APPS),
    **{
        (process, "ops"): ("operator", {"operator:operator"})
        for process in (
            "kme-a", "kme-b", "kme-a-scheduler", "kme-b-scheduler", "qkde-a", "qkde-b", "qlink-a-b", "sae-a", "sae-b",
            "dashboard",
        )
    },
}  # fmt: skip
# For browsers on this host's loopback: plain HTTP, and its own rules (tests/unit/dashboard/test_web.py).
FOR_ANYBODY = {("dashboard", "page")}


@pytest.fixture(scope="module")
def key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def forge(lab, key, tmp_path):
    """A TLS context that shows a certificate for `name`, signed by a lab's authority, or by itself."""
    count = iter(range(10_000))

    def make(name, authority, *, starts=-timedelta(hours=1), ends=timedelta(hours=1), usages=("CLIENT_AUTH",)):
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signing_key = subject, key
        if authority:
            folder = lab.folder / ".lab" / "pki" / "authorities" / authority
            issuer = x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes()).subject
            signing_key = serialization.load_pem_private_key((folder / "key.pem").read_bytes(), None)
        san = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:qkd:{name}")])
        usage = x509.ExtendedKeyUsage([getattr(ExtendedKeyUsageOID, one) for one in usages])
        shown = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now + starts).not_valid_after(now + ends)
            .add_extension(san, critical=False).add_extension(usage, critical=False).sign(signing_key, hashes.SHA256())
        )  # fmt: skip
        file = tmp_path / f"{next(count)}.pem"
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        file.write_bytes(shown.public_bytes(serialization.Encoding.PEM) + pem)
        context = anybody()
        context.load_cert_chain(file)
        return context

    return make


def anybody():
    """A client that shows nothing, and does not mind who answers: here the server is the one that is to mind."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def addresses(lab):
    book = json.loads((lab.folder / ".lab" / "addresses.json").read_text())
    topology = load(lab.folder / ".lab" / "topology.toml")
    listeners = {(one.name, name) for one in services(topology) for name in one.listeners}
    return {(process, name): book[process][name] for process, name in listeners - FOR_ANYBODY}


def status_at(address, context, path="/nothing", headers=""):
    """The status of the answer; None where the TLS handshake was refused."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as plain:
        try:
            with context.wrap_socket(plain, server_hostname="localhost") as tls:
                tls.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n".encode())
                answer = tls.recv(4096)  # TLS 1.3: the refusal comes after the client's end of the handshake
        except (ssl.SSLError, ConnectionError):
            return None
    return int(answer.split()[1]) if answer else None


def test_every_listener_and_every_role_is_in_the_tables(lab):
    assert set(addresses(lab)) == set(LET_IN)
    assert {name.partition(":")[0] for name in NAMES} == set(ROLES)
    folders = (lab.folder / ".lab" / "pki" / "authorities").iterdir()
    assert {folder.name for folder in folders} == set(AUTHORITIES)


@pytest.mark.parametrize("authority", [*AUTHORITIES, None])
def test_only_whom_the_tables_name_is_let_in_and_only_under_its_own_authority(lab, forge, authority, figure):
    book, wrong, tried = addresses(lab), [], 0
    contexts = {name: forge(name, authority) for name in NAMES}
    for (at, (trusted, names)), name in product(LET_IN.items(), NAMES):
        found = status_at(book[at], contexts[name])
        expected = None if authority != trusted else 404 if name in names else 401
        tried += 1
        if found != expected:
            wrong.append((at, name, f"expected {expected}, got {found}"))
    figure(f"authority {authority}: {tried} times a name under it was shown to a listener")
    assert not wrong


@pytest.mark.parametrize(
    "name, may", [("probe:probe", {"healthz", "readyz"}), ("monitor:monitor", {"healthz", "readyz", "metrics"})]
)
def test_who_only_looks_asks_for_what_is_his_to_see_and_for_nothing_else(lab, forge, name, may):
    looking = forge(name, "operator")
    for at, address in addresses(lab).items():
        if at[1] == "ops":
            for path in ("healthz", "readyz", "metrics", "v1/status", "v1/audit"):
                assert status_at(address, looking, f"/{path}") in ((200, 503) if path in may else (401,)), (at, path)


def test_a_qkde_that_is_no_end_of_a_link_may_say_nothing_on_it(lab, forge):
    book = addresses(lab)
    with_body = "Content-Length: 2\r\n"
    for name in ("qkde:qkde-c", "qkde:qkde-a"):  # a stranger, and the process itself
        for call in ("messages", "orders"):
            assert post(book["qkde-a", "classical"], forge(name, "qkd"), f"/v1/links/a-b/{call}", with_body) == 401


def post(address, context, path, headers):
    host, port = address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        tls.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n{{}}".encode())
        return int(tls.recv(4096).split()[1])


@pytest.mark.parametrize(
    "wrong",
    [
        {"starts": -timedelta(days=2), "ends": -timedelta(days=1)},
        {"starts": timedelta(days=1), "ends": timedelta(days=2)},
        {"usages": ("SERVER_AUTH",)},
    ],
    ids=["expired", "not yet valid", "for servers alone"],
)
def test_a_certificate_that_is_not_good_now_and_for_clients_is_let_in_nowhere(lab, forge, wrong):
    for at, address in addresses(lab).items():
        authority, names = LET_IN[at]
        name = sorted(names)[0]
        assert status_at(address, forge(name, authority)) == 404
        assert status_at(address, forge(name, authority, **wrong)) is None, at


def test_without_a_certificate_nobody_is_let_in(lab):
    for at, address in addresses(lab).items():
        assert status_at(address, anybody()) is None, at


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1", "TLSv1_2", "TLSv1_3"])
def test_every_listener_speaks_tls_1_2_and_1_3_and_nothing_older(lab, forge, version):
    for at, address in addresses(lab).items():
        authority, names = LET_IN[at]
        context = forge(sorted(names)[0], authority)
        if version in ("TLSv1", "TLSv1_1"):
            context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        assert status_at(address, context) == (404 if version in ("TLSv1_2", "TLSv1_3") else None), at


@pytest.mark.parametrize("ciphers", ["aNULL", "eNULL", "3DES", "RC4", "EXPORT", "PSK", "aRSA+kRSA", "SHA1", "CBC"])
def test_no_listener_takes_a_weak_suite(lab, forge, ciphers):
    # With the lab's ECDSA certificates, what is left of TLS 1.2 is ephemeral Diffie-Hellman with authenticated ciphers.
    context = forge("sae:sae-a", "sae-a")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    names = {"CBC": "AES128-SHA256:AES256-SHA256:ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES256-SHA384"}
    with contextlib.suppress(ssl.SSLError):  # some are not even built in
        context.set_ciphers(f"{names.get(ciphers, ciphers)}:@SECLEVEL=0")
        assert status_at(addresses(lab)["kme-a", "sae"], context) is None


SPOOFED = "\r\n".join(
    [
        *(f"{name}: sae-b" for name in ("SAE_ID", "SAE-ID", "X-SAE-ID", "X-Remote-User", "Remote-User", "From")),
        *(f"X-Forwarded-{name}: sae-b" for name in ("For", "Host", "User", "Client-Cert")),
        "X-Forwarded-Proto: http",
        "Forwarded: for=sae-b;host=sae-b;proto=http",
        "X-SSL-Client-S-DN: CN=sae-b",
        "X-SSL-Client-Verify: SUCCESS",
        "SSL_CLIENT_S_DN: CN=sae-b",
        "SSL-Client-Cert: urn:qkd:sae:sae-b",
        "Authorization: Basic c2FlLWI6",
        "SCRIPT_NAME: /api",
        "PATH_INFO: /api/v1/keys/sae-a/enc_keys",
        "qkd.caller: sae-b",
        "X-Original-URL: /v1/saes",
        "X-HTTP-Method-Override: DELETE",
        "",
    ]
)


@pytest.mark.parametrize(
    ("headers", "query"),
    [("", ""), (SPOOFED, ""), ("", "?sae_id=sae-b&SAE_ID=sae-b&master_SAE_ID=sae-b"), (SPOOFED * 2, "?sae_id=sae-b")],
    ids=["nothing", "headers", "query", "headers twice"],
)
def test_no_header_and_no_query_changes_who_calls(lab, headers, query):
    folder = lab.identity("sae-a")
    context = anybody()
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    host, port = addresses(lab)["kme-a", "sae"].split(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as tls,
    ):
        text = f"GET /api/v1/sae/info/me{query} HTTP/1.1\r\nHost: sae-b\r\n{headers}Connection: close\r\n\r\n"
        tls.sendall(text.encode())
        head, _, body = tls.recv(10_000).partition(b"\r\n\r\n")
    assert head.split()[1] == b"200", body
    assert json.loads(body) == {"SAE_ID": "sae-a", "KME_ID": "kme-a"}


def test_a_second_host_header_is_refused(lab):
    folder = lab.identity("sae-a")
    context = anybody()
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    assert status_at(addresses(lab)["kme-a", "sae"], context, "/api/v1/sae/info/me", "Host: sae-b\r\n") == 400
