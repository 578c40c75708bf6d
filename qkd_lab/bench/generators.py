"""The load generators, programs in C: `ab` for requests that are all the same, `curl` where each names other keys."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from qkd_lab.bench.ab_report import BROKEN_TO_AB, read_ab
from qkd_lab.bench.cells import Load
from qkd_lab.lab_folder import LabError
from qkd_lab.testing.handles import Sae

PACKAGES = {"ab": "apache2-utils", "curl": "curl"}
ANSWER_WITHIN_S = 60


def find(program: str) -> str:
    """Its path. Raises LabError that names the package."""
    if (path := shutil.which(program)) is None:
        raise LabError(f"{program} is not installed: it is in the package {PACKAGES[program]} of Debian and others")
    return path


def ab(
    url: str, sae: Sae, folder: Path, *, clients: int, request_count: int, keep_alive: bool, body: bytes | None = None
) -> Load:
    """`request_count` times the same request. `folder` is private and temporary: ab wants certificate and key in one
    file. It does not verify the server, which costs a client a little and the server nothing."""
    pem, centiles, posted = (folder / name for name in ("client.pem", "centiles.csv", "body"))
    pem.touch(mode=0o600)
    pem.write_text(Path(sae.cert).read_text() + Path(sae.key).read_text())
    command = [find("ab"), "-q", "-r", "-s", str(ANSWER_WITHIN_S), "-n", str(request_count), "-c", str(clients)]
    command += ["-E", str(pem), "-e", str(centiles), *(["-k"] if keep_alive else [])]
    if body is not None:
        posted.write_bytes(body)
        command += ["-p", str(posted), "-T", "application/json"]
    centiles.unlink(missing_ok=True)  # of the measurement before
    done, _, cpu_s = _run([*command, url])
    if done.returncode:
        raise _gave_up(done, url)
    if not centiles.exists():
        raise LabError(
            f"ab wrote no file of percentiles (its option -e) at {url}: expected ApacheBench 2.3, and answers"
        )
    return read_ab(done.stdout, centiles.read_text(), cpu_s, keep_alive, done.stderr.count(BROKEN_TO_AB))


def _gave_up(done: subprocess.CompletedProcess[str], url: str) -> LabError:
    """`done.args` begins with the program, or with what started it."""
    program = next(Path(word).name for word in done.args if Path(word).name in PACKAGES)
    said = [line for line in done.stderr.splitlines() if line.strip()]
    ended = f"exit status {done.returncode}" if done.returncode > 0 else f"killed by signal {-done.returncode}"
    return LabError(f"{program} gave up at {url} ({ended}): {said[-1] if said else 'it says nothing'}")


def curl(url: str, sae: Sae, bodies: Sequence[bytes], *, clients: int, keep_alive: bool) -> Load:
    """One POST for each of `bodies`. Its time is that of the whole program, which reads what it is to do first."""
    options = {
        "url": url,
        **{name: _escaped(path) for name, path in (("cert", sae.cert), ("key", sae.key), ("cacert", sae.ca))},
        "header": "Content-Type: application/json",
        "output": "/dev/null",
        "write-out": r"%{http_code} %{exitcode} %{time_total}\n",
        "max-time": str(ANSWER_WITHIN_S),
    }
    every = "".join(f'{name} = "{value}"\n' for name, value in options.items()) + "http1.1\n"
    if not keep_alive:
        every += 'header = "Connection: close"\nno-sessionid\n'  # a whole handshake each time, as ab makes it
    requests = "next\n".join(f'{every}data = "{_escaped(body.decode())}"\n' for body in bodies)
    # On standard input, not in a file or an argument. With -q no settings of the user's.
    command = [find("curl"), "-q", "--no-progress-meter", "--noproxy", "*", "--parallel", "--parallel-immediate"]
    done, elapsed_s, cpu_s = _run([*command, "--parallel-max", str(clients), "--config", "-"], requests)
    # With another exit status than 0 curl also ends where one of its requests failed, which its line tells.
    if done.returncode < 0 or (done.returncode and not done.stdout):
        raise _gave_up(done, url)
    return read_curl(done.stdout, len(bodies), elapsed_s, cpu_s)


def _escaped(text: str) -> str:
    """As it stands between quotation marks in a configuration of curl's."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def read_curl(report: str, expected_count: int, elapsed_s: float, cpu_s: float) -> Load:
    """`report`: status, exit status and seconds of each request, a line each."""
    rows = [line.split() for line in report.splitlines()]
    kinds = [f"curl {failed}" if failed != "0" else status for status, failed, _ in rows]
    answered = [1000 * float(seconds) for kind, (*_, seconds) in zip(kinds, rows, strict=True) if kind.startswith("2")]
    errors = {kind: count for kind, count in Counter(kinds).items() if not kind.startswith("2")}
    if missing := expected_count - len(rows):
        errors["not made"] = missing
    return Load(len(rows), len(answered), elapsed_s, tuple(answered), errors, cpu_s)


def _run(command: list[str], text: str | None = None) -> tuple[subprocess.CompletedProcess[str], float, float]:
    """What it printed, how long it took, and for how long a processor was at work for it."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    if setpriv := shutil.which("setpriv"):  # else a generator whose bench was killed would go on for hours
        command = [setpriv, "--pdeathsig", "KILL", *command]
    done = subprocess.run(command, input=text, capture_output=True, text=True, errors="replace")
    elapsed_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, elapsed_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def dec_keys_body(key_ids: Sequence[str]) -> bytes:
    return json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}, separators=(",", ":")).encode()


def enc_keys_body(number: int) -> bytes:
    return json.dumps({"number": number}).encode()


def versions() -> Mapping[str, str]:
    """The first line that each says of itself. Raises LabError where one is not there, or says nothing."""
    return {name: _version(name) for name in PACKAGES}


def _version(program: str) -> str:
    path = find(program)
    try:
        done = subprocess.run([path, "-V"], capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise LabError(f"{path} can't be run: {error.strerror}, expected the one of {PACKAGES[program]}") from None
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        raise LabError(
            f"{path} -V ended with exit status {done.returncode} and {len(lines)} lines: expected the version of the "
            f"{program} in the package {PACKAGES[program]}"
        )
    return lines[0].split(" <", 1)[0]
