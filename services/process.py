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

WRONGLY_CONFIGURED = 2  # the exit status
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def log_format(settings: Settings) -> str:
    """With the site's nickname, so that lines of several sites can be told apart at a glance."""
    site = settings.topology.site_of_process(settings.process)
    if site is None or not site.nickname:
        return LOG_FORMAT
    return LOG_FORMAT.replace("%(name)s", f"[{site.nickname.replace('%', '%%')}] %(name)s")


def run(make: Callable[[Settings], Server]) -> None:
    """Serves what `make` builds from the settings, until the process is told to stop."""
    try:
        settings = Settings.from_environment()
        write_log(settings.log_level, log_format(settings))
        logging.getLogger("urllib3").setLevel(logging.WARNING)  # at debug it quotes URLs and headers
        server = make(settings)
    except (SettingsError, CredentialError, TopologyError) as error:
        print("\n".join(f"{sys.argv[0]}: {line}" for line in str(error).splitlines()), file=sys.stderr)
        sys.exit(WRONGLY_CONFIGURED)
    server.run()
