"""How every process starts: settings, a log, its server; what keeps it from starting is said in a line per cause."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from mutual_tls.contexts import CredentialError
from qkd_lab.topology import TopologyError

from .listeners import Server
from .log_format import write_log
from .settings import Settings, SettingsError


def run(make: Callable[[Settings], Server]) -> None:
    """Serves what `make` builds from the settings, until the process is told to stop."""
    try:
        settings = Settings.from_environment()
        write_log(settings.log_level)
        logging.getLogger("urllib3").setLevel(logging.WARNING)  # at debug it quotes URLs and headers
        server = make(settings)
    except (SettingsError, CredentialError, TopologyError) as error:
        sys.exit("\n".join(f"{sys.argv[0]}: {line}" for line in str(error).splitlines()))
    server.run()
