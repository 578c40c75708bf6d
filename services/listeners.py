"""One gunicorn server per process, with a listener per kind of caller: each has its own TLS context and application.

Python's ssl cannot tell which authority verified a chain, so a listener trusts exactly one, and the application is
chosen by the TLS context that verified the caller: a request can't reach an application whose authority did not vouch
for it.
"""

from __future__ import annotations

import json
import logging
import platform
import resource
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cryptography import x509
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from mutual_tls.app import ABOUT, CERTIFICATE, FAULT, METRICS, NEEDS
from mutual_tls.contexts import Credentials
from mutual_tls.server_tls import ServerTls
from qkd_lab import __version__

from . import metrics, processors
from .connections import RequestSocket
from .limits import Limits
from .observed import observed
from .turns import Turns
from .worker import ListenerWorker

log = logging.getLogger(__name__)

GRACEFUL_STOP_S = 5
WORKER_SILENCE_S = 120
OTHER_DESCRIPTORS = 256  # stores, peers, files
REFRESHED_EVERY_S = 1.0  # certificates and revocation lists, from their files


@dataclass(frozen=True)
class Listener:
    """`binds`: `host:port` each; `callers` the one authority's certificate; `app` makes the WSGI app in a worker;
    `begin` is called by each of its threads before it serves."""

    name: str
    binds: tuple[str, ...]
    callers: Path
    app: Callable[[], Any]
    begin: Callable[[], object] = lambda: None


