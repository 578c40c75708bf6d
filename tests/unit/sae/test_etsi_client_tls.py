"""Whom the client trusts, and the words in which it says why there is no answer."""

import contextlib
import socket

import pytest
from cryptography import x509

from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import Etsi014Client, KmeUnreachable


@pytest.mark.parametrize(
    "urns",
    [
        ("urn:qkd:kme:kme-b",),
        ("urn:qkd:sae:kme%2Fa",),
        ("urn:qkd:kme:kme/a",),
        ("urn:qkd:kme:kme%2Fa", "urn:qkd:kme:kme-b"),
        ("urn:something:else",),
    ],
)
def test_nothing_is_sent_to_a_kme_with_another_id_in_its_certificate(serve, client_of, urns):
    kme = serve(*urns)
    with pytest.raises(KmeUnreachable, match="expected urn:qkd:kme:kme%2Fa"):
        client_of(kme.url, "kme/a").enc_keys("sae-b")
    assert kme.calls == []


def test_without_a_kme_id_the_authority_alone_decides(serve, client_of):
    kme = serve("urn:something:else")
    kme.says({"keys": [{"key_ID": "11111111-1111-4111-8111-111111111111", "key": "AAAA"}]})
    assert len(client_of(kme.url, None).enc_keys("sae-b").keys) == 1


def test_nothing_is_sent_to_a_kme_of_a_foreign_authority(serve, client_of):
    kme = serve(by="foreign")
    with pytest.raises(KmeUnreachable, match="certificate was not accepted: .*certificate"):
        client_of(kme.url).enc_keys("sae-b")
    assert kme.calls == []


def test_a_certificate_for_another_host_is_named(serve, client_of):
    kme = serve()
    with pytest.raises(KmeUnreachable, match="certificate was not accepted: .*localhost"):
        client_of(kme.url.replace("127.0.0.1", "localhost")).enc_keys("sae-b")


def test_a_kme_that_does_not_accept_this_sae_is_told_from_one_that_is_away(serve, client_of):
    kme = serve(callers="foreign")
    with pytest.raises(KmeUnreachable, match="this SAE's certificate"):
        client_of(kme.url).enc_keys("sae-b")
    assert kme.calls == []


def test_connection_refused_is_told(client_of):
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        with pytest.raises(KmeUnreachable, match="connection refused: nothing listens there"):
            client_of(f"https://127.0.0.1:{reserved.getsockname()[1]}").enc_keys("sae-b")


def test_a_silent_server_is_told(pki):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        certificate, key = pki.issue("sae", "urn:qkd:sae:sae-a")
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        client = Etsi014Client(url, certificate, key, pki.authority(), timeout_s=0.2)
        with pytest.raises(KmeUnreachable, match="no answer in time"):
            client.enc_keys("sae-b")
        client.close()


def test_a_name_that_is_no_host_is_told(client_of):
    with pytest.raises(KmeUnreachable, match="no host of this name"):
        client_of("https://no-such-host.invalid").enc_keys("sae-b")


def test_missing_and_unusable_files_are_named(pki, tmp_path):
    certificate, key = pki.issue("sae", "urn:qkd:sae:sae-a")
    _, other_key = pki.issue("other", "urn:qkd:sae:sae-b")
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    for arguments, complaint in [
        ((tmp_path / "none.pem", key, pki.authority()), "^certificate: there is no file"),
        ((certificate, tmp_path / "none.pem", pki.authority()), "^key: there is no file"),
        ((certificate, key, tmp_path / "none.pem"), "^authorities: there is no file"),
        ((certificate, other_key, pki.authority()), "^certificate and key: "),
        ((certificate, key, junk), "^authorities: .* has no PEM certificate"),
    ]:
        with pytest.raises(ValueError, match=complaint):
            Etsi014Client("https://127.0.0.1:1", *arguments)


def test_a_renewed_certificate_is_shown_on_the_next_connection_and_half_a_renewal_is_not(pki, kme, client):
    def call():
        with contextlib.suppress(MalformedAnswer):
            client.status("sae-b")
        return kme.calls[-1].shown

    before = call()
    certificate, key = pki.folder / "sae.cert.pem", pki.folder / "sae.key.pem"
    old_key = key.read_bytes()
    pki.issue("sae", "urn:qkd:sae:sae-a")
    new_key = key.read_bytes()
    renewed = int(x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number)
    key.write_bytes(old_key)
    assert call() == before
    key.write_bytes(new_key)
    assert call() == renewed != before
    certificate.unlink()
    assert call() == renewed
