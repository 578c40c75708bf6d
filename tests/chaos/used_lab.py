"""A running network as the tests of faults see it, beyond what every test of a lab needs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qkd_lab.topology import SHIPPED

from running_lab import Lab

POOL_KEYS = 64
LOW_WATERMARK = POOL_KEYS // 2
KMES = ("kme-a", "kme-b")


def small_topology() -> str:
    """The shipped lab with shorter rounds and smaller pools, so that a fault meets each step of a key's way soon."""
    text = (SHIPPED / "two-sites.toml").read_text()
    for before, after in (("pulses_per_frame = 1048576", "pulses_per_frame = 262144"),
                          ("max_keys = 1000", f"max_keys = {POOL_KEYS}"),
                          ("max_keys_per_request = 128", f"max_keys_per_request = {POOL_KEYS}")):  # fmt: skip
        assert before in text
        text = text.replace(before, after)
    return text


@dataclass(frozen=True)
class UsedLab(Lab):
    def state(self) -> dict[str, Any]:
        """What its supervisor says of its processes."""
        return json.loads((self.folder / ".lab" / "state.json").read_text())

    def log(self, process: str) -> str:
        return (self.folder / ".lab" / "log" / f"{process}.log").read_text(errors="replace")

    def said(self) -> dict[Path, int]:
        """How long each log is by now, for `said_since`."""
        return {path: path.stat().st_size for path in sorted((self.folder / ".lab" / "log").glob("*.log"))}

    def said_since(self, said: dict[Path, int]) -> str:
        texts = {path: path.read_bytes()[length:].decode(errors="replace") for path, length in said.items()}
        return "\n".join(f"{path.name}:\n{text}" for path, text in texts.items() if text)

    def status(self, kme: str) -> dict[str, Any]:
        """As an operator is told."""
        with self.as_operator() as operator:
            return operator.get(f"{self.endpoint(f'{kme}.ops')}/v1/status", timeout=5).json()

    def block_ids(self) -> set[str]:
        """Of the rounds that gave a key, as far as the KMEs remember and can be asked."""
        found = set()
        for kme in KMES:
            try:
                links = self.status(kme).get("links", [])
            except (OSError, ValueError):
                continue
            found |= {one["block_id"] for link in links for one in link["last_reports"] if one["outcome"] == "key"}
        return found

    def are_pools_filled(self) -> bool:
        try:
            return all(
                self.stored_key_count(master, slave, kme) >= LOW_WATERMARK
                for master, slave, kme in (("sae-a", "sae-b", "kme-a"), ("sae-b", "sae-a", "kme-b"))
            )
        except OSError:
            return False
