"""`qkd-lab plot`: a figure of what is in the file, or a line that says why there is none."""

import json
import subprocess
import sys

import pytest

from qkd_lab.experiments.curves import COUNTED, curves_of
from qkd_lab.experiments.experiment import read
from qkd_lab.experiments.results import ResultsFile
from qkd_lab.experiments.results import read as read_results
from qkd_lab.experiments.tasks import tasks_of

from experiments_written import ENVIRONMENT, FORMULAS, SMALL, start, written

STARTS = {".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}


@pytest.fixture
def results(tmp_path):
    """Results of the small experiment, made up: QBERs of 0.02 and 0.04 with a sigma, key that differs by repetition."""

    def write(name="results.jsonl", text=SMALL):
        experiment = read(str(written(tmp_path, text)))
        file = ResultsFile(tmp_path / name, experiment)
        for task in tasks_of(experiment):
            found = {"qber_test": 0.02 * (1 + task.point), "secret_bits_per_pulse": 0.1 + 0.02 * task.repetition}
            if task.kind == "simulation":
                found["qber_test_sigma"] = 0.003
            file.add(task, found, 1.0, {"version": "1", "commit": None})
        file.close()
        return tmp_path / name

    return write


@pytest.mark.parametrize("suffix", STARTS)
def test_the_figure_is_what_its_name_ends_in_and_the_same_every_time(tmp_path, qkd_lab, results, suffix):
    path = results()
    contents = []
    for name in ("one", "two"):
        code, output, complaints = qkd_lab("plot", path, "-o", tmp_path / f"{name}{suffix}")
        assert (code, complaints) == (0, "") and output == f"{tmp_path}/{name}{suffix}\n"
        contents.append((tmp_path / f"{name}{suffix}").read_bytes())
    assert contents[0] == contents[1] and contents[0].startswith(STARTS[suffix]) and len(contents[0]) > 5000


def test_a_figure_says_what_it_shows_units_and_the_meaning_of_its_bars(qkd_lab, results, monkeypatch, tmp_path):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")  # text as text
    assert qkd_lab("plot", results(), "-o", "figure.svg")[0] == 0
    drawn = (tmp_path / "figure.svg").read_text()
    for text in ("small", "QBER in the test basis", "secret-key rate (bit/pulse)", "depolarizing probability p",
                 "simulated", "theory",
                 "Error bars: 1 σ of what was counted; 1 σ of the mean over 2 repetitions."):  # fmt: skip
        assert text in drawn


def test_curves_have_mean_and_deviation_of_their_repetitions(results):
    found = read_results(results())
    qber, key = found.header["experiment"]["panels"]
    simulated, theory = curves_of(found, qber)
    assert simulated.x == theory.x == (0.02, 0.1) and simulated.y == pytest.approx((0.02, 0.04))
    assert simulated.sigma == pytest.approx([0.003 / 2**0.5] * 2) and simulated.sigma_means == COUNTED
    repeated = next(curves_of(found, key))
    assert repeated.y == pytest.approx((0.11, 0.11)) and repeated.sigma == pytest.approx([0.01, 0.01])
    assert repeated.sigma_means == "1 σ of the mean over 2 repetitions"


def test_axes_that_are_not_drawn_make_a_curve_for_each_value(results):
    found = read_results(results(text=SMALL.replace("[sweep]", "[sweep]\nloss_db = [0, 1]")))
    panel = {**found.header["experiment"]["panels"][0], "series": ["theory"]}
    assert [curve.label for curve in curves_of(found, panel)] == ["theory, loss 0", "theory, loss 1"]
    (only,) = curves_of(found, {**panel, "where": {"loss_db": 1}})
    assert only.label == "theory"


def test_two_results_are_compared_on_one_axis(tmp_path, qkd_lab, results, monkeypatch):
    import matplotlib

    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    code, output, _ = qkd_lab("plot", "--compare", results("a.jsonl"), results("b.jsonl"), "-o", "both.svg")
    assert (code, output) == (0, "both.svg\n")
    drawn = (tmp_path / "both.svg").read_text()
    assert all(f">{name}: simulated<" in drawn and f">{name}: theory<" in drawn for name in "ab")


def test_points_and_lines_differ_in_more_than_colour(results, monkeypatch, tmp_path):
    from matplotlib.axes import Axes

    from qkd_lab.experiments import figure

    seen = []
    monkeypatch.setattr(Axes, "errorbar", lambda self, *_, **style: seen.append(style["fmt"]))
    draw_line = Axes.plot

    def plot(self, *values, **style):
        seen.append(style["linestyle"])
        return draw_line(self, *values, **style)

    monkeypatch.setattr(Axes, "plot", plot)
    text = SMALL.replace("[sweep]", "[sweep]\nloss_db = [0, 1, 2]").replace("[[panels]]", "[[panels]]", 1)
    figure.draw([read_results(results(text=text))], tmp_path / "figure.png")
    assert len(set(seen[:6])) == 6 and seen[:6] == seen[6:]


def test_plot_runs_nothing(tmp_path, results):
    """Neither simulator nor protocol: what is drawn is in the file."""
    path = results()
    code = (
        "import sys; from pathlib import Path; from qkd_lab.experiments import figure, results;"
        f"figure.draw([results.read(Path({str(path)!r}))], Path('figure.png'));"
        "sys.exit(bool([name for name in sys.modules if name.startswith(('qiskit', 'qkde.link', 'qkde.simulation'))]))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=ENVIRONMENT, check=False).returncode == 0


def no_rows(path):
    path.write_text(path.read_text().splitlines(keepends=True)[0])


def other_format(path):
    header, *rows = path.read_text().splitlines(keepends=True)
    path.write_text(json.dumps({**json.loads(header), "format": "qkd-lab results 9"}) + "\n" + "".join(rows))


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (no_rows, "nothing to plot, expected rows with qber_test against depolarizing, secret_bits_per_pulse"),
        (other_format, "key format: expected 'qkd-lab results 1' in the first line, got 'qkd-lab results 9'"),
        (lambda path: path.write_text(""), "empty, expected results of qkd-lab sweep"),
        (lambda path: path.write_text("[1]\n"), "key format: expected 'qkd-lab results 1' in the first line, got None"),
        (lambda path: path.write_text('{"format": "qkd-lab results 1"}\n'), "key experiment: missing in the header"),
        (lambda path: path.write_text("nonsense\n"), "line 1 is no row of results"),
        (lambda path: path.unlink(), "No such file or directory, expected results of qkd-lab sweep"),
    ],
)
def test_a_plot_of_nothing_is_one_line(tmp_path, qkd_lab, results, spoil, complaint):
    path = results()
    spoil(path)
    code, output, complaints = qkd_lab("plot", path)
    assert (code, output, complaints.count("\n")) == (1, "", 1)
    assert complaints.startswith(f"qkd-lab: {path}: ") and complaint in complaints
    assert not path.with_suffix(".png").exists()


