"""What `ab` (ApacheBench 2.3) reports: it knows kinds of failure, but tells answers apart by their length alone."""

from __future__ import annotations

import csv
import math
import re
from itertools import pairwise

from qkd_lab.bench.cells import Load
from qkd_lab.lab_folder import LabError

BROKEN_TO_AB = "SSL read failed"  # on standard error, once for each connection that ended in the middle of a request
STEPS = 10  # from one percentile to the next


def read_ab(report: str, centiles: str, cpu_s: float, keep_alive: bool, broken_count: int = 0) -> Load:
    """`report` is its standard output, `centiles` the file of its option -e; `broken_count`: connections of which it
    said that they broke. The latencies are of all requests, which the file does not tell apart; none where none was
    answered. Raises LabError where these are of something else."""

    def number(name: str) -> float:
        found = re.search(rf"^{name}:\s+([0-9.]+)", report, re.MULTILINE)
        return float(found[1]) if found else 0.0

    if not number("Time taken for tests"):
        raise LabError("the report of ab has no time taken: expected ApacheBench 2.3")
    complete, refused = int(number("Complete requests")), int(number("Non-2xx responses"))
    failed = {kind: int(count) for kind, count in re.findall(r"(\w+): (\d+)[,)]", report)}
    first_length, other_length = int(number("Document Length")), failed.get("Length", 0)
    odd = min(complete - refused, max(broken_count, _odd(complete, refused, first_length, other_length)))
    nothing_came = not refused and int(number("HTML transferred")) == first_length * (complete - odd)
    broken = odd if nothing_came or not first_length else min(odd, broken_count)
    answered = complete - refused - odd
    # Those that it noticed in another way are partly the same, and partly such whose request it made once more.
    broken = max(broken, failed.get("Exceptions", 0) + failed.get("Receive", 0))
    kinds = {
        "not 2xx": refused,
        "other length": odd - min(odd, broken),
        "connection broken": broken,
        "not connected": failed.get("Connect", 0),
    }
    errors, left = dict[str, int](), complete
    for kind, count in kinds.items():
        if counted := min(count, left):
            errors[kind] = counted
            left -= counted
    if keep_alive and not errors and (ended := complete - int(number("Keep-Alive requests"))):
        errors["not kept alive"] = ended
    latencies = _latencies(centiles, answered) if answered else ()
    return Load(complete, answered, number("Time taken for tests"), latencies, errors, cpu_s)


def _odd(complete: int, refused: int, first_length: int, other_length: int) -> int:
    """How many of the complete requests have neither a refusal nor an answer as long as it should be.

    `ab` takes the length of its first answer for that of all. Where nothing came to the first, the others are those
    with an answer. Where it was a refusal, those that were answered are of another length.
    """
    if not first_length:
        return complete - other_length
    first_was_refused = refused and (other_length == complete - refused or other_length > complete - refused >= refused)
    return 0 if first_was_refused else max(0, other_length - refused)


def _latencies(centiles: str, answered: int) -> tuple[float, ...]:
    """As many latencies between each percentile and the next. A hundred percentiles alone would have the slowest
    request stand for every hundredth, so of several parts the highest 99th percentile would be that of all."""
    try:
        found = [float(milliseconds) for _, milliseconds in list(csv.reader(centiles.splitlines()))[1:]]
    except ValueError:
        raise LabError("the percentiles of ab are no table of two columns: expected ApacheBench 2.3") from None
    # With 50 requests or fewer ab reads one beyond its last for the highest of them.
    found = [min(one, found[-1]) for one in found]
    even = [step / STEPS for step in range(1, STEPS + 1)]
    # The slowest hundredth thins out as that of an exponential distribution does, whose slowest is one of so many.
    slowest_count = answered / 100
    tail = [-math.log(1 - one + 1 / slowest_count, slowest_count) for one in even] if slowest_count > STEPS else even
    return tuple(
        before + (after - before) * share
        for at, (before, after) in enumerate(pairwise(found), 1)
        for share in (tail if at == len(found) - 1 else even)
    )
