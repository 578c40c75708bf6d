"""The octets that other ETSI GS QKD 014 clients are known to send, and answers that each of them can read.

Which client does what: a Rust client always sends a member of its own, another sends explicit nulls and compares
messages, a Go daemon knows GET alone and repeats it five times, a C wrapper refuses repeated members, base64 without
padding and UUIDs that are not 36 characters, shell scripts cut the answer with `sed`.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess

import pytest

from two_kmes import MAX_KEYS_PER_REQUEST, STRANGE, Answer, Kmes

ENC = "/api/v1/keys/sae-b/enc_keys"
DEC = "/api/v1/keys/sae-a/dec_keys"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
NOT_FOUND = b'{"message":"one or more keys specified are not found on KME"}'
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
EXPLICIT_NULLS = (
    b'{"number":null,"size":null,"additional_slave_SAE_IDs":null,"extension_mandatory":null,"extension_optional":null}'
)


def post(path: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "host: kme:8000", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: kme:8000", *headers]).encode() + b"\r\n\r\n"


def once(pairs):
    assert len(dict(pairs)) == len(pairs), "a member is there twice"
    return dict(pairs)


def read(answer: Answer, status: int = 200) -> dict:
    """The body, when the answer is one that every client can read."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "transfer-encoding" not in answer.headers and "content-encoding" not in answer.headers
    assert len(answer.reads) == 1, "some clients read once and take that for the whole answer"
    body = json.loads(answer.body, object_pairs_hook=once)
    assert answer.body == json.dumps(body, separators=(",", ":")).encode()
    return body


def keys_in(answer: Answer, number: int = 1, size_bits: int = 256) -> list[dict[str, str]]:
    body = read(answer)
    assert list(body) == ["keys"] and len(body["keys"]) == number
    for key in body["keys"]:
        assert list(key) == ["key_ID", "key"] and UUID.fullmatch(key["key_ID"])
        bits = base64.b64decode(key["key"], validate=True)
        assert len(bits) * 8 == size_bits and base64.b64encode(bits).decode() == key["key"]
    return body["keys"]


REQUESTS_OF_ONE_KEY = {
    "the least there can be": b"GET " + ENC.encode() + b" HTTP/1.1\r\n\r\n",
    "Go: GET with a query": get(f"{ENC}?number=1&size=256", "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"),
    "C: GET with a body": get(ENC, "Accept: */*", "Content-Type: application/json", "Content-Length: 12")
    + b'{"number":9}',
    "C: GET with an empty body": get(ENC, "Accept: */*", "Content-Length: 0"),
    "GET with an empty query": get(f"{ENC}?"),
    "GET with unknown and empty parameters": get(f"{ENC}?&additional_target_sae_ids=x&&number=1&_=1700000000"),
    "a whole URL": get(f"https://127.0.0.1:8000{ENC}"),
    "HTTP/1.0": b"GET " + ENC.encode() + b" HTTP/1.0\r\nHost: kme\r\nConnection: keep-alive\r\n\r\n",
    "POST without a body and without a length": b"POST " + ENC.encode() + b" HTTP/1.1\r\nHost: kme\r\n\r\n",
    "POST with an empty body": post(ENC, b"", "content-type: application/json"),
    "POST with a line end alone": post(ENC, b"\r\n"),
    "POST of nothing": post(ENC, b"{}", "Content-Type: application/json"),
    "Rust: a member of its own": post(
        ENC, b'{"number":1,"size":256,"additional_target_sae_ids":[]}', "content-type: application/json", "accept: */*"
    ),
    "Rust: explicit nulls": post(ENC, EXPLICIT_NULLS, "content-type: application/json"),
    "empty arrays": post(
        ENC, b'{"number":1,"additional_slave_SAE_IDs":[],"extension_mandatory":[],"extension_optional":[]}'
    ),
    "an option that may be ignored": post(ENC, b'{"extension_optional":[{"abc_route_type":"direct"}]}'),
    "Python: blanks in JSON": post(ENC, b'{"number": 1, "size": 256}', "User-Agent: python-requests/2.32.3"),
    "pretty JSON": post(ENC, b'{\r\n\t"number" : 1\r\n}\r\n', "Content-Type: application/json; charset=utf-8"),
    "escaped JSON": post(ENC, b'{"n\\u0075mber":1}'),
    "curl: no type of its own": post(ENC, b'{"number":1}', "Content-Type: application/x-www-form-urlencoded"),
    "no type at all": post(ENC, b'{"number":1}'),
    "another vendor's type": post(ENC, b'{"number":1}', "Content-Type: application/vnd.etsi.qkd+json"),
    "chunks": b"POST " + ENC.encode() + b" HTTP/1.1\r\nHost: kme\r\nTransfer-Encoding: chunked\r\n\r\n"
    b'4\r\n{"nu\r\n8;x=y\r\nmber":1}\r\n0\r\n\r\n',
    "headers of a proxy": get(ENC, "X-Forwarded-For: 192.0.2.1", "X-SSL-Client-CN: sae-b", "Authorization: Bearer x"),
}


