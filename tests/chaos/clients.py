"""Four clients that use a network all the time: the master and the slave of each direction.

A master takes keys and tells the slave their key_IDs, as an application would; the slave fetches them. What a KME
answers with 503 may have taken place (the store did not answer in time), so it counts as unknown.
"""

from __future__ import annotations

import base64
import queue
import random
import threading
from collections.abc import Sequence

import requests

from history import FAILED, OK, UNKNOWN, History, Operation, digest, now_s

PAUSE_S = 0.1
TIMEOUT_S = (2.0, 8.0)
ATTEMPTS_AFTER_UNKNOWN = 2


class Direction:
    """Keys from one master to one slave, at their KMEs."""

    def __init__(self, lab, master: str, slave: str, kmes: tuple[str, str], history: History, seed: int) -> None:
        self.master, self.slave = master, slave
        self._lab, self._kmes, self._history = lab, kmes, history
        self._told: queue.Queue[tuple[list[str], int]] = queue.Queue()
        self._stopping = threading.Event()
        self._random = random.Random(seed)
        self._sessions = {sae: lab.as_sae(sae) for sae in (master, slave)}
        self._locks = {sae: threading.Lock() for sae in (master, slave)}
        self._threads = [threading.Thread(target=self._repeat, args=(one,)) for one in (self._take, self._fetch)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """No new keys; what was told is fetched, each until an answer comes or it was asked for in vain."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        while not self._told.empty():
            self._fetch()
        for session in self._sessions.values():
            session.close()

    def take(self, count: int) -> Operation:
        """The master takes keys, which the slave will fetch."""
        url = f"{self._lab.endpoint(self._kmes[0])}/api/v1/keys/{self.slave}/enc_keys"
        done = self._ask("master", self.master, self.slave, url, {"number": count}, ())
        if done.outcome == OK:
            self._told.put(([key_id for key_id, _ in done.keys], 0))
        return done

    def _take(self) -> None:
        self.take(self._random.randint(1, 3))

    def _fetch(self) -> None:
        try:
            key_ids, attempts = self._told.get(timeout=PAUSE_S)
        except queue.Empty:
            return
        url = f"{self._lab.endpoint(self._kmes[1])}/api/v1/keys/{self.master}/dec_keys"
        body = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        done = self._ask("slave", self.slave, self.master, url, body, key_ids)
        if done.outcome == UNKNOWN and attempts < ATTEMPTS_AFTER_UNKNOWN:
            self._told.put((key_ids, attempts + 1))

    def _ask(self, role: str, sae: str, other: str, url: str, body: dict, asked: Sequence[str]) -> Operation:
        invoked_s = now_s()
        outcome, status, message = UNKNOWN, None, ""
        keys = tuple((key_id, "") for key_id in asked)
        try:
            with self._locks[sae]:
                answer = self._sessions[sae].post(url, json=body, timeout=TIMEOUT_S)
            status = answer.status_code
            if answer.ok:
                keys = tuple((one["key_ID"], digest(base64.b64decode(one["key"]))) for one in answer.json()["keys"])
                outcome = OK
            else:
                message = answer.text[:200]
                outcome = UNKNOWN if status == 503 else FAILED
        except (requests.RequestException, ValueError) as error:
            message = type(error).__name__
        done = Operation(role, sae, other, invoked_s, now_s(), outcome, status, message, keys)
        self._history.add(done)
        return done

    def _repeat(self, step) -> None:
        while not self._stopping.wait(PAUSE_S):
            step()
