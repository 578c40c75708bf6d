"""The dashboard: a page for browsers on this host. To the other processes it is an operator."""

from __future__ import annotations

import threading
import time

from flask import Flask

from mutual_tls.app import operator_app
from mutual_tls.client import Peer
from mutual_tls.identity import Identity
from qkd_lab.dashboard.actions import action_calls
from qkd_lab.dashboard.hub import Hub
from qkd_lab.dashboard.poller import Poller
from qkd_lab.dashboard.session import Sessions
from qkd_lab.dashboard.traffic import Traffic
from qkd_lab.dashboard.web import page_app
from qkd_lab.operator_calls import OperatorCalls
from qkd_lab.pki.secrets import SESSION_TOKEN
from qkd_lab.processes import Process

from .listeners import Listener, Server
from .page_server import PageServer
from .process import run
from .settings import Settings


def make(settings: Settings) -> Server:
    def connect(process: Process) -> Peer:
        return settings.peer(process.name, "ops", Identity(process.role, process.id), pool_size=4)

    network = OperatorCalls(settings.topology, connect)
    hub, traffic = Hub(), Traffic(network)
    poller = Poller(network, hub, lambda: traffic.is_on)
    sessions = Sessions(settings.secret(SESSION_TOKEN), time.time)
    actions = action_calls(network, poller, traffic)

    def page() -> Flask:
        return page_app(hub, sessions, lambda app: app.register_blueprint(actions))

    server = PageServer(settings.bind("page"), page)

    def background(stopping: threading.Event) -> None:
        for work in (traffic, poller):
            threading.Thread(target=work.run, args=(stopping,), daemon=True).start()
        server.run(stopping)

    operators = settings.authority("operator")
    return Server(
        settings.process,
        settings.credentials,
        [Listener("ops", settings.bind("ops"), operators, lambda: operator_app("dashboard", server.fault))],
        threads=2,
        background=background,
    )


if __name__ == "__main__":
    run(make)
