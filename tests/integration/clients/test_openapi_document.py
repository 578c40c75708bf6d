"""schemathesis with each KME's own OpenAPI document: no server error, and no answer that the document does not have.

The same examples each time, over mutual TLS, to KMEs that do deliver keys.
"""

from __future__ import annotations

import copy
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import validate
from schemathesis import APIOperation, GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from report import Report
from two_kmes import Kmes

EXAMPLES = 40  # of each method and mode: half a minute in all
HEALTH = list(HealthCheck)
CHECKS = [  # 503 is an answer, and documented; 500 is not
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
METHODS = [
    ("GET", "/api/v1/keys/{slave_SAE_ID}/status"),
    ("GET", "/api/v1/keys/{slave_SAE_ID}/enc_keys"),
    ("POST", "/api/v1/keys/{slave_SAE_ID}/enc_keys"),
    ("GET", "/api/v1/keys/{master_SAE_ID}/dec_keys"),
    ("POST", "/api/v1/keys/{master_SAE_ID}/dec_keys"),
]


@pytest.fixture(scope="module")
def document(kmes: Kmes) -> dict:
    with kmes.session("sae-a") as session:
        return session.get(f"{kmes.url('kme-a')}/api/v1/openapi.json").json()


def test_what_a_kme_serves_is_valid_and_has_the_methods_tested_here(kmes: Kmes, document):
    validate(document)
    served = [(method.upper(), path) for path, found in document["paths"].items() for method in found]
    assert set(METHODS) <= set(served)
    with kmes.session("sae-b") as session:
        assert session.get(f"{kmes.url('kme-b')}/api/v1/openapi.json").json() == document


def call(kmes: Kmes, kme: str, session: requests.Session, case: schemathesis.Case) -> schemathesis.Response:
    return case.call(base_url=kmes.url(kme), session=session, cert=session.cert, verify=session.verify)


def operations(document: dict) -> list[APIOperation]:
    return [found.ok() for found in schemathesis.openapi.from_dict(document).get_all_operations()]


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_as_the_document_says(kmes: Kmes, document, report, mode):
    with kmes.session("sae-a") as session:
        for operation in operations(document):
            is_key_method = (operation.method.upper(), operation.path) in METHODS
            if is_key_method or mode == GenerationMode.POSITIVE:  # the others have nothing to get wrong
                seen = answers(kmes, session, operation, mode, report)
                assert sum(seen.values()) >= 2 and 500 not in seen
                assert seen[400] >= EXAMPLES / 4 or not is_key_method
                # Chance names no key_ID that is there, and no SAE but in the methods of the standard.
                is_by_chance = not is_key_method or "dec_keys" in operation.path
                assert seen[200] or is_by_chance or mode == GenerationMode.NEGATIVE, seen


def answers(
    kmes: Kmes, session: requests.Session, operation: APIOperation, mode: GenerationMode, report: Report
) -> Counter:
    """How often each status came; each answer was checked."""
    seen: Counter = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=HEALTH)
    @given(operation.as_strategy(generation_mode=mode), st.booleans())
    def try_one(case, is_known):
        if is_known and case.path_parameters:  # else each would be refused for an SAE nobody knows
            case.path_parameters = {name: "sae-b" for name in case.path_parameters}
        answer = call(kmes, "kme-a", session, case)
        seen[report.malformed(answer.status_code)] += 1
        case.validate_response(answer, checks=CHECKS)

    try_one()
    return seen


def test_delivered_keys_are_as_the_document_says(kmes: Kmes, document):
    in_query, in_body = kmes.keys(2)
    asked = {
        "GET": {"query": {"key_ID": in_query["key_ID"]}},
        "POST": {"body": {"key_IDs": [{"key_ID": in_body["key_ID"]}]}},
    }
    with kmes.session("sae-b") as session:
        for operation in operations(document):
            if operation.path.endswith("dec_keys"):
                case = operation.Case(path_parameters={"master_SAE_ID": "sae-a"}, **asked[operation.method.upper()])
                answer = call(kmes, "kme-b", session, case)
                assert answer.status_code == 200
                case.validate_response(answer, checks=CHECKS)


@pytest.mark.parametrize("what", ["status", "body", "media type"])
def test_an_answer_the_document_does_not_have_is_noticed(kmes: Kmes, document, what):
    """The tests above would see one."""
    wrong = copy.deepcopy(document)
    responses = wrong["paths"]["/api/v1/keys/{slave_SAE_ID}/status"]["get"]["responses"]
    if what == "status":
        responses["201"] = responses.pop("200")
    elif what == "body":
        wrong["components"]["schemas"]["Status"]["properties"]["key_size"] = {"type": "string"}
    else:
        responses["200"]["content"] = {"text/html": {}}
    (status,) = [one for one in operations(wrong) if one.path.endswith("_SAE_ID}/status")]
    with kmes.session("sae-a") as session:
        case = status.Case(path_parameters={"slave_SAE_ID": "sae-b"})
        answer = call(kmes, "kme-a", session, case)
    assert answer.status_code == 200
    with pytest.raises(FailureGroup):
        case.validate_response(answer, checks=CHECKS)