@pytest.mark.parametrize("name", REQUESTS_OF_ONE_KEY)
def test_a_request_for_one_key_is_understood_as_it_is_sent(kmes: Kmes, name):
    with kmes.connect("sae-a", "kme-a") as connection:
        answer = connection.ask(REQUESTS_OF_ONE_KEY[name])
        (key,) = keys_in(answer)
        assert answer.headers["connection"] == "keep-alive"
        # Nothing of the request was left over, to be taken for the next one.
        assert read(connection.ask(get("/api/v1/keys/sae-b/status")))["slave_SAE_ID"] == "sae-b"
    assert keys_in(kmes.ask("sae-b", "kme-b", get(f"{DEC}?key_ID={key['key_ID']}"))) == [key]


def requests_for(key_id: str) -> dict[str, bytes]:
    body = f'{{"key_IDs":[{{"key_ID":"{key_id}"}}]}}'.encode()
    return {
        "GET": get(f"{DEC}?key_ID={key_id}", "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip"),
        "GET, upper case": get(f"{DEC}?key_ID={key_id.upper()}"),
        "GET, every character escaped": get(f"{DEC}?key_ID={''.join(f'%{ord(one):02X}' for one in key_id)}"),
        "GET with a body": get(f"{DEC}?key_ID={key_id}", f"Content-Length: {len(body)}") + body,
        "POST": post(DEC, body, "content-type: application/json"),
        "POST, upper case": post(DEC, body.replace(key_id.encode(), key_id.upper().encode())),
        "POST, reserved members": post(
            DEC,
            f'{{"key_IDs":[{{"key_ID":"{key_id}","key_ID_extension":null}}],"key_IDs_extension":{{"x":1}}}}'.encode(),
        ),
        "POST, unknown members": post(DEC, body[:-1] + b',"additional_target_sae_ids":[],"x":{"key_IDs":7}}'),
        "POST, no type": post(DEC, body, "Content-Type: text/plain"),
    }


@pytest.mark.parametrize("name", requests_for(UNKNOWN))
def test_a_request_for_a_named_key_is_understood_as_it_is_sent(kmes: Kmes, name):
    (key,) = kmes.keys(1)
    request = requests_for(key["key_ID"])[name]
    with kmes.connect("sae-b", "kme-b") as connection:
        assert keys_in(connection.ask(request)) == [key]
        again = connection.ask(request)
        assert read(again, 400) and again.body == NOT_FOUND


def test_the_go_daemon_repeats_a_refused_get_five_times_and_is_not_locked_out(kmes: Kmes):
    refused = get(f"{DEC}?key_ID={UNKNOWN}", "User-Agent: Go-http-client/1.1", "Accept-Encoding: gzip")
    with kmes.connect("sae-b", "kme-b") as connection:
        assert [connection.ask(refused).body for _ in range(5)] == [NOT_FOUND] * 5
        (key,) = kmes.keys(1)
        assert keys_in(connection.ask(get(f"{DEC}?key_ID={key['key_ID']}"))) == [key]


# What the Rust client tells errors apart by: table 10's and table 12's words.
STANDARD_MESSAGES = {
    "size shall be a multiple of 8": b'{"size":12}',
    "not all extension_mandatory parameters are supported": b'{"extension_mandatory":[{"abc_route_type":"direct"}]}',
}


@pytest.mark.parametrize("message", STANDARD_MESSAGES)
def test_the_standards_messages_come_word_for_word(kmes: Kmes, message):
    answer = kmes.ask("sae-a", "kme-a", post(ENC, STANDARD_MESSAGES[message]))
    assert read(answer, 400) and answer.body == f'{{"message":"{message}"}}'.encode()


