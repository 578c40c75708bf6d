"""What a KME can serve. One check for a connection or an SAE id, whether an operator, the other KME or the topology
brings it."""

from __future__ import annotations

from kme.errors import BadRequest
from kme.model import (
    MAX_ADDITIONAL_SLAVES,
    MAX_KEY_SIZE_BITS,
    MAX_KEYS_PER_REQUEST,
    MAX_POOL_KEY_COUNT,
    MIN_KEY_SIZE_BITS,
    Connection,
)

MAX_SAE_ID_LENGTH = 255
_SHOWN_LENGTH = 40


def is_sae_id(text: str) -> bool:
    """Printable characters only (`str.isprintable`, so blanks too): Postgres stores no NUL, and logs stay readable."""
    return 1 <= len(text) <= MAX_SAE_ID_LENGTH and text.isprintable()


def check_sae_id(sae_id: str, name: str) -> str:
    """The id itself. Raises BadRequest naming where it stands, and the id with what is not printable escaped."""
    if not is_sae_id(sae_id):
        shown = ascii(sae_id[:_SHOWN_LENGTH]) + ("..." if len(sae_id) > _SHOWN_LENGTH else "")
        raise BadRequest(f"{name}: expected an SAE id of 1..{MAX_SAE_ID_LENGTH} printable characters, got {shown}")
    return sae_id


def check_connection(connection: Connection) -> Connection:
    """The connection itself. Raises BadRequest with the member as it is spelled on the wire, its value and range."""
    check_sae_id(connection.master_sae_id, "master_SAE_ID")
    check_sae_id(connection.slave_sae_id, "slave_SAE_ID")
    size_bits, most_per_request = connection.key_size_bits, min(connection.max_key_count, MAX_KEYS_PER_REQUEST)
    _check_range("key_size", size_bits, MIN_KEY_SIZE_BITS, MAX_KEY_SIZE_BITS)
    if size_bits % 8:
        raise BadRequest(
            f"key_size: expected a multiple of 8 in {MIN_KEY_SIZE_BITS}..{MAX_KEY_SIZE_BITS}, got {size_bits}"
        )
    _check_range("max_keys_count", connection.max_key_count, 1, MAX_POOL_KEY_COUNT)
    _check_range("max_key_per_request", connection.max_key_per_request, 1, most_per_request)
    _check_range("max_SAE_ID_count", connection.max_sae_id_count, 0, MAX_ADDITIONAL_SLAVES)
    least_bps, most_bps = connection.qos.get("Min_bps", 0), connection.qos.get("Max_bps", 0)
    if most_bps and least_bps > most_bps:
        raise BadRequest(f"Min_bps: expected at most Max_bps, which is {most_bps}, got {least_bps}")
    return connection


def _check_range(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadRequest(f"{name}: expected {low}..{high}, got {value}")
