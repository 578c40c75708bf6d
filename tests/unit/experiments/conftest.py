import sys

import pytest

from qkd_lab.cli import main


@pytest.fixture
def qkd_lab(monkeypatch, capsys, tmp_path):
    """Runs `qkd-lab` in this process and an empty folder: exit code, output, complaints."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["qkd-lab", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return run
