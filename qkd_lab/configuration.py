"""How the settings of the processes (`qkd_lab.setting_tables`) are read.

A KME's settings stand in the `[kme]` table of the topology file, for all KMEs of the network; `QKD_KME_<NAME>` in the
environment of one process goes before it. What is wrong is said all at once. Read by the services too, so nothing but
the standard library is imported here. docs/configuration.md is made from this (`qkd_lab.configuration_page`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from qkd_lab.setting_tables import ENVIRONMENT, FAULTS, KME, Setting

PREFIX = "QKD_"
KME_PREFIX = "QKD_KME_"


class ConfigurationError(Exception):
    """What is configured can't be used: a line for each thing that is wrong."""


@dataclass(frozen=True)
class Value:
    """A setting's effective value, and where it is from: `default`, `file` or the variable's name."""

    setting: Setting
    value: Any
    source: str


def variable(setting: Setting) -> str:
    """The name of a KME's setting in the environment."""
    return KME_PREFIX + setting.name.upper()


def environment(environ: Mapping[str, str], problems: list[str], *, of_process: bool = True) -> dict[str, Value]:
    """The environment's settings by name. What is wrong is added to `problems`; `of_process`: whether what a process
    needs must be there."""
    problems += _unknown(
        (name for name in environ if name.startswith(PREFIX)),
        [setting.name for setting in ENVIRONMENT] + [variable(setting) for setting in (*KME, *FAULTS)],
    )
    found = {}
    for setting in ENVIRONMENT:
        text = environ.get(setting.name, "")
        if not text and setting.required and of_process:
            problems.append(f"{setting.name} is not set: expected {setting.expected}")
        found[setting.name] = _value(setting, setting.name, text, Value(setting, setting.default, "default"), problems)
    return found


def read(name: str, environ: Mapping[str, str]) -> Any:
    """One of the environment's settings. Raises ConfigurationError where it is not as expected."""
    problems: list[str] = []
    setting = next(one for one in ENVIRONMENT if one.name == name)
    found = _value(setting, name, environ.get(name, ""), Value(setting, setting.default, "default"), problems)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return found.value


def kme_settings(table: Mapping[str, Any], environ: Mapping[str, str], problems: list[str]) -> dict[str, Value]:
    """A KME's settings by name, its faults among them, from the file's `[kme]` table and the environment."""
    problems += section_problems(table)
    found = {}
    for setting in (*KME, *FAULTS):
        before = Value(setting, setting.default, "default")
        if setting.name in table:
            before = Value(setting, table[setting.name], "file")
        name = variable(setting)
        found[setting.name] = _value(setting, name, environ.get(name, ""), before, problems)
    return found


def section_problems(table: Mapping[str, Any]) -> list[str]:
    """What is wrong with a file's `[kme]` table."""
    known = {setting.name: setting for setting in (*KME, *FAULTS)}
    problems = [f"table kme, key {problem}" for problem in _unknown(table, list(known))]
    for name, value in table.items():
        if name in known and not known[name].fits(value):
            problems.append(f"table kme, key {name}: expected {known[name].expected}, got {shown(value)}")
    return problems


def shown(value: Any) -> str:
    """A value of a file, for a message."""
    try:
        text = repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits; TOML has them, in hexadecimal
        return "a huge number"
    return text if len(text) <= 100 else f"{text[:100]}..."


def check(environ: Mapping[str, str]) -> None:
    """Raises ConfigurationError where the environment has what no process could use."""
    problems: list[str] = []
    environment(environ, problems, of_process=False)
    kme_settings({}, environ, problems)
    if problems:
        raise ConfigurationError("\n".join(problems))


def _value(setting: Setting, name: str, text: str, before: Value, problems: list[str]) -> Value:
    """An empty variable is one that is not set."""
    if not text:
        return before
    value = setting.parsed(text)
    if not setting.fits(value):
        problems.append(f"{name} is {text!r}: expected {setting.expected}")
        return before
    return Value(setting, value, name)


def _unknown(names: Iterable[str], known: list[str]) -> list[str]:
    endings = {name.removeprefix(KME_PREFIX).removeprefix(PREFIX): name for name in known}
    problems = []
    for name in names:
        if name not in known:
            # What all names begin with says nothing about which one was meant.
            close = difflib.get_close_matches(name.removeprefix(KME_PREFIX).removeprefix(PREFIX), endings, 1)
            hint = f"did you mean {endings[close[0]]}?" if close else "docs/configuration.md has all there are"
            problems.append(f"{name} is unknown: {hint}")
    return problems
