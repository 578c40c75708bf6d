"""Calls of a client that bring no keys, by kind: a measurement counts them and goes on."""

from __future__ import annotations

from collections.abc import Mapping

from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import KmeRefused, KmeUnreachable

LOST = (KmeRefused, KmeUnreachable, MalformedAnswer)


def kind_of(error: Exception) -> str:
    """Of one of `LOST`: the status of a refusal, or how there was no answer to read."""
    if isinstance(error, KmeRefused):
        return str(error.status)
    return "unreachable" if isinstance(error, KmeUnreachable) else "malformed answer"


def in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} × {kind}" for kind, count in sorted(counts.items())) or "none"
