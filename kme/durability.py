"""Whether the stores keep what they acknowledge, as far as they tell: a delivery is to be on disk before its answer."""

from __future__ import annotations

import redis.exceptions

from kme.database import Database
from kme.keystore import KeyStore


def weaknesses(database: Database, keystore: KeyStore, appendfsync: str) -> list[str]:
    """What is weaker than set, in words. A store whose settings may not be read is taken at its word.

    Raises Unavailable where one does not answer.
    """
    found = []
    settings = _configuration(keystore)
    if settings.get("appendonly", "yes") != "yes":
        found.append("Redis: appendonly is no: nothing survives its end; set it to yes")
    elif appendfsync == "always" and settings.get("appendfsync", "always") != "always":
        found.append(
            f"Redis: appendfsync is {settings['appendfsync']}: a power failure can lose what was delivered; set it to"
            " always, or QKD_APPENDFSYNC to what it is"
        )
    elif settings.get("appendfsync") == "no":
        found.append("Redis: appendfsync is no: set it to always or everysec")
    with database.transaction() as sql:
        for name in ("synchronous_commit", "fsync"):
            sql.execute("SELECT current_setting(%s) AS value", (name,))
            value = sql.fetchone()["value"]
            if value == "off":
                found.append(f"Postgres: {name} is {value}: set it to on")
    return found


def _configuration(keystore: KeyStore) -> dict[str, str]:
    """The key store's settings; without those that it does not tell this user."""
    with keystore.answering() as store:
        try:
            return store.config_get("appendonly", "appendfsync")
        except redis.exceptions.ResponseError:
            return {}
