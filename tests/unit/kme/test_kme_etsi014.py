"""The wire format of ETSI GS QKD 014, byte by byte, without a KME behind it."""

from __future__ import annotations

import json
from dataclasses import replace
from uuid import UUID

import pytest

from kme import etsi014
from kme.delivery import check_request
from kme.errors import BadRequest
from kme.model import Connection, Key, KeyRequest, PoolStatus

ID = "123e4567-e89b-42d3-a456-426614174000"
CONNECTION = Connection("kme-a", "kme-b", "sae-a", "sae-b", max_key_count=100, max_key_per_request=10)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", KeyRequest()),
        (b" \n", KeyRequest()),
        (b"{}", KeyRequest()),
        (b'{"number":null,"size":null,"extension_mandatory":null,"additional_slave_SAE_IDs":null}', KeyRequest()),
        (b'{"number":3,"size":512}', KeyRequest(3, 512)),
        (b'{"additional_target_sae_ids":[1],"x":{"y":[]}}', KeyRequest()),
        (b'{"additional_slave_SAE_IDs":[],"extension_mandatory":[],"extension_optional":[]}', KeyRequest()),
        (b'{"extension_mandatory":[{}]}', KeyRequest()),
        (b'{"extension_optional":[{"abc_x":true,"y":null}]}', KeyRequest(optional_extensions=(("abc_x", True),))),
        (b'{"extension_mandatory":[{"abc_x":null}]}', KeyRequest(mandatory_extensions=(("abc_x", None),))),
        (b'{"extension_mandatory":[{"abc_route":1}]}', KeyRequest(mandatory_extensions=(("abc_route", 1),))),
        ('{"additional_slave_SAE_IDs":["ä"]}'.encode(), KeyRequest(additional_slave_sae_ids=("ä",))),
        (b'{"number":-5}', KeyRequest(-5)),  # the connection's limits are checked later
    ],
)
def test_a_key_request_is_understood(body, expected):
    assert etsi014.key_request(body) == expected


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"[]", "the body: expected a JSON object, got an array"),
        (b"3", "expected a JSON object, got an integer"),
        (b"null", "expected a JSON object, got null"),
        (b'"x"', "expected a JSON object"),
        (b"{", "not JSON"),
        (b"{}x", "not JSON"),
        (b'{"number":1,}', "not JSON"),
        (b'{"number":01}', "not JSON"),
        (b'{"number":NaN}', "NaN"),
        (b'{"number":Infinity}', "Infinity"),
        (b"\xff\xfe", "UTF-8"),
        (b'{"\xc3\x28":1}', "UTF-8"),
        (b'{"number":1,"number":2}', "twice"),
        (b'{"x":{"a":1,"a":1}}', "twice"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
        (b'{"number":' + b"9" * 5000 + b"}", "number is too long"),
        (b'{"number":' + b"9" * 30 + b"}", "a huge number"),
        (b'{"number":true}', "number: expected an integer, got a boolean"),
        (b'{"number":"3"}', "number: expected an integer, got a string"),
        (b'{"number":1.0}', "number: expected an integer, got a fraction"),
        (b'{"number":1e2}', "number: expected an integer"),
        (b'{"number":[1]}', "number: expected an integer, got an array"),
        (b'{"size":false}', "size: expected an integer, got a boolean"),
        (b'{"size":{}}', "size: expected an integer, got an object"),
        (b'{"additional_slave_SAE_IDs":"sae"}', "additional_slave_SAE_IDs: expected an array of strings"),
        (b'{"additional_slave_SAE_IDs":[1]}', "additional_slave_SAE_IDs: expected an array of strings"),
        (b'{"additional_slave_SAE_IDs":[null]}', "additional_slave_SAE_IDs: expected an array of strings"),
        (b'{"extension_mandatory":{}}', "extension_mandatory: expected an array of objects"),
        (b'{"extension_mandatory":["x"]}', "extension_mandatory[0]: expected a JSON object"),
        (b'{"extension_optional":7}', "extension_optional: expected an array of objects"),
        (b'{"extension_optional":[{},[]]}', "extension_optional[1]: expected a JSON object"),
    ],
)
def test_a_malformed_key_request_is_refused_by_name(body, said):
    with pytest.raises(BadRequest, match=r".*") as refused:
        etsi014.key_request(body)
    assert said in refused.value.message


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, KeyRequest()),
        ({"number": ["3"], "size": ["512"]}, KeyRequest(3, 512)),
        ({"unknown": ["x"]}, KeyRequest()),
        ({"number": ["-1"]}, KeyRequest(-1)),
        ({"number": ["007"]}, KeyRequest(7)),
    ],
)
def test_a_key_request_in_a_query_is_understood(query, expected):
    assert etsi014.key_request_in_query(query) == expected


