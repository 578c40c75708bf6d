"""Experiments as files: what they mean, and what is said of one that means nothing."""

import pytest

from qkd_lab.experiments.computed import check, compute
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.experiment import read, shipped
from qkd_lab.experiments.grid import axis
from qkd_lab.experiments.result_names import results_of
from qkd_lab.experiments.tasks import tasks_of

from experiments_written import FORMULAS, SMALL, written


def experiment_of(tmp_path, text):
    return read(str(written(tmp_path, text)))


@pytest.mark.parametrize(
    ("range_", "values"),
    [
        ([3, 1.5], (3.0, 1.5)),
        ({"from": 0, "to": 10, "step": 5}, (0.0, 5.0, 10.0)),
        ({"from": 0, "to": 0.3, "step": 0.1}, (0.0, 0.1, 0.2, 0.3)),
        ({"from": 0, "to": 9, "step": 5}, (0.0, 5.0)),
        ({"from": 0, "to": 1, "points": 3}, (0.0, 0.5, 1.0)),
        ({"from": 1, "to": 1e4, "points": 3, "scale": "log"}, (1.0, 100.0, 10000.0)),
    ],
)
def test_an_axis_is_a_list_a_range_or_a_log_range(range_, values):
    assert axis("distance_km", range_, "key") == values


def test_every_combination_of_the_axes_is_a_point_with_the_values_of_its_parameter_set(tmp_path):
    text = FORMULAS.replace("[sweep]", "[sweep]\nmisalignment = [0.01, 0.02]")
    (series,) = experiment_of(tmp_path, text).series
    assert len(series.points) == 2 * 8
    assert [point["misalignment"] for point in series.points[::8]] == [0.01, 0.02]
    assert series.points[9]["distance_km"] == 20 and series.points[9]["error_correction_efficiency"] == 1.22


def test_seeds_differ_from_place_to_place_and_not_from_time_to_time(tmp_path):
    tasks = list(tasks_of(experiment_of(tmp_path, SMALL)))
    assert len({task.seed for task in tasks}) == len(tasks) == 6
    assert [task.seed for task in tasks_of(experiment_of(tmp_path, SMALL))] == [task.seed for task in tasks]
    other = tasks_of(experiment_of(tmp_path, SMALL.replace("seed = 7", "seed = 8")))
    assert not {task.seed for task in tasks} & {task.seed for task in other}


def test_only_what_is_computed_changes_the_hash(tmp_path):
    first = experiment_of(tmp_path, SMALL).content_hash
    assert experiment_of(tmp_path, SMALL.replace('"small"', '"another title"')).content_hash == first
    assert experiment_of(tmp_path, SMALL.replace('y = "qber_test"', 'y = "gain"')).content_hash == first
    for old, new in (("seed = 7", "seed = 8"), ("0.02", "0.03"), ("repetitions = 2", "repetitions = 3")):
        assert experiment_of(tmp_path, SMALL.replace(old, new)).content_hash != first


def test_the_names_a_figure_may_have_are_those_of_the_results(tmp_path):
    weak = SMALL.replace('source = "single-photon"', 'set = "gys"').replace("2e4", "2e6")
    weak = weak.replace("qber_tolerance = 0.1\nepsilon_secrecy = 1e-4\n", "distance_km = 1.0\n")
    best = FORMULAS.replace('model = "decoy"', 'model = "decoy", optimize = true')
    frames = """
        title = "frames"
        seed = 1
        sweep.qber = [0.02]
        fixed = { frame_bits = 1000, reconciliation = "original" }
        series = [{ name = "frames", kind = "cascade" }]
        panels = [{ x = "qber", y = "bits_per_s" }]
    """
    # What single photons, and weak pulses, have no number for.
    lacking = {SMALL: ("signal_", "decoy_", "vacuum_", "gllp_rate"), weak: ("ideal_rate",), best: (), frames: ()}
    for text, absent in lacking.items():
        for series in (experiment := experiment_of(tmp_path, text)).series:
            task = next(task for task in tasks_of(experiment) if task.series == series.name)
            found = compute(task)[0].items()
            numbers = {name for name, value in found if not isinstance(value, bool) and not name.endswith("_sigma")}
            named = {
                name for name in results_of(series.kind, series.points) if not absent or not name.startswith(absent)
            }
            assert numbers == named, series


