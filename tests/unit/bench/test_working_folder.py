"""What a killed bench has left goes when the next one begins, and nothing else."""

import fcntl
import subprocess
from pathlib import Path

import pytest

from qkd_lab.bench.working_folder import working_folder
from qkd_lab.private_files import write_private

MASTER, SLAVE = "bench-0123abcd-master", "bench-0123abcd-slave"


@pytest.fixture
def killed(operator):
    """A lab with what a bench that was killed has left in it: paths of files and folders."""
    lab = operator.lab
    operator.saes = {"kme-a": ["alice-app", MASTER], "kme-b": ["bench-of-mine", SLAVE]}
    (link,) = operator.topology.links
    left = [link.folder_at(site, lab.keys) / f"{MASTER}-0.cor" for site in (link.alice, link.bob)]
    left += [lab.identity(name) / "key.pem" for name in (MASTER, SLAVE)] + [lab.path / "bench" / "run-x" / "body"]
    for file in left:
        write_private(file, "")
    return [file if file.suffix == ".cor" else file.parent for file in left]


def test_saes_certificates_key_files_and_temporary_files_of_a_killed_bench_go_in_one_line(operator, killed, deleted):
    mine = operator.lab.identity("bench-of-mine") / "key.pem"
    write_private(mine, "")
    said = []
    with working_folder(operator, said.append):
        assert deleted() == [f"/v1/saes/{MASTER}", f"/v1/saes/{SLAVE}"]
        assert not [path for path in killed if path.exists()] and mine.exists()
    assert said == [f"cleared away what a bench left that was killed: {MASTER}, {SLAVE}"]


def test_a_bench_that_works_keeps_what_it_has_while_another_begins_and_ends(operator, killed, deleted):
    """The second would take it for left behind, if the first had been killed."""
    said = []
    with working_folder(operator, said.append) as first:
        said.clear(), operator.calls.clear()
        for path in killed:
            path.mkdir(exist_ok=True, parents=True)
        for _ in range(2):
            with working_folder(operator, said.append) as second:
                assert second != first
        assert first.exists() and all(path.exists() for path in killed)
        assert not operator.calls and not said


def test_the_folder_is_private_and_goes_with_the_bench(operator):
    with working_folder(operator, print) as folder:
        assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077 == 0
        (folder / "client.pem").touch()
    assert not folder.exists()


def test_what_a_kme_that_does_not_answer_keeps_is_said_and_goes_another_time(operator, killed):
    operator.refused = f"/v1/saes/{SLAVE}"
    said = []
    with working_folder(operator, said.append):
        pass
    assert len(said) == 1 and SLAVE in said[0] and "the KME refused" in said[0]
    operator.refused = ""
    with working_folder(operator, said.append):
        assert not operator.lab.identity(SLAVE).exists()


def test_saes_that_look_like_a_benchs_but_have_no_certificate_here_are_left_alone(operator, deleted):
    """They are of a bench that works from another folder."""
    operator.saes, said = {"kme-a": [MASTER]}, []
    with working_folder(operator, said.append):
        assert deleted() == said == []


def test_the_lock_of_a_bench_that_is_killed_is_free(operator):
    """Nothing that the bench starts inherits it: a generator would hold it on."""
    with working_folder(operator, print) as folder:
        child = subprocess.Popen(["sleep", "60"])
    try:
        with Path(folder.parent / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        child.kill()
        child.wait()
