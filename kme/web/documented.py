"""How a route is documented: right where it is, in what the OpenAPI document needs and the code does not say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kme.etsi014_schemas import Schema

View = TypeVar("View", bound=Callable[..., Any])
JSON = "application/json"
EVERY_REFUSAL = (400, 401, 404, 405, 413, 429, 503)
_ATTRIBUTE = "documented_operations"


@dataclass(frozen=True)
class Parameter:
    """A query parameter, or the wire's name of a part of the path. `schema` is a JSON Schema with a description."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True)
class Operation:
    """One method of one route. `path` maps the names in the route's rule to what they are called outside."""

    summary: str
    description: str
    gives: Schema | None
    media_type: str
    status: int
    also: Sequence[int]
    path: Mapping[str, Parameter]
    query: Sequence[Parameter]
    body: Schema | None
    body_required: bool
    refuses: Sequence[int]


def documented(
    method: str,
    summary: str,
    description: str = "",
    *,
    gives: Schema | None = None,
    media_type: str = JSON,
    status: int = 200,
    also: Sequence[int] = (),
    path: Mapping[str, Parameter] | None = None,
    query: Sequence[Parameter] = (),
    body: Schema | None = None,
    body_required: bool = False,
    refuses: Sequence[int] = EVERY_REFUSAL,
) -> Callable[[View], View]:
    """Documents a view for one method; a view of two methods has it twice.

    `gives` is the JSON of a good answer, None where it has none or is not JSON; `also`: more statuses of a good answer
    than `status`; `refuses`: the others.
    """
    operation = Operation(
        summary, description, gives, media_type, status, also, path or {}, query, body, body_required, refuses
    )

    def mark(view: View) -> View:
        setattr(view, _ATTRIBUTE, operations_of(view) | {method: operation})
        return view

    return mark


def operations_of(view: Callable[..., Any]) -> dict[str, Operation]:
    """The documented operations of a view by method."""
    return getattr(view, _ATTRIBUTE, {})
