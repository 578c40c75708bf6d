"""What may be said of a test's network: each argument is looked at before anything starts, and named if it is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qkd_lab import configuration
from qkd_lab.setting_tables import ENVIRONMENT
from qkd_lab.testing.described import Description
from qkd_lab.topology import SHIPPED, TopologyError, read
from qkd_lab.topology_fields import KEY_SIZE_BITS, MAX_KEYS

SEED = next(setting for setting in ENVIRONMENT if setting.name == "QKD_SEED")
WORKERS = "QKD_WORKERS"
_OF_EACH_PROCESS = {setting.name for setting in ENVIRONMENT if setting.required}


def texts(name: str, value: Any) -> tuple[str, ...]:
    """A list or tuple; a set has no order, and a text would be taken for its letters."""
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError(f"{name}: expected a list of texts, as ['a', 'b'], got {value!r}")


def texts_by_site(name: str, value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected lists of texts by site, as {{'a': ['x', 'y']}}, got {value!r}")
    return {site: texts(f"{name}[{site!r}]", value[site]) for site in value}


def integer(name: str, value: Any, allowed: Sequence[int]) -> int:
    """`allowed`: a range."""
    if isinstance(value, int) and not isinstance(value, bool) and value in allowed:
        return value
    steps = "an integer" if not isinstance(allowed, range) or allowed.step == 1 else f"a multiple of {allowed.step}"
    raise ValueError(f"{name}: expected {steps} from {allowed[0]} to {allowed[-1]}, got {value!r}")


def seconds(name: str, value: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    raise ValueError(f"{name}: expected a number of seconds, 0 or more, got {value!r}")


def yes_or_no(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError(f"{name}: expected True or False, got {value!r}")


def _topology_text(topology: Any) -> str:
    """Of a TOML file, or of a shipped one by its name; a file of that name goes before."""
    shipped = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml")))
    if not isinstance(topology, str | Path):
        raise ValueError(f"topology: expected the path of a TOML file, or one of {shipped}, got {topology!r}")
    named = SHIPPED / f"{topology}.toml"
    file = named if named.exists() and not Path(topology).exists() else Path(topology)
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no text"
        raise ValueError(
            f"topology: {topology} can't be read ({why}): expected a TOML file, or one of {shipped}"
        ) from None


def described_or(topology: Any, described: Mapping[str, Any]) -> str:
    """The text of the network's topology file: that of `topology`, or what `described`, arguments of `Description`,
    make."""
    if topology is None:
        return description(described).to_toml()
    if described:
        raise ValueError(f"topology: it says all of this: leave {', '.join(described)} out")
    return _topology_text(topology)


def description(given: Mapping[str, Any]) -> Description:
    checks = {
        "sites": texts,
        "saes": texts_by_site,
        "links": texts,
        "key_size_bits": partial(integer, allowed=KEY_SIZE_BITS),
        "max_keys": partial(integer, allowed=MAX_KEYS),
        "fast": yes_or_no,
    }
    return Description(**{name: checks[name](name, value) for name, value in given.items()})


def prefilled(count: Any, topology: str) -> int:
    """`topology`: a file's text. Raises ValueError for what is wrong in it, too."""
    try:
        connections = read(topology, "network").connections
    except TopologyError as error:
        raise ValueError("\n".join(dict.fromkeys(f"topology: {line}" for line in str(error).splitlines()))) from None
    integer("prefilled", count, range(MAX_KEYS[-1] + 1))
    for one in connections:
        if count > one.max_keys:
            pool = f"{one.master} → {one.slave}"
            raise ValueError(f"prefilled: {count} keys don't fit in a pool of {one.max_keys} (max_keys of {pool})")
    return count


def settings(environment: Any, seed: int | None, inherited: Mapping[str, str]) -> dict[str, str]:
    """What the network's processes get beside `inherited`, which is looked at, too."""
    if environment is not None and not isinstance(environment, Mapping):
        raise ValueError(f"environment: expected texts by name, as {{'QKD_WORKERS': '2'}}, got {environment!r}")
    found = dict(environment or {})
    for name, value in found.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise ValueError(f"environment: {name!r} is no name of a variable")
        if not isinstance(value, str) or "\0" in value:
            raise ValueError(f"environment[{name!r}]: expected a text, got {value!r}")
        if name in _OF_EACH_PROCESS:
            raise ValueError(f"environment: {name} is another for each process of the network: leave it out")
    if not inherited.get(WORKERS):
        found.setdefault(WORKERS, "1")  # a test asks for little at once, and there may be many networks
    if seed is not None:
        if SEED.name in found:
            raise ValueError(f"seed: it is in the environment, too, as {SEED.name}: leave one of them out")
        found[SEED.name] = str(integer("seed", seed, range(int(SEED.least or 0), int(SEED.most or 0) + 1)))
    problems: list[str] = []
    together = {**inherited, **found}
    configuration.environment(together, problems, of_process=False)
    configuration.kme_settings({}, together, problems)
    if problems:
        raise ValueError(f"environment: {'; '.join(dict.fromkeys(problems))}")
    return found
