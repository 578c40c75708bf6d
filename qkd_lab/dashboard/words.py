"""Events in words. What comes in has no key material; ids of keys are shortened, as people read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Json = Mapping[str, Any]
Pair = tuple[str, str]  # master, slave

KINDS = ("delivery", "filling", "block", "round", "refusal", "loss", "operator")


def short(identifier: Any) -> str:
    """`8844…` for an id."""
    return f"{str(identifier)[:4]}…"


def event_in_words(kme: str, event: Json, pairs: Mapping[str, Pair]) -> dict[str, Any]:
    """One event of a KME's audit trail: `kind` (one of KINDS), `text`, and what it can be filtered by.

    `pairs`: master and slave by connection id.
    """
    detail = event["detail"]
    kind, say = _OF_EVENT.get(event["event"], ("operator", None))
    connection = detail.get("connection_id")
    text = say(detail, pairs.get(connection), kme) if say else f"{kme}: {event['event'].replace('_', ' ')}"
    return {
        "id": f"{kme}-{event['id']}",
        "at": event["at"],
        "kme": kme,
        "kind": kind,
        "text": text,
        "connection": connection,
        "link": detail.get("link"),
    }


def round_in_words(round_: Json) -> str:
    """One round, as both ends reported it."""
    qber = "undefined" if round_["qber"] is None else f"{100 * round_['qber']:.2f} %"
    if round_["outcome"] == "key":
        return f"link {round_['link']}: a round gave {round_['secret_bits']:,} secret bits at QBER {qber}"
    return f"link {round_['link']}: a round gave no key at QBER {qber}: {round_['abort_reason']}"


def _keys(detail: Json) -> str:
    count = detail.get("key_count", 1)
    if not detail.get("key_id"):
        return f"{count} keys"
    return f"key {short(detail['key_id'])}" if count == 1 else f"{count} keys, {short(detail['key_id'])} the first"


def _delivered(detail: Json, pair: Pair | None, kme: str) -> str:
    if detail.get("role") == "master":
        return f"SAE {detail['sae_id']} took {_keys(detail)}{f' for {pair[1]}' if pair else ''}"
    used = ": used up here" if detail.get("consumed") else ""
    return f"SAE {detail['sae_id']} fetched {_keys(detail)}{f' that {pair[0]} had taken' if pair else ''}{used}"


def _stored(detail: Json, pair: Pair | None, kme: str) -> str:
    return f"{kme} put {_keys(detail)} in store{_of(pair)}"


def _ended(how: str) -> Callable[..., str]:
    def say(detail: Json, pair: Pair | None, kme: str) -> str:
        why = f": {detail['reason'].replace('_', ' ')}" if detail.get("reason") else ""
        return f"{kme} {how} {_keys(detail)}{_of(pair)}{why}"

    return say


def _burned(detail: Json, pair: Pair | None, kme: str) -> str:
    return f"{kme} burned {detail.get('bits', 0):,} bits of block {short(detail.get('block_id'))}"


def _registered(detail: Json, pair: Pair | None, kme: str) -> str:
    if "sae_id" in detail:
        return f"{kme} registered SAE {detail['sae_id']}"
    return f"{kme} registered the connection {' → '.join(pair) if pair else short(detail.get('connection_id'))}"


def _received(detail: Json, pair: Pair | None, kme: str) -> str:
    bits = f"{detail['bits']:,} bits" if "bits" in detail else "bits"
    return f"{kme} received block {short(detail.get('block_id'))} of {bits} from link {detail.get('link', '?')}"


def _closed(detail: Json, pair: Pair | None, kme: str) -> str:
    return f"{kme} closed block {short(detail.get('block_id'))}; {detail.get('bits', 0):,} bits were left"


def _refused(detail: Json, pair: Pair | None, kme: str) -> str:
    times = f", {detail['call_count']} times" if detail.get("call_count", 1) > 1 else ""
    who = f"SAE {detail['sae_id']}" if detail.get("sae_id") else "a caller"
    return f"{kme} refused {who}: {detail.get('method')} {detail.get('status')}, {detail.get('reason')}{times}"


def _of(pair: Pair | None) -> str:
    return f" for {pair[0]} → {pair[1]}" if pair else ""


_OF_EVENT: dict[str, tuple[str, Callable[..., str]]] = {
    "keys_delivered": ("delivery", _delivered),
    "keys_consumed": ("delivery", _ended("counts as used")),
    "keys_stored": ("filling", _stored),
    "block_received": ("block", _received),
    "bits_burned": ("block", _burned),
    "sae_registered": ("operator", _registered),
    "connection_registered": ("operator", _registered),
    "block_closed": ("block", _closed),
    "calls_refused": ("refusal", _refused),
    "keys_expired": ("loss", _ended("let expire")),
    "keys_destroyed": ("loss", _ended("destroyed")),
    "keys_voided": ("loss", _ended("voided")),
}
