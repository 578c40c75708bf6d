"""Copies of a site's stores, taken while it works, and put back later: what a backup does."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg2
import redis
from psycopg2.sql import SQL, Identifier, Literal

from qkd_lab.embedded.child import Child, Program
from qkd_lab.embedded.databases import NotReady, Redis, Servers
from qkd_lab.embedded.launch import Launcher

from free_ports import free_ports

PASSWORD = "restores"


class RedisCopies:
    """A Redis server of one site's own, with its append-only file."""

    def __init__(self, servers: Servers, name: str, launcher: Launcher) -> None:
        self._launcher = launcher
        (port,) = free_ports(1)
        self._server = Redis(name, servers.redis, servers.redis_user, servers.data, port, PASSWORD)
        self.home = servers.data / name
        self._log = servers.data / f"{name}.log"
        self._child: Child | None = None
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{port}"

    def start(self) -> None:
        one = self._server
        program = Program(one.name, one.name, one.command, one.check, self._log, Path("/"), os.environ, one.user)
        self._child = Child(program, self._launcher)
        self._child.start(time.monotonic())
        deadline = time.monotonic() + 30
        while True:
            try:
                return one.check()
            except NotReady:
                assert time.monotonic() < deadline, f"{one.name} did not start"
                time.sleep(0.02)

    def kill(self) -> None:
        """As kill -9 does."""
        assert self._child is not None
        self._child.kill()
        while not self._child.died(time.monotonic()):
            time.sleep(0.01)

    def crash(self) -> None:
        self.kill()
        self.start()

    def copy(self) -> Path:
        """Of its files as they are on disk."""
        copy = self.home.with_name(f"{self.home.name}.copy")
        shutil.rmtree(copy, ignore_errors=True)
        subprocess.run(["cp", "-a", self.home, copy], check=True)
        return copy

    def restore(self, copy: Path | None) -> None:
        """None: its disk is lost."""
        self.kill()
        shutil.rmtree(self.home)
        if copy:
            subprocess.run(["cp", "-a", copy, self.home], check=True)
        self.start()

    def append_to_its_file(self, octets: bytes) -> None:
        """The beginning of a command that was being written when the server died."""
        self.kill()
        (file,) = (self.home / "appendonlydir").glob("*.incr.aof")
        with file.open("ab") as log:
            log.write(octets)
        self.start()


class PostgresCopies:
    """One KME's database; copies are databases beside it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._name = psycopg2.extensions.parse_dsn(dsn)["dbname"]

    def copy(self) -> str:
        copy = f"{self._name}_copy"
        self._make(copy, self._name)
        return copy

    def restore(self, copy: str | None) -> None:
        """None: it is lost."""
        self._make(self._name, copy or "template0")

    def set(self, name: str, value: str | None) -> None:
        """A setting of the database for new connections; None: the server's."""
        rest = (
            SQL("RESET {}").format(Identifier(name))
            if value is None
            else SQL("SET {} = {}").format(Identifier(name), Literal(value))
        )
        self._run(SQL("ALTER DATABASE {} {}").format(Identifier(self._name), rest))
        self.cut_connections()

    def cut_connections(self) -> None:
        self._run(SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"), self._name)

    def _make(self, name: str, template: str) -> None:
        self._run(SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"), template)
        self._run(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name)))
        self._run(SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template)))

    def _run(self, statement, *arguments) -> None:
        connection = psycopg2.connect(self._dsn, dbname="postgres")
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, arguments)
        connection.close()


def dump(url: str) -> dict[bytes, bytes]:
    with redis.Redis.from_url(url) as client:
        return {name: client.dump(name) for name in client.scan_iter()}


def load(url: str, copy: dict[bytes, bytes]) -> None:
    """Into a server that goes on running."""
    with redis.Redis.from_url(url) as client, client.pipeline() as all_at_once:
        all_at_once.flushdb()
        for name, value in copy.items():
            all_at_once.restore(name, 0, value)
        all_at_once.execute()
