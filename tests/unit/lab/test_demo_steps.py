"""The demonstration against a network of a few lines: a pool, a link, an inbox."""

from types import SimpleNamespace

import pytest

from mutual_tls.client import Refused, Reply
from qkd_lab.demo import Demo
from qkd_lab.lab_folder import LabError
from qkd_lab.topology import SHIPPED, Topology, load

KEYS_OF_A_ROUND = 300


class Network:
    """Stands for the operator's calls and for the KME. An empty pool makes a round; Eve spoils it."""

    def __init__(self, topology=None):
        self.topology = topology or load(SHIPPED / "two-sites.toml")
        self.lab = SimpleNamespace(read_state=lambda: {})
        self.eve = "none"
        self.eve_was = []
        self.pool = 0
        self.inbox = []
        self.reports = []
        self.garbled = False

    def call(self, process, method, path, json=None, timeout_s=10.0):
        match process, method, path:
            case "sae-a", "POST", "/v1/messages":
                self.pool -= 1
                sent = {"key_IDs": ["id-1"], "mode": json["mode"], "ciphertext": "x8Ff"}
                self.inbox.append({"from": "sae-a", **sent, "text": "?" if self.garbled else json["text"]})
                return {**sent, "delivered": True}
            case "sae-b", "GET", "/v1/inbox":
                return self.inbox
            case "qkde-a", "GET", "/v1/reports":
                return list(self.reports)
            case "qlink-a-b", "GET", "/v1/physics":
                return {"eve": self.eve, "pulses_per_second": 2_500_000.0 if self.reports else None}
            case "qlink-a-b", "PATCH", "/v1/physics":
                self.eve = json["eve"]
                self.eve_was.append(self.eve)
                return {"eve": self.eve}
        raise AssertionError(f"{method} {path} at {process}")

    def request(self, method, path, json=None):
        if path == "/api/v1/keys/sae-b/status":
            return Reply(200, b'{"stored_key_count":%d}' % self.pool)
        assert (method, path) == ("POST", "/api/v1/keys/sae-b/enc_keys")
        if json["number"] > self.pool:
            raise Refused(503, "too few keys")
        self.pool -= json["number"]
        return Reply(200, b"{}")

    def wait(self, what, condition, within_s):
        for _ in range(20):
            if found := condition():
                return found
            if self.pool == 0:
                self.round()
        raise LabError(f"{what}: not within {within_s:.0f} s")

    def round(self):
        spoilt = self.eve != "none"
        report = {"block_id": str(len(self.reports)), "link": "a-b", "outcome": "aborted" if spoilt else "key"}
        report |= {"qber": 0.2512 if spoilt else 0.0103, "secret_bits": 0 if spoilt else 309_000}
        self.reports.append(report | {"abort_reason": "QBER over the tolerance" if spoilt else None})
        self.pool += 0 if spoilt else KEYS_OF_A_ROUND


@pytest.fixture
def network():
    return Network()


def demo_on(network):
    said = []
    return Demo(network, network, said.append, network.wait), said


def test_a_message_in_each_mode_is_shown_at_both_ends(network):
    demo, said = demo_on(network)
    demo.exchange()
    assert [item["mode"] for item in network.inbox] == ["aes-256-gcm", "one-time-pad"]
    assert any("sae-b fetched the same key(s) from kme-b and read: Meet me at noon." in line for line in said)


def test_a_message_that_did_not_arrive_as_it_was_sent_is_a_failure(network):
    network.garbled = True
    demo, _ = demo_on(network)
    with pytest.raises(LabError, match="sae-b did not get what sae-a sent"):
        demo.exchange()


def test_eve_stops_the_keys_and_the_qber_of_both_rounds_is_told(network):
    network.pool = KEYS_OF_A_ROUND
    demo, said = demo_on(network)
    demo.eve()
    assert network.eve_was == ["intercept-resend:1", "none"]
    text = "\n".join(said)
    assert text.index("QBER 25.12%, 0 secret bits") < text.index("no key left") < text.index("keys flow again")
    assert demo.figures == ["QBER with Eve: 25.12%", "QBER without Eve: 1.03%"]


def test_eve_is_taken_off_the_link_also_when_the_demo_fails(network):
    network.pool = KEYS_OF_A_ROUND
    network.round = lambda: None
    demo, _ = demo_on(network)
    with pytest.raises(LabError, match="not within"):
        demo.eve()
    assert network.eve == "none"


def test_a_qber_that_is_undefined_is_not_shown_as_zero(network):
    network.pool = 1
    whole = network.round
    network.round = lambda: (whole(), network.reports[-1].update(qber=None))
    demo, said = demo_on(network)
    demo.eve()
    assert "QBER with Eve: undefined: nothing was sifted" in demo.figures


def test_the_speeds_are_aers_alone_and_those_of_the_links_latest_round_with_a_key(network):
    network.round()
    network.reports[0] |= {"pulses": 1, "elapsed_s": 1.0, "sifted_bits": 2, "sample_bits": 1, "stages": {}}
    network.round()
    network.reports[1] |= {"pulses": 1_000_000, "elapsed_s": 4.0, "sifted_bits": 700_000, "sample_bits": 100_000}
    network.reports[1]["stages"] = {"transmission": 2.0, "reconciliation": 0.5}
    network.reports.append(network.reports[0] | {"link": "b-c"})
    network.eve = "intercept-resend:1"
    network.round()
    demo, _ = demo_on(network)
    demo.tell_speeds()
    assert demo.figures == [
        "quantum link: 2.50 million pulses/s, Aer alone",
        "whole round: 0.25 million pulses/s, all processes and the network included",
        "Cascade in that round: 1.20 Mbit/s, through the classical channel",
    ]


def test_without_a_round_there_are_no_speeds(network):
    demo, _ = demo_on(network)
    demo.tell_speeds()
    assert demo.figures == []


def test_the_demo_needs_a_connection():
    bare = Network(Topology("bare", (), (), ()))
    with pytest.raises(LabError, match="no connection"):
        demo_on(bare)
