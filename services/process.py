"""How every process starts: settings, a log, its server; what keeps it from starting is said in a line per cause."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable

from mutual_tls.contexts import CredentialError
from qkd_lab.topology import TopologyError

from .listeners import Server
from .settings import Settings, SettingsError

WRONGLY_CONFIGURED = 2  # the exit status
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(make: Callable[[Settings], Server]) -> None:
    """Serves what `make` builds from the settings, until the process is told to stop."""
    try:
        settings = Settings.from_environment()
        logging.basicConfig(stream=sys.stderr, level=settings.log_level, format=LOG_FORMAT)
        logging.getLogger("urllib3").setLevel(logging.WARNING)  # at debug it quotes URLs and headers
        server = make(settings)
    except (SettingsError, CredentialError, TopologyError) as error:
        print("\n".join(f"{sys.argv[0]}: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(WRONGLY_CONFIGURED)
    server.run()
