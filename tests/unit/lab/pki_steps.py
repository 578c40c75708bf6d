"""What an operator types after `qkd-lab pki`, and what comes of it."""

from click.testing import CliRunner
from cryptography import x509

from qkd_lab.cli import cli
from qkd_lab.lab_folder import LabError
from qkd_lab.pki.authority import PkiError
from qkd_lab.topology import TopologyError


def run(*arguments):
    """What is printed. Raises what the command raises, which `main` prints as one line."""
    done = CliRunner().invoke(cli, ["pki", *map(str, arguments)], standalone_mode=False)
    if done.exception:
        raise done.exception
    return done.output


def refused(*arguments) -> str:
    done = CliRunner().invoke(cli, ["pki", *map(str, arguments)])
    if done.exit_code == 2:
        return done.output
    assert isinstance(done.exception, LabError | PkiError | TopologyError), done.output
    return str(done.exception)


def certificate(folder) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "cert.pem").read_bytes())
