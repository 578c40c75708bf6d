"""A site's PostgreSQL and Redis-protocol server on loopback: how each is set up, started and asked if it is ready."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2
import redis

from qkd_lab.embedded.binaries import Binary, find_postgres, find_redis
from qkd_lab.embedded.stores import POSTGRES_NAME, POSTGRES_SETTINGS, redis_configuration
from qkd_lab.embedded.unprivileged import User, data_folder, reachable, server_user
from qkd_lab.lab_folder import LabFolder
from qkd_lab.private_files import write_private


class NotReady(Exception):
    """The process does not answer yet; the message says why."""


@dataclass(frozen=True)
class Servers:
    """The programs, their users and the folder of all data of one lab."""

    postgres: Binary
    redis: Binary
    postgres_user: User
    redis_user: User
    data: Path

    @classmethod
    def choose(cls, lab: LabFolder, state: Mapping[str, str], environ: Mapping[str, str]) -> Servers:
        """`state`: what an earlier run of the lab recorded (`data`, `postgres_major`). Raises LabError."""
        users = server_user("postgres"), server_user("redis", "valkey")
        data = data_folder(lab, state, users)
        major = state.get("postgres_major")
        postgres, store = find_postgres(environ, int(major) if major else None), find_redis(environ)
        return cls(reachable(postgres, users[0], data), reachable(store, users[1], data), *users, data)

    def record(self) -> dict[str, str]:
        """What `state.json` keeps of the choice."""
        return {
            "data": str(self.data),
            "postgres_major": str(self.postgres.major),
            "postgres": f"PostgreSQL {self.postgres.version} ({self.postgres.origin})",
            "redis": f"{self.redis.path.name} {self.redis.version} ({self.redis.origin})",
        }


@dataclass(frozen=True)
class Postgres:
    """One PostgreSQL server; its role `kme` owns the database `kme`."""

    name: str
    binary: Binary
    user: User
    data: Path
    port: int
    password: str = field(repr=False)

    def command(self) -> list[str]:
        """A program that sets up the data folder where there is none and then becomes the server."""
        home = _home(self.data, self.name, self.user)
        cluster, fresh, password_file = home / "cluster", home / "cluster.new", home / "password"
        initdb = [
            str(self.binary.path.with_name("initdb")), "-D", str(fresh), "-U", POSTGRES_NAME, "-E", "UTF8",
            "--locale=C", "--auth=scram-sha-256", f"--pwfile={password_file}", "--no-instructions",
        ]  # fmt: skip
        settings = {**POSTGRES_SETTINGS, "port": str(self.port)}
        options = [text for key, value in settings.items() for text in ("-c", f"{key}={value}")]
        if cluster.exists():
            # The lab's lock says that no other server has this folder; a number in the file may be any process by now.
            (cluster / "postmaster.pid").unlink(missing_ok=True)
            setup = []
        else:
            write_private(password_file, self.password)
            self.user.own(password_file)
            # Renamed when it is whole: a setup that was cut off is begun again.
            setup = [["rm", "-rf", str(fresh)], initdb, ["mv", str(fresh), str(cluster)]]
        server = ["exec", str(self.binary.path), "-D", str(cluster), *options]
        return ["/bin/sh", "-c", " && ".join(map(shlex.join, [*setup, server]))]

    def check(self) -> None:
        """Raises NotReady until the server takes connections; then its database exists."""
        where = {"host": "127.0.0.1", "port": self.port, "user": POSTGRES_NAME, "password": self.password}
        try:
            connection = psycopg2.connect(**where, dbname="postgres", connect_timeout=2)
        except psycopg2.Error as error:
            raise NotReady(str(error).strip().partition("\n")[0]) from None
        with contextlib.closing(connection), connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (POSTGRES_NAME,))
            if not cursor.fetchone():
                cursor.execute(f"CREATE DATABASE {POSTGRES_NAME}")
        (self.data / self.name / "password").unlink(missing_ok=True)


@dataclass(frozen=True)
class Redis:
    """One Redis-protocol server with an append-only file."""

    name: str
    binary: Binary
    user: User
    data: Path
    port: int
    password: str = field(repr=False)
    appendfsync: str = "always"

    def command(self) -> list[str]:
        """The server with a configuration file: an argument would show the password to every user of the host."""
        home = _home(self.data, self.name, self.user)
        configuration = home / "redis.conf"
        settings = {"port": str(self.port), "dir": f'"{home}"', "appendfsync": self.appendfsync}
        write_private(configuration, redis_configuration(self.password, **settings))
        self.user.own(configuration)
        return [str(self.binary.path), str(configuration)]

    def check(self) -> None:
        """Raises NotReady until the server has read its file and answers."""
        try:
            with redis.Redis("127.0.0.1", self.port, password=self.password, socket_timeout=2) as client:
                client.ping()
        except redis.RedisError as error:
            raise NotReady(str(error)) from None


def _home(data: Path, name: str, user: User) -> Path:
    home = data / name
    home.mkdir(mode=0o700, exist_ok=True)
    return user.own(home)
