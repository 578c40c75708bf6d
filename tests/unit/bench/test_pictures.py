"""What the bench has measured as figures, and results that can't be drawn together."""

import json
import sys

import pytest
from click.testing import CliRunner

from qkd_lab.bench.picture import draw, draw_pool_sizes
from qkd_lab.cli.plot import plot
from qkd_lab.lab_folder import LabError

matplotlib = pytest.importorskip("matplotlib")


def rate(per_s, p99_ms=9.0):
    return {"requests_per_s": per_s, "p99_ms": p99_ms}


def cell(per_s=1200.0, method="enc_keys", number=1, connections="keep-alive", clients=8, p99_ms=9.0):
    names = {"method": method, "number": number, "connections": connections, "clients": clients}
    return names | rate(per_s, p99_ms) | {"floor": rate(2000.0, 4.0)}


def run(*cells, workers=1, fed_by="key files", processors=2):
    return {"pool_fed_by": fed_by, "processors": processors, "kme_workers": workers, "cells": list(cells) or [cell()]}


def sized(count, kme_cpu_ms=0.8):
    return {"key_count": count, **rate(900.0), "kme_cpu_ms": kme_cpu_ms, "redis_cpu_ms": 0.2}


@pytest.fixture
def drawn(monkeypatch):
    """The panels of the figure that is saved next, which is not thrown away."""
    from matplotlib import pyplot

    figures = []
    monkeypatch.setattr(pyplot, "close", figures.append)
    yield lambda: figures[0].axes
    monkeypatch.undo()
    pyplot.close("all")


@pytest.fixture
def several(tmp_path):
    """Draws results as files `0.json`, `1.json`, …; gives the figure."""

    def draw_all(*runs):
        files = [tmp_path / f"{at}.json" for at in range(len(runs))]
        for file, one in zip(files, runs, strict=True):
            file.write_text(one if isinstance(one, str) else json.dumps(one))
        done = CliRunner().invoke(plot, ["--workers", *map(str, files), "-o", str(tmp_path / "workers.svg")])
        if done.exception:
            raise done.exception
        assert done.output == f"{tmp_path}/workers.svg\n"
        return tmp_path / "workers.svg"

    return draw_all


def curves(panel):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in panel.get_lines()}


def ticks(axis):
    """What is in view of them."""
    low, high = sorted(axis.get_view_interval())
    return [tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]


def test_a_run_is_drawn_against_clients_with_its_floor_once_for_each_method(tmp_path, drawn):
    cells = [cell(700.0, clients=1), cell(), cell(90.0, number=128), cell(300.0, "dec_keys", connections="new")]
    draw(run(*cells), tmp_path / "run.svg")
    kept, kept_p99, new, _ = drawn()
    assert curves(kept) == {
        "enc_keys, n = 1": ([1, 8], [700.0, 1200.0]),
        "the floor (enc_keys)": ([1, 8], [2000.0, 2000.0]),
        "enc_keys, n = 128": ([8], [90.0]),
    }
    assert curves(kept_p99)["the floor (enc_keys)"] == ([1, 8], [4.0, 4.0])
    assert curves(new).keys() == {"dec_keys, n = 1", "the floor (dec_keys)"}
    assert "key files" in kept.figure.get_suptitle()


@pytest.mark.parametrize(
    "low, high, expected",
    [
        (130.0, 1482.0, ["100", "200", "500", "1,000", "2,000", "5,000"]),
        (1400.0, 1500.0, ["1,000", "2,000", "5,000"]),
        (0.7, 90.0, ["0.5", "1", "2", "5", "10", "20", "50", "100", "200", "500", "1,000", "2,000", "5,000"]),
    ],
)
def test_a_logarithmic_axis_has_plain_numbers_around_all_that_is_drawn(tmp_path, drawn, low, high, expected):
    draw(run(cell(low, clients=1), cell(high)), tmp_path / "run.svg")  # the floor is at 2,000
    rates, _ = drawn()
    assert ticks(rates.xaxis) == ["1", "8"] and ticks(rates.yaxis) == expected
    assert [f"{end:,g}" for end in rates.get_ylim()] == [expected[0], expected[-1]]


