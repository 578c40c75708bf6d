"""A link and its two QKDEs in one process, as an operator reaches them: their own applications, without sockets."""

import itertools
import json
import uuid
from dataclasses import asdict

from app_peer import AppPeer
from flask import Flask

from mutual_tls.identity import Identity
from qkd_lab.lab_folder import LabError
from qkde.bb84.parameters import RoundParameters
from qkde.link import web as link_web
from qkde.node import web

from two_qkdes import ALICE, BOB, QLINK, TwoQkdes

OPERATOR = Identity("operator", "operator")
SINGLE_PHOTONS = asdict(
    RoundParameters(
        pulses_per_frame=30_000, frame_count=2, key_basis_probability=0.7, epsilon_secrecy=1e-6,
        epsilon_correctness=1e-9, verification_bits=61,
    )
)  # fmt: skip
PHYSICS = {"depolarizing": 0.02, "repetition_rate_hz": 1e6}


class Network(TwoQkdes):
    """A link and its two QKDEs, and what an operator can ask of each of them."""

    def __init__(self, folder, parameters=SINGLE_PHOTONS):
        super().__init__(folder, parameters, PHYSICS)
        self._numbers = itertools.count(1)
        self.asked = {
            "qkde-a": AppPeer(web.ops_app(self.alice), OPERATOR, ALICE),
            "qkde-b": AppPeer(web.ops_app(self.bob), OPERATOR, BOB),
            "qlink-a-b": AppPeer(link_web.ops_app(self.link), OPERATOR, QLINK),
        }

    def has_pools(self, *stored_key_counts):
        """Of either KME one, with so many keys of 1000."""
        for kme, count in zip(("kme-a", "kme-b"), stored_key_counts, strict=True):
            pool = {"master_sae_id": f"sae-{kme[-1]}", "slave_sae_id": "sae-x", "key_size_bits": 256}
            levels = {"stored_key_count": count, "low_watermark": 500, "high_watermark": 1000}
            self.asked[kme] = AppPeer(_answers({"pools": [pool | levels]}), OPERATOR, QLINK)

    def round(self):
        """The next round's report; the same at every run, as the link draws from its seed and the round's id."""
        block_id = str(uuid.UUID(int=next(self._numbers)))
        while (report := self.bob.order("a-b", block_id, "kme-b")) is None:
            pass  # it still runs
        return json.loads(json.dumps(report))

    def call(self, process, method, path, body=None, timeout_s=None):
        if process not in self.asked:
            raise LabError(f"{process} does not answer")
        return self.asked[process].request(method, path, json=body).json


def _answers(status):
    app = Flask("kme")
    app.add_url_rule("/v1/status", view_func=lambda: status)
    return app
