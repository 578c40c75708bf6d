"""The command `qkd-lab`. Every failure is one line, the cause and what to do: exit 1, or 2 for wrong usage."""

from __future__ import annotations

import os
import sys

import click

from qkd_lab.cli.audit import audit
from qkd_lab.cli.bb84 import bb84
from qkd_lab.cli.bench import bench
from qkd_lab.cli.config import config
from qkd_lab.cli.connection import connection
from qkd_lab.cli.dashboard import dashboard
from qkd_lab.cli.demo import demo
from qkd_lab.cli.doctor import doctor
from qkd_lab.cli.exec import exec_
from qkd_lab.cli.fault import fault
from qkd_lab.cli.kek import kek
from qkd_lab.cli.link import link
from qkd_lab.cli.logs import logs
from qkd_lab.cli.network import down, status, up
from qkd_lab.cli.optimise import optimise
from qkd_lab.cli.pki import pki
from qkd_lab.cli.plot import plot
from qkd_lab.cli.rate import rate
from qkd_lab.cli.register import register
from qkd_lab.cli.sae import sae
from qkd_lab.cli.sweep import sweep
from qkd_lab.cli.verify_block import verify_block
from qkd_lab.configuration import ConfigurationError
from qkd_lab.experiments.errors import ExperimentError
from qkd_lab.lab_folder import LabError
from qkd_lab.pki.authority import PkiError
from qkd_lab.topology import TopologyError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="qkd-lab")
def cli() -> None:
    """A simulated QKD network: BB84 on Qiskit Aer, keys by ETSI GS QKD 014. Not for protecting real data.

    The lab of the current folder lives in .lab/ there.
    """


for command in (
    up, down, status, logs, demo, dashboard, register, sae, connection, link, fault, pki, audit, kek, config, doctor,
    bb84, rate, optimise, verify_block, exec_, sweep, plot, bench,
):
    cli.add_command(command)


def main() -> None:
    try:
        # Where a command ends with `Exit`, this is its code.
        sys.exit(cli.main(prog_name="qkd-lab", standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (ConfigurationError, TopologyError) as error:
        for line in str(error).splitlines():
            print(f"qkd-lab: {' '.join(line.split())}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)
    except (LabError, PkiError, ExperimentError) as error:
        print(f"qkd-lab: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone
        sys.exit(1)
    except OSError as error:
        print(f"qkd-lab: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("QKD_LOG_LEVEL", "").upper() == "DEBUG":
            raise
        cause = f"{type(error).__name__}: {error}"
        print(f"qkd-lab: a fault of this program ({cause}); QKD_LOG_LEVEL=DEBUG shows where", file=sys.stderr)
        sys.exit(1)