def test_the_experiments_of_the_package_can_be_run_as_they_are():
    assert len(shipped()) == 7
    for name in shipped():
        tasks = [task for task in tasks_of(read(name)) if task.repetition == 0]
        for task in tasks:
            check(task, name)
        assert len(tasks) > 20


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("seed = 7", "seed = 7\nsede = 1", "key sede: unknown, did you mean seed? expected some of title"),
        ("seed = 7", "", "key seed: missing, expected an integer from 0"),
        ("seed = 7", 'seed = "7"', "key seed: expected an integer from 0 to 9223372036854775807, got '7'"),
        ("pulses = 2e4", "pulses = 2.5", "series 1 (simulated), key pulses: expected an integer, got 2.5"),
        ("pulses = 2e4", "", "series 1 (simulated), key pulses: missing, expected it among the fixed"),
        ("pulses = 2e4", "pulses = 2e4\ndistance = 3", "series 1 (simulated), key distance: unknown, did you mean dis"),
        ("qber_tolerance = 0.1", 'qber_tolerance = "low"', "key qber_tolerance: expected a finite number, got 'low'"),
        ("qber_tolerance = 0.1", "qber_tolerance = nan", "key qber_tolerance: expected a finite number, got nan"),
        ("qber_tolerance = 0.1", "qber_tolerance = true", "key qber_tolerance: expected a finite number, got True"),
        ("[0.02, 0.1]", "[]", "key depolarizing: empty, expected a list"),
        ("[0.02, 0.1]", "[0.1, 0.1]", "key depolarizing: a value is there twice, expected each once"),
        ("[0.02, 0.1]", "0.1", "key depolarizing: no range, expected a list"),
        ("[0.02, 0.1]", "{ from = 1, to = 0, step = 1 }", "key depolarizing: an empty range, expected a list"),
        ("[0.02, 0.1]", "{ from = 0, to = 1 }", "key depolarizing: a step or a number of points, expected"),
        ("[0.02, 0.1]", "{ from = 0, to = 1, step = 0 }", "key depolarizing: a step that is not above 0"),
        ("[0.02, 0.1]", "{ from = 0, to = 1, step = 1e-9 }", "makes more than 100000 points"),
        ("[0.02, 0.1]", "{ from = 0, to = 1, points = 1 }", "key depolarizing: not from 2 to 100000 points"),
        ("[0.02, 0.1]", '{ from = 0, to = 1, points = 3, scale = "log" }', "log range that does not begin above 0"),
        ("[0.02, 0.1]", "{ from = 0, to = inf, step = 1 }", "key depolarizing: not a range of numbers"),
        ("repetitions = 2", "repetitions = 0", "series 1, key repetitions: expected an integer from 1 to 100"),
        ('kind = "simulation"', 'kind = "guess"', "series 1, key kind: expected one of simulation, cascade, theory"),
        ('model = "link"', 'model = "best"', "series 2 (theory), key model: expected one of ideal, gllp"),
        ('name = "theory"', 'name = "simulated"', "key series: a name is there twice, expected each once"),
        ('y = "qber_test"', "y = 3", "panel 1, key y: expected the name of a result, or a list of some, got 3"),
        ('y = "qber_test"', 'y = "gain"\nseries = ["no"]', "panel 1, key series: no series 'no', expected some of"),
        (
            'y = "qber_test"',
            'y = "qbertest"',
            "panel 1, key y, qbertest: unknown, did you mean qber_test? expected some",
        ),
        (
            'x = "depolarizing"',
            'x = "depolarising"',
            "panel 1, key x, depolarising: unknown, did you mean depolarizing?",
        ),
        ('x = "depolarizing"', 'x = "pulses"', "panel 1, key x, pulses: unknown"),  # it is fixed
        (
            'y = "qber_test"',
            'y = "rounds"\nseries = ["theory"]',
            "panel 1, key y, rounds: unknown, expected some of gain",
        ),
        ('y = "qber_test"', 'y = "gain"\nwhere.qber = 1', "panel 1, key where, qber: unknown"),
        (
            'y = "qber_test"',
            'y = "gain"\nwhere.depolarizing = 0.3',
            "panel 1, key where: no point is there, expected values",
        ),
        (
            'fixed = { model = "link" }',
            'sweep = { model = ["link"] }',
            "series 2 (theory), key model: swept, expected it fixed",
        ),
        ("depolarizing = [", "qber_tolerance = [", "key qber_tolerance: fixed and swept, expected one of them"),
        ('source = "single-photon"', 'set = "moon"', "key set: no parameter set 'moon': expected gys, ideal, lab"),
        ("seed = 7", "seed =", "not a TOML file"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_with_file_key_and_expectation(tmp_path, qkd_lab, old, new, complaint):
    assert old in SMALL
    code, output, complaints = qkd_lab("sweep", written(tmp_path, SMALL.replace(old, new, 1)))
    assert (code, output, complaints.count("\n")) == (1, "", 1)
    assert complaints.startswith(f"qkd-lab: {tmp_path}/experiment.toml: ") and complaint in complaints
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[0.02, 0.1]", "[0.02, 1.1]", "series simulated, point 2: depolarizing is 1.1: expected a probability"),
        ("pulses = 2e4", "pulses = 10", "point 1: pulses is 10: too few for one bit of key"),
        ('"single-photon"', '"sun"', "point 1: source is 'sun': expected single-photon or weak-coherent"),
        ("pulses = 2e4", 'pulses = 2e4\neve = "x"\neve_fraction = 0.1', "eve: 'x:0.1' is not an attack"),
        ("repetitions = 2", "fixed = { enough_clicks = 5 }", "enough_clicks without max_pulses"),
        ("repetitions = 2", "fixed = { enough_clicks = 5, max_pulses = 5 }", "max_pulses is 5: expected no less than"),
    ],
)
def test_an_impossible_point_is_refused_before_any_is_run(tmp_path, qkd_lab, old, new, complaint):
    code, output, complaints = qkd_lab("sweep", written(tmp_path, SMALL.replace(old, new, 1)))
    assert (code, output, complaints.count("\n")) == (1, "", 1)
    assert complaints.startswith(f"qkd-lab: {tmp_path}/experiment.toml: series ") and complaint in complaints
    assert not list(tmp_path.glob("*.jsonl"))


def test_an_experiment_that_is_not_there_is_said_with_those_that_are(qkd_lab):
    code, _, complaints = qkd_lab("sweep", "distanze")
    assert code == 1 and "no experiment 'distanze': expected block-size, cascade, distance" in complaints
    code, _, complaints = qkd_lab("sweep", "distanze.toml")
    assert code == 1 and "distanze.toml: No such file or directory, expected an experiment" in complaints
    code, _, complaints = qkd_lab("sweep")
    assert code == 2 and "EXPERIMENT is missing" in complaints
    with pytest.raises(ExperimentError):
        read("distanze")


def test_the_experiments_are_listed(qkd_lab):
    code, output, _ = qkd_lab("sweep", "--list")
    assert code == 0 and [line.split()[0] for line in output.splitlines()] == list(shipped())
