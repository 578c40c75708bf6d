"""Two complete KMEs, a and b, in one process: real stores, apps called without TLS, a QKDE that invents bits."""

from __future__ import annotations

import json as json_text
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from restore_steps import Received, is_back

from kme.entity import Entity
from kme.kek_folder import KekFolder
from kme.model import Connection, KeyFolder, KmeSettings, Link
from kme.scheduler import Scheduler
from kme.web.certificates import info_routes
from kme.web.doors import doors_of
from kme.web.operator import operator_app
from kme.web.peer import peer_app
from kme.web.qkde import qkde_app
from kme.web.sae import sae_app
from mutual_tls.app import CALLER
from mutual_tls.client import Refused, Reply, Unreachable
from mutual_tls.identity import Identity
from services.kme_metrics import count_delivery

DB = Path(__file__).parents[3] / "db"
OPERATOR = Identity("operator", "op")


class AppPeer:
    """Stands in for `mutual_tls.client.Peer`: calls another KME's application in this process, as `caller`.

    Each of `faults` is spent on one call: `refuse`: it never arrives; `lose`: it arrives and the answer is lost.
    """

    def __init__(self, app: Flask, caller: Identity) -> None:
        self._app, self._caller = app, caller
        self.faults: list[str] = []
        self.witness_faults: list[str] = []  # the witness is exchanged beside the rest
        self.calls: list[tuple[str, str, Any]] = []

    def request(self, method: str, path: str, *, params=None, json=None, octets=None, timeout_s=None) -> Reply:
        faults = self.witness_faults if path == "/v1/witness" else self.faults
        fault = faults.pop(0) if faults else ""
        self.calls.append((method, path, json))
        if fault == "refuse":
            raise Unreachable(f"{path}: connection refused")
        response = self._app.test_client().open(
            path,
            method=method,
            query_string=params,
            data=octets if json is None else json_text.dumps(json),
            environ_overrides={CALLER: self._caller},
        )
        if fault == "lose":
            raise Unreachable(f"{path}: no answer in time")
        if response.status_code >= 300:
            raise Refused(response.status_code, response.get_json()["message"])
        return Reply(response.status_code, response.data)


