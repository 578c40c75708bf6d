"""Real servers for the integration tests: `postgres_dsn` and `redis_url`, one of each for the session.

In containers where a Docker engine answers (QKD_LAB_STORES=containers, set by scripts/test), else the embedded lab's.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from qkd_lab.embedded.child import Child, Program
from qkd_lab.embedded.databases import NotReady, Postgres, Redis, Servers
from qkd_lab.embedded.launch import Launcher
from qkd_lab.embedded.stores import POSTGRES_NAME, REDIS_SETTINGS
from qkd_lab.embedded.unprivileged import User
from qkd_lab.lab_folder import LabFolder

from free_ports import free_ports

IN_CONTAINERS = os.environ.get("QKD_LAB_STORES") == "containers"
PASSWORD = "integration"
READY_WITHIN_S = 30


@pytest.fixture(scope="session")
def postgres_dsn(request) -> Iterator[str]:
    if not IN_CONTAINERS:
        servers: Servers = request.getfixturevalue("embedded_servers")
        server = Postgres("postgres", servers.postgres, servers.postgres_user, servers.data, *free_ports(1), PASSWORD)
        with running(request.getfixturevalue("launcher"), server, servers.postgres_user, servers.data):
            yield f"postgresql://{POSTGRES_NAME}:{PASSWORD}@127.0.0.1:{server.port}/{POSTGRES_NAME}"
        return
    from testcontainers.community.postgres import PostgresContainer

    names = {"username": POSTGRES_NAME, "dbname": POSTGRES_NAME}
    with PostgresContainer("postgres:17", password=PASSWORD, driver=None, **names) as container:
        yield container.get_connection_url()


@pytest.fixture(scope="session")
def redis_url(request) -> Iterator[str]:
    if not IN_CONTAINERS:
        servers: Servers = request.getfixturevalue("embedded_servers")
        server = Redis("redis", servers.redis, servers.redis_user, servers.data, *free_ports(1), PASSWORD)
        # A database for each KME; a site of the lab has a server of its own.
        with running(
            request.getfixturevalue("launcher"), server, servers.redis_user, servers.data, "--databases", "16"
        ):
            yield f"redis://:{PASSWORD}@127.0.0.1:{server.port}"
        return
    from testcontainers.community.redis import RedisContainer

    with RedisContainer("redis:8", password=PASSWORD) as container:
        client = container.get_client()
        for name in ("appendonly", "appendfsync", "maxmemory-policy"):
            client.config_set(name, REDIS_SETTINGS[name])
        yield f"redis://:{PASSWORD}@{container.get_container_host_ip()}:{container.get_exposed_port(6379)}"


@pytest.fixture(scope="session")
def embedded_servers(tmp_path_factory) -> Iterator[Servers]:
    lab = LabFolder(tmp_path_factory.mktemp("stores") / ".lab")
    lab.make()
    servers = Servers.choose(lab, {}, os.environ)
    yield servers
    shutil.rmtree(servers.data)  # as root it may lie outside of pytest's folders


@pytest.fixture(scope="session")
def launcher() -> Iterator[Launcher]:
    with closing(Launcher()) as one:
        yield one


@contextmanager
def running(launcher: Launcher, server: Postgres | Redis, user: User, data: Path, *arguments: str) -> Iterator[None]:
    log = data / f"{server.name}.log"

    def command() -> list[str]:
        return [*server.command(), *arguments]

    child = Child(Program(server.name, server.name, command, server.check, log, Path("/"), os.environ, user), launcher)
    child.start(time.monotonic())
    try:
        wait_until_ready(server)
        yield
    finally:
        child.kill()
        while not child.died(time.monotonic()):
            time.sleep(0.01)


def wait_until_ready(server: Postgres | Redis) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            return server.check()
        except NotReady:
            assert time.monotonic() < deadline, f"{server.name} did not start"
            time.sleep(0.02)
