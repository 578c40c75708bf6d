"""A real server process with two workers: what it counts, together, and the id of each request."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from qkd_lab.pki.store import Pki
from qkd_lab.topology import SHIPPED, load

from free_ports import free_ports

CHECKOUT = Path(__file__).resolve().parents[3]
SERVER = """
    import logging, os, sys
    from pathlib import Path
    from mutual_tls.app import answer, operator_app
    from mutual_tls.contexts import Credentials
    from services import metrics
    from services.listeners import Listener, Server
    from services.logs import formatter

    pki, port = Path(sys.argv[1]), sys.argv[2]
    handler = logging.StreamHandler()
    handler.setFormatter(formatter("text", "kme-a"))
    logging.basicConfig(level="DEBUG", handlers=[handler])
    metrics.start_anew(Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))

    def app():
        app = operator_app("ops")

        @app.get("/v1/pid")
        def pid():
            return answer(os.getpid())

        return app

    folder = pki / "kme-a"
    trust = folder / "trust" / "operator.pem"
    listener = Listener("ops", (f"127.0.0.1:{port}",), trust, app)
    Server("kme-a", Credentials.in_folder(folder), [listener], threads=2, workers=2).run()
"""


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab") / "pki"
    Pki(folder, datetime.now(UTC)).make(load(SHIPPED / "two-sites.toml"))
    return folder


@pytest.fixture(scope="module")
def server(pki, tmp_path_factory):
    """Its URL and its log."""
    (port,) = free_ports(1)
    folder = tmp_path_factory.mktemp("server")
    (folder / "metrics").mkdir()
    (folder / "metrics" / "counter_1.db").write_bytes(b"of an earlier run, and no good")
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SERVER), str(pki), str(port)],
            stderr=log,
            cwd=CHECKOUT,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")},
        )
    url = f"https://127.0.0.1:{port}"
    eventually(lambda: answers(pki, url) or process.poll() is not None)
    assert process.poll() is None, (folder / "log").read_text()
    yield url, folder / "log"
    process.terminate()
    assert process.wait(15) == 0


def eventually(condition, within_s=30):
    until = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < until
        time.sleep(0.02)
    return found


def answers(pki, url):
    try:
        return get(pki, url + "/healthz").ok
    except requests.ConnectionError:
        return False


def get(pki, url, shown="operator", **headers):
    """On a connection of its own, which either worker may take."""
    with requests.Session() as session:
        session.trust_env = False
        folder = pki / shown
        session.cert, session.verify = (str(folder / "cert.pem"), str(folder / "key.pem")), str(folder / "ca.pem")
        return session.get(url, headers=headers, timeout=10)


def samples(pki, url):
    text = get(pki, url + "/metrics", "prometheus").text
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text, re.M)}


def test_two_workers_count_together_and_what_a_dead_one_counted_stays(pki, server):
    url, _ = server
    counted = 'qkd_requests_total{code="200",listener="ops",method="pid"}'
    before = samples(pki, url).get(counted, 0.0)
    calls, pids = 0, set()
    while len(pids) < 2:
        assert calls < 500
        pids.add(get(pki, url + "/v1/pid").json())
        calls += 1
    after = samples(pki, url)
    assert after[counted] == before + calls
    assert after['qkd_request_seconds_count{listener="ops",method="pid"}'] == before + calls
    assert after['qkd_request_seconds_sum{listener="ops",method="pid"}'] > 0
    assert after['qkd_workers{state="serving"}'] == 2
    os.kill(min(pids), signal.SIGKILL)
    # One ends, and another one takes its place: never three, never one for long.
    eventually(lambda: get(pki, url + "/v1/pid").json() not in pids)
    eventually(lambda: samples(pki, url)['qkd_workers{state="serving"}'] == 2)
    assert samples(pki, url)[counted] > before + calls


def test_refusals_are_counted_by_kind_whatever_path_was_asked_for(pki, server):
    url, _ = server
    counted = 'qkd_refusals_total{listener="ops",method="none",reason="NotFound"}'
    before = samples(pki, url).get(counted, 0.0)
    for path in ("/nothing", "/nothing/else?with=a&query=1", '/{label="x"}'):
        assert get(pki, url + path).status_code == 404
    text = get(pki, url + "/metrics").text
    assert samples(pki, url)[counted] == before + 3
    assert "nothing" not in text and "label=" not in text


def test_every_process_says_what_it_is_and_when_its_certificate_ends(pki, server):
    shown = samples(pki, server[0])
    assert any(name.startswith("qkd_process_info{") and 'version="' in name for name in shown)
    assert abs(shown["qkd_process_start_time_seconds"] - time.time()) < 600
    assert shown["qkd_certificate_expiry_timestamp_seconds"] > time.time() + 86_400


def test_an_answer_and_the_log_have_the_requests_id(pki, server):
    url, log = server
    assert get(pki, url + "/v1/pid", **{"X-Request-ID": "asked-by-a-test"}).headers["X-Request-ID"] == "asked-by-a-test"
    eventually(lambda: re.search(r"ops pid: 200 .* \[asked-by-a-test\]\n", log.read_text()))
    replaced = get(pki, url + "/v1/pid", **{"X-Request-ID": "a b"}).headers["X-Request-ID"]
    assert re.fullmatch("[0-9a-f]{32}", replaced)


def test_the_certificate_of_prometheus_reads_and_does_no_more(pki, server):
    url, _ = server
    assert get(pki, url + "/v1/pid", "prometheus").status_code == 401
    assert get(pki, url + "/readyz", "prometheus").json()["process"] == "kme-a"
    assert get(pki, url + "/metrics", "probe").status_code == 401
