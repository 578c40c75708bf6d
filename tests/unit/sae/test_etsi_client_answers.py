"""Every way in which an answer may be wrong is found, and no complaint shows what was in it."""

import json
import traceback

import pytest

from sae_demo.etsi_answers import MalformedAnswer, read_key_container, read_status

ID = "11111111-1111-4111-8111-111111111111"
SECRET = "c2VjcmV0LWtleS0hISEhIQ=="
KEY = {"key_ID": ID, "key": SECRET}
STATUS = {
    "source_KME_ID": "a", "target_KME_ID": "b", "master_SAE_ID": "m", "slave_SAE_ID": "s", "key_size": 256,
    "stored_key_count": 5, "max_key_count": 10, "max_key_per_request": 4, "max_key_size": 512, "min_key_size": 8,
    "max_SAE_ID_count": 0,
}  # fmt: skip


def test_extensions_are_kept():
    wire = {"keys": [KEY | {"key_ID_extension": {"a": 1}, "key_extension": {"b": 2}}], "key_container_extension": {}}
    container = read_key_container(json.dumps(wire).encode())
    assert (container.keys[0].key_id_extension, container.keys[0].key_extension) == ({"a": 1}, {"b": 2})
    assert container.extension == {}
    assert read_status(json.dumps(STATUS | {"status_extension": {"x": 1}}).encode()).extension == {"x": 1}


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        ({}, "keys missing"),
        ({"Keys": [KEY]}, "keys missing"),
        ({"keys": KEY}, "not an array"),
        ({"keys": [KEY], "surplus": 1}, "does not name"),
        ({"keys": [KEY], "key_container_extension": None}, "not an object"),
        ({"keys": [SECRET]}, "not an object"),
        ({"keys": [{"key": SECRET}]}, "key_ID missing"),
        ({"keys": [{"key_ID": ID}]}, "key missing"),
        ({"keys": [KEY | {"key_id": ID}]}, "does not name"),
        ({"keys": [KEY | {"key": 5}]}, "not a string"),
        ({"keys": [KEY | {"key_extension": []}]}, "not an object"),
        ({"keys": [KEY | {"key_ID": ID.replace("-", "")}]}, "UUID"),
        ({"keys": [KEY | {"key_ID": ID + "\n"}]}, "UUID"),
        ({"keys": [KEY | {"key_ID": "g" + ID[1:]}]}, "UUID"),
        ({"keys": [KEY | {"key": SECRET.rstrip("=")}]}, "base64"),
        ({"keys": [KEY | {"key": SECRET[:-3] + "R=="}]}, "base64"),
        ({"keys": [KEY | {"key": SECRET + "\n"}]}, "base64"),
        ({"keys": [KEY | {"key": "_-" + SECRET[2:]}]}, "base64"),
        ({"keys": [KEY | {"key": ""}]}, "base64"),
        ({"keys": [KEY, KEY]}, "twice"),
    ],
)
def test_a_malformed_key_container_is_refused_without_showing_it(wire, complaint):
    with pytest.raises(MalformedAnswer, match=complaint) as malformed:
        read_key_container(json.dumps(wire).encode())
    shown = "".join(traceback.format_exception(malformed.value, chain=True))
    assert "c2VjcmV0" not in shown
    assert malformed.value.__context__ is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'{"keys":[]',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[],"key_container_extension":{"a":NaN}}',
        b'\xef\xbb\xbf{"keys":[]}',
        '{"keys":[]}'.encode("utf-16"),
        b'{"keys":"\xff"}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_one_json_object_in_utf_8_is_refused(body):
    with pytest.raises(MalformedAnswer, match="RFC 8259") as malformed:
        read_key_container(body)
    assert malformed.value.__context__ is None


@pytest.mark.parametrize("name", STATUS)
def test_status_has_every_member_and_each_of_its_type(name):
    with pytest.raises(MalformedAnswer, match=f"{name} missing"):
        read_status(json.dumps({k: v for k, v in STATUS.items() if k != name}).encode())
    for wrong in (True, None, 1.0, ["x"], "5" if isinstance(STATUS[name], int) else 5):
        with pytest.raises(MalformedAnswer, match=f"{name} is not"):
            read_status(json.dumps(STATUS | {name: wrong}).encode())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"stored_key_count": 11}, "max_key_count"),
        ({"key_size": 7}, "min_key_size"),
        ({"key_size": 513}, "max_key_size"),
        ({"max_SAE_ID_count": -1}, "negative"),
        ({"surplus": 1}, "does not name"),
        ({"status_extension": "x"}, "not an object"),
    ],
)
def test_a_status_that_contradicts_itself_is_refused(change, complaint):
    with pytest.raises(MalformedAnswer, match=complaint):
        read_status(json.dumps(STATUS | change).encode())


def test_another_count_or_size_or_other_keys_than_asked_for_are_refused(kme, client):
    kme.says({"keys": [KEY]})
    with pytest.raises(MalformedAnswer, match="1 keys, asked for 2"):
        client.enc_keys("b", 2)
    with pytest.raises(MalformedAnswer, match="not of 256 bits"):
        client.enc_keys("b", 1, 256)
    with pytest.raises(MalformedAnswer, match="not the keys asked for"):
        client.dec_keys("a", ["22222222-2222-4222-8222-222222222222"])


def test_another_success_than_200_and_another_content_type_are_refused(kme, client):
    kme.says({"keys": [KEY]}, 202)
    with pytest.raises(MalformedAnswer, match="202"):
        client.enc_keys("b")
    kme.says({"keys": [KEY]}, 200, Content_Type="text/html")
    with pytest.raises(MalformedAnswer, match="Content-Type"):
        client.enc_keys("b")
    kme.says({"keys": [KEY]}, 200, Content_Type="Application/JSON; charset=utf-8")
    assert len(client.enc_keys("b").keys) == 1
