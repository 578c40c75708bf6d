"""Where a bench keeps its files in a lab; and what an earlier one left that was killed goes when the next begins."""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.private_files import private_folder

SAE_OF_A_BENCH = re.compile(r"bench-[0-9a-f]{8}-(master|slave)")


@contextmanager
def working_folder(operator: Operator, say: Callable[[str], None]) -> Iterator[Path]:
    """A private folder, for as long as a bench works.

    All benches that work on the lab share a lock, which the system takes from one that is killed. So whoever gets it
    alone knows that no other works, and that what benches have made is nobody's any more.
    """
    folder = private_folder(operator.lab.path / "bench")
    with (folder / "lock").open("a") as lock:
        with suppress(BlockingIOError):  # another works: one that begins alone clears away
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _clear(operator, folder, say)
        fcntl.flock(lock, fcntl.LOCK_SH)
        with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as own:
            yield Path(own)


def _clear(operator: Operator, folder: Path, say: Callable[[str], None]) -> None:
    """SAEs with their connections, key files, certificates, temporary files. An SAE has a certificate here for longer
    than it is registered, so that one without is not of this lab folder's benches."""
    for left in folder.glob("run-*"):
        shutil.rmtree(left)
    lab = operator.lab
    found = sorted(path.name for path in lab.pki.glob("bench-*") if SAE_OF_A_BENCH.fullmatch(path.name))
    if not found:
        return
    try:
        for site in operator.topology.sites:
            for sae in operator.call(site.kme_id, "GET", "/v1/saes"):
                if sae["sae_id"] in found:
                    path = f"/v1/saes/{quote(sae['sae_id'], safe='')}"
                    operator.call(site.kme_id, "DELETE", path, timeout_s=60.0)
    except LabError as error:
        say(f"left by a bench that was killed, and still there: {', '.join(found)} ({error})")
        return
    for link in operator.topology.links:
        for site in () if link.is_quantum else (link.alice, link.bob):
            for name in found:
                for file in link.folder_at(site, lab.keys).glob(f"*{name}-*"):
                    file.unlink(missing_ok=True)  # its KME deletes those that it has read
    for name in found:
        shutil.rmtree(lab.identity(name))
    say(f"cleared away what a bench left that was killed: {', '.join(found)}")
