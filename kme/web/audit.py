"""The audit trail as operators read and verify it, page by page. It has never held a key."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Response, request

from kme.audit import AuditTrail
from kme.audit_chain import End, Finding
from kme.errors import BadRequest
from mutual_tls.app import answer

_MOST_ROWS = 1_000
_PAGE = 500


def audit_calls(audit: AuditTrail) -> Blueprint:
    calls = Blueprint("audit", __name__)

    @calls.get("/v1/audit")
    def rows() -> Response:
        found = audit.rows(*_page(), request.args.get("event"), _since())
        return answer([row_json(row) for row in found])

    @calls.get("/v1/audit/verification")
    def verification() -> Response:
        after, count = _page()
        if not after:
            while audit.drain():  # what has just happened is verified with the rest
                pass
        found = audit.verify(after, count)
        return answer(
            {
                "row_count": found.row_count,
                "last": found.last,
                "complete": found.complete,
                "findings": [_json(one) for one in found.findings if not one.is_explained],
                "restored": [_json(one) for one in found.findings if one.is_explained],
                "end": end_json(found.end),
            }
        )

    return calls


def _json(finding: Finding) -> dict[str, Any]:
    return {"audit_id": finding.audit_id, "what": finding.what}


def end_json(end: End) -> dict[str, Any]:
    """Whoever keeps this elsewhere can tell later whether the trail was cut, without trusting any store."""
    return {"audit_id": end.number, "chain": end.chain.hex()}


def row_json(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "audit_id": row["audit_id"],
        "at": row["happened_at"].astimezone(UTC).isoformat(),
        "event": row["event"],
        "detail": row["detail"],
        "chain": bytes(row["chain"] or b"").hex(),
    }


def _page() -> tuple[int, int]:
    return _number("after", 0, 2**53, 0), _number("count", 1, _MOST_ROWS, _PAGE)


def _number(name: str, least: int, most: int, otherwise: int) -> int:
    text = request.args.get(name)
    if text is None:
        return otherwise
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and least <= int(text) <= most):
        raise BadRequest(f"{name}: expected an integer, {least}..{most}")
    return int(text)


def _since() -> datetime | None:
    text = request.args.get("since")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest("since: expected a time as 2026-01-31T12:00:00+00:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
