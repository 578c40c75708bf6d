"""A KME's API as several containers behind one name (docker-compose.replicas.yml), and the Prometheus that watches them
(the profile `metrics`). The containers have two workers each, so that what workers share is shared here, too."""

import json
import os
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from running_lab import Lab, eventually

pytestmark = pytest.mark.parametrize("lab", ["compose"], indirect=True)

REPLICAS = (1, 2)
CLIENTS = 6
AGAIN_WITHIN_S = 10
SCALED = ["-f", "docker-compose.yml", "-f", "docker-compose.override.yml", "-f", "docker-compose.replicas.yml"]
SCALED += ["-f", "free-ports.yml", "--profile", "metrics"]
# What the workers of one replica have delivered to masters or slaves since its start.
DELIVERED = """
from prometheus_client import CollectorRegistry, multiprocess
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry, "/tmp/metrics")
samples = [one for metric in registry.collect() for one in metric.samples]
print(int(sum(one.value for one in samples if one.name == "qkd_kme_delivered_keys_total")))
"""


def compose(lab: Lab, *arguments: str) -> str:
    command = ["docker", "compose", *SCALED, *arguments]
    environment = os.environ | {"QKD_WORKERS": "2"}
    done = subprocess.run(command, cwd=lab.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def scaled(lab) -> Iterator[Lab]:
    """The running lab with two containers a KME; afterwards it is as it was."""
    proxies = ["kme-a-ports", "kme-b-ports"]
    lines = ["services:"]
    for proxy, sae, ops in zip(proxies, ("8000", "8001"), ("9000", "9001"), strict=True):
        ports = f'["127.0.0.1:{lab.ports[sae]}:8443", "127.0.0.1:{lab.ports[ops]}:9443"]'
        lines += [f"  {proxy}: {{ports: !override {ports}}}"]
    (lab.folder / "free-ports.yml").write_text("\n".join(lines) + "\n")
    lab.wait_for_keys(100)
    try:
        compose(lab, "up", "-d", "--wait", "--scale", "kme-a=2", "--scale", "kme-b=2", *proxies, "prometheus")
        lab.tell_published_ports()
        yield lab
    finally:
        compose(lab, "rm", "-sf", *proxies, "prometheus")
        lab.compose.start()
        lab.tell_published_ports()


def prometheus(lab: Lab, path: str, **parameters: str) -> dict:
    return requests.get(f"http://127.0.0.1:{lab.ports['9090']}/api/v1/{path}", params=parameters, timeout=10).json()[
        "data"
    ]


def delivered(lab: Lab, kme: str) -> list[int]:
    """By each replica, since it was started."""
    return [
        int(compose(lab, "exec", "-T", "--index", str(one), kme, "python", "-c", DELIVERED) or 0) for one in REPLICAS
    ]


class Clients:
    """Pairs of a master and a slave that exchange keys, each on connections of its own, until `enough` says so. A call
    whose connection breaks is made again, which must work soon."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._adding = threading.Lock()
        self.taken: list[dict] = []
        self.fetched: list[dict] = []
        self.broken = Counter[str]()
        self.unfetched = 0

    def run(self, enough) -> None:
        while not enough():
            answer = self._again("enc_keys", lambda: self._lab.enc_keys("sae-a", "sae-b", "kme-a", number=2))
            if answer.status_code == 503:  # the pool is being filled
                continue
            assert answer.status_code == 200, answer.text
            keys = answer.json()["keys"]
            key_ids = [key["key_ID"] for key in keys]
            fetched = self._again("dec_keys", lambda ids=key_ids: self._lab.dec_keys("sae-b", "sae-a", "kme-b", ids))
            with self._adding:
                self.taken += keys
                if fetched.status_code == 200:
                    self.fetched += fetched.json()["keys"]
                else:  # they were delivered to the connection that broke
                    assert fetched.status_code == 400, fetched.text
                    self.unfetched += len(keys)

    def _again(self, call: str, ask) -> requests.Response:
        try:
            return ask()
        except requests.ConnectionError:
            with self._adding:
                self.broken[call] += 1
            return eventually(lambda: self._answered(ask), f"{call} on another connection", AGAIN_WITHIN_S)[0]

    def _answered(self, ask) -> list[requests.Response]:
        """A killed replica goes on accepting until the engine has ended all of its processes."""
        try:
            return [ask()]  # a refusal is an answer, too, though it is false
        except requests.ConnectionError:
            return []

    def check(self) -> None:
        """No key twice, and the same at both ends."""
        taken = {key["key_ID"]: key["key"] for key in self.taken}
        assert len(taken) == len(self.taken)
        assert len({key["key_ID"] for key in self.fetched}) == len(self.fetched) == len(self.taken) - self.unfetched
        assert all(taken[key["key_ID"]] == key["key"] for key in self.fetched)


def test_all_replicas_serve_the_same_pools_and_no_key_comes_twice(scaled):
    before = {kme: delivered(scaled, kme) for kme in ("kme-a", "kme-b")}
    clients = Clients(scaled)
    with ThreadPoolExecutor(CLIENTS) as pool:
        for client in [pool.submit(clients.run, lambda: len(clients.taken) >= 300) for _ in range(CLIENTS)]:
            client.result()
    clients.check()
    assert not clients.broken
    for kme in before:
        gained = [now - then for now, then in zip(delivered(scaled, kme), before[kme], strict=True)]
        assert sum(gained) == len(clients.taken)
        assert min(gained) > len(clients.taken) / 10, kme


def test_prometheus_asks_every_replica_and_every_other_process_and_has_the_alerts(scaled):
    def targets():
        found = prometheus(scaled, "targets")["activeTargets"]
        return [(one["labels"]["process"], one["lastError"]) for one in found if one["health"] == "up"]

    endpoints = json.loads((scaled.folder / ".lab" / "endpoints.json").read_text())
    processes = {name.removesuffix(".ops") for name in endpoints if name.endswith(".ops")}
    expected = Counter(processes) + Counter(["kme-a", "kme-b"])
    eventually(lambda: Counter(process for process, _ in targets()) == expected, "every target is up", 60)
    rules = [rule for group in prometheus(scaled, "rules")["groups"] for rule in group["rules"]]
    assert len(rules) > 10 and {rule["health"] for rule in rules} <= {"ok", "unknown"}

    def counted() -> float:
        query = 'sum(qkd_kme_delivered_keys_total{process="kme-a", role="master", slave="sae-b"})'
        found = prometheus(scaled, "query", query=query)["result"]
        return float(found[0]["value"][1]) if found else 0.0

    eventually(lambda: counted() == sum(delivered(scaled, "kme-a")), "all deliveries are seen", 30)


def test_clients_go_on_when_a_replica_is_killed_and_it_comes_back_by_itself(scaled):
    (killed, _) = compose(scaled, "ps", "-q", "kme-a").split()

    def state() -> str:
        shown = "{{.RestartCount}} {{.State.Health.Status}}"
        return subprocess.run(["docker", "inspect", "-f", shown, killed], capture_output=True, text=True).stdout.strip()

    index = compose(scaled, "ps", "--format", "{{.Name}}", "kme-a").split()[0].rpartition("-")[2]
    clients, done = Clients(scaled), threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(clients.run, done.is_set) for _ in range(CLIENTS)]
        try:
            eventually(lambda: len(clients.taken) > 20, "the clients are at work")
            end = "kill -9 $(cat /proc/1/task/1/children)"  # the server itself: what starts it ends with it
            subprocess.run(["docker", "exec", killed, "sh", "-c", end], check=False)
            at_the_kill = len(clients.taken)
            eventually(lambda: len(clients.taken) > at_the_kill + 20, "service goes on")
            eventually(lambda: state() == "1 healthy", "the replica is back")
            eventually(lambda: delivered(scaled, "kme-a")[REPLICAS.index(int(index))] > 0, "it serves again", 30)
        finally:
            done.set()
        for client in running:
            client.result()
    clients.check()
    assert clients.broken["enc_keys"] <= CLIENTS and not clients.broken["dec_keys"]


def test_a_revoked_sae_is_refused_by_every_replica_within_5_s(scaled):
    scaled.command("register", "sae", "revoked-everywhere", "--site", "a")

    def refused() -> bool:
        with scaled.as_sae("revoked-everywhere") as session:
            try:
                return session.get(f"{scaled.endpoint('kme-a')}/api/v1/sae/info/me").status_code == 401
            except requests.ConnectionError:  # the handshake's alert
                return True

    assert not any(refused() for _ in range(8))
    scaled.command("pki", "revoke", "revoked-everywhere")
    eventually(lambda: all(refused() for _ in range(8)), "each worker of each replica refuses it", 5)


def test_a_limit_holds_for_all_replicas_together(scaled):
    scaled.wait_for_keys(100)  # clients of another test may have emptied the pool
    scaled.command("sae", "set", "sae-a", "--requests-per-s", "1", "--request-burst", "4")
    began_at = time.monotonic()
    try:
        with ThreadPoolExecutor(CLIENTS) as pool:
            answers = list(pool.map(lambda _: scaled.enc_keys("sae-a", "sae-b", "kme-a"), range(30)))
        within_s = time.monotonic() - began_at
    finally:
        scaled.command("sae", "set", "sae-a", "--requests-per-s", "default", "--request-burst", "default")
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) == {200, 429}
    # By itself each of the four workers would let four pass, 16 in all.
    assert 4 <= codes[200] <= 4 + within_s
