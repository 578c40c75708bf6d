"""A QKD network in your own test suite: `with QKDNetwork() as net:` (docs/testing.md)."""

from qkd_lab.lab_folder import LabError
from qkd_lab.testing.handles import Fault, Kme, Link, Sae
from qkd_lab.testing.network import QKDNetwork

__all__ = ["Fault", "Kme", "LabError", "Link", "QKDNetwork", "Sae"]
