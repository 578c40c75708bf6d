"""A folder whose lab ran in containers can be used on this host, once nothing of that lab answers any more."""

from __future__ import annotations

from qkd_lab.addresses import AddressBook
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.secrets import renew_pre_shared_key
from qkd_lab.topology import Link, Topology


def known_addresses(lab: LabFolder, topology: Topology) -> AddressBook:
    """The addresses this lab had on this host before; none where it ran in containers. LabError while it does."""
    if not lab.in_containers:
        return lab.read_addresses()
    operator = Operator(lab)
    if any(operator.health(process.name) == "ok" for process in operator.processes):
        raise LabError(
            f"the lab in {lab.path.parent} runs in containers: `docker compose down` stops it; or use another folder"
        )
    for link in topology.quantum_links:
        # The containers' QKDEs remember which pads of the old one they have used; those of this host do not.
        if not any((lab.process_state(qkde) / "pads").exists() for qkde in _qkdes(topology, link)):
            renew_pre_shared_key(topology, lab.path, link)
    return {}


def _qkdes(topology: Topology, link: Link) -> tuple[str, str]:
    return topology.site(link.alice).qkde_id, topology.site(link.bob).qkde_id
