"""`qkd-lab bench` on running networks, small: what it measures on a full machine is no figure of anything else."""

import json
import os
import re
import shutil
import signal
import subprocess

import psutil
import pytest
import requests

from qkd_lab.bench.floor import Floor
from qkd_lab.private_files import private_folder
from qkd_lab.testing import QKDNetwork
from services.kme_api import THREADS

from running_lab import CHECKOUT, QKD_LAB, eventually

DIRECTORY = """
name = "bench"
demo_saes = false
dashboard = false
sites = [{ name = "a", saes = ["sae-a"] }, { name = "b", saes = ["sae-b"] }]
links = [{ name = "a-b", alice = "a", bob = "b", origin = "directory", delete_after_reading = true }]
"""
WITH_AB = pytest.mark.skipif(shutil.which("ab") is None, reason="no ab (Debian: apache2-utils): no load is measured")


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    """Two sites with a link that is fed with key files: no quantum link takes the processors."""
    topology = tmp_path_factory.mktemp("topology") / "bench.toml"
    topology.write_text(DIRECTORY)
    with QKDNetwork(embedded=True, topology=topology, environment={"QKD_WORKERS": "2"}) as net:
        yield net


@pytest.fixture
def bench(net):
    """Runs the command; gives what it prints, on both streams."""

    def run(*arguments, folder=net.folder, expected=0):
        done = subprocess.run(
            [*QKD_LAB, "bench", *arguments],
            cwd=folder,
            env=ENVIRONMENT,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == expected, done.stdout
        return done.stdout

    return run


def left_of_a_bench(net):
    """SAEs, certificates, key files, temporary files and processes."""
    saes = [one["sae_id"] for kme in ("kme-a", "kme-b") for one in net.operator.call(kme, "GET", "/v1/saes")]
    work = net.lab.path / "bench"
    files = [*net.lab.path.rglob("*bench-*"), *work.glob("run-*")]
    floors = [one.pid for one in psutil.process_iter(["cwd"]) if str(work) in (one.info["cwd"] or "")]
    return [sae for sae in saes if sae.startswith("bench-")] + files + floors


@pytest.mark.parametrize("as_it_comes", [False, True])
def test_the_floor_is_there_when_all_its_workers_are(net, tmp_path, as_it_comes):
    """Or all connections of a load that begins at once would be those of the first worker, and stay there."""
    folder = private_folder(tmp_path / "floor")
    with Floor(net.lab, net.sae("a"), 4, folder, as_it_comes=as_it_comes) as floor:
        with net.sae("a").session() as session, requests.Session() as nobody:
            answer = session.get(floor.url)
            nobody.verify, nobody.trust_env = net.sae("a").ca, False
            with pytest.raises(requests.ConnectionError):
                nobody.get(floor.url)
        processes = [one for one in psutil.process_iter(["cwd"]) if one.info["cwd"] == str(folder)]
        # gunicorn as it comes begins its threads with its first requests.
        assert len([one for one in processes if as_it_comes or one.num_threads() > THREADS]) == 4 + as_it_comes
    assert len(answer.json()["keys"]) == 1 and ("X-Request-ID" in answer.headers) != as_it_comes


@WITH_AB
def test_each_cell_is_measured_beside_its_floor_and_without_an_error(net, bench, tmp_path, figure):
    results, drawn = tmp_path / "bench.json", tmp_path / "bench.svg"
    text = bench("--clients", "4", "--requests", "200", "--json", str(results), "--plot", str(drawn))
    run = json.loads(results.read_text())
    assert "key files, prefilled over the directory link a-b" in text and run["kme_workers"] == 2
    cells = {(one["method"], one["number"], one["connections"]): one for one in run["cells"]}
    assert len(cells) == 8
    for (method, number, connections), cell in cells.items():
        assert cell["requests"] == (200 if number == 1 else 20)
        compared = {"floor"} | ({"gunicorn"} if connections == "keep-alive" else set())
        compared |= {"enc_keys"} if method == "dec_keys" else set()
        assert compared == {"floor", "gunicorn", "enc_keys"} & cell.keys()
        assert not cell["errors"] and not any(cell[of]["errors"] for of in compared)
        assert cell["keys_per_s"] == pytest.approx(number * cell["requests_per_s"], rel=0.01)
        assert 0 < cell["p50_ms"] <= cell["p95_ms"] <= cell["p99_ms"]
        assert cell["kme_cpu_ms"] > 0 and cell["generator_cpu_ms"] > 0
        figure(
            f"bench, {method}, n = {number}, {connections}, 4 clients: {cell['requests_per_s']:,.0f} requests/s, "
            f"{cell['of_floor']:.0%} of the floor's"
        )
    scripts = {(one["script"], one["number"], one["callers"]) for one in run["redis_scripts_alone"]}
    assert scripts == {(script, n, at) for script in ("take_keys", "fetch_keys") for n in (1, 128) for at in (1, 16)}
    assert drawn.stat().st_size > 0
    assert left_of_a_bench(net) == []


@WITH_AB
def test_what_was_measured_before_a_refusal_is_kept_and_refusals_are_no_throughput(net, bench, tmp_path):
    results = tmp_path / "bench.json"
    fault = [*QKD_LAB, "fault", "set", "kme-a"]
    subprocess.run([*fault, "refuse_percentage", "50"], cwd=net.folder, env=ENVIRONMENT, check=True)
    try:
        # The ids of 3,000 keys take 24 calls, of which one is refused but in one of 16 million runs.
        small = ("--clients", "4", "--requests", "3000", "--number", "1", "--connections", "keep-alive")
        text = bench(*small, "--json", str(results), expected=1)
    finally:
        subprocess.run([*fault, "all", "off"], cwd=net.folder, env=ENVIRONMENT, check=True)
    written = json.loads(results.read_text())
    (cell,) = written["cells"]
    assert not written["complete"] and "ended early, with 1 of 2 measured" in text and "(503)" in text
    assert 0 < cell["answered"] < cell["requests"] and cell["requests"] - cell["answered"] == cell["errors"]["not 2xx"]
    assert f"{cell['errors']['not 2xx']} × not 2xx" in text
    assert left_of_a_bench(net) == []


def test_every_key_is_compared_with_that_of_the_other_end(net, bench, tmp_path):
    text = bench("--check", "--clients", "4", "--requests", "200", "--json", str(tmp_path / "check.json"))
    found = json.loads((tmp_path / "check.json").read_text())
    assert found["delivered"] == found["equal"] == 200 + 20 * 128 and found["is_well"]
    assert "2,760 equal at the other end, 0 different, 0 came twice" in text
    assert left_of_a_bench(net) == []


@pytest.fixture
def under_load(net):
    """A bench that measures: the floor listens and `ab` runs, with the client's key in a file."""
    run = subprocess.Popen(
        [*QKD_LAB, "bench", "--clients", "4", "--requests", "1000000"],
        cwd=net.folder,
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        for line in run.stderr:
            if "the floor, " in line:
                break
        eventually(lambda: [*net.lab.path.glob("bench/run-*/client.pem")], "the load begins")
        assert left_of_a_bench(net)
        yield run
    finally:
        run.kill()
        run.communicate()


@WITH_AB
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_interrupted_leaves_nothing_behind(net, under_load, how):
    under_load.send_signal(how)
    assert "interrupted" in under_load.communicate(timeout=60)[1] and under_load.returncode == 130
    eventually(lambda: not left_of_a_bench(net), "nothing is left")


@WITH_AB
def test_what_a_killed_run_leaves_goes_when_another_begins_but_not_while_it_works(net, under_load, bench):
    works = {sae for sae in left_of_a_bench(net) if str(sae).startswith("bench-")}
    small = ("--check", "--clients", "1", "--requests", "10", "--number", "1")
    assert "cleared away" not in bench(*small) and works < set(left_of_a_bench(net))
    under_load.kill()
    under_load.wait()
    (told,) = [line for line in bench(*small).splitlines() if "cleared away what a bench left that was killed" in line]
    assert len(works) == 2 and all(sae in told for sae in works)
    eventually(lambda: not left_of_a_bench(net), "nothing is left")


def test_a_kme_that_is_dead_is_one_line(net, bench, tmp_path):
    """In a folder that tells of the same lab, but for one port."""
    folder = tmp_path / "other"
    shutil.copytree(net.lab.path, folder / ".lab", ignore=shutil.ignore_patterns("data", "log", "state", "metrics"))
    endpoints = folder / ".lab" / "endpoints.json"
    endpoints.write_text(re.sub(r'("kme-b.ops": "https://127.0.0.1:)\d+', r"\g<1>1", endpoints.read_text()))
    text = bench("--check", folder=folder, expected=1)
    assert len(text.splitlines()) == 1 and "kme-b" in text and "connection refused" in text
    assert left_of_a_bench(net) == []


def test_bb84_feeds_the_pool_while_both_ends_take_keys(bench, tmp_path, figure):
    with QKDNetwork(embedded=True) as quantum:
        text = bench("--sustained", "--seconds", "5", "--json", str(tmp_path / "flow.json"), folder=quantum.folder)
    flow = json.loads((tmp_path / "flow.json").read_text())
    assert flow["key_count"] > 0 and flow["round_count"] > 0
    assert {"transmission", "sifting", "reconciliation", "amplification"} <= flow["stages_s"].keys()
    # Rounds of one link follow each other.
    assert 0 < sum(flow["stages_s"].values()) <= flow["elapsed_s"] + 1e-6
    assert "qlink-a-b" in flow["processors_s"] and "transmission" in text
    figure(f"bench --sustained, the fast network of the tests: {flow['keys_per_s']:,.0f} keys/s at both ends")