class Server(BaseApplication):
    """Serves `listeners` until it is told to stop; `threads` for each of them.

    `background`, if given, runs in a thread of each worker; its event is set when the worker stops. `needs`:
    the others without whom it can't do its work, each with a check that raises where they do not answer. `asked`:
    metrics beside those that every process has.
    """

    def __init__(
        self,
        name: str,
        credentials: Credentials,
        listeners: list[Listener],
        *,
        threads: int,
        workers: int = 1,
        limits: Limits | None = None,
        background: Callable[[threading.Event], None] | None = None,
        needs: Mapping[str, Callable[[], object]] | None = None,
        asked: Iterable[metrics.Asked] = (),
    ) -> None:
        self._name = name
        self._credentials = credentials
        self._listeners = listeners
        self._options = {"threads": threads, "workers": workers}
        self._limits = within_descriptors(limits or Limits(), sum(len(one.binds) for one in listeners))
        self._background = background
        self._needs = needs or {}
        self._about = {"process": name, "version": __version__, "started_at": time.time()}
        self._turns = Turns()
        self._asked = (metrics.Asked(metrics.SERVER, self._own_metrics), *asked)
        # Made here, in the master: resumption tickets of one worker are then good at every other.
        self._tls = [ServerTls(listener.name, credentials, listener.callers) for listener in listeners]
        for tls in self._tls:
            tls.context.sslsocket_class = RequestSocket
        super().__init__()

    def load_config(self) -> None:
        bound = [
            (bind, listener, tls)
            for listener, tls in zip(self._listeners, self._tls, strict=True)
            for bind in listener.binds
        ]
        for key, value in {
            **self._options,
            "bind": [bind for bind, *_ in bound],
            "worker_class": ProcessWorker,
            # Never reached: each listener has a number of its own.
            "worker_connections": self._limits.connection_count * len(bound) + self._options["threads"] + 1,
            "logger_class": ProcessLog,
            "proc_name": self._name,
            # These two only tell gunicorn that the scheme is https: each listener has its own context.
            "certfile": str(self._credentials.certificate),
            "keyfile": str(self._credentials.key),
            "keepalive": 1,  # how long is said by the limits
            "forwarded_allow_ips": "",  # nobody may say on whose behalf, or by what scheme, he calls
            "graceful_timeout": GRACEFUL_STOP_S,
            "timeout": WORKER_SILENCE_S,
            "pre_fork": self._place,
            "post_fork": _stay,
            "post_worker_init": self._start_threads,
            "child_exit": self._worker_ended,
            "control_socket_disable": True,
        }.items():
            self.cfg.set(key, value)
        self.cfg.listener_tls = [(listener.name, tls, listener.begin) for _, listener, tls in bound]
        self.cfg.limits = self._limits
        self.cfg.turns = self._turns
        # gunicorn looks a dozen and more of them up for each request, each through its `__getattr__`.
        vars(self.cfg).update({name: setting.get() for name, setting in self.cfg.settings.items()})

    def load(self) -> Callable[..., Any]:
        apps = [listener.app() for listener in self._listeners]
        served = {
            id(tls.context): (tls, observed(listener.name, app))
            for tls, listener, app in zip(self._tls, self._listeners, apps, strict=True)
        }
        self.cfg.max_body_bytes = {
            listener.name: app.config["MAX_CONTENT_LENGTH"] for listener, app in zip(self._listeners, apps, strict=True)
        }
        about = {NEEDS: self._needs, ABOUT: self._about, METRICS: self._metrics}

        def by_listener(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
            connection: RequestSocket = environ["gunicorn.socket"]
            environ[CERTIFICATE] = connection.caller
            tls, app = served[id(connection.context)]
            if (refusal := tls.refusal(environ[CERTIFICATE])) is not None:
                return _refuse(refusal, start_response)
            environ.update(about)
            environ[FAULT] = self._fault()
            return app(environ, start_response)

        return by_listener

    def _fault(self) -> str | None:
        return next((fault for tls in self._tls if (fault := tls.fault())), None)

    def _metrics(self) -> bytes:
        return metrics.exposition(self._asked)

    def _own_metrics(self) -> metrics.Samples:
        yield "qkd_process_info", (__version__, platform.python_version()), 1
        yield "qkd_process_start_time_seconds", (), self._about["started_at"]
        shown = x509.load_pem_x509_certificate(self._credentials.certificate.read_bytes())
        yield "qkd_certificate_expiry_timestamp_seconds", (), shown.not_valid_after_utc.timestamp()

    def _place(self, arbiter: Any, worker: ProcessWorker) -> None:
        """In the master, which knows where the others are."""
        others = list(arbiter.WORKERS.values())
        worker.processor = processors.choose(arbiter.num_workers, [one.processor for one in others])
        worker.place = self._turns.free(one.place for one in others)

    def _worker_ended(self, arbiter: Any, worker: ProcessWorker) -> None:
        metrics.worker_ended(worker.pid)
        self._turns.left(worker.place)

    def _start_threads(self, worker: ProcessWorker) -> None:
        metrics.WORKERS.labels("serving").set(1)
        # A worker that is started later begins with what is there now, not with what was there when the master began.
        self._refresh()
        threading.Thread(target=self._keep_fresh, args=(worker.stopping,), name="refresh", daemon=True).start()
        if self._background is not None:
            threading.Thread(target=self._run_background, args=(worker,), name="background", daemon=True).start()

    def _keep_fresh(self, stopping: threading.Event) -> None:
        while not stopping.wait(REFRESHED_EVERY_S):
            self._refresh()

    def _refresh(self) -> None:
        try:
            for tls in self._tls:
                tls.refresh()
        except Exception:
            log.exception("certificates and revocation lists were not looked at; it is tried again")

    def _run_background(self, worker: ProcessWorker) -> None:
        assert self._background is not None
        try:
            self._background(worker.stopping)
        except Exception:
            log.exception("the background work of %s failed; the worker is replaced", self._name)
        finally:
            worker.handle_exit(None, None)  # the master starts another, unless it is stopping itself


def within_descriptors(limits: Limits, bind_count: int) -> Limits:
    """As many connections as wanted, or as this process may have open, which is raised as far as it can be."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.connection_count * bind_count + OTHER_DESCRIPTORS
    given = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    if allowed != resource.RLIM_INFINITY and allowed < given:
        resource.setrlimit(resource.RLIMIT_NOFILE, (given, most))
    if given == wanted:
        return limits
    fitting = max(1, (given - OTHER_DESCRIPTORS) // bind_count)
    log.warning("%d file descriptors are allowed: a listener has up to %d connections", given, fitting)
    return replace(limits, connection_count=fitting)


def _stay(_: Any, worker: ProcessWorker) -> None:
    if worker.processor is not None:
        processors.stay(worker.processor)


class ProcessWorker(ListenerWorker):
    """A worker that tells its background work when to stop. `processor`: on which it is to stay, if on one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.processor: int | None = None
        self.stopping = threading.Event()

    def handle_exit(self, sig: Any, frame: Any) -> None:
        self.stopping.set()
        super().handle_exit(sig, frame)


class ProcessLog(Logger):
    """gunicorn's own lines go to the process's log, in its format."""

    def setup(self, cfg: Any) -> None:
        self.error_log.propagate = True
        self.error_log.setLevel(logging.WARNING)


def _refuse(message: str, start_response: Callable[..., Any]) -> list[bytes]:
    """401 as the applications give it, and the end of the connection."""
    body = json.dumps({"message": message}, separators=(",", ":")).encode()
    # gunicorn's response: an application can't ask for the end by a header.
    start_response.__self__.force_close()  # type: ignore[attr-defined]
    start_response("401 Unauthorized", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