def test_wrong_usage_is_one_line(qkd_lab, results, tmp_path, monkeypatch):
    path = results()
    code, _, complaints = qkd_lab("plot", path, "-o", "figure.doc")
    assert code == 1 and "figure.doc: expected a name that ends in .png, .svg, .pdf" in complaints
    code, _, complaints = qkd_lab("plot", path, "-o", tmp_path / "no" / "figure.png")
    assert code == 1 and "expected a place to write a figure" in complaints
    for arguments in ((), (path, path), (path, "--compare", path, path)):
        code, _, complaints = qkd_lab("plot", *arguments)
        assert code == 2 and "expected one file of RESULTS, or --compare A B" in complaints
    code, _, complaints = qkd_lab("plot", ".")
    assert code == 1 and complaints == "qkd-lab: .: Is a directory, expected results of qkd-lab sweep\n"
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, complaints = qkd_lab("plot", path)
    assert code == 1 and "plot needs the package matplotlib: pip install -e '.[research]'" in complaints


def test_a_sweep_can_be_drawn(tmp_path, qkd_lab):
    process = start("sweep", written(tmp_path, FORMULAS), "--workers", 1, cwd=tmp_path)
    assert process.wait() == 0, process.communicate()
    process.communicate()
    assert qkd_lab("plot", "experiment.jsonl")[:2] == (0, "experiment.png\n")
