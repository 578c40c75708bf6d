"""`qkd_lab.testing`: a network in a test, on this host and in a container; nothing is left of it, whatever happens."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path

import psutil
import pytest
from testcontainers.core.config import ConnectionMode, testcontainers_config

from qkd_lab.testing import LabError, QKDNetwork
from sae_demo.etsi_client import KmeRefused

from running_lab import CHECKOUT, docker_answers, eventually

EXAMPLES = CHECKOUT / "docs" / "examples"
LEAVES_WITHIN_S = 30
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])}
CRASH = """
import os, signal, sys
from qkd_lab.testing import QKDNetwork
net = QKDNetwork(embedded={embedded}, prefilled=0).start()
(net.folder / "own.txt").write_text("a test's own file")
print(net.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def has_docker():
    if docker_answers():
        return True
    assert os.environ.get("QKD_LAB_DOCKER") != "required", "QKD_LAB_DOCKER=required, but no Docker engine answers"
    return False


@pytest.fixture(scope="module", params=["embedded", "container"])
def kind(request):
    if request.param == "container":
        if not has_docker():
            pytest.skip("no Docker engine answers: networks in containers are not tested")
        build = [
            "docker",
            "build",
            "-q",
            "-t",
            "qkd-lab/network",
            "-f",
            "services/Dockerfile",
            "--target",
            "network",
            ".",
        ]
        subprocess.run(build, cwd=CHECKOUT, check=True, capture_output=True)
    return request.param


@pytest.fixture(scope="module")
def net(kind, figure):
    started = time.monotonic()
    with QKDNetwork(embedded=kind == "embedded", seed=7) as network:
        figure(f"QKDNetwork, {kind}: {time.monotonic() - started:.1f} s to keys in both pools")
        yield network


def test_the_two_ends_have_the_same_key_once(net):
    (key,) = net.client("a").enc_keys("sae-b").keys
    with net.sae("b").session() as session:
        url = f"{net.kme('b').url}/api/v1/keys/sae-a/dec_keys"
        assert session.get(url, params={"key_ID": key.key_id}).status_code == 200
        assert session.get(url, params={"key_ID": key.key_id}).status_code == 400


def test_the_physics_is_set_and_reset(net):
    link = net.link("a-b")
    link.set(depolarizing=0.02, eve="intercept-resend:0.5")
    assert (link.show()["depolarizing"], link.show()["eve"]) == (0.02, "intercept-resend:0.5")
    link.reset()
    assert (link.show()["depolarizing"], link.show()["eve"]) == (0.0, "none")


def test_faults_last_as_long_as_their_block(net):
    with net.fault("a", empty_pools=True):
        with net.fault("a", delay_s=0.01):
            pass
        with pytest.raises(KmeRefused, match="503"):
            net.client("a").enc_keys("sae-b")
    assert net.client("a").enc_keys("sae-b").keys


def test_a_new_sae_and_its_connection(net):
    carol = net.add_sae("carol", "a")
    net.register("carol", "b", key_size=128, max_keys_count=10)
    net.wait_for_keys(10, "carol", "b")
    with carol.session() as session:
        answer = session.post(f"{carol.kme.url}/api/v1/keys/sae-b/enc_keys", json={"number": 10})
    assert len(answer.json()["keys"]) == 10


def test_waiting_for_more_than_there_can_be_ends_and_says_what_there_is(net):
    with pytest.raises(TimeoutError, match="not 5000 keys for a → b within 0.5 s: there are [0-9]+"):
        net.wait_for_keys(5000, timeout_s=0.5)


def test_to_wait_for_keys_ends_in_time_where_no_answer_comes(net):
    started = time.monotonic()
    with net.fault("a", delay_s=20), pytest.raises(TimeoutError, match="within 0.5 s"):
        net.wait_for_keys(1, timeout_s=0.5)
    assert time.monotonic() - started < 10


def test_a_network_that_runs_is_not_started_again(net):
    folder = net.folder
    with pytest.raises(LabError, match="runs already"):
        net.start()
    assert net.folder == folder and net.is_running() and net.client("a").status("sae-b")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (lambda net: net.kme("zz"), "no site 'zz' in this network: it has a, b"),
        (lambda net: net.sae("zz"), "no SAE 'zz' in this network"),
        (lambda net: net.sae([]), "no SAE"),
        (lambda net: net.link("zz"), "no link 'zz'"),
        (lambda net: net.logs("zz"), "no process 'zz' in this network: it has kme-a"),
        (lambda net: net.logs("*"), "no process"),
        (lambda net: net.add_sae("a", "b"), "sae_id: 'a' stands for the first SAE of the site"),
        (lambda net: net.add_sae("sae-b", "a"), "sae-b"),
        (lambda net: net.add_sae(5, "a"), "sae_id: expected a text"),
        (lambda net: net.register("a", "b", key_sze=128), "key_sze: a connection has no such member"),
        (lambda net: net.register("a", "b", key_size="x"), "key_size: expected an integer, got 'x'"),
        (lambda net: net.link("a-b").set(loss_db=b"x"), "loss_db: expected a text"),
        (lambda net: net.fault("a", refuse_percentage=101), "refuse_percentage"),
    ],
)
def test_what_can_t_be_is_refused_by_name(net, asked, told):
    with pytest.raises(LabError, match=told):
        asked(net)


def test_logs_are_of_all_processes_or_one(net):
    assert "block" in net.logs("qkde-b") and net.logs("qkde-b").strip() in net.logs()
    assert "QKD_SEED is set" in net.logs("qkde-a")


