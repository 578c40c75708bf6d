"""What tests of administration ask of two KMEs with one connection and a full pool."""

from __future__ import annotations

from kme.model import Connection

ENC = "/api/v1/keys/sae-b/enc_keys"
ID = str(Connection("kme-a", "kme-b", "sae-a", "sae-b").connection_id)
PATH = f"/v1/connections/{ID}"


def stored(network) -> int:
    return network.a.operator.get(PATH).get_json()["stored_key_count"]


def known(site):
    """The connection as this KME has it; None where it has none."""
    answer = site.operator.get(PATH)
    return answer.get_json() if answer.status_code == 200 else None


def take(network, number=1):
    return network.a.sae("sae-a").post(ENC, json={"number": number})


def fetch(network, keys):
    body = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
    return network.b.sae("sae-b").post("/api/v1/keys/sae-a/dec_keys", json=body)


def events(site, name):
    site.scheduler.step()
    with site.entity.database.transaction() as sql:
        sql.execute("SELECT detail FROM audit WHERE event = %s ORDER BY audit_id", (name,))
        return [row["detail"] for row in sql.fetchall()]
