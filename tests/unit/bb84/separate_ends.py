"""Alice and Bob in processes of their own, joined by pipes to a test that carries their messages and is their link."""

import multiprocessing
import re
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

import numpy as np

from qkde.bb84.alice import Alice
from qkde.bb84.bob import run_bob
from qkde.bb84.messages import StartRound, decode, encode
from qkde.bb84.pads import MemoryPads
from qkde.bb84.randomness import OsRandomness

from bb84_simulated_link import PRE_SHARED_KEY, SimulatedLink, round_parameters


@dataclass
class Pipes:
    """An end's ways out: messages to the other end, and pulses."""

    classical: Connection
    quantum: Connection

    def ask(self, message):
        self.classical.send_bytes(encode(message))
        return decode(self.classical.recv_bytes())

    def prepare(self, frame, *arrays):
        self.quantum.send(("prepare", frame, arrays))
        self.quantum.recv()

    def measure(self, frame, bases):
        self.quantum.send(("measure", frame, (bases,)))
        return self.quantum.recv()

    def close(self, frame):
        self.quantum.send(("close", frame, ()))
        return self.quantum.recv()


def alice_process(pipes):
    alice = Alice("a-b", MemoryPads(PRE_SHARED_KEY), pipes, OsRandomness(), time.monotonic, keep=lambda block: None)
    while True:
        pipes.classical.send_bytes(encode(alice.handle(decode(pipes.classical.recv_bytes()))))


def bob_process(pipes, order):
    pads = MemoryPads(PRE_SHARED_KEY)
    report = run_bob(order, pipes, pipes, OsRandomness(), time.monotonic, pads, keep=lambda block: None)
    pipes.quantum.send(("report", report.to_json(), ()))


@dataclass
class WatchedLink(SimulatedLink):
    """Knows what each end drew and what Bob found, by the end's name."""

    secrets: dict[str, dict[str, np.ndarray]] = field(default_factory=lambda: {"alice": {}, "bob": {}})

    def __post_init__(self):
        super().__init__(seed=5, depolarizing=0.03)

    def prepare(self, frame, *arrays):
        self.secrets["alice"] = {"bits": arrays[0].copy(), "bases": arrays[1].copy()}
        super().prepare(frame, *arrays)

    def measure(self, frame, bases):
        clicks, outcomes = super().measure(frame, bases)
        self.secrets["bob"] = {"bases": bases.copy(), "outcomes": outcomes.copy()}
        return clicks, outcomes


def run_apart(link, before_delivery, **parameters):
    """Runs a round; `before_delivery(message, pids)` sees every message before the other end does. Bob's report."""
    spawn = multiprocessing.get_context("spawn")  # a fork would have this process's memory
    order = StartRound("00000000-0000-0000-0000-000000000007", "a-b", "kme-a", round_parameters(**parameters))
    ours, processes = {}, {}
    for end, target, arguments in (("alice", alice_process, ()), ("bob", bob_process, (order,))):
        (classical, their_classical), (quantum, their_quantum) = spawn.Pipe(), spawn.Pipe()
        processes[end] = spawn.Process(target=target, args=(Pipes(their_classical, their_quantum), *arguments))
        processes[end].start()
        ours[end] = Pipes(classical, quantum)
    pids = {end: process.pid for end, process in processes.items()}
    other = {ours["alice"].classical: ours["bob"].classical, ours["bob"].classical: ours["alice"].classical}
    quantum = [pipes.quantum for pipes in ours.values()]
    try:
        while True:
            ready = wait([*other, *quantum], timeout=60)
            assert ready, "an end is silent"
            for one in ready:
                if one in other:
                    octets = one.recv_bytes()
                    before_delivery(decode(octets), pids)
                    other[one].send_bytes(octets)
                else:
                    what, frame, arrays = one.recv()
                    if what == "report":
                        return frame
                    one.send(getattr(link, what)(frame, *arrays))
    finally:
        for process in processes.values():
            process.kill()
            process.join()


PAGE_BYTES = 4096


def memory_of(pid):
    """What a process can write to: its heap, its stacks, whatever is mapped for it alone; but for pages of zeros."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            start, end, access = re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+)", line).groups()
            if not access.startswith("rw"):
                continue
            memory.seek(int(start, 16))
            try:
                octets = memory.read(int(end, 16) - int(start, 16))
            except OSError:  # a guard page
                continue
            pages = np.frombuffer(octets, np.uint8).reshape(-1, PAGE_BYTES)
            yield pages[pages.any(axis=1)].tobytes()


def found_in(memory, bits, window_count=6, window_bits=128):
    """How many of some windows of `bits` are in a process's memory, packed or as an array of 0 and 1."""
    starts = [len(bits) // window_count // 8 * 8 * index for index in range(window_count)]
    windows = [bits[start : start + window_bits].astype(np.uint8) for start in starts]
    return sum(
        any(form in region for form in (np.packbits(window).tobytes(), window.tobytes()) for region in memory)
        for window in windows
    )
