"""Vendor extensions: which are known, what they ask for, and the standard's words where they can't be met."""

from __future__ import annotations

from pathlib import Path

import pytest

from kme.errors import BadRequest
from kme.extensions import EXTENSIONS, PREFIX, Terms, documentation, mandatory_terms, preferred_terms

AGE, ROUTE = "qkdlab_max_age_ms", "qkdlab_route_type"


def test_the_documentation_is_the_one_that_the_registry_makes():
    path = Path(__file__).parents[3] / "docs" / "extensions.md"
    assert path.read_text("utf-8") == documentation(), "run: python -m kme.extensions > docs/extensions.md"


def test_every_name_has_the_projects_prefix_and_stands_in_the_documentation():
    assert PREFIX.endswith("_")
    for one in EXTENSIONS:
        assert one.name.startswith(PREFIX) and f"## `{one.name}`" in documentation()


@pytest.mark.parametrize(
    ("asked", "terms"),
    [
        ([], Terms()),
        ([(AGE, 500)], Terms(500)),
        ([(AGE, 500), (AGE, 300), (AGE, 400)], Terms(300)),
        ([(ROUTE, "direct"), (AGE, 1)], Terms(1)),
    ],
)
def test_what_is_mandatory_and_can_be_met_narrows_the_terms(asked, terms):
    assert mandatory_terms(asked) == terms


@pytest.mark.parametrize("asked", [[("abc_x", None)], [(AGE, 500), ("qkdlab_x", 1)], [(ROUTE, "indirect"), ("", {})]])
def test_an_unknown_mandatory_name_is_refused_first_in_the_standards_words(asked):
    with pytest.raises(BadRequest) as refused:
        mandatory_terms(asked)
    assert refused.value.message == "not all extension_mandatory parameters are supported"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (ROUTE, "indirect", "every route is direct"),
        (ROUTE, "scenic", "expected direct or indirect"),
        (ROUTE, ["direct"], "expected direct or indirect"),
        *(
            (AGE, value, "expected an integer in 1..1000000000000")
            for value in (0, -1, True, "5", 5.0, None, {}, 10**13)
        ),
    ],
)
def test_a_mandatory_value_that_cannot_be_met_is_refused_in_the_standards_words_with_the_reason(name, value, said):
    with pytest.raises(BadRequest) as refused:
        mandatory_terms([(AGE, 500), (name, value)])
    assert refused.value.message == "not all extension_mandatory request options could be met"
    assert refused.value.details == ({name: said},)


def test_what_is_optional_narrows_the_terms_where_it_can_be_met_and_is_ignored_where_not():
    asked = [("abc_x", 1), (AGE, "x"), (ROUTE, "indirect"), (AGE, 400)]
    assert preferred_terms(Terms(), asked) == Terms(400)
    assert preferred_terms(Terms(300), asked) == Terms(300)
    assert preferred_terms(Terms(), asked[:3]) == Terms()
