"""What BB84 feeds: the time of whole rounds, and clients that go on whatever a KME does."""

import itertools
import threading
import time
from types import SimpleNamespace

import pytest

from qkd_lab.bench import sustained as module
from qkd_lab.bench.sustained_clients import Clients
from qkd_lab.bench.whole_rounds import Rounds, stages_within
from qkd_lab.lab_folder import LabError
from sae_demo.etsi_answers import MalformedAnswer
from sae_demo.etsi_client import KmeRefused, KmeUnreachable

LINK = SimpleNamespace(name="a-b", bob="b", is_quantum=True)
ROUND_S = 0.3


def report(at, spent_s=ROUND_S):
    stages = {"transmission": 2 * spent_s / 3, "sifting": spent_s / 3}
    return {"block_id": f"block-{at}", "secret_bits": 1000, "stages": stages}


class MadeUpLab:
    """A round follows another. `failures`: calls that are not answered once the measurement has begun."""

    lab = SimpleNamespace(in_containers=True)
    topology = SimpleNamespace(site=lambda name: SimpleNamespace(qkde_id=f"qkde-{name}"))

    def __init__(self, ends_after=10**6, failures=0):
        self.began, self.ends_after, self.failures, self.wholly_asked = time.monotonic(), ends_after, failures, 0

    def call(self, process, method, path):
        assert process == "qkde-b" and "link=a-b" in path
        if self.wholly_asked == 2 and self.failures:  # what there was before, and the first that ended
            self.failures -= 1
            raise LabError("no answer")
        self.wholly_asked += path.endswith("=50")
        ended = min(int((time.monotonic() - self.began) / ROUND_S), self.ends_after)
        return [report(at) for at in range(ended)][-int(path.rpartition("=")[2]) :]


class MadeUpPool:
    """A KME at each end, whose calls raise what `errors` has next, if it is something."""

    master = SimpleNamespace(id="m")
    slave = SimpleNamespace(id="s")

    def __init__(self):
        self.errors = {"enc_keys": iter(()), "dec_keys": iter(())}
        self._lock = threading.Lock()

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def open(self):
        pass

    def client(self, sae):
        return self

    def enc_keys(self, slave, number):
        return self._keys("enc_keys", number)

    def dec_keys(self, master, key_ids):
        return self._keys("dec_keys", len(key_ids))

    def _keys(self, method, count):
        time.sleep(0.001)
        with self._lock:
            error = next(self.errors[method], None)
        if error:
            raise error
        return SimpleNamespace(keys=[SimpleNamespace(key_id=str(at)) for at in range(count)])


@pytest.fixture
def pool(monkeypatch):
    pool = MadeUpPool()
    monkeypatch.setattr(module, "Pool", pool)
    monkeypatch.setattr(module, "ROUNDS_ASKED_EVERY_S", 0.2)
    monkeypatch.setattr(module, "END_ASKED_EVERY_S", 0.01)
    return pool


def measured(lab, seconds=1.0):
    return module.sustained(lab, LINK, seconds, lambda _: None)


def test_a_measurement_is_of_whole_rounds_and_their_stages_fill_no_more_than_its_time(pool):
    flow = measured(MadeUpLab())
    assert flow.elapsed_s >= 1 and flow.elapsed_s == pytest.approx(ROUND_S * flow.round_count, abs=ROUND_S / 3)
    assert sum(flow.stages_s.values()) <= flow.elapsed_s + 1e-9
    assert flow.secret_bits == 1000 * flow.round_count and flow.key_count > 0
    assert flow.lost_calls == {} and "calls without keys: none" in flow.in_words()


def test_where_no_more_round_ends_it_is_up_to_the_last_that_did(pool, monkeypatch):
    monkeypatch.setattr(module, "ROUND_WITHIN_S", 0.5)
    flow = measured(MadeUpLab(ends_after=3))
    assert flow.round_count < 3 and flow.elapsed_s < 1
    with pytest.raises(LabError, match="no round ended within"):
        measured(MadeUpLab(ends_after=0))


def test_what_is_more_than_the_time_was_spent_before_it_by_the_first_round():
    reports = [report(1, 3.0), report(2, 3.0)]
    assert stages_within(reports, 7.0) == pytest.approx({"transmission": 4.0, "sifting": 2.0})
    assert stages_within(reports, 5.5) == pytest.approx({"transmission": 3.5, "sifting": 2.0})
    assert stages_within(reports, 3.5) == pytest.approx({"transmission": 2.0, "sifting": 1.5})


def test_each_round_is_told_once():
    lab = MadeUpLab()
    rounds = Rounds(lab, LINK)
    assert rounds.ended() == []
    lab.began -= 2.5 * ROUND_S
    assert len(rounds.ended()) == 2 and rounds.ended() == []


def test_reports_that_are_not_had_for_a_moment_are_asked_for_again(pool):
    flow = measured(MadeUpLab(failures=2))
    assert flow.lost_calls == {"reports of rounds": 2} and flow.round_count >= 3


def some(error):
    """One call in four."""
    return itertools.cycle([None, None, None, error])


@pytest.mark.parametrize("method", ["enc_keys", "dec_keys"])
@pytest.mark.parametrize(
    "error, kind",
    [
        (KmeRefused(503, "the store does not answer"), "503"),
        (KmeRefused(429, "too many requests"), "429"),
        (KmeRefused(400, "no such connection"), "400"),
        (KmeUnreachable("the connection was closed"), "unreachable"),
        (MalformedAnswer("no JSON"), "malformed answer"),
    ],
)
def test_clients_go_on_after_calls_that_bring_no_keys_and_count_them_by_kind(pool, method, error, kind):
    pool.errors[method] = some(error)
    with Clients(pool) as clients:
        clients.wait_for_keys(5)
        before = clients.seen()
        until_s = time.monotonic() + 5
        while len((seen := clients.seen()).lost - before.lost) < 1 or seen.key_count <= before.key_count + 320:
            clients.check()
            assert time.monotonic() < until_s
            time.sleep(0.01)
    assert set(seen.lost) == {f"{method} {kind}"}


def test_that_there_are_too_few_keys_yet_is_no_lost_call(pool):
    pool.errors["enc_keys"] = some(KmeRefused(503, "too few keys: 32 asked for, 1 available"))
    flow = measured(MadeUpLab())
    assert flow.lost_calls == {} and flow.key_count > 0


def test_where_no_key_comes_it_is_told_what_came_instead(pool):
    pool.errors["enc_keys"] = itertools.repeat(KmeRefused(400, "no"))
    with Clients(pool) as clients, pytest.raises(LabError, match=r"gave no key within 0 s: .*× enc_keys 400"):
        clients.wait_for_keys(0.3)