@pytest.mark.parametrize("text", ["", " 3", "3 ", "+3", "3.0", "0x3", "1_0", "three", "٣", "9" * 19, "true", "null"])
@pytest.mark.parametrize("name", ["number", "size"])
def test_what_is_no_integer_in_a_query_is_refused_by_name(name, text):
    with pytest.raises(BadRequest, match=f"^{name}: expected an integer"):
        etsi014.key_request_in_query({name: [text]})


@pytest.mark.parametrize(
    "query",
    [
        {"number": ["1", "2"]},
        {"additional_slave_SAE_IDs": ["sae-c"]},
        {"extension_mandatory": ["[]"]},
    ],
)
def test_a_get_takes_number_and_size_once_each_and_nothing_else_of_the_standard(query):
    with pytest.raises(BadRequest, match=next(iter(query))):
        etsi014.key_request_in_query(query)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 256),
        ({"number": 10}, 256),
        ({"size_bits": 8}, 8),
        ({"size_bits": 4096}, 4096),
    ],
)
def test_what_the_connection_allows_is_accepted(changes, expected):
    assert check_request(KeyRequest(**changes), CONNECTION) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": 0}, "number: expected 1..10, got 0"),
        ({"number": -1}, "number: expected 1..10, got -1"),
        ({"number": 11}, "number: expected 1..10, got 11"),
        ({"size_bits": 12}, "size shall be a multiple of 8"),
        ({"size_bits": 4097}, "size shall be a multiple of 8"),
        ({"size_bits": 0}, "size: expected 8..4096, got 0"),
        ({"size_bits": -8}, "size: expected 8..4096, got -8"),
        ({"size_bits": 4104}, "size: expected 8..4096, got 4104"),
        ({"additional_slave_sae_ids": ("sae-c",)}, "additional_slave_SAE_IDs: expected at most 0, got 1"),
    ],
)
def test_what_the_connection_does_not_allow_is_refused_in_the_standards_words(changes, message):
    with pytest.raises(BadRequest) as refused:
        check_request(KeyRequest(**changes), CONNECTION)
    assert refused.value.message == message


@pytest.mark.parametrize("named", [(), ("sae-c",), ("sae-c", "sae-a")])
def test_additional_slaves_up_to_the_connections_count_may_be_named_the_master_too(named):
    connection = replace(CONNECTION, max_sae_id_count=2)
    assert check_request(KeyRequest(additional_slave_sae_ids=named), connection) == 256


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (("sae-c", "sae-d", "sae-e"), "expected at most 2, got 3"),
        (("sae-c", "sae-c"), "expected each SAE once"),
        (("sae-b",), "sae-b is the slave of the path already, leave it out"),
        (("",), "expected an SAE id of 1..255 printable characters, got ''"),
        (("sae\0c",), "expected an SAE id of 1..255 printable characters, got 'sae\\x00c'"),
    ],
)
def test_additional_slaves_that_cannot_be_are_refused_by_name(named, said):
    with pytest.raises(BadRequest) as refused:
        check_request(KeyRequest(additional_slave_sae_ids=named), replace(CONNECTION, max_sae_id_count=2))
    assert refused.value.message == f"additional_slave_SAE_IDs: {said}"


