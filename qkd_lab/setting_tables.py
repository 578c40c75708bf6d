"""Every setting of the processes: one table of the environment's, one of a KME's, one of its faults on purpose.

`qkd_lab.configuration` reads them, and docs/configuration.md is made of them. Read by the services too, so nothing but
the standard library is imported here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

SERVICES, KMES, COMMAND, TESTS = "every process", "KME and scheduler", "`qkd-lab`", "the tests"


@dataclass(frozen=True)
class Setting:
    """`kind` is bool, int, float or str; `least` and `most` bound a number, `choices` a text. Where `read_by` a
    process, `required` means that it does not start without it."""

    name: str
    kind: type
    default: Any
    meaning: str
    read_by: str
    least: float | None = None
    most: float | None = None
    choices: tuple[str, ...] = ()
    required: bool = False

    @property
    def expected(self) -> str:
        """In words, for messages and the page."""
        if self.choices:
            return " or ".join(self.choices)
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "a text"
        least, most = (int(bound) if bound == int(bound) else bound for bound in (self.least, self.most))
        return f"{'an integer' if self.kind is int else 'a number'} from {least} to {most}"

    def fits(self, value: Any) -> bool:
        """Whether a value is of the kind and in the range. A boolean is no number; an integer is a number too."""
        if self.kind is bool or isinstance(value, bool):
            return self.kind is bool and isinstance(value, bool)
        if self.kind is str:
            return isinstance(value, str) and (not self.choices or value in self.choices)
        numbers = int if self.kind is int else int | float
        return isinstance(value, numbers) and self.least <= value <= self.most  # which no NaN is

    def parsed(self, text: str) -> Any:
        """A value of the environment; the text itself where it is none of the kind, which `fits` then says."""
        if self.kind is bool:
            return {"true": True, "false": False}.get(text.lower(), text)
        if self.kind is str:
            return next((choice for choice in self.choices if choice.lower() == text.lower()), text)
        form = r"[+-]?[0-9]{1,18}" if self.kind is int else r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?"
        return self.kind(text) if re.fullmatch(form, text) else text


def _path(name: str, meaning: str) -> Setting:
    return Setting(name, str, None, meaning, SERVICES, required=True)


ENVIRONMENT = (
    _path("QKD_PROCESS", "The process's name in the address book, for example `kme-a-scheduler`."),
    _path("QKD_TOPOLOGY", "The topology file."),
    _path("QKD_ADDRESSES", "The address book, `.lab/addresses.json`."),
    _path("QKD_PKI", "The folder with the process's certificates."),
    _path("QKD_SECRETS", "The folder with the process's secrets: one file each, never a variable."),
    _path("QKD_STATE", "The folder for what the process must not lose."),
    Setting(
        "QKD_ALSO_AT",
        str,
        "",
        "More names of this host to listen at, `listener=host` with blanks between, for example `sae=kme-a.host`.",
        SERVICES,
    ),
    Setting(
        "QKD_KEYS",
        str,
        "",
        "The folder that holds the folders of key files, by link and site; by default `keys` in QKD_STATE.",
        SERVICES,
    ),
    Setting(
        "QKD_CRLS",
        str,
        "",
        "The folder with the authorities' revocation lists; by default `crl` beside QKD_PKI.",
        SERVICES,
    ),
    Setting(
        "QKD_DETOURS",
        str,
        "",
        "A file of addresses to dial instead of those in the address book, in the same form: for proxies of tests.",
        SERVICES,
    ),
    *(
        Setting(f"QKD_{name}_TIMEOUT_S", float, default, meaning, SERVICES, 0.1, 3_600)
        for name, default, meaning in (
            ("HANDSHAKE", 10.0, "How long a client has for the TLS handshake, in s, from when it connects."),
            ("IDLE", 75.0, "How long a connection is kept between two requests."),
            ("REQUEST", 20.0, "How long a request may take to arrive, from its first byte to its last; then 408."),
            ("ANSWER", 30.0, "How long a client may take to receive an answer."),
        )
    ),
    Setting(
        "QKD_MAX_CONNECTIONS",
        int,
        2_000,
        "Connections that a listener has in each worker. Where it is full, whoever has most there loses the oldest.",
        SERVICES,
        1,
        100_000,
    ),
    Setting(
        "QKD_LOG_FORMAT",
        str,
        "text",
        "How a log line is written: for people, or as a JSON object for programs.",
        SERVICES,
        choices=("text", "json"),
    ),
    Setting(
        "PROMETHEUS_MULTIPROC_DIR",
        str,
        "",
        "The folder in which the workers of one process count together; it is emptied at the start. Several need one.",
        SERVICES,
    ),
    Setting(
        "QKD_SEED",
        int,
        None,
        "The same key bits at every run, for tests: whoever knows it knows every key.",
        "QKDE",
        0,
        2**31 - 1,
    ),
    Setting(
        "QKD_WORKERS",
        int,
        2,
        "Worker processes of a KME's server (docs/replicas.md); 1 where it has no folder to count together in.",
        "KME",
        1,
        16,
    ),
    Setting(
        "QKD_LOG_LEVEL",
        str,
        "INFO",
        "What is logged. `qkd-lab` itself shows where a fault is at `DEBUG`.",
        f"{SERVICES}, {COMMAND}",
        choices=("DEBUG", "INFO", "WARNING", "ERROR"),
    ),
    Setting(
        "QKD_APPENDFSYNC",
        str,
        "always",
        "When Redis writes to disk: `everysec` is faster, and a power failure may lose what was delivered in the last"
        ' second or two, which the witness notices (docs/protocols.md, "Durability").',
        f"{KMES}, {COMMAND}",
        choices=("always", "everysec"),
    ),
    Setting(
        "QKD_LAB_SERVERS",
        str,
        "",
        "`wheels`: the system's database servers are not looked for.",
        COMMAND,
        choices=("wheels",),
    ),
    Setting(
        "QKD_LAB_HOSTS",
        str,
        "",
        "More names and addresses, with blanks between, for the certificates of a new lab's listeners.",
        COMMAND,
    ),
    Setting("QKD_LAB_SERVICES", str, "", "Another package of entry modules than the lab's own.", COMMAND),
    Setting(
        "QKD_LAB_STORES",
        str,
        "embedded",
        "What the stores of integration tests run in.",
        TESTS,
        choices=("embedded", "containers"),
    ),
    Setting("QKD_LAB_DOCKER", str, "", "`required`: tests without a Docker engine fail.", TESTS, choices=("required",)),
    Setting("QKD_LAB_KEEP", str, "", "`1`: what the container tests made is kept.", TESTS, choices=("1",)),
)

_YEAR_S = 366 * 86_400

# The names and defaults are those of `kme.model.KmeSettings`, which is not installed with every process; a test
# compares the two.
KME = (
    Setting(
        "low_watermark",
        float,
        0.5,
        "The part of `max_keys` below which filling a pool starts; it goes on until the pool is full.",
        KMES,
        0.0,
        1.0,
    ),
    Setting(
        "reserve_bits",
        int,
        16_384,
        "Bits kept uncut on each link for keys of other sizes than a connection's own.",
        KMES,
        0,
        1 << 26,
    ),
    Setting("max_batch_key_count", int, 1_000, "The most keys that are cut in one batch.", KMES, 1, 1_000),
    Setting(
        "on_demand_limit",
        int,
        4,
        "Requests of one worker that may wait for the other KME at once, so that others are served.",
        KMES,
        1,
        15,
    ),
    Setting("order_timeout_s", float, 90.0, "How long an order of key at the QKDE may take, in s.", KMES, 1, 3_600),
    Setting(
        "unconfirmed_after_s",
        float,
        60.0,
        "A block that the other KME has not confirmed after so many seconds is given up.",
        KMES,
        1,
        86_400,
    ),
    Setting(
        "pool_ttl_s",
        int,
        86_400,
        "How long a pool keeps a key, where its connection has no `TTL`.",
        KMES,
        1,
        _YEAR_S,
    ),
    Setting(
        "fetch_ttl_s",
        int,
        3_600,
        "How long a key that was given to its master can be fetched by its slaves, at least.",
        KMES,
        1,
        _YEAR_S,
    ),
    Setting("ttl_margin_s", int, 60, "More than two sites' clocks drift apart in a key's life.", KMES, 0, 86_400),
    Setting("closed_kept_s", int, 30 * 86_400, "How long a closed block is known.", KMES, 3_600, _YEAR_S),
    Setting(
        "refusal_window_s",
        float,
        60.0,
        "Refused calls of one kind in so many seconds are one entry of the audit trail.",
        KMES,
        1,
        86_400,
    ),
    Setting(
        "request_patience_s",
        float,
        30.0,
        "Keys cut for one request that is not heard of for so many seconds are voided.",
        KMES,
        1,
        3_600,
    ),
    Setting(
        "missing_file_after_s",
        float,
        3_600.0,
        "A key file that is at one site only is given up after so many seconds.",
        KMES,
        1,
        _YEAR_S,
    ),
    # Of every SAE that has no limits of its own.
    Setting("requests_per_s", int, 0, "Calls an SAE may make per second in the long run; 0: no limit.", KMES, 0, 10**6),
    Setting("request_burst", int, 0, "Calls it may make at once; 0: as many as per second.", KMES, 0, 10**6),
    Setting("bits_per_hour", int, 0, "Key bits it may take in an hour as a master; 0: no limit.", KMES, 0, 10**12),
    Setting("bits_per_day", int, 0, "And in a day.", KMES, 0, 10**12),
)


def _fault(name: str, meaning: str, most: float = 100) -> Setting:
    return Setting(f"fault_{name}", float, 0.0, meaning, "KME", 0, most)


# The rest of their names are those of `kme.faults.Faults`.
FAULTS = (
    _fault("refuse_percentage", "So many of 100 requests get 503, before anything was done."),
    _fault("delay_s", "Answers come so many seconds later than they are ready.", 60),
    _fault("drop_after_delivery_percentage", "After so many of 100 deliveries the connection ends without the answer."),
    _fault("duplicate_reply_percentage", "The octets of so many of 100 answers are sent twice."),
    Setting("fault_empty_pools", bool, False, "Masters get 503, as if there were too few keys.", "KME"),
)
