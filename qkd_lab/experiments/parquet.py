"""Results as a Parquet table, one row for each row of results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.experiments.results import Results


def check_installed() -> None:
    """Raises ExperimentError, before a sweep instead of after it."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise ExperimentError("--parquet needs the package pyarrow: pip install -e '.[research]'") from None


def write(results: Results, path: Path) -> None:
    """Columns by name; those of parameters and results as `parameters.distance_km`, `result.qber_test`."""
    import pyarrow
    from pyarrow import parquet

    rows = [_flat(row) for row in results.rows]
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pyarrow.table({name: [row.get(name) for row in rows] for name in names})
    parquet.write_table(table, path)


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    nested = {f"{part}.{name}": value for part in ("parameters", "result") for name, value in row[part].items()}
    return {name: value for name, value in row.items() if not isinstance(value, dict)} | nested
