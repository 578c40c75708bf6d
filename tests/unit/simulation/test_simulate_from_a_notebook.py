"""`simulate` as a notebook calls it: plain values in, an object, a report and a table out."""

import builtins
import copy
import json
import pickle

import numpy as np
import pandas
import pytest
from click.testing import CliRunner

from qkd_lab.cli.bb84 import bb84
from qkde.parameter_sets import load
from qkde.round_result import results_to_pandas
from qkde.simulation import simulate
from qkde.simulation_settings import setting_of

VARIES = ("elapsed_s", "stages")


@pytest.fixture(scope="module")
def result():
    return simulate(1e5, depolarizing=0.06, key_basis_probability=0.8, seed=1)


def test_it_is_the_report_of_the_command_with_the_same_options(result):
    options = ["--pulses", "1e5", "--depolarizing", "0.06", "--key-basis-probability", "0.8", "--seed", "1", "--json"]
    report = json.loads(CliRunner().invoke(bb84, options).stdout)
    assert report["parameters"].pop("set") is None
    ours = json.loads(json.dumps(result.to_json()))
    assert ours.keys() == report.keys()
    assert {name: ours[name] for name in ours if name not in VARIES} == {
        name: report[name] for name in report if name not in VARIES
    }


def test_every_member_of_the_report_is_an_attribute(result):
    for name, value in result.to_json().items():
        if name != "ground_truth":  # an object, with the same members
            assert getattr(result, name) == value or list(getattr(result, name)) == value
        assert name in dir(result)
    assert result.ground_truth.to_json() == result.to_json()["ground_truth"]
    with pytest.raises(AttributeError, match="a result has no 'qbre': expected some of .*qber"):
        print(result.qbre)


def test_it_says_itself_in_one_line_without_a_bit_of_key(result):
    qber = f"QBER {result.qber:.3%}, seed 1"
    assert repr(result) == f"<RoundResult: {result.secret_bits:,} secret bits; 100,000 pulses, {qber}>"
    # Half of the pulses are of the test basis: 25,000 bits, of which 25 % ± 0.27 % are wrong.
    aborted = simulate(1e5, eve="intercept-resend:1", key_basis_probability=0.5)
    assert repr(aborted).startswith("<RoundResult: no key (QBER 0.2") and "seed" not in repr(aborted)


def test_it_can_be_copied_and_sent_to_another_process(result):
    for other in (pickle.loads(pickle.dumps(result)), copy.deepcopy(result), copy.copy(result)):
        assert other == result and other.qber == result.qber


def test_results_are_a_table_in_one_call(result):
    one = result.to_pandas()
    assert len(one) == 1 and one.qber[0] == result.qber and one["parameters.depolarizing"][0] == 0.06
    table = results_to_pandas([result, simulate(1e4, loss_db=3, noise="bit_flip:0.01", seed=2)])
    assert isinstance(table, pandas.DataFrame)
    # Also what is as on a plain link, in either row: nothing is missing from a column.
    assert table["parameters.loss_db"].tolist() == [0, 3] and table["parameters.distance_km"].tolist() == [0, 0]
    assert table["parameters.noise"].tolist() == ["none", "bit_flip:0.01"]
    assert table["ground_truth.key_bits"][0] == result.ground_truth.key_bits
    assert table.secret_bits[0] == result.secret_bits and "provenance" not in table
    assert not [name for name in table if isinstance(table[name][0], list | tuple | dict)]


def test_without_pandas_one_line_says_what_to_install(result, monkeypatch):
    imported = builtins.__import__

    def no_pandas(name, *rest):
        if name == "pandas":
            raise ImportError("No module named 'pandas'")
        return imported(name, *rest)

    monkeypatch.setattr(builtins, "__import__", no_pandas)
    with pytest.raises(ImportError, match="a table of results needs pandas: pip install pandas"):
        result.to_pandas()


def test_numbers_of_numpy_are_numbers():
    given = {"depolarizing": np.float64(0.02), "key_basis_probability": np.float32(0.75), "distance_km": np.int64(5)}
    result = simulate(np.int64(20_000), **given, seed=1)
    assert (result.pulses, result.physics.distance_km) == (20_000, 5)
    json.dumps(result.to_json())


def test_a_parameter_set_can_be_given_itself():
    result = simulate(1e5, set=load("lab").changed(distance_km=3, signal_intensity=0.7), seed=1)
    assert (result.physics.distance_km, result.source.signal_intensity) == (3, 0.7)


@pytest.mark.parametrize(
    "pulses, settings, words",
    [
        (1e5, {"depolarising": 0.1}, "no setting depolarising: did you mean depolarizing\\? expected some of set"),
        (1e5, {"frame_count": 3}, "no setting frame_count: "),
        (1.5, {}, "pulses is 1.5: expected an integer from 1 to 1073741824"),
        (float("nan"), {}, "pulses is nan: expected an integer"),
        (float("inf"), {}, "pulses is inf: expected an integer"),
        (True, {}, "pulses is True: expected an integer"),
        ("1e5", {}, "pulses is '1e5': expected an integer"),
        (1e5, {"depolarizing": float("nan")}, "depolarizing is nan: expected a probability from 0 to 1"),
        (1e5, {"eve": "nobody"}, "eve: 'nobody' is not an attack"),
        (1e5, {"set": "gis"}, "no parameter set 'gis': expected gys, ideal, lab"),
        (1e5, {"seed": -1}, "seed is -1: expected an integer of 0 or more"),
    ],
)
def test_impossible_values_are_refused_by_name(pulses, settings, words):
    with pytest.raises(ValueError, match=words):
        simulate(pulses, **settings)


def test_a_round_of_a_thousand_million_pulses_is_allowed():
    parameters = setting_of(10**9, {"set": "gys"}).parameters
    # In frames that bound the memory.
    assert parameters.pulses == 10**9 and parameters.pulses_per_frame <= 2**20
