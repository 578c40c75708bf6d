"""The state of a running lab, asked of every operator listener: what `qkd-lab status` shows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator


def gather(operator: Operator) -> dict[str, Any]:
    """Processes (what is wrong with one is its `health`, what a healthy one lacks of others `why`), endpoints, pools,
    accounts, witnesses, quantum links, folders with key files, the latest reports."""
    supervised = operator.lab.read_state().get("processes", {})
    names = [process.name for process in operator.processes]
    with ThreadPoolExecutor(8) as pool:
        health = dict(zip(names, pool.map(operator.health, names), strict=True))
        healthy = [name for name in names if health[name] == "ok"]
        readiness = dict(zip(healthy, pool.map(operator.readiness, healthy), strict=True))
    found: dict[str, Any] = {"processes": {}, "endpoints": operator.endpoints}
    found |= {"pools": [], "accounts": {}, "witnesses": {}, "links": {}, "folders": [], "reports": []}
    for name, child in supervised.items():
        well = "ok" if child["state"] == "ready" else child["state"]
        found["processes"][name] = {"health": health.get(name, well), **child}
    for name in names:
        found["processes"].setdefault(name, {"health": health[name]})
    for name, process in found["processes"].items():
        site = operator.topology.site_of_process(name)
        process["nickname"] = site.nickname if site else ""
        process["why"] = readiness[name]["why"] if name in readiness else []
    for process in operator.processes:
        if health[process.name] != "ok":
            continue
        if process.kind == "kme":
            status = _ask(operator, process.name, "/v1/status", {})
            found["pools"] += status.get("pools", [])
            found["accounts"][process.name] = status.get("account", {})
            found["folders"] += [
                {"kme": process.name} | {name: one[name] for name in ("link", "folder", "files_read", "bytes_read")}
                for one in status.get("links", [])
                if one.get("origin") == "directory"
            ]
            found["witnesses"][process.name] = status.get("witness", {})
        elif process.kind == "qkde":
            # Both ends of a link report the same round.
            known = {report["block_id"] for report in found["reports"]}
            reports = _ask(operator, process.name, "/v1/reports", [])
            found["reports"] += [report for report in reports if report["block_id"] not in known]
        elif process.kind == "qlink":
            found["links"][process.name.removeprefix("qlink-")] = _ask(operator, process.name, "/v1/physics", {})
    return found


def _ask(operator: Operator, process: str, path: str, otherwise: Any) -> Any:
    """What a process answers; one that stopped meanwhile shows as unhealthy the next time."""
    try:
        return operator.call(process, "GET", path)
    except LabError:
        return otherwise
