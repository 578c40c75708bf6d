"""Who gets each key of a batch beside its master, and at which KME (ETSI GS QKD 014: slave and additional slaves)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kme.errors import BadRequest
from kme.limits import check_sae_id
from kme.model import Connection


@dataclass(frozen=True)
class Recipients:
    """SAE ids: `at_peer` at the KME at the other end of the block's link, `here` at the block's owner's."""

    at_peer: tuple[str, ...] = ()
    here: tuple[str, ...] = ()


def recipients_of(connection: Connection) -> Recipients:
    """Where nobody else is named: the slave alone."""
    slave = (connection.slave_sae_id,)
    return Recipients(here=slave) if connection.is_local else Recipients(at_peer=slave)


def check_additional(connection: Connection, sae_ids: Sequence[str]) -> None:
    """Raises BadRequest unless these may be named beside the slave. The master may name itself, once."""
    name = "additional_slave_SAE_IDs"
    if len(sae_ids) > connection.max_sae_id_count:
        raise BadRequest(f"{name}: expected at most {connection.max_sae_id_count}, got {len(sae_ids)}")
    for sae_id in sae_ids:
        check_sae_id(sae_id, name)
    if connection.slave_sae_id in sae_ids:
        raise BadRequest(f"{name}: {connection.slave_sae_id} is the slave of the path already, leave it out")
    if len(set(sae_ids)) != len(sae_ids):
        raise BadRequest(f"{name}: expected each SAE once")
