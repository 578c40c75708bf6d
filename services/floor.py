"""What `qkd-lab bench` compares a KME with: a bare view at an `sae` listener that is made as the KME's.

The same server, workers, threads, mutual TLS and revocation lists, under the KME's own certificate, and an answer as
long as that to `enc_keys` of one key. There is no key in it. Only the bench starts it.
"""

from __future__ import annotations

from uuid import UUID

from flask import Flask, Response

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


if __name__ == "__main__":
    run(make)
