"""Malformed requests to the methods of ETSI GS QKD 014, octet by octet, each with the answer it must get.

`A_KEY` stands for the id of a key that the slave could fetch: what is asked for beside it must not consume it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

A_KEY = "cccccccc-cccc-4ccc-8ccc-cccccccccccc"
OTHER = "00000000-0000-4000-8000-000000000000"
TOO_LARGE = (1 << 20) + 1
MEGABYTE = 1 << 20
UTF8 = "the body is not UTF-8"


@dataclass(frozen=True)
class Malformed:
    """`said` stands in the answer's message; `caller` other than the method's own where it matters."""

    name: str
    request: bytes
    status: int
    said: str = ""
    caller: str = ""


def http(verb: str, target: str, body: bytes | None = None, *headers: str) -> bytes:
    length = [] if body is None else [f"Content-Length: {len(body)}"]
    head = "\r\n".join([f"{verb} {target} HTTP/1.1", "Host: kme", *length, *headers])
    return f"{head}\r\n\r\n".encode("latin-1") + (body or b"")


# Where the SAE ID stands in the path, as it is sent: none of them is an SAE that shares keys with the caller.
NO_SAE = {
    "two dots": "%2e%2e",
    "a step up": "%2e%2e%2fsae-b",
    "there and back": "sae-b%2f..%2fsae-b",
    "a path parameter": "sae-b;x=1",
    "NUL alone": "%00",
    "NUL at the end": "{sae}%00",
    "NUL before a suffix": "{sae}%00.json",
    "a line end": "{sae}%0d%0aX-Role:%20kme",
    "a tab": "%09{sae}",
    "DEL": "{sae}%7f",
    "a blank at the end": "{sae}%20",
    "a no-break space": "{sae}%c2%a0",
    "a zero-width space": "{sae}%e2%80%8b",
    "text from right to left": "%e2%80%ae{sae}",
    "another case": "SAE-B",
    "full-width letters": "%ef%bd%93%ef%bd%81%ef%bd%85-b",
    "an octet that is not UTF-8": "%ff",
    "a lone continuation": "%80",
    "a sequence cut short": "%e2%82",
    "an overlong slash": "%c0%af",
    "an overlong NUL": "%c0%80",
    "a lone surrogate": "%ed%a0%80",
    "beyond Unicode": "%f4%90%80%80",
    "UTF-16": "%ff%fes%00a%00e%00-%00b%00",
    "latin-1": "caf%e9",
    "no hexadecimal": "%zz",
    "a percent sign": "%",
    "an old escape": "%u0073ae-b",
    "escaped twice": "%2573ae-b",
    "too long": "x" * 256,
    "too long, with two octets each": "%c3%a4" * 256,
    "a wildcard": "*",
    "two of them": "{sae},{sae}",
    "SQL": "%27%20OR%201=1--",
    "markup": "%3Cscript%3E",
    "a format": "%25s%25n",
    "JSON": "%7B%22sae%22:1%7D",
    "null": "null",
    "an integer": "0",
    "a query's mark": "{sae}%3Fnumber=1",
}
# The whole target.
NO_PATH = {
    "no SAE ID": "/api/v1/keys//{method}",
    "two slashes before the method": "/api/v1/keys/{sae}//{method}",
    "two slashes within": "/api//v1/keys/{sae}/{method}",
    "two slashes at the start": "//api/v1/keys/{sae}/{method}",
    "two slashes after a host": "https://kme//api/v1/keys/{sae}/{method}",
    "a slash at the end": "/api/v1/keys/{sae}/{method}/",
    "an escaped slash at the end": "/api/v1/keys/{sae}/{method}%2f",
    "dots before": "/api/v1/keys/../keys/{sae}/{method}",
    "one dot": "/api/v1/keys/./{sae}/{method}",
    "dots after": "/api/v1/keys/{sae}/{method}/../{method}",
    "dots above the root": "/../../api/v1/keys/{sae}/{method}",
    "a slash within the id": "/api/v1/keys/sae/b/{method}",
    "a parameter of the method": "/api/v1/keys/{sae}/{method};x=1",
    "a suffix": "/api/v1/keys/{sae}/{method}.json",
    "NUL after the method": "/api/v1/keys/{sae}/{method}%00",
    "another version": "/api/v2/keys/{sae}/{method}",
    "capitals": "/API/V1/KEYS/{sae}/{method}",
    "backslashes": "/api/v1\\keys\\{sae}\\{method}",
    "an unknown method": "/api/v1/keys/{sae}/all_keys",
    "the root": "/",
}
# The life-cycle API's place for a key's id: its GET refuses what is none, and it has no POST there.
NO_KEY = {"no SAE ID, no slash": "/api/v1/keys/{method}", "no method": "/api/v1/keys/{sae}"}
# What stands after the request line, and what follows it.
NO_HTTP = {
    "a negative length": (400, "Content-Length: -1\r\n\r\n"),
    "a length with a sign": (400, "Content-Length: +2\r\n\r\n{}"),
    "a length in words": (400, "Content-Length: two\r\n\r\n{}"),
    "two lengths": (400, "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"),
    "a length and chunks": (400, "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "a transfer coding nobody has": (501, "Transfer-Encoding: qkd\r\n\r\n"),
    "a blank in a header's name": (400, "X Y: 1\r\n\r\n"),
    "a header without a colon": (400, "nonsense\r\n\r\n"),
    "a huge header": (431, f"X: {'x' * 70_000}\r\n\r\n"),
    "too many headers": (431, "X: 1\r\n" * 200 + "\r\n"),
    "a body that is too large": (413, f"Content-Length: {TOO_LARGE}\r\n\r\n" + " " * TOO_LARGE),
    "no chunks": (400, "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    "chunks that are too large": (
        413,
        f"Transfer-Encoding: chunked\r\n\r\n{TOO_LARGE:x}\r\n" + " " * TOO_LARGE + "\r\n0\r\n\r\n",
    ),
}
NO_METHOD = ("HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND")

# Bodies that are no JSON object, whatever the method.
NO_OBJECT: dict[str, tuple[bytes, str]] = {
    "an array": (b"[]", "expected a JSON object, got an array"),
    "an integer": (b"3", "expected a JSON object, got an integer"),
    "a string": (b'"x"', "expected a JSON object, got a string"),
    "null": (b"null", "expected a JSON object, got null"),
    "true": (b"true", "expected a JSON object, got a boolean"),
    "half an object": (b'{"number":1', "not JSON"),
    "two objects": (b"{}{}", "not JSON"),
    "a comma too many": (b'{"number":1,}', "not JSON"),
    "single quotes": (b"{'number':1}", "not JSON"),
    "a member without quotes": (b"{number:1}", "not JSON"),
    "a comment": (b'{"number":1}//', "not JSON"),
    "a form": (b"number=1&size=256", "not JSON"),
    "XML": (b"<number>1</number>", "not JSON"),
    "NUL at the end": (b"{}\0", "not JSON"),
    "a raw line end in a string": (b'{"x":"\n"}', "not JSON"),
    "an unknown escape": (b'{"x":"\\q"}', "not JSON"),
    "a leading zero": (b'{"number":01}', "not JSON"),
    "a plus sign": (b'{"number":+1}', "not JSON"),
    "hexadecimal": (b'{"number":0x1}', "not JSON"),
    "NaN": (b'{"number":NaN}', "NaN"),
    "NaN where nobody looks": (b'{"x":[NaN]}', "NaN"),
    "Infinity": (b'{"number":Infinity}', "Infinity"),
    "-Infinity": (b'{"size":-Infinity}', "Infinity"),
    "a number of 5000 digits": (b'{"number":' + b"9" * 5000 + b"}", "a number is too long"),
    "a member twice": (b'{"number":1,"number":2}', "named twice"),
    "a member twice, spelled in two ways": (b'{"number":1,"n\\u0075mber":2}', "named twice"),
    "a member twice, deeper": (b'{"x":[{"a":1,"a":1}]}', "named twice"),
    "deep arrays": (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    "deep objects": (b'{"x":' * 100_000 + b"1" + b"}" * 100_000, "nested too deeply"),
    "deep and open": (b"[" * 500_000, "nested too deeply"),
    "UTF-8 with a mark": (b"\xef\xbb\xbf{}", "not JSON"),
    "UTF-16": ("{}".encode("utf-16"), UTF8),
    "UTF-16 without a mark": ('{"number":1}'.encode("utf-16-le"), "not JSON"),
    "UTF-32": ("{}".encode("utf-32"), UTF8),
    "latin-1": ('{"x":"é"}'.encode("latin-1"), UTF8),
    "an overlong quote": (b'{"x":\xc0\xa2}', UTF8),
    "an encoded surrogate": (b'{"x":"\xed\xa0\x80"}', UTF8),
    "half a character": (b'{"x":"\xe2\x82', UTF8),
    "gzip": (b"\x1f\x8b\x08\0\0\0\0\0\0\xff\xab\xae\x05\0\x43\xbf\xa6\xa3\x02\0\0\0", UTF8),
    "a megabyte of zeros": (bytes(MEGABYTE), "not JSON"),
    "a megabyte of one string": (b'{"x":"' + b"x" * (MEGABYTE - 7) + b'"', "not JSON"),
}
NO_INTEGER: dict[str, object] = {
    "a boolean": True,
    "false": False,
    "a string": "1",
    "an empty string": "",
    "a fraction": 1.5,
    "a fraction that is whole": 1.0,
    "an exponent": 1e2,
    "an array": [1],
    "an object": {},
    "zero": 0,
    "negative": -8,
    "one too many": 4104,
    "past 32 bits": (1 << 32) + 8,
    "past 64 bits": 1 << 70,
    "huge": 10**300,
}
NO_QUERY_INTEGER = {
    "empty": "",
    "no value": None,
    "a word": "many",
    "true": "true",
    "null": "null",
    "zero": "0",
    "negative": "-8",
    "a sign": "%2B8",
    "a blank before": "%208",
    "a blank after": "8%20",
    "a line end": "8%0a",
    "NUL": "8%00",
    "whole fraction": "8.0",
    "an exponent": "8e0",
    "hexadecimal": "0x8",
    "an underscore": "1_0",
    "quotes": "%228%22",
    "Arabic digits": "%d9%a8",
    "full-width digits": "%ef%bc%98",
    "not UTF-8": "%ff",
    "one too many": "4104",
    "past 32 bits": "4294967304",
    "past 64 bits": "1180591620717411303424",
    "300 digits": "9" * 300,
    "two values": "8,16",
    "an array": "[8]",
}
NO_KEY_ID: dict[str, str] = {
    "empty": "",
    "a word": "key",
    "no dashes": OTHER.replace("-", ""),
    "braces": "{" + OTHER + "}",
    "a URN": f"urn:uuid:{OTHER}",
    "a digit short": OTHER[:-1],
    "a digit more": OTHER + "0",
    "no hexadecimal digit": OTHER[:-1] + "g",
    "dashes elsewhere": "000000000-000-4000-8000-000000000000",
    "a line end": OTHER + "\n",
    "a blank before": " " + OTHER,
    "NUL": OTHER + "\0",
    "full-width digits": OTHER.replace("4", "４"),
    "a letter that folds": OTHER[:-1] + "ſ",
    "very long": "0" * 4000,
    "a list in a string": f"{OTHER},{A_KEY}",
    "unknown": OTHER[:-1] + "1",
    "the nil UUID": str(UUID(int=0)),
    "the largest UUID": str(UUID(int=(1 << 128) - 1)),
}


def of_every(verb: str, method: str, sae: str, query: str = "", body: bytes | None = None) -> Iterator[Malformed]:
    """What is malformed in any method: path, verb, HTTP itself, and a caller whom nobody knows. `query` and `body` make
    a good request of each, if it were let through.
    """
    good = f"/api/v1/keys/{sae}/{method}{query}"
    for name, segment in NO_SAE.items():
        target = f"/api/v1/keys/{segment.format(sae=sae)}/{method}{query}"
        yield Malformed(f"SAE ID: {name}", http(verb, target, body), 400)
    for name, target in NO_PATH.items():
        yield Malformed(f"path: {name}", http(verb, target.format(sae=sae, method=method) + query, body), 404)
    for name, target in NO_KEY.items():
        status = 400 if verb == "GET" else 405
        yield Malformed(f"path: {name}", http(verb, target.format(sae=sae, method=method) + query, body), status)
    yield Malformed("path: too long", http(verb, f"/api/v1/keys/{'x' * 9000}/{method}{query}"), 414)
    yield Malformed("path: no slash at the start", http(verb, good[1:], body), 400)
    for name, (status, rest) in NO_HTTP.items():
        yield Malformed(name, f"{verb} {good} HTTP/1.1\r\nHost: kme\r\n{rest}".encode(), status)
    for other in NO_METHOD:
        yield Malformed(f"verb: {other}", http(other, good, body), 405)
    yield Malformed("verb: lower case", http(verb.lower(), good, body), 400)
    yield Malformed("no version of HTTP", f"{verb} {good}\r\n\r\n".encode(), 400)
    yield Malformed("another protocol", f"{verb} {good} QKD/1.0\r\n\r\n".encode(), 400)
    yield Malformed("an SAE without keys", http(verb, good, body), 400, caller="stranger")
    yield Malformed("an SAE that is not registered", http(verb, good, body), 401, "unregistered", caller="unregistered")


def status_requests(sae: str) -> Iterator[Malformed]:
    yield from of_every("GET", "status", sae)
    yield Malformed("verb: POST", http("POST", f"/api/v1/keys/{sae}/status", b"{}"), 405)


def enc_keys_queries(sae: str) -> Iterator[Malformed]:
    yield from of_every("GET", "enc_keys", sae)
    path = f"/api/v1/keys/{sae}/enc_keys"
    for member in ("number", "size"):
        for name, value in NO_QUERY_INTEGER.items():
            query = member if value is None else f"{member}={value}"
            yield Malformed(f"{member}: {name}", http("GET", f"{path}?{query}"), 400, member)
        yield Malformed(f"{member}: twice", http("GET", f"{path}?{member}=8&{member}=8"), 400, "got it 2 times")
        yield Malformed(
            f"{member}: also escaped", http("GET", f"{path}?{member}=8&%{ord(member[0]):x}{member[1:]}=8"), 400
        )
    yield Malformed("size: no whole bytes", http("GET", f"{path}?size=12"), 400, "size shall be a multiple of 8")
    yield Malformed("number: over the connection's", http("GET", f"{path}?number=101"), 400, "expected 1..100, got 101")
    for name in ("additional_slave_SAE_IDs", "extension_mandatory", "extension_optional"):
        yield Malformed(f"{name} in a query", http("GET", f"{path}?{name}=[]"), 400, "use POST")


def enc_keys_bodies(sae: str) -> Iterator[Malformed]:
    path = f"/api/v1/keys/{sae}/enc_keys"
    yield from of_every("POST", "enc_keys", sae)
    yield from _no_objects(path)

    def asks(name: str, said: str = "", **members: object) -> Malformed:
        return Malformed(name, http("POST", path, json.dumps(members).encode()), 400, said)

    for member in ("number", "size"):
        yield from (asks(f"{member}: {name}", member, **{member: value}) for name, value in NO_INTEGER.items())
    yield asks("size: no whole bytes", "size shall be a multiple of 8", size=12)
    yield asks("number: over the connection's", "number: expected 1..100, got 101", number=101)
    for name, value in {"a string": "sae-c", "an object": {}, "integers": [1], "nulls": [None], "true": True}.items():
        yield asks(f"additional slaves: {name}", "additional_slave_SAE_IDs", additional_slave_SAE_IDs=value)
    for member in ("extension_mandatory", "extension_optional"):
        for name, value in {"an object": {}, "strings": ["x"], "an integer": 7, "arrays": [[]], "true": True}.items():
            yield asks(f"{member}: {name}", member, **{member: value})
    unsupported = "not all extension_mandatory parameters are supported"
    yield asks("an unknown extension", unsupported, extension_mandatory=[{"abc_x": 1}])
    yield asks("an unknown extension, null", unsupported, extension_mandatory=[{"abc_x": None}])


def dec_keys_queries(sae: str) -> Iterator[Malformed]:
    yield from of_every("GET", "dec_keys", sae, f"?key_ID={A_KEY}")
    path = f"/api/v1/keys/{sae}/dec_keys"
    yield Malformed("no key_ID", http("GET", path), 400, "expected exactly one")
    yield Malformed("no value", http("GET", f"{path}?key_ID"), 400, "key_ID")
    yield Malformed("two", http("GET", f"{path}?key_ID={A_KEY}&key_ID={OTHER}"), 400, "got 2")
    yield Malformed("the same twice", http("GET", f"{path}?key_ID={A_KEY}&key_ID={A_KEY}"), 400, "got 2")
    yield Malformed("another case of the name", http("GET", f"{path}?key_id={A_KEY}"), 400, "got 0")
    yield Malformed("the name of POST", http("GET", f"{path}?key_IDs={A_KEY}"), 400, "got 0")
    yield Malformed("not UTF-8", http("GET", f"{path}?key_ID=%ff"), 400, "key_ID")
    for name, value in NO_KEY_ID.items():
        escaped = "".join(f"%{octet:02x}" for octet in value.encode())
        if len(escaped) < 4000:
            yield Malformed(f"key_ID: {name}", http("GET", f"{path}?key_ID={escaped}"), 400)


def dec_keys_bodies(sae: str) -> Iterator[Malformed]:
    path = f"/api/v1/keys/{sae}/dec_keys"
    one = {"key_ID": A_KEY}
    yield from of_every("POST", "dec_keys", sae, body=json.dumps({"key_IDs": [one]}).encode())
    yield from _no_objects(path)

    def asks(name: str, key_ids: object, said: str = "key_ID") -> Malformed:
        return Malformed(name, http("POST", path, json.dumps({"key_IDs": key_ids}).encode()), 400, said)

    yield Malformed("no body", http("POST", path), 400, "key_IDs is missing")
    yield Malformed("no key_IDs", http("POST", path, b'{"key_ids":[]}'), 400, "key_IDs is missing")
    for name, value in {"null": None, "none": [], "a string": A_KEY, "an object": one, "true": True}.items():
        yield asks(f"key_IDs: {name}", value)
    for name, value in {"a string": A_KEY, "null": None, "an array": [], "an integer": 7, "{}": {}}.items():
        yield asks(f"an entry: {name}", [one, value])
    for name, value in {"null": None, "an integer": 7, "true": True, "an array": [A_KEY], "an object": one}.items():
        yield asks(f"key_ID: {name}", [one, {"key_ID": value}])
    for name, value in NO_KEY_ID.items():
        yield asks(f"key_ID: {name}", [one, {"key_ID": value}], "")
    yield asks("key_ID: lone surrogate", [one, {"key_ID": "\ud800" * 36}])
    yield asks("the same twice", [one, one], "twice")
    yield asks("the same in two cases", [one, {"key_ID": A_KEY.upper()}], "twice")
    yield asks("too many", [one, *({"key_ID": str(UUID(int=i))} for i in range(1000))], "expected 1..1000")
    yield asks("a real one and an unknown one", [one, {"key_ID": OTHER}], "not found on KME")
    yield asks("another case of the name", [one, {"key_id": A_KEY}], "key_ID is missing")


def _no_objects(path: str) -> Iterable[Malformed]:
    for name, (body, said) in NO_OBJECT.items():
        yield Malformed(f"body: {name}", http("POST", path, body), 400, said)
    for media in (
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "nonsense",
    ):
        yield Malformed(f"body as {media}", http("POST", path, b"number=1", f"Content-Type: {media}"), 400, "not JSON")
