"""`qkd-lab verify-block`: does a block's length follow from its record of provenance?"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import click

from qkd_lab.lab_folder import LabError, LabFolder
from qkd_lab.operator_calls import Operator


@click.command("verify-block")
@click.argument("what", metavar="FILE|-|BLOCK_ID")
def verify_block(what: str) -> None:
    """Recompute a block's length from its record alone; exit 1 where it does not hold, and say what differs.

    FILE (or - for the standard input) has the record, a round's report, or what `qkd-lab bb84 --json` printed. With a
    BLOCK_ID the running lab is asked, and the records of the two ends are compared as well.
    """
    try:
        from qkde.bb84.provenance import MalformedRecord, check, differences
    except ImportError as error:
        raise LabError(f"verify-block needs {error.name}: install the whole project (pip install .)") from error
    try:
        reports = _of_block(what) if _is_block_id(what) else [("the record", _read(what))]
        records = [(where, _record(report, where)) for where, report in reports]
        problems = [f"{where}: {line}" for where, record in records for line in check(record)]
        for (where, report), (_, record) in zip(reports, records, strict=True):
            problems += [f"{where}: {line}" for line in _beside(report, record)]
        if len(records) > 1:
            problems += differences(records[0][1], records[1][1])
    except MalformedRecord as error:
        raise LabError(f"{what}: not a provenance record: {error}") from error
    record = records[0][1]
    if problems:
        for line in problems:
            click.echo(line, err=True)
        raise LabError(f"block {record['block_id']} does not hold: {len(problems)} differences")
    ends = " at both ends" if len(records) > 1 else ""
    click.echo(
        f"block {record['block_id']}: {record['lengths']['secret_bits']} secret bits follow from the record{ends} "
        f"({record['proof']['name']}; ε {record['epsilon']['sum']:.3g})"
    )
    if _is_block_id(what) and len(records) == 1:
        click.echo(f"only {records[0][0]} still has its report: the two ends were not compared", err=True)


def _is_block_id(what: str) -> bool:
    if what == "-" or Path(what).exists():
        return False
    try:
        UUID(what)
    except ValueError:
        raise LabError(f"{what}: no such file, and not a block's id (a UUID)") from None
    return True


def _read(what: str) -> Any:
    try:
        text = sys.stdin.read() if what == "-" else Path(what).read_text(encoding="utf-8")
        return json.loads(text)
    except UnicodeDecodeError:
        raise LabError(f"{what}: not JSON: not a text in UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise LabError(f"{what}: not JSON: {error}") from None


def _record(found: Any, where: str) -> dict[str, Any]:
    """The record in what was read: itself, or a report's."""
    if not isinstance(found, dict):
        raise LabError(f"{where}: expected a JSON object: a provenance record, or a round's report")
    if "schema" in found:
        return found
    if "provenance" not in found:
        raise LabError(f"{where}: neither a provenance record (member schema) nor a report that has one (provenance)")
    if found["provenance"] is None:
        raise LabError(f"{where}: the round made no key, so there is nothing to verify: {found.get('abort_reason')}")
    return found["provenance"]


def _beside(report: Mapping[str, Any], record: Mapping[str, Any]) -> Iterator[str]:
    """What a report says otherwise than its record."""
    if report is record:
        return
    same = {name: record[name] for name in ("block_id", "link", "owner")} | record["lengths"]
    same |= {name: record["counts"][name] for name in ("pulses", "detected_pulses", "sifted_bits")}
    same |= {f"leak_{who}": record["leakage"][who] for who in ("alice", "both")}
    for name, value in same.items():
        if report.get(name) != value:
            yield f"the report's {name} is {report.get(name)}, its record has {value}"


def _of_block(block_id: str) -> list[tuple[str, dict[str, Any]]]:
    """(process, report) of each end: KMEs keep the reports of rounds they ordered, QKDEs those of their last ones."""
    operator = Operator(LabFolder.here())
    wanted = str(UUID(block_id))
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for name, report in _reports(operator, wanted):
        found.setdefault(str(report.get("end")), (name, report))
    if not found:
        raise LabError(f"no KME or QKDE of this lab has a report of block {wanted}")
    return list(found.values())


def _reports(operator: Operator, block_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for process in operator.processes:
        if process.kind == "kme":
            for report in operator.call(process.name, "GET", f"/v1/reports?block_id={block_id}"):
                yield process.name, report
    for process in operator.processes:
        if process.kind == "qkde":
            for report in operator.call(process.name, "GET", "/v1/reports"):
                if report.get("block_id") == block_id:
                    yield process.name, report
