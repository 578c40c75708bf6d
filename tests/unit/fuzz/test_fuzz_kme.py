"""What SAEs, other KMEs, the QKDE and operators send to a KME: a value that was asked for, or BadRequest."""

from inspect import signature
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kme import etsi014
from kme.errors import BadRequest
from kme.faults import FaultKnobs, Faults, faults_of
from kme.limits import check_connection, is_sae_id
from kme.model import KmeSettings, Link, PoolStatus
from kme.peer_wire import batch_in
from kme.strict_json import object_in
from kme.web.faults import fault_routes
from kme.web.operator import operator_app
from kme.web.peer import peer_app
from kme.web.qkde import qkde_app
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.identity import Identity

from malformed import FUZZ, TEXTS, bodies, json_octets, strange_octets

ID, OTHER_ID = "123e4567-e89b-42d3-a456-426614174000", "223e4567-e89b-42d3-a456-426614174000"
KEY_REQUEST = {
    "number": 3,
    "size": 256,
    "additional_slave_SAE_IDs": ["sae-c"],
    "extension_mandatory": [{"a": 1}],
    "extension_optional": [{"b": {"c": [1]}}],
}
KEY_IDS = {"key_IDs": [{"key_ID": ID}, {"key_ID": OTHER_ID, "key_ID_extension": {}}], "key_IDs_extension": {}}
CONNECTION = {
    "source_KME_ID": "kme-a",
    "target_KME_ID": "kme-b",
    "master_SAE_ID": "sae-a",
    "slave_SAE_ID": "sae-b",
    "key_size": 256,
    "max_keys_count": 100,
    "max_key_per_request": 10,
    "max_SAE_ID_count": 0,
    "TTL": 5,
}
BATCH = {
    "batch_id": ID,
    "block_id": OTHER_ID,
    "offset_bits": 256,
    "key_size_bits": 256,
    "connection_id": ID,
    "key_ids": [ID, OTHER_ID],
    "recipients": ["sae-b"],
    "master_sae_id": "sae-a",
    "slave_sae_id": "sae-b",
    "ttl_s": 86_400,
}
CONFIRMATION = {"link": "a-b", "length_bits": 4096, "tag": "00ff" * 16}
FAULTS = {"refuse_percentage": 5, "delay_s": 0.5, "empty_pools": True}

INTEGER = range(-(10**17), 10**17 + 1)


@FUZZ
@given(bodies(KEY_REQUEST))
def test_a_key_request_has_integers_and_texts_or_is_refused(tried, body):
    found = tried.only(BadRequest, etsi014.key_request, body)
    if found:
        assert type(found.number) is int and found.number in INTEGER
        assert found.size_bits is None or (type(found.size_bits) is int and found.size_bits in INTEGER)
        names = [name for name, _ in found.mandatory_extensions + found.optional_extensions]
        assert all(type(one) is str for one in (*found.additional_slave_sae_ids, *names))


@FUZZ
@given(bodies(KEY_IDS))
def test_key_ids_are_different_uuids_or_are_refused(tried, body):
    found = tried.only(BadRequest, etsi014.key_ids, body)
    if found:
        assert all(type(one) is bytes and len(one) == 16 for one in found) and len(set(found)) == len(found)


@FUZZ
@given(bodies(CONNECTION))
def test_a_connection_keeps_its_limits_or_is_refused(tried, body):
    found = tried.only(BadRequest, etsi014.connection_in, body)
    if found:
        assert check_connection(found) == found and is_sae_id(found.slave_sae_id)


@FUZZ
@given(bodies(BATCH))
def test_a_batch_has_what_its_fields_say_or_is_refused(tried, body):
    found = tried.only(BadRequest, batch_in, body)
    if found:
        assert all(type(one) is UUID for one in (found.batch_id, found.block_id, found.connection_id, *found.key_ids))
        assert found.offset_bits >= 0 and found.key_size_bits > 0 and found.key_ids
        assert all(map(is_sae_id, (found.master_sae_id, found.slave_sae_id, *found.recipients)))


@FUZZ
@given(bodies(FAULTS))
def test_fault_knobs_are_in_their_range_or_are_refused(tried, body):
    found = tried.only(BadRequest, lambda: faults_of(object_in(body)))
    if found:
        knobs = FaultKnobs(found)
        assert knobs.now == found and 0 <= found.refuse_percentage <= 100 and 0 <= found.delay_s <= 60


