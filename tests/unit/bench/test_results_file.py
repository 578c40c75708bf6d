"""Files of results: found out before whether they can be written, and whole or as they were."""

import json
from pathlib import Path

import pytest

from qkd_lab.bench.results_file import check_place, in_its_place, write_json
from qkd_lab.lab_folder import LabError


def test_a_check_leaves_no_file_and_changes_none(tmp_path):
    check_place("--json", tmp_path / "new.json")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.json").write_text("old")
    check_place("--json", tmp_path / "old.json")
    assert (tmp_path / "old.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    "name, why", [("none/x.json", "No such file or directory"), ("file/x.json", "Not a directory"), (".", "Is a dir")]
)
def test_a_place_that_cant_be_written_is_named_with_what_to_do(tmp_path, name, why):
    (tmp_path / "file").touch()
    for attempt in (check_place, lambda *place: write_json(*place, {})):
        with pytest.raises(LabError) as raised:
            attempt("--json", tmp_path / name)
        assert str(raised.value).startswith(f"--json: {tmp_path / name}: {why}")
        assert "expected a file in a folder that is there and can be written to" in str(raised.value)


def test_what_was_there_is_there_until_the_new_is_whole(tmp_path):
    place = tmp_path / "x.json"
    write_json("--json", place, {"a": 1})
    with pytest.raises(OSError, match="No space"), in_its_place(place) as written:
        assert written.suffix == place.suffix
        written.write_text("a part")
        raise OSError("No space left on device")
    assert json.loads(place.read_text()) == {"a": 1} and list(tmp_path.iterdir()) == [place]


def test_a_link_stays_one_and_what_is_no_file_is_written_to(tmp_path):
    (tmp_path / "link.json").symlink_to("x.json")
    write_json("--json", tmp_path / "link.json", {"a": 1})
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "x.json").read_text()) == {"a": 1}
    (tmp_path / "link.null").symlink_to("/dev/null")
    check_place("--json", tmp_path / "link.null")
    write_json("--json", tmp_path / "link.null", {"a": 1})
    assert Path("/dev/null").is_char_device()