def test_key_ids_are_matched_whatever_their_case_and_unknown_members_are_ignored():
    body = {"key_IDs": [{"key_ID": ID.upper(), "key_ID_extension": {"x": 1}}], "key_IDs_extension": None}
    assert etsi014.key_ids(json.dumps(body).encode()) == [UUID(ID).bytes]
    assert etsi014.key_id_in_query({"key_ID": [ID], "other": ["x"]}) == [UUID(ID).bytes]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "key_IDs is missing"),
        ({"key_IDs": None}, "key_IDs is missing"),
        ({"key_ids": []}, "key_IDs is missing"),
        ({"key_IDs": []}, "key_IDs: expected 1.."),
        ({"key_IDs": ID}, "key_IDs: expected an array of objects"),
        ({"key_IDs": [ID]}, "key_IDs[0]: expected a JSON object, got a string"),
        ({"key_IDs": [{}]}, "key_ID is missing"),
        ({"key_IDs": [{"key_ID": None}]}, "key_ID is missing"),
        ({"key_IDs": [{"key_ID": 7}]}, "key_ID: expected a string"),
        ({"key_IDs": [{"key_ID": ""}]}, "key_ID"),
        ({"key_IDs": [{"key_ID": ID.replace("-", "")}]}, "key_ID: expected a UUID of 36"),
        ({"key_IDs": [{"key_ID": "{" + ID + "}"}]}, "key_ID: expected a UUID of 36"),
        ({"key_IDs": [{"key_ID": "urn:uuid:" + ID}]}, "key_ID: expected a UUID of 36"),
        ({"key_IDs": [{"key_ID": ID + "\n"}]}, "key_ID"),
        ({"key_IDs": [{"key_ID": ID[:-1] + "g"}]}, "key_ID: expected a UUID of 36"),
        ({"key_IDs": [{"key_ID": ID}, {"key_ID": ID.upper()}]}, "twice"),
        ({"key_IDs": [{"key_ID": ID}] * 1001}, "1..1000"),
    ],
)
def test_malformed_key_ids_are_refused_by_name(body, said):
    with pytest.raises(BadRequest) as refused:
        etsi014.key_ids(json.dumps(body).encode())
    assert said in refused.value.message


@pytest.mark.parametrize("values", [None, [], [ID, ID], ["x"], [""]])
def test_a_get_takes_exactly_one_key_id(values):
    with pytest.raises(BadRequest, match="^key_ID: expected"):
        etsi014.key_id_in_query({} if values is None else {"key_ID": values})


def test_the_container_has_lower_case_uuids_and_padded_base64():
    keys = [Key(UUID(ID).bytes, b"\xff" * 32), Key(UUID(int=7).bytes, b"\0")]
    assert json.loads(etsi014.container_text(keys)) == {
        "keys": [
            {"key_ID": ID, "key": "//////////////////////////////////////////8="},
            {"key_ID": "00000000-0000-0000-0000-000000000007", "key": "AA=="},
        ]
    }


def test_the_status_keeps_its_promises_on_sizes_and_counts():
    status = etsi014.status_json(PoolStatus(CONNECTION, 17))
    assert status["stored_key_count"] <= status["max_key_count"]
    assert status["min_key_size"] <= status["key_size"] <= status["max_key_size"]
    assert status["max_SAE_ID_count"] == 0 and "status_extension" not in status


def test_a_connection_survives_the_way_to_the_other_kme():
    connection = Connection("kme-a", "kme-b", "sae/ä", "sae-b", 512, 50, 5, 0, {"Priority": 2, "TTL": 3600})
    body = json.dumps(etsi014.connection_json(connection)).encode()
    assert etsi014.connection_in(body) == connection


def test_a_key_does_not_show_its_bits():
    assert "\\xff" not in repr(Key(UUID(ID).bytes, b"\xff" * 32)) and "bits" not in repr(Key(UUID(ID).bytes, b"\xff"))
