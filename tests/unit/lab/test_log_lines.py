"""Logs of several processes as one."""

import os

import pytest

from qkd_lab.log_lines import Growing, moment, newest, process_of


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "kme-a.log").write_text(
        "2026-11-22 12:00:01,500 INFO kme: first\nTraceback\n  of it\n2026-11-22 12:00:03,000 INFO kme: last\n"
    )
    (tmp_path / "sae%2F1.log").write_text('{"time": "2026-11-22T12:00:02.000+00:00", "message": "second"}\n')
    return tmp_path


@pytest.fixture(autouse=True)
def in_utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_the_same_moment_is_understood_in_the_form_of_each_program():
    for line in (
        "2026-11-22 12:00:02,250 INFO kme: x",
        '{"time": "2026-11-22T12:00:02.250+00:00", "level": "INFO"}',
        "2026-11-22 12:00:02.250 UTC [77] LOG:  x",
        "77:M 22 Nov 2026 12:00:02.250 * x",
    ):
        assert moment(line) == 1795348802.25, line
    assert moment("  File x, line 1") is None


def test_lines_are_in_the_order_of_time_and_what_goes_on_stays_behind_its_line(folder):
    lines = newest(folder.glob("*.log"), 100)
    assert [line.text.split()[-1] for line in lines] == ["first", "Traceback", "it", '"second"}', "last"]
    assert {line.process for line in lines} == {"kme-a", "sae/1"}
    assert [line.text for line in newest(folder.glob("*.log"), 1)] == [lines[-1].text]
    assert newest(folder.glob("*.log"), 0) == []


def test_only_what_is_written_from_now_on_is_followed_and_whole_lines_alone(folder):
    growing = Growing(folder)
    assert growing.read() == []
    with (folder / "kme-a.log").open("a") as log:
        log.write("2026-11-22 12:00:05,000 INFO kme: half")
        log.flush()
        assert growing.read() == []
        log.write(" and whole\n")
    assert [line.text for line in growing.read()] == ["2026-11-22 12:00:05,000 INFO kme: half and whole"]
    assert growing.read() == []


def test_new_processes_and_logs_that_were_rotated_or_cut_are_followed(folder):
    growing = Growing(folder)
    (folder / "qkde-b.log").write_text("2026-11-22 12:00:06,000 INFO qkde: begins\n")
    os.rename(folder / "kme-a.log", folder / "kme-a.log.1")
    (folder / "kme-a.log").write_text("2026-11-22 12:00:05,000 INFO kme: rotated\n")
    (folder / "sae%2F1.log").write_text("cut\n")
    assert [line.text.split()[-1] for line in growing.read()] == ["cut", "rotated", "begins"]


def test_the_log_of_one_process_is_told_by_its_name(folder):
    assert [process_of(path) for path in Growing(folder, "sae/1").files()] == ["sae/1"]
    assert Growing(folder, "sae").files() == []
