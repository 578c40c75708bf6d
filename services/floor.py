"""What `qkd-lab bench` compares a KME with: a bare view at an `sae` listener that is made as the KME's.

The same server, workers, threads, mutual TLS and revocation lists, under the KME's own certificate, and an answer as
long as that to `enc_keys` of one key. There is no key in it. Only the bench starts it; with `gunicorn` as its argument
it is gunicorn as it comes, with as many workers and threads, that serves the view.
"""

from __future__ import annotations

import ssl
import sys
from typing import Any
from uuid import UUID

from flask import Flask, Response
from gunicorn.app.base import BaseApplication

from . import metrics
from .kme_api import THREADS
from .listeners import Listener, Server
from .process import run
from .settings import Settings

KEY = {"key_ID": str(UUID(int=0)), "key": "A" * 43 + "="}  # 256 bits


def floor_app() -> Flask:
    app = Flask("floor")
    app.config["MAX_CONTENT_LENGTH"] = 1 << 20

    @app.route("/", methods=["GET", "POST"])
    def answer() -> Response:
        return app.json.response({"keys": [KEY]})

    return app


def make(settings: Settings) -> Server:
    site = settings.process.removeprefix("kme-")
    listener = Listener("sae", settings.bind("sae"), settings.authority(f"sae-{site}"), floor_app)
    return Server(
        settings.process,
        settings.credentials,
        [listener],
        threads=THREADS,
        limits=settings.limits,
        workers=settings.worker_count,
    )


class AsItComes(BaseApplication):
    """gunicorn's worker with threads, and its TLS: a client's certificate is verified, and that is all."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        settings = self._settings
        for key, value in {
            "worker_class": "gthread",
            "threads": THREADS,
            "workers": settings.worker_count,
            "bind": list(settings.bind("sae")),
            "certfile": str(settings.credentials.certificate),
            "keyfile": str(settings.credentials.key),
            "ca_certs": str(settings.authority(f"sae-{settings.process.removeprefix('kme-')}")),
            "cert_reqs": ssl.CERT_REQUIRED,
            "post_worker_init": _tell_that_it_serves,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(key, value)

    def load(self) -> Flask:
        return floor_app()


def _tell_that_it_serves(_: Any) -> None:
    metrics.WORKERS.labels("serving").set(1)


if __name__ == "__main__":
    run(AsItComes if sys.argv[1:] == ["gunicorn"] else make)
