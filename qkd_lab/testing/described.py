"""The topology of a test's network, from what a test says of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# A frame of a quarter of a second's work. Every tenth sifted bit or so is compared, since with few pulses it is their
# count that bounds the key: about 100,000 secret bits a round.
FAST = {
    "physics": {"loss_db": 0.0, "depolarizing": 0.0},
    "protocol": {"pulses_per_frame": 1 << 18, "key_basis_probability": 0.8, "qber_tolerance": 0.03},
}
# As in the shipped network of two sites.
LABORATORY = {"physics": {"loss_db": 1.0, "depolarizing": 0.02}, "protocol": {}}


@dataclass(frozen=True)
class Description:
    """`saes` by site; without them each site has `sae-<site>`. `links` are `a-b`: Alice's site, then Bob's; without
    them (None) each pair of sites has one. Each SAE has a connection to each SAE at the other end of a link."""

    sites: Sequence[str] = ("a", "b")
    saes: Mapping[str, Sequence[str]] | None = None
    links: Sequence[str] | None = None
    key_size_bits: int = 256
    max_keys: int = 1000
    fast: bool = True

    def to_toml(self) -> str:
        """Raises ValueError for a link that is not between two of the sites."""
        saes = {site: tuple((self.saes or {}).get(site, (f"sae-{site}",))) for site in self.sites}
        if unknown := set(self.saes or {}) - set(self.sites):
            raise ValueError(f"saes: {', '.join(sorted(unknown))} is no site; the sites are {', '.join(self.sites)}")
        pairs = (
            [self._pair(name) for name in self.links]
            if self.links is not None
            else list(itertools.combinations(self.sites, 2))
        )
        chosen = FAST if self.fast else LABORATORY
        tables = [_table("", {"name": "testing", "demo_saes": False, "dashboard": False})]
        tables += [_table("[[sites]]", {"name": site, "saes": saes[site]}) for site in self.sites]
        for alice, bob in pairs:
            tables.append(_table("[[links]]", {"name": f"{alice}-{bob}", "alice": alice, "bob": bob}))
            tables += [_table(f"[links.{part}]", values) for part, values in chosen.items() if values]
        sizes = {"key_size_bits": self.key_size_bits, "max_keys": self.max_keys}
        for one, other in pairs:
            for here, there in ((one, other), (other, one)):
                for master, slave in itertools.product(saes[here], saes[there]):
                    tables.append(_table("[[connections]]", {"master": master, "slave": slave, **sizes}))
        return "\n".join(tables)

    def _pair(self, link: str) -> tuple[str, str]:
        for one, other in itertools.permutations(self.sites, 2):
            if link == f"{one}-{other}":
                return one, other
        raise ValueError(f"links: {link!r} is not SITE-SITE of two of the sites {', '.join(self.sites)}")


def _table(header: str, values: Mapping[str, object]) -> str:
    # TOML writes these texts, numbers, booleans and lists as JSON does.
    return "\n".join(filter(None, [header, *(f"{key} = {json.dumps(value)}" for key, value in values.items())])) + "\n"
