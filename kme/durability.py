"""Whether the stores keep what they acknowledge, as far as they tell: a delivery is to be on disk before its answer."""

from __future__ import annotations

from kme.database import Database
from kme.keystore import KeyStore

APPENDFSYNC = ("always", "everysec")


def weaknesses(database: Database, keystore: KeyStore, appendfsync: str) -> list[str]:
    """What is weaker than set, in words. A store whose settings may not be read is taken at its word.

    Raises Unavailable where one does not answer.
    """
    found = []
    redis = keystore.configuration("appendonly", "appendfsync")
    if redis.get("appendonly", "yes") != "yes":
        found.append("Redis: appendonly is no: nothing survives its end; set it to yes")
    elif appendfsync == "always" and redis.get("appendfsync", "always") != "always":
        found.append(
            f"Redis: appendfsync is {redis['appendfsync']}: a power failure can lose what was delivered; set it to"
            " always, or QKD_APPENDFSYNC to what it is"
        )
    elif redis.get("appendfsync") == "no":
        found.append("Redis: appendfsync is no: set it to always or everysec")
    with database.transaction() as sql:
        for name in ("synchronous_commit", "fsync"):
            sql.execute("SELECT current_setting(%s) AS value", (name,))
            value = sql.fetchone()["value"]
            if value == "off":
                found.append(f"Postgres: {name} is {value}: set it to on")
    return found
