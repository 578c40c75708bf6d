"""The table of settings: what is taken from file and environment, what is refused, and the page made of it."""

import json
import re
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from kme.model import KmeSettings, SaeLimits
from qkd_lab.configuration import ConfigurationError, check, environment, kme_settings, section_problems, variable
from qkd_lab.configuration_page import page
from qkd_lab.setting_tables import ENVIRONMENT, KME
from qkd_lab.topology import SHIPPED, TopologyError, load

CHECKOUT = Path(__file__).resolve().parents[3]
TWO_SITES = (SHIPPED / "two-sites.toml").read_text()
# Of KmeSettings, what the rest of the topology says.
SET_ELSEWHERE = {"kme_id", "site", "qkde_id", "links", "doors", "kme_names", "appendfsync"}
# Of an SAE that has none of its own: each a setting of its own, where 0 stands for none.
LIMITS = {one.name: 0 for one in fields(SaeLimits)}


def qkd_lab(folder, *arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "qkd_lab.cli", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin", **variables},
    )


def test_the_page_is_made_of_the_tables_of_today():
    again = "run `python -m qkd_lab.configuration_page > docs/configuration.md`"
    assert (CHECKOUT / "docs" / "configuration.md").read_text(encoding="utf-8") == page(), again


def test_every_setting_of_a_kme_can_be_configured_and_has_the_defaults_of_the_code():
    in_code = {one.name: one.default for one in fields(KmeSettings) if one.name not in SET_ELSEWHERE}
    assert in_code.pop("default_limits") == SaeLimits()
    in_code |= LIMITS
    assert MISSING not in in_code.values()
    assert {one.name: one.default for one in KME} == in_code, "put it into qkd_lab.setting_tables.KME"
    assert all(type(one.default) is one.kind and one.fits(one.default) for one in KME)


def test_every_variable_in_the_code_is_in_the_table():
    known = {one.name for one in ENVIRONMENT} | {variable(one) for one in KME}
    files = [CHECKOUT / "docker-compose.yml", *(CHECKOUT / "scripts").iterdir()]
    for folder in ("services", "qkd_lab", "tests/integration", "tests/lab"):
        files += (CHECKOUT / folder).rglob("*.py")
    for file in files:
        named = set(re.findall(r"\bQKD_[A-Z][A-Z_]*[A-Z]\b", file.read_text())) - {"QKD_KME", "QKD_LAB"}
        assert named <= known, f"{file}: put it into qkd_lab.setting_tables.ENVIRONMENT"


def test_nobody_but_services_and_qkd_lab_reads_the_environment():
    for folder in ("kme", "qkde", "mutual_tls", "sae_demo"):
        for file in (CHECKOUT / folder).rglob("*.py"):
            assert not re.search(r"os\.environ|getenv|from os import", file.read_text()), file


@pytest.mark.parametrize("setting", KME, ids=lambda one: one.name)
def test_a_setting_takes_its_range_and_nothing_else_from_the_file(setting):
    for good in (setting.least, setting.most, setting.default):
        assert section_problems({setting.name: setting.kind(good)}) == []
    for bad in (setting.least - 1, setting.most + 1, True, "1", None, [1], float("nan"), float("inf")):
        (problem,) = section_problems({setting.name: bad})
        assert setting.name in problem and setting.expected in problem
    if setting.kind is int:
        assert section_problems({setting.name: float(setting.default)})


@pytest.mark.parametrize("setting", KME, ids=lambda one: one.name)
def test_a_setting_takes_its_range_and_nothing_else_from_the_environment(setting):
    for good in (setting.least, setting.most, setting.default):
        problems = []
        value = kme_settings({}, {variable(setting): str(setting.kind(good))}, problems)[setting.name]
        assert (problems, value.value, value.source) == ([], good, variable(setting))
        assert type(value.value) is setting.kind
    for bad in (str(setting.least - 1), str(setting.most + 1), "two", "1_0", "0x1", "nan", "inf", "1 2", "true"):
        problems = []
        value = kme_settings({}, {variable(setting): bad}, problems)[setting.name]
        assert len(problems) == 1 and variable(setting) in problems[0] and setting.expected in problems[0]
        assert value.value == setting.default


