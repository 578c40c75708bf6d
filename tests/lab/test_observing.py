"""What a running network tells of itself: metrics that move, one id through all processes, and what is wrong."""

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from running_lab import eventually

PROCESSES = (
    "kme-a", "kme-b", "kme-a-scheduler", "kme-b-scheduler", "qkde-a", "qkde-b", "qlink-a-b", "sae-a", "sae-b",
)  # fmt: skip
REQUEST_ID = {"X-Request-ID": "a-test-of-the-network"}


def metrics(lab, process: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(\S+) (\S+)$", text_of(lab, process), re.M)}


def text_of(lab, process: str) -> str:
    with lab._session("prometheus") as session:
        answer = session.get(f"{lab.endpoint(f'{process}.ops')}/metrics", timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.text


def readiness(lab, process: str) -> dict:
    with lab.as_operator() as operator:
        return operator.get(f"{lab.endpoint(f'{process}.ops')}/readyz", timeout=30).json()


def send(lab, text: str) -> None:
    with lab.as_operator() as operator:
        order = {"to": "sae-b", "text": text}
        answer = operator.post(f"{lab.endpoint('sae-a.ops')}/v1/messages", json=order, headers=REQUEST_ID)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Request-ID"] == REQUEST_ID["X-Request-ID"]


def test_a_message_moves_the_metrics_of_each_process_it_goes_through(lab):
    lab.wait_for_keys()
    moved = {
        "sae-a": 'qkd_requests_total{code="200",listener="ops",method="send_message"}',
        "kme-a": 'qkd_kme_delivered_keys_total{master="sae-a",role="master",slave="sae-b"}',
        "sae-b": 'qkd_requests_total{code="200",listener="app",method="message"}',
        "kme-b": 'qkd_kme_delivered_keys_total{master="sae-a",role="slave",slave="sae-b"}',
    }
    before = {process: metrics(lab, process).get(name, 0) for process, name in moved.items()}
    send(lab, "counted")
    for process, name in moved.items():
        assert metrics(lab, process)[name] == before[process] + 1, process


def test_every_process_tells_prometheus_of_itself_in_a_form_that_it_takes(lab):
    for process in PROCESSES:
        shown = metrics(lab, process)
        assert shown['qkd_workers{state="serving"}'] >= 1
        assert shown["qkd_process_start_time_seconds"] > 1e9
        if shutil.which("promtool"):
            done = subprocess.run(
                ["promtool", "check", "metrics"], input=text_of(lab, process), text=True, capture_output=True
            )
            complaints = [line for line in done.stderr.splitlines() if "base unit" not in line]  # of bits, not bytes
            assert complaints == [], process
    rounds = [name for name in metrics(lab, "qkde-a") if name.startswith("qkd_bits_total{")]
    assert len(rounds) >= 8 and sum(metrics(lab, "kme-a-scheduler")[name] for name in leader_and_rounds(lab)) >= 2


def leader_and_rounds(lab) -> list[str]:
    key = 'qkd_kme_rounds_total{link="a-b",outcome="key"}'
    eventually(lambda: key in metrics(lab, "kme-a-scheduler"), "a round with a key that kme-a ordered")
    return ["qkd_kme_scheduler_leader", key]


def test_one_id_goes_with_a_message_through_both_sites_and_with_a_round_to_the_link(lab):
    if lab.compose:
        pytest.skip("the containers of these tests log at info level")
    lab.wait_for_keys()
    send(lab, "followed")
    for process in ("sae-a", "kme-a", "sae-b", "kme-b"):
        eventually(lambda name=process: f"[{REQUEST_ID['X-Request-ID']}]" in log_of(lab, name), f"its id at {process}")
    ordered = re.search(r"a block of \d+ secret bits.*\[([0-9a-f-]{36})\]", log_of(lab, "kme-a-scheduler"))
    for process in ("qkde-a", "qkde-b", "qlink-a-b", "kme-a", "kme-b"):
        assert f"[{ordered[1]}]" in log_of(lab, process), process
    shown = lab.command("logs", "sae-a", "-n", "100000").splitlines()
    assert all(line.startswith("sae-a ") for line in shown)
    assert any("send_message: 200" in line for line in shown)


def log_of(lab, process: str) -> str:
    return (lab.folder / ".lab" / "log" / f"{process}.log").read_text()


def test_keys_cut_on_demand_carry_the_callers_id_to_the_other_kme(lab):
    if lab.compose:
        pytest.skip("the containers of these tests log at info level")
    eventually(lambda: metrics(lab, "kme-a")[reserve()] >= 16_384, "bits to cut keys of another size from")
    with lab.as_sae("sae-a") as session:
        url = f"{lab.endpoint('kme-a')}/api/v1/keys/sae-b/enc_keys"
        known_by = {"X-Request-ID": "on-demand-at-kme-a"}
        answer = eventually(
            lambda: (got := session.post(url, json={"size": 1024}, headers=known_by)).ok and got, "a key of 1024 bits"
        )
    assert answer.headers["X-Request-ID"] == "on-demand-at-kme-a"
    line = r"peer batch: 200 .*\[on-demand-at-kme-a\]"
    eventually(lambda: re.search(line, log_of(lab, "kme-b")), "its batch at kme-b")


def reserve() -> str:
    return 'qkd_kme_uncut_bits{link="a-b",owner="kme-a",state="confirmed"}'


@contextmanager
def paused(lab, process: str) -> Iterator[None]:
    def signal_all(number: int) -> None:
        os.killpg(json.loads((lab.folder / ".lab" / "state.json").read_text())["processes"][process]["pid"], number)

    def compose(what: str) -> None:
        subprocess.run(["docker", "compose", what, process], cwd=lab.folder, check=True)

    compose("pause") if lab.compose else signal_all(signal.SIGSTOP)
    try:
        yield
    finally:
        compose("unpause") if lab.compose else signal_all(signal.SIGCONT)


def test_a_process_that_stands_still_is_named_by_all_who_need_it_and_by_the_doctor(lab):
    eventually(lambda: readiness(lab, "qkde-a")["ready"], "a QKDE with all it needs")
    with paused(lab, "qkde-b"):
        unready = readiness(lab, "qkde-a")
        assert unready["ready"] is False and "qkde-b" in unready["needs"]["QKDE qkde-b"]
        assert any("qkde-b" in why for why in unready["why"])
        assert unready["needs"]["KME kme-a"] == "ok"
        findings = json.loads(lab.command("doctor", "--json", expected=1))
        bad = {one["check"]: one for one in findings if not one["good"]}
        assert bad["processes"]["text"].startswith("qkde-b: ") and "qkde-b" in bad["processes"]["hint"]
        assert any(one["text"].startswith("qkde-a → QKDE qkde-b") for one in findings if not one["good"])
        shown = json.loads(lab.command("status", "--json", expected=1))["processes"]
        assert shown["qkde-b"]["health"] != "ok" and shown["qkde-a"]["health"] == "ok"
        assert any("qkde-b" in why for why in shown["qkde-a"]["why"]) and shown["kme-b"]["why"] == []
    eventually(lambda: readiness(lab, "qkde-a")["ready"], "the QKDE that went on")


def test_a_store_that_stands_still_is_named_by_its_kme(lab):
    with paused(lab, "redis-b"):
        unready = readiness(lab, "kme-b")
        assert unready["why"] == [unready["needs"]["Redis"]] and "Redis does not answer" in unready["why"][0]
        shown = metrics(lab, "kme-b")
        assert shown['qkd_kme_store_up{store="Redis"}'] == 0 and shown['qkd_kme_store_up{store="Postgres"}'] == 1
    eventually(lambda: readiness(lab, "kme-b")["ready"], "a KME that has its store again")


def test_a_network_that_is_well_passes_the_doctor(lab):
    lab.wait_for_keys()
    lab.wait_for_keys(1, "sae-b", "sae-a", "kme-b")

    def bad():
        done = json.loads(lab.command("doctor", "--json", expected=None))
        return [one["text"] for one in done if not one["good"] and one["check"] != "links"]  # another test's Eve

    eventually(lambda: not bad(), "a doctor without complaints")
