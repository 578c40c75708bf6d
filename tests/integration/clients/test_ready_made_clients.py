"""Clients that nobody here wrote, as their users run them: `etsi-qkd-014-client` with all it can do, and curl."""

from __future__ import annotations

import base64
import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from etsi_qkd_014_client import QKD014Client

from two_kmes import MAX_KEYS, MAX_KEYS_PER_REQUEST, STRANGE, Kmes, wait_for

UNKNOWN = "00000000-0000-4000-8000-000000000000"
NOT_FOUND = "one or more keys specified are not found on KME"
KME_OF = {"sae-a": "kme-a", "stranger-a": "kme-a", "sae-b": "kme-b", STRANGE: "kme-b"}


@pytest.fixture
def client(kmes: Kmes):
    """`client("sae-a")`: that client with an SAE's certificate, at its own KME."""

    def make(sae: str, **options) -> QKD014Client:
        return QKD014Client(kmes.url(KME_OF[sae]).removeprefix("https://"), *kmes.files(sae), **options)

    return make


def bits_of(key) -> int:
    return len(base64.b64decode(key.key, validate=True)) * 8


def pairs(container) -> list[tuple[str, str]]:
    return [(key.key_id, key.key) for key in container.keys]


def test_the_client_reads_the_status(client):
    code, status = client("sae-a").get_status("sae-b")
    assert code == 200
    assert (status.source_kme_id, status.target_kme_id) == ("kme-a", "kme-b")
    assert (status.master_sae_id, status.slave_sae_id) == ("sae-a", "sae-b")
    assert (status.key_size, status.min_key_size, status.max_key_size) == (256, 8, 4096)
    assert (status.max_key_count, status.max_key_per_request) == (MAX_KEYS, MAX_KEYS_PER_REQUEST)
    assert 0 < status.stored_key_count <= MAX_KEYS and status.max_sae_id_count == 0
    assert "sae-b" in str(status)


def test_the_client_takes_one_key_by_get_and_its_peer_fetches_it(client):
    code, taken = client("sae-a").get_key("sae-b")
    assert (code, len(taken.keys), bits_of(taken.keys[0])) == (200, 1, 256)
    code, fetched = client("sae-b").get_key_with_key_IDs("sae-a", [taken.keys[0].key_id])
    assert (code, pairs(fetched)) == (200, pairs(taken))


@pytest.mark.parametrize(
    ("asked", "number", "size"),
    [
        ({"number": 3}, 3, 256),
        ({"size": 512}, 1, 512),
        ({"number": 2, "size": 32}, 2, 32),
        ({"number": 1, "size": 8}, 1, 8),
        ({"number": 2, "size": 4096}, 2, 4096),
        ({"number": MAX_KEYS_PER_REQUEST}, MAX_KEYS_PER_REQUEST, 256),
        ({"additional_slave_sae_ids": []}, 1, 256),
        ({"extension_mandatory": [], "extension_optional": [{"abc_x": {"y": 1}}]}, 1, 256),
    ],
)
def test_the_client_takes_keys_by_post_and_its_peer_fetches_them_in_its_own_order(kmes, client, asked, number, size):
    wait_for_refill(kmes)
    code, taken = client("sae-a").get_key("sae-b", **asked)
    assert (code, len(taken.keys)) == (200, number), getattr(taken, "message", "")
    assert {bits_of(key) for key in taken.keys} == {size}
    ids = [key.key_id for key in reversed(taken.keys)]
    code, fetched = client("sae-b").get_key_with_key_IDs("sae-a", ids)
    assert (code, pairs(fetched)) == (200, pairs(taken)[::-1])


def wait_for_refill(kmes: Kmes) -> None:
    wait_for(lambda: kmes.stored_key_count() >= MAX_KEYS_PER_REQUEST, kmes.lab)


def test_the_client_may_send_the_members_the_standard_reserves(client):
    _, taken = client("sae-a").get_key("sae-b", number=2)
    ids = [key.key_id for key in taken.keys]
    code, fetched = client("sae-b").get_key_with_key_IDs("sae-a", ids, [{"x": 1}, {"y": [2]}], {"z": 3})
    assert (code, pairs(fetched)) == (200, pairs(taken))