def test_the_environment_goes_before_the_file_and_the_file_before_the_default():
    file = {"reserve_bits": 1000, "on_demand_limit": 2}
    found = kme_settings(file, {"QKD_KME_RESERVE_BITS": "2000", "QKD_KME_ORDER_TIMEOUT_S": ""}, [])
    assert {name: (one.value, one.source) for name, one in found.items() if name in (*file, "order_timeout_s")} == {
        "reserve_bits": (2000, "QKD_KME_RESERVE_BITS"),
        "on_demand_limit": (2, "file"),
        "order_timeout_s": (90.0, "default"),
    }


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("QKD_WORKRES", "did you mean QKD_WORKERS?"),
        ("QKD_KME_RESERV_BITS", "did you mean QKD_KME_RESERVE_BITS?"),
        ("QKD_RESERVE_BITS", "did you mean QKD_KME_RESERVE_BITS?"),
        ("QKD_KME_LOG_LEVEL", "did you mean QKD_LOG_LEVEL?"),
        ("QKD_BLUE", "docs/configuration.md"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(name, hint):
    with pytest.raises(ConfigurationError) as refused:
        check({name: "1", "PATH": "/bin", "QKDX": "2"})
    assert str(refused.value).startswith(f"{name} is unknown") and hint in str(refused.value)


def test_a_variable_with_choices_takes_them_in_any_case():
    assert environment({"QKD_LOG_LEVEL": "debug"}, [], of_process=False)["QKD_LOG_LEVEL"].value == "DEBUG"
    with pytest.raises(ConfigurationError, match="QKD_LOG_LEVEL is 'loud': expected DEBUG or INFO or WARNING or ERROR"):
        check({"QKD_LOG_LEVEL": "loud"})


def test_a_file_says_everything_that_is_wrong_with_it_at_once(tmp_path):
    text = TWO_SITES.replace("max_keys = 1000", "max_keys = 0")
    text = text.replace("loss_db = 1.0", "los_db = 1.0\ndepolarising = 2")
    path = tmp_path / "net.toml"
    path.write_text(text.replace('alice = "a"', "") + "\n[kme]\nreserv_bits = 1\nlow_watermark = 2\n")
    with pytest.raises(TopologyError) as refused:
        load(path)
    lines = str(refused.value).splitlines()
    assert all(line.startswith(f"{path}: table ") for line in lines)
    for words in ("los_db", "did you mean loss_db", "depolarising", "did you mean depolarizing", "alice: missing"):
        assert any(words in line for line in lines), lines
    for words in ("connections[1], key max_keys", "connections[2], key max_keys", "reserv_bits", "low_watermark"):
        assert sum(words in line for line in lines) == 1, lines


def test_a_wrong_key_at_the_top_hides_nothing_that_is_wrong_below(tmp_path):
    (tmp_path / "net.toml").write_text("doors = 1\n" + TWO_SITES.replace("loss_db = 1.0", "loss_db = -1"))
    with pytest.raises(TopologyError) as refused:
        load(tmp_path / "net.toml")
    lines = str(refused.value).splitlines()
    assert len(lines) == 2 and "key doors" in lines[0] and "key loss_db" in lines[1]


def test_every_name_that_refers_to_nothing_is_said_at_once(tmp_path):
    text = TWO_SITES.replace('bob = "b"', 'bob = "z"').replace('slave = "sae-b"', 'slave = "nobody"')
    (tmp_path / "net.toml").write_text(text.replace('saes = ["sae-a"]', 'saes = ["sae-a", "sae-a", "kme-b"]'))
    with pytest.raises(TopologyError) as refused:
        load(tmp_path / "net.toml")
    said = str(refused.value)
    for words in ("'sae-a' more than once", "'kme-b' needs the name", "got 'z'", "got 'nobody'"):
        assert said.count(words) == 1, said


def test_the_command_says_everything_that_is_wrong_at_once_and_ends_with_status_2(tmp_path):
    (tmp_path / "net.toml").write_text(TWO_SITES + "\n[kme]\nreserve_bits = -1\n")
    wrong = {"QKD_KME_LOW_WATERMARK": "2", "QKD_WORKERS": "many", "QKD_LOG_LEVL": "INFO"}
    done = qkd_lab(tmp_path, "config", "check", "net.toml", **wrong)
    assert done.returncode == 2 and done.stdout == "" and "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 4
    for words in ("reserve_bits", *wrong):
        assert words in done.stderr
    assert qkd_lab(tmp_path, "config", "show", "net.toml").returncode == 2


def test_a_good_configuration_is_said_to_be_good(tmp_path):
    done = qkd_lab(tmp_path, "config", "check", "three-sites")
    assert (done.returncode, done.stderr) == (0, "") and "three-sites.toml" in done.stdout


def test_the_command_shows_what_holds_and_where_it_is_from(tmp_path):
    (tmp_path / "net.toml").write_text(TWO_SITES + "\n[kme]\nreserve_bits = 1000\nlow_watermark = 0.25\n")
    variables = {"QKD_KME_LOW_WATERMARK": "0.75", "QKD_LOG_LEVEL": "debug"}
    shown = qkd_lab(tmp_path, "config", "show", "net.toml", **variables).stdout.splitlines()
    for line in (
        'QKD_LOG_LEVEL = "DEBUG"  # environment',
        "kme.low_watermark = 0.75  # QKD_KME_LOW_WATERMARK",
        "kme.reserve_bits = 1000  # net.toml",
        "kme.on_demand_limit = 4  # default",
        "links[a-b].physics.loss_db = 1.0  # net.toml",
        'links[a-b].alice = "a"  # net.toml',
        'sites[a].saes = ["sae-a"]  # net.toml',
    ):
        assert line in shown
    for line in (
        'links[a-b].physics.eve = "none"  # net.toml',  # the default, said all the same
        "connections[1].key_size_bits = 256  # net.toml",
        "connections[1].max_sae_ids = 0  # default",
        'doors = ["quick", "life-cycle", "entropy"]  # default',
    ):
        assert line in shown
    as_json = json.loads(qkd_lab(tmp_path, "config", "show", "net.toml", "--json", **variables).stdout)
    assert {"name": "kme.low_watermark", "value": 0.75, "from": "QKD_KME_LOW_WATERMARK"} in as_json


def test_up_refuses_an_environment_that_its_processes_could_not_start_with(tmp_path):
    done = qkd_lab(tmp_path, "up", QKD_KME_RESERVE_BITS="lots", QKD_WORKERS="0")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 2
    assert not (tmp_path / ".lab").exists()
