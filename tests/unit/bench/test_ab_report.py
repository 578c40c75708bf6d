"""What `ab` says, as the bench reads it."""

import random

import pytest

from qkd_lab.bench.ab_report import read_ab
from qkd_lab.bench.cells import together
from qkd_lab.lab_folder import LabError

CENTILES = "Percentage served,Time in ms\n" + "".join(f"{at},{at + 1}.5\n" for at in range(101))


def report(complete=60, length=100, transferred=6000, failed=(0, 0, 0, 0), refused=0, kept=60):
    """As ApacheBench 2.3 of Debian 12 prints it; `failed`: connect, receive, length, exceptions."""
    kinds = ("Connect", "Receive", "Length", "Exceptions")
    counts = ", ".join(f"{kind}: {count}" for kind, count in zip(kinds, failed, strict=True))
    return (
        f"Document Length:        {length} bytes\n\nConcurrency Level:      4\nTime taken for tests:   0.500 seconds\n"
        f"Complete requests:      {complete}\nFailed requests:        {sum(failed)}\n"
        + (f"   ({counts})\n" if any(failed) else "")
        + (f"Non-2xx responses:      {refused}\n" if refused else "")
        + f"Keep-Alive requests:    {kept}\nHTML transferred:       {transferred} bytes\n"
    )


def test_the_report_of_ab_gives_rate_and_latencies():
    load = read_ab(report(), CENTILES, 0.25, keep_alive=True)
    assert (load.request_count, load.answered_count, load.per_s, load.generator_cpu_s) == (60, 60, 120.0, 0.25)
    assert load.percentile_ms(50) == pytest.approx(51.5, abs=1) and load.errors == {}


@pytest.mark.parametrize(
    "found, broken_count, answered, errors",
    [
        # Of a server that ends eight connections in the middle of a request, with and without a farewell.
        (report(transferred=5200, failed=(0, 0, 8, 0)), 8, 52, {"connection broken": 8}),
        (report(transferred=5200, failed=(0, 0, 8, 0)), 0, 52, {"connection broken": 8}),
        # Of a worker that was killed: some of its eight connections it notices a second time.
        (report(transferred=5200, failed=(0, 0, 8, 3)), 8, 52, {"connection broken": 8}),
        (report(failed=(0, 0, 0, 3)), 0, 60, {"connection broken": 3}),
        (report(transferred=5230, failed=(0, 0, 8, 0)), 0, 52, {"other length": 8}),
        (report(transferred=5230, failed=(0, 0, 8, 0)), 7, 52, {"other length": 1, "connection broken": 7}),
        # Nothing came to the first request, or to any: this is the length that it compares with.
        (report(length=0, transferred=5200, failed=(0, 0, 52, 0)), 8, 52, {"connection broken": 8}),
        (report(length=0, transferred=0, kept=0), 60, 0, {"connection broken": 60}),
        # Refusals are of another length than answers, whichever came first.
        (report(transferred=5400, failed=(0, 0, 10, 0), refused=10), 0, 50, {"not 2xx": 10}),
        (report(length=40, transferred=5400, failed=(0, 0, 50, 0), refused=10), 0, 50, {"not 2xx": 10}),
        (report(length=40, transferred=3000, failed=(0, 0, 10, 0), refused=50), 0, 10, {"not 2xx": 50}),
        (report(length=40, transferred=5400, failed=(0, 0, 55, 0), refused=10), 0, 50, {"not 2xx": 10}),
        (report(length=40, transferred=2400, refused=60), 0, 0, {"not 2xx": 60}),
        (report(failed=(0, 0, 14, 0), refused=10), 4, 46, {"not 2xx": 10, "connection broken": 4}),
        (report(failed=(0, 0, 50, 0), refused=10), 4, 46, {"not 2xx": 10, "connection broken": 4}),
    ],
)
def test_what_failed_is_told_by_kind_once_and_is_no_answer(found, broken_count, answered, errors):
    load = read_ab(found, CENTILES, 0.0, keep_alive=True, broken_count=broken_count)
    assert (load.answered_count, load.errors) == (answered, errors)


def test_there_are_no_more_errors_than_requests():
    found = report(transferred=0, failed=(9, 90, 60, 30), refused=30, kept=0)
    assert read_ab(found, CENTILES, 0.0, keep_alive=True, broken_count=70).error_count == 60


@pytest.mark.parametrize("slower", [1.0, 1.3, 3.0])
def test_the_percentiles_of_several_parts_are_those_of_all_requests(slower):
    chance = random.Random(7)
    times = [sorted(chance.gammavariate(4, 9.0 * scale) for _ in range(20_000)) for scale in (1, slower, 1, 1)]
    every = sorted(one for part in times for one in part)
    loads = []
    for part in times:
        rows = (f"{at},{part[min(at * 200, 19_999)]:.3f}\n" for at in range(101))
        kept = report(20_000, transferred=2_000_000, kept=20_000)
        loads.append(read_ab(kept, "Percentage served,Time in ms\n" + "".join(rows), 0.0, keep_alive=True))
    for percent in (50, 95, 99):
        assert loads[0].percentile_ms(percent) == pytest.approx(times[0][percent * 200], abs=0.001)
        # Within a hundredth of the requests ab tells no more.
        assert together(loads).percentile_ms(percent) == pytest.approx(every[percent * 800], rel=0.03)


def test_where_nothing_was_answered_there_is_no_latency():
    found = report(length=40, transferred=2400, refused=60)
    assert read_ab(found, CENTILES, 0.0, keep_alive=True).percentile_ms(99) is None


def test_connections_that_a_server_ends_although_they_were_to_be_kept_are_errors():
    found = report(kept=50)
    assert read_ab(found, CENTILES, 0.0, keep_alive=True).errors == {"not kept alive": 10}
    assert read_ab(found, CENTILES, 0.0, keep_alive=False).errors == {}


def test_what_ab_reads_beyond_its_last_request_is_not_believed():
    rows = ["Percentage served,Time in ms", *(f"{at},2.0" for at in range(98)), "98,9e15", "99,1e9", "100,3.5"]
    assert read_ab(report(), "\n".join(rows), 0.0, keep_alive=True).percentile_ms(99) == 3.5


@pytest.mark.parametrize("found, centiles", [("hello", CENTILES), (report(), "a,b\nno number\n")])
def test_a_report_of_something_else_than_ab_is_refused(found, centiles):
    with pytest.raises(LabError, match="ApacheBench"):
        read_ab(found, centiles, 0.0, keep_alive=True)