def test_the_client_gives_an_sae_id_percent_encoded(client):
    code, taken = client("sae-a").get_key(quote(STRANGE, safe=""))
    assert code == 200
    code, fetched = client(STRANGE).get_key_with_key_IDs("sae-a", [taken.keys[0].key_id])
    assert (code, pairs(fetched)) == (200, pairs(taken))


@pytest.mark.parametrize(
    ("sae", "call", "arguments", "code", "message"),
    [
        ("sae-a", "get_status", ["sae-x"], 400, "sae-x"),
        ("stranger-a", "get_status", ["sae-b"], 400, "stranger-a"),
        ("sae-a", "get_key", ["sae-x"], 400, "sae-x"),
        ("sae-a", "get_key", ["sae-b", -1], 400, "number: expected 1..100, got -1"),
        ("sae-a", "get_key", ["sae-b", MAX_KEYS_PER_REQUEST + 1], 400, "number: expected 1..100, got 101"),
        ("sae-a", "get_key", ["sae-b", "3"], 400, "number: expected an integer, got a string"),
        ("sae-a", "get_key", ["sae-b", 1, 12], 400, "size shall be a multiple of 8"),
        ("sae-a", "get_key", ["sae-b", 1, 8192], 400, "size: expected 8..4096, got 8192"),
        (
            "sae-a",
            "get_key",
            ["sae-b", 1, 256, None, [{"abc_x": 1}]],
            400,
            "not all extension_mandatory parameters are supported",
        ),
        ("sae-b", "get_key_with_key_IDs", ["sae-a", [UNKNOWN]], 400, NOT_FOUND),
        ("sae-b", "get_key_with_key_IDs", ["sae-a", ["key"]], 400, "key_ID: expected a UUID of 36 characters"),
        ("sae-b", "get_key_with_key_IDs", ["sae-a", []], 400, "key_IDs: expected 1..1000"),
        ("sae-b", "get_key_with_key_IDs", ["sae-x", [UNKNOWN]], 400, "sae-x"),
    ],
)
def test_the_client_gets_every_error_in_words(client, sae, call, arguments, code, message):
    found, error = getattr(client(sae), call)(*arguments)
    assert found == code and message in error.message
    assert message in str(error)


def test_the_client_is_told_401_in_words_when_it_asks_for_what_is_not_for_it(client):
    _, taken = client("sae-a").get_key("sae-b")
    code, error = client("sae-a").get_key_with_key_IDs("sae-b", [taken.keys[0].key_id])
    assert code == 401 and "not for this SAE" in error.message


def test_the_client_is_told_503_in_words_and_how_many_keys_there_are(client):
    for _ in range(20):  # more bits at once than a block has, so one of them meets what others left
        code, error = client("sae-a").get_key("sae-b", number=MAX_KEYS_PER_REQUEST, size=4096)
        if code != 200:
            break
    assert code == 503 and "too few keys" in error.message
    (detail,) = error.details
    assert detail["available_key_count"] < MAX_KEYS_PER_REQUEST


def test_the_client_verifies_the_kme_unless_it_is_told_not_to(kmes: Kmes, client):
    name = client("sae-a").kme_hostname
    certificate, key, _ = kmes.files("sae-a")
    wrong = str(kmes.lab.identity("kme-a") / "trust" / "sae-a.pem")
    with pytest.raises(requests.exceptions.SSLError):
        QKD014Client(name, certificate, key, wrong).get_status("sae-b")
    with pytest.warns(match="Unverified HTTPS request"):
        code, _ = QKD014Client(name, certificate, key, wrong, force_insecure=True).get_status("sae-b")
    assert code == 200


