"""Clients that use a network all the time: the master and the slave of each direction, and one who has no right to.

A master takes keys and tells the slave their key_IDs, as an application would; the slave fetches them. What a KME
answers with 503 may have taken place (the store did not answer in time), so it counts as unknown, but where it says
that there were too few keys.
"""

from __future__ import annotations

import base64
import random
import threading
import time
from collections import deque
from collections.abc import Sequence

import requests

from history import FAILED, MASTER, OK, SLAVE, UNKNOWN, History, Operation, digest, now_s

# Between two requests of one client; the second while pools are to fill again. Whether more is made than such clients
# take is a question of the machine, and not of recovery.
PAUSE_S, EASY_PAUSE_S = 0.1, 0.5
TIMEOUT_S = (2.0, 8.0)
# A key that its slave has, or was refused, is asked for once more: nobody may get it. So often, of all that come.
ASKED_AGAIN, TRIED_BY_INTRUDER = 0.25, 0.15
# What an answer may take once all is well again, before the slave gives up on a key.
LAST_ANSWER_WITHIN_S = 60.0


class Direction:
    """Keys from one master to one slave, at their KMEs; `intruder` lives at the slave's KME and is not entitled."""

    def __init__(
        self, lab, master: str, slave: str, kmes: tuple[str, str], history: History, seed: int, intruder: str = ""
    ) -> None:
        self.master, self.slave, self.intruder = master, slave, intruder
        self._lab, self._kmes, self._history = lab, kmes, history
        self.pause_s = PAUSE_S
        self._told: deque[list[str]] = deque()
        self._stopping = threading.Event()
        self._random = {role: random.Random(f"{seed} {role}") for role in (MASTER, SLAVE)}
        self._sessions: dict[str, requests.Session] = {}
        self._locks = {sae: threading.Lock() for sae in (master, slave, intruder)}
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in (self._take, self._fetch)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new keys; what was told is fetched, each until an answer comes."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        until = time.monotonic() + LAST_ANSWER_WITHIN_S
        while self._told and time.monotonic() < until:
            self._fetch()
        for session in self._sessions.values():
            session.close()

    def take(self, count: int) -> Operation:
        """The master takes keys, which the slave will fetch."""
        url = f"{self._lab.endpoint(self._kmes[0])}/api/v1/keys/{self.slave}/enc_keys"
        done = self._ask(MASTER, self.master, self.slave, url, {"number": count}, (), count)
        if done.outcome == OK:
            key_ids = [key_id for key_id, _ in done.keys]
            if self.intruder and self._random[MASTER].random() < TRIED_BY_INTRUDER:
                self.fetch(self.intruder, key_ids[:1])
            self._told.append(key_ids)
        return done

    def fetch(self, sae: str, key_ids: Sequence[str]) -> Operation:
        url = f"{self._lab.endpoint(self._kmes[1])}/api/v1/keys/{self.master}/dec_keys"
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        return self._ask(SLAVE, sae, self.master, url, body, key_ids, len(key_ids))

    def _take(self) -> None:
        self.take(self._random[MASTER].randint(1, 3))

    def _fetch(self) -> None:
        if not self._told:
            return
        key_ids = self._told.popleft()
        outcome = self.fetch(self.slave, key_ids).outcome
        if outcome == UNKNOWN:
            self._told.append(key_ids)
        elif self._random[SLAVE].random() < ASKED_AGAIN:
            self.fetch(self.slave, key_ids[:1])

    def _ask(
        self, role: str, sae: str, other: str, url: str, body: dict, asked: Sequence[str], count: int
    ) -> Operation:
        invoked_s = now_s()
        outcome, status, message = UNKNOWN, None, ""
        keys = tuple((key_id, "") for key_id in asked)
        try:
            with self._locks[sae]:
                answer = self._session(sae).post(url, json=body, timeout=TIMEOUT_S)
            status = answer.status_code
            if answer.ok:
                keys = tuple((one["key_ID"], digest(base64.b64decode(one["key"]))) for one in answer.json()["keys"])
                outcome = OK
            else:
                message = answer.text[:200]
                outcome = UNKNOWN if status >= 500 and "too few keys" not in message else FAILED
        except (requests.RequestException, ValueError) as error:
            message = type(error).__name__
        done = Operation(role, sae, other, invoked_s, now_s(), outcome, status, message, keys, count)
        self._history.add(done)
        return done

    def _session(self, sae: str) -> requests.Session:
        if sae not in self._sessions:
            self._sessions[sae] = self._lab.as_sae(sae)
        return self._sessions[sae]

    def _repeat(self, step) -> None:
        while not self._stopping.wait(self.pause_s):
            step()
