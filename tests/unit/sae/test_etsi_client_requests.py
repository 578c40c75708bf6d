"""What the client sends, and how it hands on a refusal. The KME is a real HTTPS server that answers as told."""

import ast
import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest

import sae_demo.etsi_client
from sae_demo.etsi_client import Etsi014Client, KmeRefused, KmeUnreachable, MalformedAnswer

ID_1, ID_2 = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-22222222222a"
STATUS = {
    "source_KME_ID": "kme/a",
    "target_KME_ID": "kme-b",
    "master_SAE_ID": "sae-a",
    "slave_SAE_ID": "sae-b",
    "key_size": 256,
    "stored_key_count": 25000,
    "max_key_count": 100000,
    "max_key_per_request": 128,
    "max_key_size": 1024,
    "min_key_size": 64,
    "max_SAE_ID_count": 0,
}


def container(*keys):
    return {"keys": [{"key_ID": key_id, "key": base64.b64encode(octets).decode()} for key_id, octets in keys]}


def test_status_is_a_get_with_the_slave_in_the_path(kme, client):
    kme.says(STATUS)
    status = client.status("sae-b")
    assert [(call.method, call.path, call.body) for call in kme.calls] == [("GET", "/api/v1/keys/sae-b/status", b"")]
    assert (status.source_kme_id, status.key_size_bits, status.stored_key_count) == ("kme/a", 256, 25000)


def test_enc_keys_is_a_post_with_the_members_of_table_10_that_were_given(kme, client):
    kme.says(container((ID_1, b"k" * 4), (ID_2, b"l" * 4)))
    keys = client.enc_keys("sae-b", 2, 32, ["sae-c"], [{"abc_route_type": "direct"}], [{"abc_max_age": 30000}]).keys
    (call,) = kme.calls
    assert (call.method, call.path) == ("POST", "/api/v1/keys/sae-b/enc_keys")
    assert call.headers["Content-Type"] == "application/json"
    assert json.loads(call.body) == {
        "number": 2,
        "size": 32,
        "additional_slave_SAE_IDs": ["sae-c"],
        "extension_mandatory": [{"abc_route_type": "direct"}],
        "extension_optional": [{"abc_max_age": 30000}],
    }
    assert [(key.key_id, key.octets) for key in keys] == [(ID_1, b"kkkk"), (ID_2, b"llll")]


def test_enc_keys_leaves_out_what_is_not_given(kme, client):
    kme.says(container((ID_1, b"k" * 32)))
    client.enc_keys("sae-b")
    assert json.loads(kme.calls[0].body) == {"number": 1}


def test_dec_keys_is_a_post_of_key_ids_and_keeps_their_order(kme, client):
    kme.says(container((ID_2.upper(), b"2"), (ID_1, b"1")))
    keys = client.dec_keys("sae-a", [ID_1, ID_2]).keys
    (call,) = kme.calls
    assert (call.method, call.path) == ("POST", "/api/v1/keys/sae-a/dec_keys")
    assert json.loads(call.body) == {"key_IDs": [{"key_ID": ID_1}, {"key_ID": ID_2}]}
    assert [key.octets for key in keys] == [b"1", b"2"]


@pytest.mark.parametrize(
    ("sae_id", "segment"),
    [("a/b?c#d", "a%2Fb%3Fc%23d"), ("a b+c", "a%20b%2Bc"), ("100%25", "100%2525"), ("ä€", "%C3%A4%E2%82%AC")],
)
def test_an_sae_id_is_percent_encoded_into_one_segment(kme, client, sae_id, segment):
    kme.says(STATUS | {"slave_SAE_ID": sae_id})
    client.status(sae_id)
    assert kme.calls[0].path == f"/api/v1/keys/{segment}/status"


@pytest.mark.parametrize("sae_id", ["", ".", ".."])
def test_an_sae_id_that_http_would_fold_away_is_refused_before_anything_is_sent(kme, client, sae_id):
    with pytest.raises(ValueError, match="SAE id"):
        client.status(sae_id)
    assert kme.calls == []


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        (lambda client: client.enc_keys("b", number=0), "number"),
        (lambda client: client.enc_keys("b", size=12), "size"),
        (lambda client: client.enc_keys("b", size=0), "size"),
        (lambda client: client.dec_keys("a", []), "key_ids"),
        (lambda client: client.dec_keys("a", [ID_2, ID_2.upper()]), "key_ids"),
        (lambda client: client.dec_keys("a", [ID_1.replace("-", "")]), "key_ids"),
    ],
)
def test_an_impossible_argument_is_named_before_anything_is_sent(kme, client, call, argument):
    with pytest.raises(ValueError, match=f"^{argument}:"):
        call(client)
    assert kme.calls == []