def test_the_clients_own_command_does_all_three_with_its_configuration_file(kmes: Kmes, tmp_path: Path):
    def run(sae: str, *arguments: str) -> str:
        certificate, key, ca = kmes.files(sae)
        hostname = kmes.url(KME_OF[sae]).removeprefix("https://")
        config = configparser.ConfigParser()
        config["etsi_qkd_014_client"] = {"hostname": hostname, "cert": certificate, "key": key, "ca": ca, "force": "no"}
        with (tmp_path / "client.ini").open("w") as file:
            config.write(file)
        command = [sys.executable, "-m", "etsi_qkd_014_client.cli", "-C", str(tmp_path / "client.ini"), *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert "Response code : 200" in done.stdout, done.stderr
        return done.stdout

    assert "kme-b" in run("sae-a", "get_status", "sae-b")
    taken = re.search(r"Key id : (\S+)\nKey : (\S+)", run("sae-a", "get_key", "sae-b"))
    assert taken[0] in run("sae-b", "get_key_with_id", taken[1], "sae-a")


class Curl:
    """`curl` with an SAE's certificate; what it prints, with the status last."""

    def __init__(self, kmes: Kmes, sae: str) -> None:
        certificate, key, ca = kmes.files(sae)
        self._command = ["curl", "-sS", "--cert", certificate, "--key", key, "--cacert", ca, "-w", "\n%{http_code}"]
        self._base = f"{kmes.url(KME_OF[sae])}/api/v1/keys"

    def __call__(self, path: str, *options: str) -> tuple[int, str]:
        done = subprocess.run([*self._command, *options, f"{self._base}/{path}"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        text, _, status = done.stdout.rpartition("\n")
        return int(status), text


@pytest.fixture
def curl(kmes: Kmes):
    assert shutil.which("curl"), "these tests need curl"
    return lambda sae: Curl(kmes, sae)


JSON = ("-H", "Content-Type: application/json")


@pytest.mark.parametrize(
    ("options", "query", "number", "size"),
    [
        ([], "", 1, 256),
        ([], "?number=2&size=128", 2, 128),
        (["-G", "-d", "number=2", "-d", "size=64"], "", 2, 64),
        (["-X", "POST"], "", 1, 256),
        (["-d", ""], "", 1, 256),
        (["-d", '{"number": 3}'], "", 3, 256),  # as application/x-www-form-urlencoded, curl's own
        ([*JSON, "-d", '{"number":2,"size":1024}'], "", 2, 1024),
        ([*JSON, "-H", "Transfer-Encoding: chunked", "-d", '{"number":2}'], "", 2, 256),
        ([*JSON, "-H", "Expect: 100-continue", "-d", '{"number":2}'], "", 2, 256),
        (["--http1.0"], "", 1, 256),
        (["--tlsv1.2", "--tls-max", "1.2"], "", 1, 256),
        (["-X", "GET", *JSON, "-d", '{"number":9}'], "", 1, 256),
        (["--compressed", "--path-as-is"], "", 1, 256),
    ],
)
def test_curl_takes_keys_and_fetches_them(kmes, curl, options, query, number, size):
    wait_for_refill(kmes)
    status, text = curl("sae-a")(f"sae-b/enc_keys{query}", *options)
    keys = json.loads(text)["keys"]
    assert (status, len(keys)) == (200, number)
    assert {len(base64.b64decode(key["key"])) * 8 for key in keys} == {size}
    wanted = json.dumps({"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]})
    assert curl("sae-b")("sae-a/dec_keys", "-d", wanted) == (200, text)


def test_curl_fetches_a_key_by_get(curl):
    _, text = curl("sae-a")("sae-b/enc_keys")
    key_id = re.search('"key_ID":"([^"]*)"', text)[1]
    assert curl("sae-b")(f"sae-a/dec_keys?key_ID={key_id}") == (200, text)
    assert curl("sae-b")(f"sae-a/dec_keys?key_ID={key_id}") == (400, f'{{"message":"{NOT_FOUND}"}}')


def test_curl_reads_the_status_and_gets_refusals_in_json(curl):
    status, text = curl("sae-a")("sae-b/status")
    assert status == 200 and json.loads(text)["slave_SAE_ID"] == "sae-b"
    for options, path, expected in [
        (["-I"], "sae-b/enc_keys", 405),
        (["-X", "DELETE"], "sae-b/status", 405),
        ([], "sae-b/keys", 404),
        ([], "sae-x/status", 400),
        (["-d", "[]"], "sae-b/enc_keys", 400),
        (["-d", '{"number":1,"number":2}'], "sae-b/enc_keys", 400),
    ]:
        status, text = curl("sae-a")(path, *options)
        assert status == expected
        assert "-I" in options or json.loads(text)["message"]


def test_curl_reads_the_documents(kmes: Kmes, curl):
    _, text = curl("sae-a")("../openapi.json")
    assert json.loads(text)["openapi"].startswith("3.1")
    status, page = curl("sae-a")("../docs")
    assert status == 200 and page.startswith("<!doctype html>")
