"""Two KMEs whose every call, to a store or to each other, can be cut off, lost, repeated, delayed or overtaken.

The KMEs are the real ones over real stores; the wire between them, their QKDEs and the clock are made here. An
*operation* is what the world does to them (`World.run`); during it, each call that either KME makes is counted, and a
`Fault` says what happens at one of them.
"""

from __future__ import annotations

import json as json_text
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from kme.errors import KmeError
from kme.model import Connection
from mutual_tls.app import CALLER
from mutual_tls.client import PeerError, Refused, Reply, Unreachable
from mutual_tls.identity import Identity

from kme_steps import SITES
from protocol_facts import Facts
from protocol_faults import Fault, KmeCrash, Message, Operation, Strikes
from protocol_wire import BLOCK_BITS, Qkde, Wire

KMES = ("kme-a", "kme-b")
POOL_TTL_S, FETCH_TTL_S = 600, 300
SETTINGS = {
    "max_batch_key_count": 3,
    "reserve_bits": 4_096,
    "pool_ttl_s": POOL_TTL_S,
    "fetch_ttl_s": FETCH_TTL_S,
}
# Master, slave, and who may be named beside it: between the sites, back, and at one site.
PATHS = (("sae-a", "other", ("third-a", "third-b", "sae-a")), ("sae-b", "sae-a", ()), ("sae-a", "third-a", ("sae-b",)))


def connections() -> list[Connection]:
    return [
        Connection(
            *(f"kme-{SITES[sae_id]}" for sae_id in (master, slave)),
            master,
            slave,
            max_key_count=4,
            max_key_per_request=3,
            max_sae_id_count=len(named),
        )
        for master, slave, named in PATHS
    ]


