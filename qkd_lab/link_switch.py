"""The kill switch of a link: its QKDEs begin no round on it while either of them is told not to (docs/protocols.md).

The round under way ends, and its key is used. The switch outlives a restart of the QKDEs.
"""

from __future__ import annotations

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.topology import Link

TIMEOUT_S = 3.0


def ends(network: OperatorCalls, link: Link) -> tuple[str, str]:
    """The QKDEs of Alice and Bob."""
    alice, bob = (network.topology.site(site).qkde_id for site in (link.alice, link.bob))
    return alice, bob


def switch(network: OperatorCalls, link: Link, *, stopped: bool) -> list[str]:
    """Tells both ends, and returns what was wrong with one that could not be told. To stop a link the word of one is
    enough; to let it go on takes both. Raises LabError where that is not reached."""
    failed = []
    for qkde in ends(network, link):
        try:
            network.call(qkde, "PATCH", f"/v1/links/{link.name}", {"stopped": stopped}, timeout_s=TIMEOUT_S)
        except LabError as error:
            failed.append(str(error))
    if len(failed) == 2 or (failed and not stopped):
        raise LabError("; ".join(failed))
    return failed


def is_stopped(network: OperatorCalls, link: Link) -> bool | None:
    """None: nobody says that it is, but not both ends answer."""
    known: bool | None = False
    for qkde in ends(network, link):
        try:
            links = network.call(qkde, "GET", "/v1/links", timeout_s=TIMEOUT_S)
        except LabError:
            known = None
            continue
        if any(one["stopped"] for one in links if one["link"] == link.name):
            return True
    return known