@pytest.mark.parametrize("verb", ["GET", "POST"])
@pytest.mark.parametrize("size_bits", [8, 32, 128, 192, 512, 4096])
def test_a_firewall_gets_keys_of_the_size_it_asks_for(kmes: Kmes, verb, size_bits):
    body = f'{{"number":2,"size":{size_bits}}}'.encode()
    asked = get(f"{ENC}?number=2&size={size_bits}") if verb == "GET" else post(ENC, body)
    keys = keys_in(kmes.ask("sae-a", "kme-a", asked), 2, size_bits)
    wanted = json.dumps({"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}).encode()
    assert keys_in(kmes.ask("sae-b", "kme-b", post(DEC, wanted)), 2, size_bits) == keys


def test_as_many_keys_as_a_request_may_name_come_in_one_answer(kmes: Kmes):
    asked = post(ENC, f'{{"number":{MAX_KEYS_PER_REQUEST},"size":8}}'.encode())
    keys = keys_in(kmes.ask("sae-a", "kme-a", asked), MAX_KEYS_PER_REQUEST, 8)
    assert len({key["key_ID"] for key in keys}) == MAX_KEYS_PER_REQUEST


@pytest.mark.parametrize(
    "segment", ["vpn%2F1%3F%C3%BC%20b%252F", "vpn%2f1%3f%c3%bc%20b%252F", "%76%70%6e%2F1%3F%C3%BC%20b%252F"]
)
def test_an_sae_id_in_a_path_is_percent_encoded_in_any_spelling(kmes: Kmes, segment):
    status = read(kmes.ask("sae-a", "kme-a", get(f"/api/v1/keys/{segment}/status")))
    assert (status["master_SAE_ID"], status["slave_SAE_ID"]) == ("sae-a", STRANGE)
    (key,) = keys_in(kmes.ask("sae-a", "kme-a", get(f"/api/v1/keys/{segment}/enc_keys")))
    assert keys_in(kmes.ask(STRANGE, "kme-b", get(f"{DEC}?key_ID={key['key_ID']}"))) == [key]


def test_the_status_is_compact_and_has_the_standards_members_in_their_order(kmes: Kmes):
    answer = kmes.ask("sae-b", "kme-b", get("/api/v1/keys/sae-a/status"))
    assert read(answer)
    assert re.sub(rb'(?<="stored_key_count":)\d+', b"N", answer.body) == (
        b'{"source_KME_ID":"kme-b","target_KME_ID":"kme-a","master_SAE_ID":"sae-b","slave_SAE_ID":"sae-a",'
        b'"key_size":256,"stored_key_count":N,"max_key_count":200,"max_key_per_request":100,"max_key_size":4096,'
        b'"min_key_size":8,"max_SAE_ID_count":0}'
    )


def test_a_script_cuts_key_and_id_out_with_sed(kmes: Kmes):
    answer = kmes.ask("sae-a", "kme-a", get(ENC))
    (key,) = keys_in(answer)
    for member in ("key_ID", "key"):
        script = f's/.*"{member}":"\\([^"]*\\)".*/\\1/p'
        cut = subprocess.run(["sed", "-n", script], input=answer.body, capture_output=True, check=True)
        assert cut.stdout.decode().strip() == key[member]


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(kmes: Kmes):
    with kmes.connect("sae-a", "kme-a") as connection:
        head, _, body = post(ENC, b'{"number":2}', "Expect: 100-continue").partition(b"\r\n\r\n")
        assert connection.ask(head + b"\r\n\r\n").status == 100
        keys_in(connection.ask(body), 2)


def test_a_client_that_closes_is_answered_and_the_connection_closed(kmes: Kmes):
    answer = kmes.ask("sae-a", "kme-a", get(ENC, "Connection: close"))
    assert keys_in(answer) and answer.headers["connection"] == "close"


def test_one_connection_serves_many_requests_one_after_the_other(kmes: Kmes):
    with kmes.connect("sae-a", "kme-a") as connection:
        ids = [keys_in(connection.ask(post(ENC, b"{}")))[0]["key_ID"] for _ in range(20)]
    assert len(set(ids)) == 20


def test_two_requests_sent_at_once_are_answered_one_after_the_other(kmes: Kmes):
    with kmes.connect("sae-a", "kme-a") as connection:
        first = connection.ask(post(ENC, b"{}") + get("/api/v1/keys/sae-b/status"))
        assert keys_in(first)
        assert read(connection.answer())["slave_SAE_ID"] == "sae-b"


def test_every_refusal_can_be_read_like_an_answer(kmes: Kmes):
    for status, request in {
        400: post(ENC, b"[]"),
        404: get("/api/v1/keys/sae-b/nothing"),
        405: b"HEAD " + ENC.encode() + b" HTTP/1.1\r\nHost: kme\r\n\r\n",
        413: post(ENC, b" " * ((1 << 20) + 1)),
    }.items():
        answer = kmes.ask("sae-a", "kme-a", request)
        assert answer.status == status and answer.headers["content-type"] == "application/json"
        if status != 405:
            assert list(read(answer, status)) == ["message"]
