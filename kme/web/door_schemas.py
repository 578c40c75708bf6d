"""The data formats of the other APIs at the SAEs' listener as JSON Schemas, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from kme.etsi014_schemas import KEY_ID, SAE_ID, Schema
from kme.model import MAX_KEY_SIZE_BITS, MIN_KEY_SIZE_BITS

_TEXT = {"type": "string"}
_COUNT = {"type": "integer", "minimum": 0}
_BASE64 = {"type": "string", "contentEncoding": "base64", "description": "The key in base64, with padding"}
SIZE = {"type": "integer", "minimum": 1, "maximum": MAX_KEY_SIZE_BITS, "description": "Bits of the key"}
ONE_SAE = {"type": "string", "description": "The caller's SAE ID, as its certificate has it"}
KEY_NAME = _TEXT | {"description": "A key_id; its last part may be `-alice` or `-bob`"}


def _object(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


QUICK_KEY = Schema("QuickKey", _object({"key_id": KEY_ID, "key_data": _BASE64}))
_CONNECTION = {
    "source_KME_ID": _TEXT,
    "target_KME_ID": _TEXT,
    "master_SAE_ID": SAE_ID,
    "slave_SAE_ID": SAE_ID,
    "key_size": {"type": "integer", "minimum": MIN_KEY_SIZE_BITS, "maximum": MAX_KEY_SIZE_BITS},
    "max_keys_count": _COUNT,
    "max_key_per_request": _COUNT,
    "max_SAE_ID_count": _COUNT,
}
CONNECTION_WANTED = Schema("ConnectionWanted", _object(_CONNECTION, optional=tuple(_CONNECTION)[4:]))
CONNECTION = Schema("Connection", _object({"connection_id": KEY_ID, **_CONNECTION, "stored_key_count": _COUNT}))
ENTROPY = Schema("Entropy", _object({"total_entropy": {"type": "number", "minimum": 0, "maximum": 8}}))

_ORCHESTRATOR = {"total_sessions": _COUNT, "error_rate": {"type": "number"}, "keys_in_store": _COUNT}
SERVICE_STATUS = Schema(
    "ServiceStatus",
    _object(
        {
            "status": _TEXT,
            "service": _TEXT,
            "version": _TEXT,
            "qkd_orchestrator": _object(_ORCHESTRATOR),
            "database": _TEXT,
        }
    ),
)
KEY_WANTED = Schema(
    "KeyWanted",
    _object(
        {
            "requester_sae": ONE_SAE,
            "recipient_sae": SAE_ID,
            "key_size": {"type": "integer", "minimum": MIN_KEY_SIZE_BITS, "maximum": MAX_KEY_SIZE_BITS},
            "ttl": {"type": "integer", "minimum": 1, "description": "Accepted; `expires_at` says what holds"},
        },
        optional=("key_size", "ttl"),
    ),
)
_KEY = {"status": _TEXT, "key_id": KEY_ID, "key": _BASE64, "size": SIZE, "algorithm": _TEXT}
FETCHED_KEY = Schema("FetchedKey", _object(_KEY))
NEW_KEY = Schema(
    "NewKey", _object(_KEY | {"expires_at": {"type": ["string", "null"]}, "message": _TEXT, "source": _TEXT})
)
KEY_TO_CONSUME = Schema("KeyToConsume", _object({"key_id": KEY_NAME, "requester_sae": ONE_SAE}))
CONSUMED = Schema("Consumed", _object({"status": _TEXT, "key_id": KEY_ID, "state": _TEXT}))
CLEANED_UP = Schema("CleanedUp", _object({"removed_count": _COUNT}))