QUERIES = st.dictionaries(
    st.sampled_from(["number", "size", "key_ID", "extension_optional"]) | TEXTS, st.lists(TEXTS, min_size=1, max_size=2)
)


@FUZZ
@given(QUERIES)
def test_a_query_is_a_request_or_is_refused(tried, query):
    tried.only(BadRequest, etsi014.key_request_in_query, query)
    tried.only(BadRequest, etsi014.key_id_in_query, query)


class Says:
    """Does nothing with what it is given, whatever it is asked; has whatever part is looked for."""

    def __init__(self, **answers):
        self._answers = answers

    def __getattr__(self, name):
        return Says() if name not in self._answers else lambda *_, **__: self._answers[name]

    def __call__(self, *_, **__):
        return None


@pytest.fixture(scope="module")
def apps():
    """Each listener's application, and a caller it admits; behind them is nothing."""
    settings = KmeSettings("kme-a", "a", "qkde-a", (Link("a-b", "kme-b"),))
    delivery = Says(enc_keys=[], dec_keys=[], status=PoolStatus(etsi014.connection_in(json_octets(CONNECTION)), 0))
    kme = Says()
    kme.settings, kme.check, kme.pool_count = settings, lambda: None, lambda connection: 0
    ops = operator_app(kme)
    ops.register_blueprint(fault_routes(FaultKnobs(Faults())))
    learnt = etsi014.connection_in(json_octets(CONNECTION)), 0
    parts = [Says(answer=b"tag", learn=learnt) for name in signature(peer_app).parameters if name != "settings"]
    return {
        "sae": (sae_app(delivery), Identity("sae", "sae-a")),
        "peer": (peer_app(settings, *parts), Identity("kme", "kme-b")),
        "qkde": (qkde_app(settings, Says()), Identity("qkde", "qkde-a")),
        "ops": (ops, Identity("operator", "operator")),
    }


CALLS = [
    ("sae", "POST", "/api/v1/keys/sae-b/enc_keys", KEY_REQUEST),
    ("sae", "POST", "/api/v1/keys/sae-b/dec_keys", KEY_IDS),
    ("peer", "PUT", f"/v1/connections/{ID}", CONNECTION),
    ("peer", "POST", f"/v1/blocks/{ID}/confirmation", CONFIRMATION),
    ("peer", "POST", "/v1/batches", BATCH),
    ("ops", "POST", "/register_connection", CONNECTION),
    ("ops", "POST", "/v1/saes", {"sae_id": "sae-a"}),
    ("ops", "PUT", "/v1/faults", FAULTS),
    ("ops", "PUT", "/v1/saes/sae-a/certificate", {"issuer": "CN=a+O=b,C=DE", "serial": "0x1F0A"}),
    (
        "ops",
        "DELETE",
        "/v1/saes/sae-a/certificate",
        {"certificate": "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n"},
    ),
]


@pytest.mark.parametrize(("app", "method", "path", "valid"), CALLS)
def test_no_body_is_a_server_error(tried, apps, app, method, path, valid):
    served, caller = apps[app]
    client = served.test_client()

    @FUZZ
    @given(bodies(valid))
    def ask(body):
        tried.status(client.open(path, method=method, data=body, environ_overrides={CALLER: caller}).status_code)

    ask()


PATHS = [
    ("sae", b"/api/v1/keys/sae%2Fb/enc_keys?number=3&size=256"),
    ("sae", b"/api/v1/keys/sae-b/dec_keys?key_ID=" + ID.encode()),
    ("sae", b"https://kme:8000/api/v1/keys/sae-b/status"),
    ("peer", b"/v1/blocks/" + ID.encode() + b"/closure"),
    ("qkde", b"/v1/blocks/" + ID.encode() + b"?link=a-b&owner=kme-a&length_bits=64"),
    ("ops", b"/v1/reports?block_id=" + ID.encode()),
]


@pytest.mark.parametrize(("app", "valid"), PATHS)
def test_no_path_and_no_query_is_a_server_error(tried, apps, app, valid):
    served, caller = apps[app]
    client = served.test_client()

    @FUZZ
    @given(strange_octets(valid), st.sampled_from(["GET", "PUT", "POST"]))
    def ask(raw, method):
        path, _, query = raw.decode("latin-1").partition("?")  # as gunicorn gives them
        environ = {CALLER: caller, "RAW_URI": raw.decode("latin-1"), "PATH_INFO": path, "QUERY_STRING": query}
        tried.status(client.open("/", method=method, environ_overrides=environ).status_code)

    ask()
