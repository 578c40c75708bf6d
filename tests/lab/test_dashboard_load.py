"""What the dashboard costs with 100 events/s and 20 connections: 20 s of it, or ten minutes with `--long`."""

import os
import subprocess
import sys
import time

import psutil
import pytest
import requests

from browser import Page, chromium, dashboard_pid
from free_ports import free_ports
from running_lab import CHECKOUT, eventually

SHORT_S, LONG_S = 20, 600
SCRIPT = CHECKOUT / "tests" / "lab" / "made_up_feed.py"
LEAST_EVENTS_PER_S = 50  # of 100: on a machine that has other things to do, too


@pytest.fixture
def address():
    port = str(*free_ports(1))
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
    served = subprocess.Popen([sys.executable, str(SCRIPT), port], env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        eventually(lambda: answers(address), "the page")
        yield address, served.pid
    finally:
        served.terminate()
        served.wait(30)


def answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.ConnectionError:
        return False


def cpu_s(pid: int) -> float:
    """Of a process and those below it."""
    processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def test_page_and_process_stay_small_at_a_hundred_events_a_second(address, request, figure):
    address, pid = address
    lasts_s = LONG_S if request.config.getoption("--long") else SHORT_S
    with chromium() as browser:
        opened = Page(browser, address, "ab" * 32).open(log_in=False)
        page = opened.page
        paint_ms = page.evaluate("performance.getEntriesByType('paint')[0].startTime")
        measure = page.context.new_cdp_session(page)
        measure.send("Performance.enable")
        page.evaluate(
            "async () => { window.told = 0; (await import('/static/js/store.js')).onChange("
            "store => { window.told += store.fresh.length }) }"
        )
        spent, began = cpu_s(pid), time.monotonic()
        page.wait_for_timeout(lasts_s * 1000)
        elapsed_s = time.monotonic() - began
        share = (cpu_s(pid) - spent) / elapsed_s
        told = page.evaluate("window.told")
        measure.send("HeapProfiler.collectGarbage")
        metrics = {one["name"]: one["value"] for one in measure.send("Performance.getMetrics")["metrics"]}
        renderer = max(memory_of_renderers(), default=0)
        assert opened.wrong == []
    what = f"dashboard, 100 events/s and 20 connections for {elapsed_s:.0f} s"
    figure(f"{what}: first paint after {paint_ms:.0f} ms, {100 * share:.1f} % of a core for its process")
    heap = metrics["JSHeapUsedSize"]
    figure(f"{what}: page {renderer / 1e6:.0f} MB (USS of its process), {heap / 1e6:.1f} MB of them JavaScript's")
    assert told > LEAST_EVENTS_PER_S * elapsed_s
    assert heap < 50e6 and metrics["Nodes"] < 20_000, "the page keeps what it need not keep"


@pytest.mark.parametrize("lab", ["embedded"], indirect=True)
def test_what_it_costs_to_ask_a_running_network(lab, figure):
    pid = dashboard_pid(lab)
    spent, began = cpu_s(pid), time.monotonic()
    eventually(lambda: time.monotonic() - began > SHORT_S / 2, "some polls")
    share = (cpu_s(pid) - spent) / (time.monotonic() - began)
    figure(f"dashboard of the embedded lab, one poll a second over mutual TLS: {100 * share:.1f} % of a core")


def memory_of_renderers() -> list[int]:
    """What each renderer below this process has for itself, in bytes."""
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if "--type=renderer" in process.cmdline():
                found.append(process.memory_full_info().uss)
        except psutil.NoSuchProcess:
            pass
    return found
