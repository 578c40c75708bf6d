"""Each end in a process of its own, and a look into the memory of both before anything is sifted."""

import sys

import pytest

from qkde.bb84.messages import AnnounceDetections, AnnounceMatches

from separate_ends import WatchedLink, found_in, memory_of, run_apart

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"),
    reason="searches the memory of other processes, which it reaches by Linux' /proc",
)


@pytest.fixture(autouse=True)
def small_processes(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")


def test_before_sifting_neither_process_holds_a_secret_of_the_other():
    link, seen = WatchedLink(), {}

    def look(message, pids):
        if not isinstance(message, AnnounceDetections | AnnounceMatches):
            return
        # Bob waits for the answer while his announcement is looked at, and Alice for his next question after hers.
        alice, bob = ([*memory_of(pids[end])] for end in ("alice", "bob"))
        seen[type(message)] = {
            f"{owner}'s {what} at {holder}": found_in(memory, secret)
            for owner in ("alice", "bob")
            for what, secret in link.secrets[owner].items()
            for holder, memory in (("alice", alice), ("bob", bob))
        }

    report = run_apart(link, look)
    assert report["outcome"] == "key", report["abort_reason"]
    announced, answered = seen[AnnounceDetections], seen[AnnounceMatches]
    for own in ("alice's bits at alice", "alice's bases at alice", "bob's outcomes at bob", "bob's bases at bob"):
        assert announced[own] > 0, f"the search would find {own}"
    for foreign in ("alice's bits at bob", "alice's bases at bob", "bob's outcomes at alice"):
        assert announced[foreign] == answered[foreign] == 0, foreign
    # With his clicks he tells her his bases, in public: not before they have left him.
    assert announced["bob's bases at alice"] == 0


def test_the_search_would_find_a_secret_that_came_along_with_an_answer():
    class TellTale(WatchedLink):
        """Tells Bob Alice's bits in place of his outcomes."""

        def measure(self, frame, bases):
            clicks, _ = super().measure(frame, bases)
            return clicks, self.secrets["alice"]["bits"]

    link, found = TellTale(), []

    def look(message, pids):
        if isinstance(message, AnnounceDetections):
            found.append(found_in([*memory_of(pids["bob"])], link.secrets["alice"]["bits"]))

    run_apart(link, look)
    assert found and min(found) > 0
