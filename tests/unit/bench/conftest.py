"""A lab that is not running, for what the bench asks of one."""

import pytest

from qkd_lab.addresses import embedded, endpoints
from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import SHIPPED


@pytest.fixture
def operator(tmp_path, monkeypatch):
    """Its calls are kept, answered, and refused where `refused` says so. `saes`: those that are registered, by KME."""
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    topology = lab.keep_topology(SHIPPED / "two-sites-directory.toml")
    book = embedded(topology, lambda wanted, known: 1)
    lab.prepare(topology, book, endpoints(topology, book))
    made = Operator(lab)
    made.calls, made.stored, made.refused, made.saes = [], iter(()), "", {}

    def call(process, method, path, body=None, **_):
        made.calls.append((process, method, path, body))
        if path == made.refused:
            raise LabError("the KME refused")
        if (method, path) == ("GET", "/v1/saes"):
            return [{"sae_id": sae_id} for sae_id in made.saes.get(process, ())]
        counted = method == "GET" and path == "/v1/connections/the-id"
        return {"connection_id": "the-id"} | ({"stored_key_count": next(made.stored)} if counted else {})

    monkeypatch.setattr(made, "call", call)
    return made


@pytest.fixture
def deleted(operator):
    """The paths of what was asked to go."""
    return lambda: [path for _, method, path, _ in operator.calls if method == "DELETE"]