class World:
    def __init__(self, make_site: Callable[..., Any], seed: int = 0) -> None:
        self._make_site = make_site
        self.draw = random.Random(seed)
        self.now_s = 1_000_000.0
        self.sites: dict[str, Any] = {}
        self.sent: list[Message] = []
        self.hand_overs: list[tuple[str, UUID]] = []  # what each QKDE still offers to its KME
        self.owners: dict[UUID, str] = {}
        self.facts = Facts()
        self.strikes = Strikes(self.run)
        self._depth = 0
        self._ticking: set[str] = set()
        self._replaced: list[Any] = []
        for kme_id in KMES:
            self._start(kme_id)
        for kme_id, site in self.sites.items():
            saes = [sae_id for sae_id, end in SITES.items() if f"kme-{end}" == kme_id]
            mine = [one for one in connections() if kme_id in (one.source_kme_id, one.target_kme_id)]
            site.entity.prepare(saes, mine)

    # Operations

    def run(self, operation: Operation, faults: tuple[Fault, ...] = ()) -> None:
        """One operation, whatever becomes of it. A KME that crashes starts again, with empty memory."""
        if self._depth == 0:
            self.strikes.plan(faults)
        self._depth += 1
        try:
            getattr(self, operation[0])(*operation[1:])
        except KmeCrash as crash:
            self.restart(crash.kme_id)
        except (KmeError, PeerError):
            pass  # it is told to whoever asked; the facts tell whether that was right
        finally:
            self._depth -= 1
        if self._depth == 0:
            self.strikes.plan(())
            while self._replaced:
                self._replaced.pop().entity.close()

    def nothing(self) -> None:
        pass

    def tick(self, kme_id: str) -> None:
        """One step of a KME's scheduler; it has one thread for it."""
        if kme_id not in self._ticking:
            self._ticking.add(kme_id)
            try:
                self.sites[kme_id].scheduler.step()
            finally:
                self._ticking.discard(kme_id)

    def hand_over(self, kme_id: str) -> None:
        """A QKDE offers the blocks that its KME has not acknowledged."""
        for waiting in [one for one in self.hand_overs if one[0] == kme_id]:
            if self._offer(*waiting) and waiting in self.hand_overs:
                self.hand_overs.remove(waiting)

    def offer_again(self, kme_id: str, number: int) -> None:
        """An acknowledgement was lost long ago: a block comes once more, wherever it is by now."""
        if self.owners:
            self._offer(kme_id, list(self.owners)[number % len(self.owners)])

    def enc_keys(self, path: int, number: int, size_bits: int, named_count: int) -> None:
        master, slave, others = PATHS[path]
        named = others[:named_count]
        body: dict[str, Any] = {"number": number, "size": size_bits}
        if named:
            body["additional_slave_SAE_IDs"] = list(named)
        site = self.sites[f"kme-{SITES[master]}"]
        with self.facts.asked((slave, *named)):
            answer = site.sae(master).post(f"/api/v1/keys/{slave}/enc_keys", json=body)
        assert answer.status_code in (200, 400, 503), answer.get_json()
        if answer.status_code == 200:
            self.facts.master_answered(master, number, answer.get_json()["keys"])

    def dec_keys(self, number: int) -> None:
        """A recipient fetches a key that its master has."""
        if waiting := self.facts.waiting():
            self._fetch(*waiting[number % len(waiting)])

    def steal(self, number: int, thief: int) -> None:
        """Someone asks for a key that its master, or a recipient, has been given."""
        if known := sorted(self.facts.known_to_masters()):
            key_id, master = known[number % len(known)]
            self._fetch(key_id, sorted(SITES)[thief % len(SITES)], master)

    def late(self, number: int) -> None:
        """A message that was sent before, and may have arrived then or not, arrives now; nobody hears the answer."""
        if self.sent:
            self.deliver(self.sent[-1 - number % len(self.sent)])

    def forge(self, number: int, what: str) -> None:
        """An owner that has forgotten what it cut (a restored store) lays a batch over it, or with its key ids."""
        batches = [one for one in self.sent if one.path == "/v1/batches"]
        if not batches:
            return
        message = batches[-1 - number % len(batches)]
        receiver, batch = self.sites[message.receiver].entity, dict(message.body)
        if receiver.keystore.entitlement_of(UUID(batch["key_ids"][0])) is None:
            return  # nothing was cut there for it, so that it would be a good one
        batch["batch_id"] = str(UUID(int=self.draw.getrandbits(128), version=4))
        if what == "overlap":
            batch["key_ids"] = [str(UUID(int=self.draw.getrandbits(128), version=4)) for _ in batch["key_ids"]]
        else:
            batch["offset_bits"] = BLOCK_BITS - batch["key_size_bits"] * len(batch["key_ids"])
        try:
            self.deliver(replace(message, body=batch))
        except Refused:
            return
        raise AssertionError(f"a batch with {what} was committed")

    def wait(self, seconds: int) -> None:
        """A running site looks at its clock all the time, so that neither of its clocks falls behind."""
        for begun in range(0, seconds, 10):
            self.now_s += min(10, seconds - begun)
            for site in self.sites.values():
                site.entity.keystore.clocks_ms()

    def restart(self, kme_id: str) -> None:
        old = self.sites[kme_id]
        old.scheduler.resign()  # Postgres notices that its connection has ended
        self._replaced.append(old)  # closed later: another of its processes may be in the middle of something
        self._start(kme_id)

    def restart_store(self, kme_id: str) -> None:
        """What Redis knows of its peers' confirmation was of the last run of the server."""
        client = self.sites[kme_id].entity.keystore._redis
        client.hdel("witness", "checked")
        client.delete("confirmed")

    def remove(self, path: int) -> None:
        connection = connections()[path]
        self.facts.removed(connection.connection_id)
        self.sites[connection.source_kme_id].operator.delete(f"/v1/connections/{connection.connection_id}")

    def register(self, path: int) -> None:
        one = connections()[path]
        body = {
            "source_KME_ID": one.source_kme_id,
            "target_KME_ID": one.target_kme_id,
            "master_SAE_ID": one.master_sae_id,
            "slave_SAE_ID": one.slave_sae_id,
            "max_keys_count": one.max_key_count,
            "max_key_per_request": one.max_key_per_request,
            "max_SAE_ID_count": one.max_sae_id_count,
        }
        self.sites[one.source_kme_id].operator.post("/register_connection", json=body)

    # What happens between operations

    def heal(self) -> None:
        """No more faults: everything that is open comes to its end by itself."""
        for seconds in (1, 35, 5, 5):
            for kme_id in KMES:
                self.run(("hand_over", kme_id))
                self.run(("tick", kme_id))
            self.run(("wait", seconds))
        for site in self.sites.values():
            requests = site.entity.request_records
            assert not site.entity.block_records.unsettled("a-b")
            assert not requests.unsettled("a-b", "recorded") and not requests.unsettled("a-b", "voiding")
        self.check()
        self.facts.check_orphans(self.sites, self.now_s)
        for waiting in self.facts.waiting():
            self._fetch(*waiting)
        assert not self.facts.waiting()

    def end(self) -> None:
        for site in self.sites.values():
            site.scheduler.resign()
            site.entity.close()

    def check(self) -> None:
        for site in self.sites.values():
            account = site.entity.account()
            assert account.balanced, (site.kme_id, account)
        self.facts.check(self.sites, self.now_s)

    def _fetch(self, key_id: UUID, sae_id: str, master: str) -> None:
        may = self.facts.may_fetch(key_id, sae_id)
        site = self.sites[f"kme-{SITES[sae_id]}"]
        asked = {"key_IDs": [{"key_ID": str(key_id)}]}
        answer = site.sae(sae_id).post(f"/api/v1/keys/{master}/dec_keys", json=asked)
        assert answer.status_code in (200, 400, 401, 503), answer.get_json()
        if answer.status_code == 200:
            assert may, f"{sae_id} was given a key that it may not have, or not again"
            self.facts.recipient_answered(key_id, answer.get_json()["keys"])

    def _offer(self, kme_id: str, block_id: UUID) -> bool:
        answer = self.sites[kme_id].hand_over(block_id, self.owners[block_id], self.facts.blocks[block_id])
        assert answer.status_code in (204, 503), answer.get_json()
        return answer.status_code == 204

    def deliver(self, message: Message) -> Reply:
        try:
            response = (
                self.sites[message.receiver]
                .apps["kme"]
                .test_client()
                .open(
                    message.path,
                    method=message.method,
                    query_string=message.params,
                    data=None if message.body is None else json_text.dumps(message.body),
                    environ_overrides={CALLER: Identity("kme", message.sender)},
                )
            )
        except KmeCrash as crash:
            assert crash.kme_id == message.receiver
            self.restart(crash.kme_id)
            raise Unreachable("the connection was cut off") from None
        assert response.status_code != 500, message.path
        if response.status_code >= 300:
            raise Refused(response.status_code, response.get_json()["message"])
        return Reply(response.status_code, response.data)

    def _start(self, kme_id: str) -> None:
        other = next(one for one in KMES if one != kme_id)
        site = self._make_site(
            kme_id, peers={other: Wire(self, kme_id, other)}, settings=SETTINGS, clock=lambda: self.now_s
        )
        entity = site.entity
        self.strikes.watch(kme_id, entity, lambda *call: self.facts.saw(*call, self.now_s))
        site.scheduler = entity.scheduler(Qkde(self, kme_id), clock=lambda: self.now_s, start_round=lambda run: run())
        self.sites[kme_id] = site
