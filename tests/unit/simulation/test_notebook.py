"""docs/notebook.ipynb runs from top to bottom, and comes to its decision."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

CHECKOUT = Path(__file__).resolve().parents[3]
NOTEBOOK = CHECKOUT / "docs" / "notebook.ipynb"


def test_the_notebook_runs_and_ends_with_a_decision(tmp_path, monkeypatch):
    for folder in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "MPLCONFIGDIR"):
        monkeypatch.setenv(folder, str(tmp_path / folder))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    # A cell that raises is an error here.
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(CHECKOUT)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert "256 bit/s: with blocks of 1e+05 bits up to " in outputs[-1].text
    assert not [output.text for output in outputs if output.get("name") == "stderr"]


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code and all(not cell.outputs and cell.execution_count is None for cell in code)
