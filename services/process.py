"""How every process starts: settings, a log, its server; what keeps it from starting is said in a line per cause."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from gunicorn.app.base import BaseApplication

from mutual_tls.contexts import CredentialError
from qkd_lab.topology import TopologyError

from . import metrics
from .errors_in_logs import log_uncaught
from .logs import formatter
from .settings import Settings, SettingsError

WRONGLY_CONFIGURED = 2  # the exit status


def log_formatter(settings: Settings) -> logging.Formatter:
    site = settings.topology.site_of_process(settings.process)
    return formatter(settings.log_format, settings.process, site.nickname if site else "")


def start_log(settings: Settings) -> None:
    """Lines go to standard error: whoever started the process keeps them."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(settings))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    log_uncaught()
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # at debug it quotes URLs and headers


def run(make: Callable[[Settings], BaseApplication]) -> None:
    """Serves what `make` builds from the settings, until the process is told to stop."""
    try:
        settings = Settings.from_environment()
        start_log(settings)
        metrics.start_anew(settings.metrics)
        server = make(settings)
    except (SettingsError, CredentialError, TopologyError) as error:
        print("\n".join(f"{sys.argv[0]}: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(WRONGLY_CONFIGURED)
    server.run()
