"""A link's rounds as the two ends reported them and, apart from that, as only the quantum link can know them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.topology import Link
from qkde.ground_truth import ground_truth, truth_of_round
from qkde.link.eve_record import EveRecord

Json = dict[str, Any]

OF_THE_REPORT = (
    "owner", "outcome", "abort_reason", "qber", "qber_test", "qber_key", "phase_error_bound", "sifted_bits",
    "secret_bits", "block_bits", "parameters",
)  # fmt: skip


def rounds_of(operator: Operator, link: Link, count: int) -> tuple[list[Json], list[str]]:
    """The newest `count` rounds of a link, the newest first, and who could not be asked. Raises LabError: nobody could.

    See `row_of` for what a round is. Ends and link keep what they know in memory, each for itself.
    """
    unasked: list[str] = []

    def ask(process: str, path: str) -> list[Json]:
        try:
            return operator.call(process, "GET", path)
        except LabError as error:
            unasked.append(str(error))
            return []

    records = ask(link.qlink_id, f"/v1/rounds?count={count}")
    ends = [site.qkde_id for site in operator.topology.sites if site.name in (link.alice, link.bob)]
    reports = {end: [one for one in ask(end, "/v1/reports") if one["link"] == link.name] for end in ends}
    if len(unasked) == 1 + len(ends):
        raise LabError(unasked[0])
    return joined(link.name, records, reports)[:count], unasked


def joined(link: str, records: Iterable[Json], reports: Mapping[str, list[Json]]) -> list[Json]:
    """Rounds by their id, the newest first. `records` of the quantum link: newest first; `reports` by who reported,
    each oldest first. A round of which the link knows nothing comes where its end put it among the others.
    """
    record_of = {record["round_id"]: record for record in reversed(list(records))}
    place = {round_id: (index, 0) for index, round_id in enumerate(record_of)}
    for reported in reports.values():
        known = -1
        for index, report in enumerate(reported, 1):
            known = place.setdefault(report["block_id"], (known, index))[0]
    by_end = {end: {report["block_id"]: report for report in reported} for end, reported in reports.items()}
    return [
        row_of(
            link,
            round_id,
            record_of.get(round_id),
            {end: known[round_id] for end, known in by_end.items() if round_id in known},
        )
        for round_id in sorted(place, key=place.get, reverse=True)
    ]


def row_of(link: str, round_id: str, record: Json | None, reports: Mapping[str, Json]) -> Json:
    """A round. What nobody knows is None: without a report what came of it, without a record its time and physics.

    `outcomes`: what each end said. Where they differ the round has no key, as its block is never confirmed.
    `ground_truth` is what no end can see; its `eve_information_bits` need a report, as they are of the final key.
    """
    report = min(reports.values(), key=lambda one: one["outcome"] == "key", default=None)
    simulated_s = record["simulated_s"] if record else None
    return {
        "round_id": round_id,
        "link": link,
        "began_at": record["began_at"] if record else None,
        "outcomes": {end: one["outcome"] for end, one in reports.items()},
        **{name: report[name] if report else None for name in OF_THE_REPORT},
        "physics": record["physics"] if record else None,
        **{name: (record or report)[name] for name in ("pulses", "detected_pulses")},
        "simulated_s": simulated_s,
        "secret_bits_per_simulated_s": report["secret_bits"] / simulated_s if report and simulated_s else None,
        "ground_truth": _truth(record, report) if record else None,
    }


def _truth(record: Json, report: Json | None) -> Json:
    eve = EveRecord(**record["ground_truth"])
    if report:
        return truth_of_round(eve, report).to_json()
    before_amplification = ground_truth(eve, secret_bits=0, public_bits=0, proof_allowance_bits=None)
    return {**before_amplification.to_json(), "eve_information_bits": None}
