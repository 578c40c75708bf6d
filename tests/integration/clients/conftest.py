"""Two whole KMEs for clients that speak to them over mutual TLS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from qkd_lab import addresses
from qkd_lab.embedded.ports import Ports
from qkd_lab.lab_folder import LabFolder

from two_kmes import TOPOLOGY, Kmes, empty_database, empty_redis, process, wait_for


@pytest.fixture(scope="module")
def kmes(postgres_dsn: str, redis_url: str, tmp_path_factory) -> Iterator[Kmes]:
    """Both with full pools of `MAX_KEYS` keys of 256 bits: sae-a → sae-b, sae-b → sae-a, sae-a → STRANGE."""
    lab = LabFolder(tmp_path_factory.mktemp("kmes") / ".lab")
    lab.make()
    (lab.path.parent / "net.toml").write_text(TOPOLOGY, encoding="utf-8")
    topology = lab.keep_topology(lab.path.parent / "net.toml")
    with ExitStack() as running:
        ports = running.enter_context(closing(Ports()))
        book = addresses.embedded(topology, ports.take)
        lab.prepare(topology, book, addresses.endpoints(topology, book))
        served = running.enter_context(Kmes(lab))
        for index, site in enumerate("ab"):
            stores = {
                "TEST_POSTGRES_DSN": empty_database(postgres_dsn, f"served_{site}"),
                "TEST_REDIS_URL": empty_redis(f"{redis_url}?db={3 + index}"),
            }
            running.enter_context(process(lab, f"kme-{site}", stores))
        wait_for(served.full, lab)
        yield served
