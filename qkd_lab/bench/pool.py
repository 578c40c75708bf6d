"""A connection of the bench's own: two SAEs that nobody else is, and a pool that is filled when it is told to."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from urllib.parse import quote

from kme.errors import KmeError
from qkd_lab.bench.cells import MOST_KEYS_AT_A_TIME
from qkd_lab.lab_folder import LabError
from qkd_lab.operator_calls import Operator
from qkd_lab.pki.store import Pki
from qkd_lab.private_files import write_private
from qkd_lab.testing.handles import Kme, Sae
from qkd_lab.topology import Link
from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import Etsi014Client, KmeRefused, KmeUnreachable

KEY_SIZE_BITS = 256
MOST_KEYS = 100_000  # of a pool, docs/protocols.md
# Filling begins below half (the low watermark), so that what is missing up to half can always be had.
MOST_KEYS_AT_ONCE = MOST_KEYS // 2
POLL_S = 0.2
PROGRESS_WITHIN_S = 90.0
UNEXPECTED = (KmeError, KmeRefused, KmeUnreachable, MalformedAnswer)
BLOCK_BYTES = 1 << 17  # of a key file, docs/other-doors.md


class Pool:
    """`capacity`: keys that it has when it is full. As a context manager: nothing of it is left afterwards, and what a
    KME or its store refused in between is a LabError.

    Key files are its supply where the link is fed by files, BB84 alone where it is a quantum link.
    """

    def __init__(self, operator: Operator, link: Link, capacity: int, say: Callable[[str], None]) -> None:
        name = f"bench-{secrets.token_hex(4)}"
        self._operator = operator
        self.lab = operator.lab
        self.link = link
        self._capacity = min(MOST_KEYS, max(capacity, 4 * MOST_KEYS_AT_A_TIME))
        self._say = say
        self._sites = {f"{name}-master": link.alice, f"{name}-slave": link.bob}
        self.master, self.slave = (self._sae(sae_id) for sae_id in self._sites)
        self.connection_id = ""
        self._file_names: list[str] = []

    def __enter__(self) -> Pool:
        for sae in (self.master, self.slave):
            self.check(sae)  # before anything is made that would have to go again
        try:
            for sae in (self.master, self.slave):
                Pki(self._operator.lab.pki, datetime.now(UTC)).issue_sae(sae.id, self._sites[sae.id])
                self._operator.call(sae.kme.id, "POST", "/v1/saes", {"sae_id": sae.id})
            body = {
                "source_KME_ID": self.master.kme.id,
                "target_KME_ID": self.slave.kme.id,
                "master_SAE_ID": self.master.id,
                "slave_SAE_ID": self.slave.id,
                "key_size": KEY_SIZE_BITS,
                "max_keys_count": MOST_KEYS_AT_A_TIME,
                "max_key_per_request": MOST_KEYS_AT_A_TIME,
                "max_SAE_ID_count": 0,
            }
            found = self._operator.call(self.master.kme.id, "POST", "/register_connection", body)
            self.connection_id = found["connection_id"]
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._remove()
        if isinstance(error, UNEXPECTED):
            raise LabError(f"the bench ended early: {error}") from None

    @property
    def most_at_once(self) -> int:
        """So many keys there are again whenever they are wanted."""
        return self._capacity // 2

    def check(self, sae: Sae) -> None:
        """Raises LabError where its KME is not well."""
        self._operator.call(sae.kme.id, "GET", "/healthz")

    def fill(self, count: int) -> None:
        """Returns when there are `count` keys, and nobody cuts more for this connection. Raises LabError."""
        if self.stored_key_count() >= count:
            return
        self.open()
        self._say(f"filling the pool with {self._capacity:,} keys")
        stored, until = -1, 0.0
        while stored < self._capacity:
            if (now_stored := self.stored_key_count()) > stored:
                stored, until = now_stored, time.monotonic() + PROGRESS_WITHIN_S
            if time.monotonic() > until:
                raise LabError(
                    f"the pool of the bench has {stored:,} of {self._capacity:,} keys and has got no more for "
                    f"{PROGRESS_WITHIN_S:.0f} s: `qkd-lab status` shows link {self.link.name}"
                )
            time.sleep(POLL_S)
        self._allow(MOST_KEYS_AT_A_TIME)

    def open(self) -> None:
        """Lets the scheduler keep the pool full, from below half of its capacity."""
        if not self.link.is_quantum:
            self._bring_key_file(self._capacity)
        self._allow(self._capacity)

    def stored_key_count(self) -> int:
        path = f"/v1/connections/{self.connection_id}"
        return self._operator.call(self.master.kme.id, "GET", path)["stored_key_count"]

    def take_key_ids(self, count: int) -> list[str]:
        """Ids of keys that the master has taken now."""
        found: list[str] = []
        with self.client(self.master) as client:
            while missing := count - len(found):
                keys = client.enc_keys(self.slave.id, min(missing, MOST_KEYS_AT_A_TIME)).keys
                found += [key.key_id for key in keys]
        return found

    def client(self, sae: Sae) -> Etsi014Client:
        return Etsi014Client(sae.kme.url, sae.cert, sae.key, sae.ca, sae.kme.id)

    @property
    def enc_keys_url(self) -> str:
        return f"{self.master.kme.url}/api/v1/keys/{self.slave.id}/enc_keys"

    @property
    def dec_keys_url(self) -> str:
        return f"{self.slave.kme.url}/api/v1/keys/{self.master.id}/dec_keys"

    def _sae(self, sae_id: str) -> Sae:
        kme_id = self._operator.topology.site(self._sites[sae_id]).kme_id
        folder = self._operator.lab.identity(sae_id)
        files = (str(folder / f"{part}.pem") for part in ("cert", "key", "ca"))
        return Sae(sae_id, Kme(kme_id, self._operator.endpoints[kme_id]), *files)

    def _allow(self, count: int) -> None:
        """How many keys the scheduler may store; those that are there stay."""
        path = f"/v1/connections/{self.connection_id}"
        self._operator.call(self.master.kme.id, "PATCH", path, {"max_keys_count": count}, timeout_s=30.0)

    def _bring_key_file(self, count: int) -> None:
        """The same bits at both sites. The blocks of a file are the two KMEs' in turn, and a connection's keys are cut
        from those of its master's, so twice as many are brought; the rest is the lab's."""
        bits = secrets.token_bytes(2 * count * KEY_SIZE_BITS // 8 + 4 * BLOCK_BYTES)
        self._file_names.append(f"{self.master.id}-{len(self._file_names)}.cor")
        for site in (self.link.alice, self.link.bob):
            write_private(self.link.folder_at(site, self._operator.lab.keys) / self._file_names[-1], bits)

    def _remove(self) -> None:
        left = []
        for sae in (self.master, self.slave):
            try:
                self._operator.call(sae.kme.id, "DELETE", f"/v1/saes/{quote(sae.id, safe='')}", timeout_s=60.0)
            except LabError as error:
                if "not registered" not in str(error):
                    left.append(f"{sae.id} ({error})")
            shutil.rmtree(self._operator.lab.identity(sae.id), ignore_errors=True)
        for name in self._file_names:
            for site in (self.link.alice, self.link.bob):
                with contextlib.suppress(OSError):
                    (self.link.folder_at(site, self._operator.lab.keys) / name).unlink()
        if left:
            self._say(f"left behind, `qkd-lab sae remove` removes them: {', '.join(left)}")
