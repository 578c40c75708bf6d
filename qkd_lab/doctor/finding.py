"""One thing that was looked at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """`check` is what was looked at, of few: python, servers, disk, ports, certificates, processes, databases, peers,
    clocks, versions, pools, links, witness, account. `hint`: what to do, where it is not good."""

    check: str
    good: bool
    text: str
    hint: str = ""
