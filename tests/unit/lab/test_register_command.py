"""`qkd-lab register`: what it tells the KME, which must understand it."""

import importlib
import json

import pytest
from click.testing import CliRunner

from kme.errors import BadRequest
from kme.etsi014 import QOS_MEMBERS, connection_in
from qkd_lab.topology import SHIPPED, load

# `qkd_lab.cli.register` as an attribute is the command of that name.
command = importlib.import_module("qkd_lab.cli.register")


@pytest.fixture
def registered(monkeypatch):
    """Runs the command; gives the connection as the KME reads it from the one call that was made."""
    bodies = []

    class Operator:
        topology = load(SHIPPED / "two-sites.toml")

        def __init__(self, lab):
            pass

        def call(self, process, method, path, body):
            assert (process, method, path) == ("kme-a", "POST", "/register_connection")
            bodies.append(body)
            return {"connection_id": "an id"}

    monkeypatch.setattr(command, "Operator", Operator)

    def run(*options):
        done = CliRunner().invoke(command.register, ["--master", "sae-a", "--slave", "sae-b", *options])
        assert done.exit_code == 0, done.output or done.exception
        (body,) = bodies
        return connection_in(json.dumps(body).encode())

    return run


@pytest.mark.parametrize(
    "options, counts", [([], (1000, 128)), (["--max-keys", "50"], (50, 50)), (["--max-keys", "200"], (200, 128))]
)
def test_a_request_may_have_128_keys_or_the_whole_of_a_smaller_pool(registered, options, counts):
    connection = registered(*options)
    assert (connection.max_key_count, connection.max_key_per_request) == counts


def test_the_kme_is_told_every_option_as_it_was_given(registered):
    connection = registered("--key-size", "512", "--max-keys", "20", "--max-keys-per-request", "7")
    assert (connection.key_size_bits, connection.max_key_count, connection.max_key_per_request) == (512, 20, 7)
    assert connection.max_sae_id_count == 0 and not connection.qos


def test_every_quality_of_service_the_kme_knows_can_be_asked_for(registered):
    wanted = {name: 10 - number for number, name in enumerate(QOS_MEMBERS)}
    options = [f"--qos={name}={value}" for name, value in wanted.items()]
    assert registered(*options).qos == wanted


def test_additional_slaves_and_an_sae_connected_with_itself_can_be_registered(registered):
    connection = registered("--slave", "sae-a", "--max-sae-ids", "3")
    assert (connection.source_kme_id, connection.target_kme_id) == ("kme-a", "kme-a")
    assert (connection.slave_sae_id, connection.max_sae_id_count) == ("sae-a", 3)


def test_a_limit_of_no_keys_in_a_request_is_refused_and_not_taken_for_the_default(registered):
    with pytest.raises(BadRequest, match="max_key_per_request"):
        registered("--max-keys-per-request", "0")