def test_a_measurement_that_nothing_was_answered_in_is_left_out_of_its_curve(tmp_path):
    draw(run(cell(clients=1), cell(p99_ms=None)), tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 0


def test_a_run_that_nothing_was_answered_in_is_drawn_too(tmp_path):
    draw(run(cell(0.0, p99_ms=None) | {"floor": rate(0.0, None)}), tmp_path / "run.svg")
    assert (tmp_path / "run.svg").stat().st_size > 0


def test_several_runs_are_drawn_against_their_workers(several, drawn):
    both = cell(), cell(400.0, clients=32)
    two = run(cell(1900.0), cell(600.0, clients=32), workers=2)
    several(two, run(*both, cell(7.0, number=9)), run(*both, workers=4))
    rates, p99 = drawn()
    assert curves(rates) == {
        "enc_keys, n = 1, 8 clients": ([1, 2, 4], [1200.0, 1900.0, 1200.0]),
        "the floor (enc_keys, 8 clients)": ([1, 2, 4], [2000.0] * 3),
        "enc_keys, n = 1, 32 clients": ([1, 2, 4], [400.0, 600.0, 400.0]),
        "the floor (enc_keys, 32 clients)": ([1, 2, 4], [2000.0] * 3),
    }
    assert ticks(p99.xaxis) == ["1", "2", "4"] and p99.get_xlabel() == "workers of each KME"


def test_the_same_results_give_the_same_figure(several):
    assert several(run(), run(workers=2)).read_bytes() == several(run(), run(workers=2)).read_bytes()


@pytest.mark.parametrize(
    "second, words",
    [
        ("", "expected results of qkd-lab bench --json"),
        ("[]", "expected results of qkd-lab bench --json"),
        ('{"pool_fed_by": "key files", "sizes": []}', "kme_workers and cells"),
        (run(workers=2) | {"cells": []}, "kme_workers and cells"),
        ({"pool_fed_by": "key files", "kme_workers": 2, "cells": [cell()]}, "kme_workers and cells"),
        (run(cell() | {"method": []}, workers=2), "kme_workers and cells"),
        (run(cell() | {"floor": {}}, workers=2), "kme_workers and cells"),
        (
            run(cell("many"), workers=2),
            "cells[0].requests_per_s: 'many', expected a finite number from 0 to 50,000,000",
        ),
        (run(cell(), cell(-1.0, clients=9), workers=2), "cells[1].requests_per_s: -1.0, expected a finite"),
        (run(cell(float("nan")), workers=2), "cells[0].requests_per_s: nan, expected a finite"),
        (run(cell(10**400), workers=2), "cells[0].requests_per_s: 1000"),
        (run(cell(None), workers=2), "cells[0].requests_per_s: None, expected a finite"),
        (run(cell(True), workers=2), "cells[0].requests_per_s: True, expected a finite"),
        (run(cell(p99_ms=float("inf")), workers=2), "cells[0].p99_ms: inf, expected a finite"),
        (run(cell() | {"floor": rate(-5)}, workers=2), "cells[0].floor.requests_per_s: -5, expected a finite"),
        (run(cell(method="$\\frac{$"), workers=2), "cells[0].method: '$\\\\frac{$', expected enc_keys or dec_keys"),
        (run(cell(connections="old"), workers=2), "cells[0].connections: 'old', expected keep-alive or new"),
        (run(cell(number=0), workers=2), "cells[0].number: 0, expected an integer from 1 to 128"),
        (run(cell(clients="8"), workers=2), "cells[0].clients: '8', expected an integer from 1 to 300"),
        (run(workers=0), "kme_workers: 0, expected an integer from 1 to 256"),
        (run(workers=-1), "kme_workers: -1, expected an integer from 1 to 256"),
        (run(workers=257), "kme_workers: 257, expected an integer from 1 to 256"),
        (run(workers=float("nan")), "kme_workers: nan, expected an integer from 1 to 256"),
        (run(workers=10**400), "kme_workers: 1000"),
        (run(workers=True), "kme_workers: True, expected an integer"),
        (run(workers=2, fed_by="\ud800"), "pool_fed_by: '\\ud800', expected one line of text"),
        (run(workers=2, fed_by=3), "pool_fed_by: 3, expected one line of text"),
        (run(workers=1), "1 workers as in"),
        (run(workers=2, fed_by="BB84"), "the pool fed by BB84, expected key files as in"),
        (run(workers=2, processors=8), "processors of the machine: 8, expected 2"),
        (run(cell(clients=9), workers=2), "expected the same method, number, connections, clients"),
    ],
)
def test_results_that_cant_be_drawn_together_are_named_with_what_was_expected(several, tmp_path, second, words):
    with pytest.raises(LabError) as raised:
        several(run(), second)
    assert str(raised.value).startswith(f"{tmp_path}/1.json: ") and words in str(raised.value)


def test_words_of_a_file_are_drawn_as_they_are_and_the_largest_and_smallest_rates_too(several, drawn):
    several(*(run(cell(5e7), cell(0, clients=9, p99_ms=5e-324), workers=at, fed_by="$\\frac{$") for at in (1, 256)))
    assert drawn()[0].figure.get_suptitle() == "pool fed by $\\frac{$"


def test_runs_of_which_no_two_pairs_share_a_cell_have_none_in_common(several):
    one, other = cell(), cell(clients=32)
    with pytest.raises(LabError, match=r"0.json, .*1.json, .*2.json: expected a cell"):
        several(run(one, other), run(one, workers=2), run(other, workers=4))


def test_a_file_that_is_not_there_is_named(tmp_path):
    done = CliRunner().invoke(plot, ["--workers", "a.json", "b.json"])
    assert "a.json: No such file or directory, expected results" in str(done.exception)


@pytest.mark.parametrize("arguments", [["a.json"], ["a.json", "b.json", "--compare", "c", "d"]])
def test_one_result_alone_says_nothing_of_workers(arguments):
    done = CliRunner().invoke(plot, ["--workers", *arguments])
    assert done.exit_code == 2 and "expected two files" in done.output


def test_rates_and_processor_time_are_drawn_against_pool_sizes_in_plain_numbers(tmp_path, drawn):
    found = {"pool_fed_by": "key files", "sizes": [sized(1000), sized(100_000, 0.9)]}
    draw_pool_sizes(found, tmp_path / "sizes.svg")
    rates, spent = drawn()
    assert curves(spent) == {"KME": ([1000, 100_000], [0.8, 0.9]), "Redis": ([1000, 100_000], [0.2, 0.2])}
    for panel in (rates, spent):
        assert ticks(panel.xaxis) == ["1,000", "10,000", "100,000", "1,000,000"] and panel.get_ylim()[0] == 0


def test_where_processor_time_is_not_known_the_99th_percentile_is_drawn(tmp_path, drawn):
    draw_pool_sizes({"pool_fed_by": "key files", "sizes": [sized(1000, None)]}, tmp_path / "sizes.svg")
    assert drawn()[1].get_title() == "99th percentile (ms)"


def test_a_place_that_cant_be_written_is_named(tmp_path):
    (tmp_path / "run.svg").mkdir()
    with pytest.raises(LabError, match=r"run.svg: Is a directory"):
        draw(run(), tmp_path / "run.svg")


def test_without_matplotlib_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LabError, match=r"pip install -e '.\[research\]'"):
        draw(run(), tmp_path / "run.svg")