def test_commands_work_in_the_network_s_folder(net):
    status = subprocess.run(
        [sys.executable, "-m", "qkd_lab.cli", "status"], cwd=net.folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert status.returncode == 0 and "sae-a → sae-b" in status.stdout, status.stderr


def test_a_seed_gives_the_same_keys_again(net):
    """The first of the pools is gone by now: what is compared are two networks of their own."""
    first = []
    for _ in range(2):
        with QKDNetwork(embedded=True, seed=8) as network:
            first.append(network.client("a").enc_keys("sae-b").keys[0])
    assert first[0].octets == first[1].octets and first[0].key_id != first[1].key_id


def test_nothing_is_left_after_a_crash_of_the_test_s_process(kind):
    crashed = subprocess.run(
        [sys.executable, "-c", CRASH.format(embedded=kind == "embedded")],
        env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = Path(crashed.stdout.strip())
    assert crashed.returncode == -9 and folder.name.startswith("qkd-network-")
    eventually(lambda: not folder.exists(), "the folder is gone", LEAVES_WITHIN_S)
    if kind == "embedded":
        eventually(lambda: not processes_of(folder), "its processes have ended", LEAVES_WITHIN_S)
    else:
        pid = folder.name.split("-")[2]
        eventually(lambda: f":{pid}:" not in labels(), "its container is removed", LEAVES_WITHIN_S)


def processes_of(folder):
    found = []
    for process in psutil.process_iter(["environ", "cmdline"]):
        environment, command = process.info["environ"] or {}, process.info["cmdline"] or []
        if str(folder) in " ".join([*command, environment.get("QKD_TOPOLOGY", "")]):
            found.append(process)
    return found


def labels():
    command = ["docker", "ps", "-a", "--format", '{{.Label "qkd-lab.testing.session"}}']
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_nothing_is_left_of_a_network_whose_test_was_killed_while_it_started(tmp_path):
    """The folder is there before anything else is."""
    program = "from qkd_lab.testing import QKDNetwork; QKDNetwork(embedded=True).start()"
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment) as starting:
        eventually(lambda: list(tmp_path.glob("qkd-network-*/.lab/log/supervisor.log")), "it starts", LEAVES_WITHIN_S)
        starting.kill()
    eventually(lambda: not list(tmp_path.glob("qkd-network-*")), "the folder is gone", LEAVES_WITHIN_S)


def test_of_a_network_that_does_not_start_the_logs_are_still_there(monkeypatch):
    network = QKDNetwork(embedded=True, prefilled=5)
    monkeypatch.setattr("qkd_lab.testing.network.START_WITHIN_S", 0.01)
    with pytest.raises(LabError, match="logs.. has what its processes said"):
        network.start()
    assert "==> supervisor <==" in network.logs() and not network.is_running()


def test_nothing_of_an_ended_network_is_remembered_by_the_next():
    network = QKDNetwork(embedded=True)
    with network:
        network.add_sae("carol", "a")
    with network:
        with pytest.raises(LabError, match="no SAE 'carol'"):
            network.sae("carol")
        assert network.client("a").enc_keys("sae-b").keys


@pytest.mark.parametrize("mode", ["gateway_ip", "bridge_ip"])
def test_a_network_in_a_container_is_reached_from_within_another(mode, monkeypatch):
    """That is how testcontainers connects there; what it finds out about this host is another matter."""
    if not has_docker():
        pytest.skip("no Docker engine answers: networks in containers are not tested")
    monkeypatch.setattr(testcontainers_config, "connection_mode_override", ConnectionMode(mode))
    with QKDNetwork() as network:
        (key,) = network.client("a").enc_keys("sae-b").keys
        assert network.client("b").dec_keys("sae-a", [key.key_id]).keys == (key,)


def test_eight_networks_side_by_side(figure):
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        networks = [QKDNetwork(embedded=True) for _ in range(8)]
        try:
            list(pool.map(QKDNetwork.start, networks))
            figure(f"eight embedded networks at once: {time.monotonic() - started:.1f} s to keys in all")
            keys = [network.client("a").enc_keys("sae-b").keys[0] for network in networks]
            for network, key in zip(networks, keys, strict=True):
                assert network.client("b").dec_keys("sae-a", [key.key_id]).keys == (key,)
            assert len({key.octets for key in keys}) == 8
        finally:
            list(pool.map(QKDNetwork.stop, networks))


def test_three_sites_in_a_chain():
    with QKDNetwork(embedded=True, sites=("a", "b", "c"), links=("a-b", "b-c"), prefilled=20, max_keys=20) as network:
        assert network.stored_key_count("c", "b") >= 20
        with pytest.raises(KmeRefused):  # no link joins them
            network.client("a").enc_keys("sae-c")


@pytest.mark.parametrize("program", [["sh", "keys.sh"], ["node", "--test", "keys.test.mjs"]], ids=["curl", "node"])
def test_an_example_in_another_language(program):
    command = [sys.executable, "-m", "qkd_lab.cli", "exec", "--embedded", "--prefilled", "2", "--", *program]
    done = subprocess.run(command, cwd=EXAMPLES, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_example_in_python_and_what_a_failed_test_shows(tmp_path):
    (tmp_path / "test_fails.py").write_text("def test_fails(qkd_network):\n    assert qkd_network.kme('a').url == ''\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--qkd-embedded",
        "--rootdir",
        str(tmp_path),
    ]
    if not entry_points(group="pytest11", name="qkd-lab"):  # a checkout that was never installed
        command += ["-p", "qkd_lab.testing.plugin"]
    done = subprocess.run(
        [*command, str(EXAMPLES / "test_my_client.py"), str(tmp_path / "test_fails.py")],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True,
    )  # fmt: skip
    assert "1 failed, 4 passed" in done.stdout, done.stdout + done.stderr
    assert "logs of the QKD network" in done.stdout and "==> kme-a <==" in done.stdout