class FakeQkde:
    """Both ends' QKDEs: a round gives both KMEs the same random block of `length_bits`, at once."""

    def __init__(self) -> None:
        self.length_bits = 100_000
        self.abort_reason: str | None = None
        self.orders: list[str] = []
        self.blocks: dict[UUID, bytes] = {}
        self.sites: list[Site] = []
        self._waiting: list[tuple[int, UUID, str, bytes]] = []

    def at(self, kme_id: str) -> FakeQkdePort:
        return FakeQkdePort(self, kme_id)

    def offer(self) -> None:
        """Hands over what was not acknowledged yet."""
        waiting, self._waiting = self._waiting, []
        for end, block_id, owner, bits in waiting:
            status = self.sites[end].hand_over(block_id, owner, bits).status_code
            assert status in (204, 503)
            if status == 503:
                self._waiting.append((end, block_id, owner, bits))

    def round(self, block_id: UUID, owner: str) -> dict[str, Any]:
        self.orders.append(owner)
        report = {"block_id": str(block_id), "link": "a-b", "owner": owner, "qber": 0.01}
        if self.abort_reason:
            return report | {"outcome": "aborted", "abort_reason": self.abort_reason, "secret_bits": 0}
        self.blocks[block_id] = bits = secrets.token_bytes(self.length_bits // 8)
        self._waiting += [(end, block_id, owner, bits) for end in range(len(self.sites))]
        self.offer()
        return report | {"outcome": "key", "abort_reason": None, "secret_bits": self.length_bits}


@dataclass
class FakeQkdePort:
    qkde: FakeQkde
    kme_id: str

    def request(self, method: str, path: str, *, json: Any, timeout_s: float) -> Reply:
        assert (method, path, json["link"]) == ("POST", "/v1/orders", "a-b")
        return Reply(200, json_text.dumps(self.qkde.round(UUID(json["block_id"]), self.kme_id)).encode())


@dataclass
class Site:
    entity: Entity
    peers: dict[str, AppPeer]
    clock: list[float] = field(default_factory=lambda: [0.0])
    scheduler: Scheduler | None = None

    def __post_init__(self) -> None:
        one = self.entity
        self.apps = {
            "sae": sae_app(
                one.delivery,
                one.admission,
                registered=one.certificates.sae_of,
                doors=(info_routes(one.settings.kme_id, one.catalogue.admit), *doors_of(one)),
            ),
            "kme": peer_app(
                one.settings,
                one.administration,
                one.confirmation,
                one.batch_peer,
                one.voiding_peer,
                one.closure,
                one.witness_peer,
            ),
            "qkde": qkde_app(one.settings, one.intake),
            "operator": operator_app(one),
        }
        self.kme_id = one.settings.kme_id

    def client(self, identity: Identity) -> FlaskClient:
        client = self.apps[identity.role].test_client()
        client.environ_base[CALLER] = identity
        return client

    def sae(self, sae_id: str) -> FlaskClient:
        return self.client(Identity("sae", sae_id))

    @property
    def operator(self) -> FlaskClient:
        return self.client(OPERATOR)

    def hand_over(self, block_id: UUID, owner: str, bits: bytes, length_bits: int | None = None, link: str = "a-b"):
        query = {"link": link, "owner": owner, "length_bits": len(bits) * 8 if length_bits is None else length_bits}
        qkde = self.client(Identity("qkde", self.entity.settings.qkde_id))
        return qkde.put(f"/v1/blocks/{block_id}", query_string=query, data=bits)


@dataclass
class Network:
    a: Site
    b: Site
    qkde: FakeQkde

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.a.scheduler.step()
            self.b.scheduler.step()

    def exchange_witness(self) -> None:
        """As often as it takes until each has confirmed the other's."""
        for _ in range(2):
            for site in (self.a, self.b):
                assert site.scheduler._leadership.hold()
                for chore in (site.scheduler._first, *site.scheduler._chores):
                    if chore.name.startswith("witness"):
                        chore.step()
                site.scheduler.resign()

    def step_until(self, condition: Callable[[], bool], limit: int = 30) -> None:
        for _ in range(limit):
            if condition():
                return
            self.step()
            for site in (self.a, self.b):
                site.clock[0] += 1.0
        assert condition(), f"not reached in {limit} steps"

    def assert_account_adds_up(self) -> None:
        for site in (self.a, self.b):
            account = site.entity.account()
            assert account.balanced, account


def a_connection(**changes: Any) -> Connection:
    values = {"source_kme_id": "kme-a", "target_kme_id": "kme-b", "master_sae_id": "sae-a", "slave_sae_id": "sae-b"}
    return Connection(**values | {"max_key_count": 20, "max_key_per_request": 10} | changes)


@pytest.fixture(scope="session")
def databases(postgres_dsn: str) -> dict[str, str]:
    """A database for each KME, made once; the tables are emptied between tests."""
    admin = psycopg2.connect(postgres_dsn)
    admin.autocommit = True
    with admin.cursor() as cursor:
        for name in ("kme_a", "kme_b"):
            cursor.execute(f"DROP DATABASE IF EXISTS {name}")
            cursor.execute(f"CREATE DATABASE {name}")
    admin.close()
    return {name: psycopg2.extensions.make_dsn(postgres_dsn, dbname=name) for name in ("kme_a", "kme_b")}


@pytest.fixture(autouse=True)
def patience(monkeypatch) -> None:
    """Between two steps of a scheduler a test on a slow machine may take longer than one in office is ever silent."""
    monkeypatch.setattr("kme.leadership._SILENCE_MS", 120_000)


@pytest.fixture
def redis_urls(redis_url: str) -> dict[str, str]:
    return {"kme-a": f"{redis_url}?db=1", "kme-b": f"{redis_url}?db=2"}


@pytest.fixture
def empty_stores(databases: dict[str, str], redis_urls: dict[str, str]) -> Callable[[], None]:
    def empty() -> None:
        for url in redis_urls.values():
            with redis.Redis.from_url(url) as client:
                client.flushdb()
        for dsn in databases.values():
            _empty(dsn)

    return empty


@pytest.fixture
def keks(redis_urls: dict[str, str]) -> dict[str, bytes]:
    """The first key-encryption key of each KME; modules that need others override this."""
    return {kme_id: secrets.token_bytes(32) for kme_id in redis_urls}


@pytest.fixture
def make_site(
    databases: dict[str, str],
    redis_urls: dict[str, str],
    keks: dict[str, bytes],
    empty_stores: Callable[[], None],
    tmp_path: Path,
) -> Iterator[Callable[..., Site]]:
    entities, sites, urls = [], [], redis_urls
    empty_stores()

    def make(kme_id: str, **options: Any) -> Site:
        """A KME's processes; made again, they are the same KME after a restart."""
        end = kme_id[-1]
        link = Link("a-b", "kme-b" if end == "a" else "kme-a", options.pop("folder", None))
        more = options.pop("settings", {})
        settings = KmeSettings(kme_id, f"site-{end}", f"qkde-{end}", (link,), **more)
        entity = Entity(
            settings,
            postgres_dsn=databases[kme_id.replace("-", "_")],
            redis_url=urls[kme_id],
            kek=options.pop("kek", keks[kme_id]),
            db=DB,
            peers=options.pop("peers", {}),
            database_size=2,
            clock=options.pop("clock", None),
            keks=options.pop("keks", None) or kek_folder(tmp_path / f"keks of {kme_id}"),
            delivered=count_delivery,
        )
        entities.append(entity)
        sites.append(Site(entity, entity.peers))
        return sites[-1]

    yield make
    for site in sites:
        if site.scheduler:
            site.scheduler.resign()
    for entity in entities:
        entity.close()


@pytest.fixture
def folders() -> dict[str, KeyFolder | None]:
    """Each site's folder of key files, by KME; modules that need some override this."""
    return {}


@pytest.fixture
def site_settings() -> dict[str, Any]:
    """More settings of both KMEs; modules that need some override this."""
    return {}


@pytest.fixture
def network(
    make_site: Callable[..., Site], folders: dict[str, KeyFolder | None], site_settings: dict[str, Any]
) -> Network:
    """Both KMEs prepared, with sae-a → sae-b and sae-b → sae-a registered, and empty pools."""
    qkde = FakeQkde()
    a, b = (make_site(one, folder=folders.get(one), settings=site_settings) for one in ("kme-a", "kme-b"))
    a.peers["kme-b"] = AppPeer(b.apps["kme"], Identity("kme", "kme-a"))
    b.peers["kme-a"] = AppPeer(a.apps["kme"], Identity("kme", "kme-b"))
    back = a_connection(source_kme_id="kme-b", target_kme_id="kme-a", master_sae_id="sae-b", slave_sae_id="sae-a")
    for site, sae in ((a, "sae-a"), (b, "sae-b")):
        site.entity.prepare([sae], [a_connection(), back])
        start_scheduler(site, qkde)
    qkde.sites = [a, b]
    network = Network(a, b, qkde)
    network.exchange_witness()
    return network


@pytest.fixture
def restarted(network: Network, make_site: Callable[..., Site]) -> Callable[[str], None]:
    """Ends a KME's processes, whatever they were doing, and starts them again on the same stores."""

    def restart(kme_id: str) -> None:
        old, other = (network.a, network.b) if kme_id == "kme-a" else (network.b, network.a)
        peers = {other.kme_id: AppPeer(other.apps["kme"], Identity("kme", kme_id))}
        new = make_site(kme_id, peers=peers, folder=old.entity.settings.links[0].folder)
        other.peers[kme_id] = AppPeer(new.apps["kme"], Identity("kme", other.kme_id))
        old.scheduler.resign()  # as its process has ended
        new.entity.prepare()
        start_scheduler(new, network.qkde)
        start_scheduler(other, network.qkde)
        if old is network.a:
            network.a = new
        else:
            network.b = new
        network.qkde.sites = [network.a, network.b]

    return restart


def kek_folder(path: Path) -> KekFolder:
    path.mkdir(exist_ok=True)
    return KekFolder(path)


def start_scheduler(site: Site, qkde: FakeQkde) -> None:
    if site.scheduler:
        site.scheduler.resign()
    site.scheduler = site.entity.scheduler(
        qkde.at(site.kme_id), clock=lambda: site.clock[0], start_round=lambda work: work()
    )


def _empty(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_version'")
        tables = [row[0] for row in cursor.fetchall()]
        cursor.execute("SET session_replication_role = replica")  # the order of the tables does not matter then
        for table in set(tables) - {"leadership"}:
            cursor.execute(f"DELETE FROM {table}")
    connection.close()


@pytest.fixture
def running(network):
    """Both KMEs after their stores were compared, with keys in their pools."""
    network.step_until(lambda: is_back(network))
    return network


@pytest.fixture
def received() -> Received:
    return Received()
