"""A lab without its supervisor: the test says which process starts when, and none is started again."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from qkd_lab.addresses import embedded, endpoints
from qkd_lab.embedded.child import Child
from qkd_lab.embedded.databases import NotReady, Servers
from qkd_lab.embedded.launch import Launcher
from qkd_lab.embedded.ports import Ports
from qkd_lab.embedded.programs import programs
from qkd_lab.lab_folder import LabFolder

from running_lab import eventually
from used_lab import UsedLab, small_topology


class ByHand:
    """`names` are of processes: what is started runs until it is killed, and must not end by itself."""

    def __init__(self, lab: UsedLab, children: dict[str, Child]) -> None:
        self.lab = lab
        self.children = children

    def start(self, *names: str) -> None:
        for name in names:
            self.children[name].start(time.monotonic())

    def kill(self, *names: str) -> None:
        """At once, with their workers, and waits until they are gone."""
        for name in names:
            self.children[name].kill()
        for name in names:
            child = self.children[name]
            eventually(lambda child=child: child.pid is None or child.died(time.monotonic()), f"{name} is gone")

    def wait_until_ready(self, *names: str, within_s: float) -> None:
        for name in names:
            eventually(lambda name=name: self.is_ready(name), f"{name} is ready", within_s)

    def is_ready(self, name: str) -> bool:
        self.check_all_run()
        try:
            self.children[name].program.check()
        except NotReady:
            return False
        return True

    def check_all_run(self) -> None:
        for name, child in self.children.items():
            how = child.died(time.monotonic())
            assert how is None, f"{name} ended by itself ({how}): {child.log_tail()}"


@contextmanager
def lab_by_hand(folder: Path) -> Iterator[ByHand]:
    """Nothing of it runs yet."""
    file = folder / "small.toml"
    file.write_text(small_topology())
    lab, ports = LabFolder(folder / ".lab"), Ports()
    lab.make()
    topology = lab.keep_topology(file)
    book = embedded(topology, ports.take, {})
    servers = Servers.choose(lab, {}, os.environ)
    lab.prepare(topology, book, endpoints(topology, book))
    launcher = Launcher()
    children = {
        program.name: Child(program, launcher) for program in programs(lab, topology, book, servers, os.environ)
    }
    network = ByHand(UsedLab(folder, lambda: ""), children)
    with closing(ports), closing(launcher):
        try:
            yield network
        finally:
            network.kill(*children)
            shutil.rmtree(servers.data)  # as root it may lie outside of pytest's folders


def listens(url: str) -> bool:
    host, _, port = url.removeprefix("https://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True