def test_a_refusal_has_the_message_the_details_and_the_waiting_time(kme, client):
    kme.says({"message": "too few keys", "details": [{"available": 3}]}, 503, Retry_After="7")
    with pytest.raises(KmeRefused) as refused:
        client.enc_keys("sae-b", 10)
    error = refused.value
    assert (error.status, error.message, error.details, error.retry_after_s) == (
        503, "too few keys", ({"available": 3},), 7,
    )  # fmt: skip
    assert len(kme.calls) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"message":5,"details":7}', b'{"message":""}'])
def test_a_refusal_with_an_empty_or_odd_body_is_still_a_refusal(kme, client, body):
    kme.says(body, 401, Retry_After="Wed, 21 Oct 2026 07:28:00 GMT")
    with pytest.raises(KmeRefused, match="gave no reason") as refused:
        client.enc_keys("sae-b")
    assert (refused.value.status, refused.value.details, refused.value.retry_after_s) == (401, (), None)


def test_a_redirect_is_a_refusal_and_is_not_followed(kme, client):
    kme.says(b"", 307, Location="/elsewhere")
    with pytest.raises(KmeRefused):
        client.enc_keys("sae-b")
    assert len(kme.calls) == 1


@pytest.mark.parametrize("call", [Etsi014Client.enc_keys, Etsi014Client.status])
def test_a_lost_answer_is_not_asked_for_again(kme, client, call):
    kme.hangs_up = True
    with pytest.raises(KmeUnreachable, match="cut off"):
        call(client, "sae-b")
    assert len(kme.calls) == 1


def test_an_answer_that_breaks_off_leaves_no_key_on_the_error(kme, client):
    kme.says(container((ID_1, b"k" * 32)))
    kme.missing_bytes = 5
    with pytest.raises(KmeUnreachable) as lost:
        client.enc_keys("sae-b")
    assert lost.value.__cause__ is None
    assert lost.value.__context__ is None


def test_a_key_does_not_show_in_a_repr(kme, client):
    kme.says(container((ID_1, b"top-secret-bits!")))
    shown = repr(client.enc_keys("sae-b"))
    assert ID_1 in shown
    assert "top-secret" not in shown


def test_status_of_another_kme_or_slave_is_not_believed(kme, client):
    kme.says(STATUS | {"source_KME_ID": "kme-x"})
    with pytest.raises(MalformedAnswer, match="source_KME_ID"):
        client.status("sae-b")
    kme.says(STATUS)
    with pytest.raises(MalformedAnswer, match="slave_SAE_ID"):
        client.status("sae-c")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:8000", "https://", "https://kme?x=1"])
def test_a_url_that_is_not_https_is_refused(pki, url):
    certificate, key = pki.issue("sae", "urn:qkd:sae:sae-a")
    with pytest.raises(ValueError, match="^kme_url:"):
        Etsi014Client(url, certificate, key, pki.authority())


def test_the_client_needs_nothing_of_this_repository_but_its_own_parts():
    root = Path(sae_demo.etsi_client.__file__).parents[1]
    packages = sorted(path.parent.name for path in root.glob("*/__init__.py"))
    program = (
        "import sys, sae_demo.etsi_client;"
        f"print(*sorted(m for m in sys.modules if m.partition('.')[0] in {packages + ['flask', 'cryptography']}))"
    )
    loaded = subprocess.run([sys.executable, "-c", program], cwd=root, check=True, capture_output=True, text=True)
    assert loaded.stdout.split() == [
        "sae_demo", "sae_demo.etsi_answers", "sae_demo.etsi_client", "sae_demo.etsi_tls",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["etsi_client", "etsi_answers", "etsi_tls"])
def test_the_client_imports_only_the_standard_library_and_requests(name):
    source = Path(sae_demo.etsi_client.__file__).with_name(f"{name}.py").read_text()
    imports = {
        module
        for node in ast.walk(ast.parse(source))
        for module in (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )
    }  # fmt: skip
    allowed = sys.stdlib_module_names | {"requests", "urllib3"}
    assert {m for m in imports if m.partition(".")[0] not in allowed} <= {"sae_demo.etsi_answers", "sae_demo.etsi_tls"}
