"""Each metric that is counted in a process: it moves, it is written as Prometheus reads it, and it is in the docs."""

import re
from collections.abc import Iterator
from math import isnan
from pathlib import Path
from types import ModuleType

import pytest
from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.parser import text_string_to_metric_families

from kme.errors import Unavailable
from mutual_tls.client import Reply, Unreachable
from qkde.link.physics import LinkPhysics
from qkde.link.quantum_link import Measured, QuantumLink
from services import kme_metrics, metrics, qkde_metrics, qlink_metrics
from services.metrics import Asked, LookedUp

PAGE = Path(__file__).resolve().parents[3] / "docs" / "observing.md"
MODULES = (metrics, kme_metrics, qkde_metrics, qlink_metrics)


def value(name, **labels):
    return REGISTRY.get_sample_value(name, labels) or 0.0


def report(**changes):
    """A round's report, as far as it is counted."""
    return {
        "link": changes.pop("link", "a-b"),
        "outcome": "key",
        "abort_reason": None,
        "pulses": 1000,
        "detected_pulses": 800,
        "sifted_bits": 700,
        "sample_bits": 60,
        "disclosed_bits": 50,
        "authentication_bits": 40,
        "secret_bits": 300,
        "refill_bits": 100,
        "block_bits": 200,
        "qber": 0.02,
        "qber_test": 0.01,
        "pad_bits_left": 512,
        "elapsed_s": 1.5,
        "parameters": {"qber_tolerance": 0.04},
    } | changes


def test_a_rounds_report_moves_every_metric_of_its_link():
    reports = qkde_metrics.CountedReports(maxlen=1)
    for _ in range(2):
        reports.append(report(link="m-n"))
    assert len(reports) == 1
    assert value("qkd_rounds_total", link="m-n", outcome="key") == 2
    assert value("qkd_pulses_total", link="m-n") == 2000
    expected = {"detected": 800, "sifted": 700, "sample": 60, "disclosed": 50, "authentication": 40}
    for stage, bits in (expected | {"secret": 300, "refill": 100, "block": 200}).items():
        assert value("qkd_bits_total", link="m-n", stage=stage) == 2 * bits, stage
    assert value("qkd_round_seconds_sum", link="m-n") == 3
    assert value("qkd_qber_ratio", link="m-n") == 0.02
    assert value("qkd_qber_test_ratio", link="m-n") == 0.01
    assert value("qkd_qber_tolerance_ratio", link="m-n") == 0.04
    assert value("qkd_pad_bits_left", link="m-n") == 512


@pytest.mark.parametrize(
    ("reason", "qber_test", "text"),
    [
        ("qber", 0.25, "QBER 0.250 in the test basis is over the tolerance 0.04"),
        ("authentication", 0.01, "authentication failed: Bob's tag does not fit Alice's transcript"),
        ("verification", 0.01, "verification failed: the two ends still differ after reconciliation"),
        ("reconciliation", 0.01, "reconciliation failed: it disclosed more parities than there are bits"),
        ("other", None, "nothing was sifted from 3 detected pulses"),
    ],
)
def test_an_aborted_round_is_counted_by_what_ended_it(reason, qber_test, text):
    before = value("qkd_round_aborts_total", link="a-b", reason=reason)
    qkde_metrics.count(report(outcome="aborted", abort_reason=text, qber=None, qber_test=qber_test, secret_bits=0))
    assert value("qkd_round_aborts_total", link="a-b", reason=reason) == before + 1
    assert isnan(value("qkd_qber_ratio", link="a-b"))


class Qkde:
    def __init__(self, answer):
        self.answer = answer

    def request(self, method, path, **options):
        if isinstance(self.answer, Exception):
            raise self.answer
        return Reply(200, self.answer)


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        ("key", b'{"outcome": "key"}'),
        ("aborted", b'{"outcome": "aborted"}'),
        ("failed", b"[]"),
        ("failed", b"no JSON"),
        ("failed", Unreachable("no answer in time")),
    ],
)
def test_each_ordered_round_is_counted_by_how_it_ended(outcome, answer):
    before = value("qkd_kme_rounds_total", link="a-b", outcome=outcome)
    counted = kme_metrics.CountedQkde(Qkde(answer))
    order = {"link": "a-b", "block_id": "x"}
    if isinstance(answer, Exception):
        with pytest.raises(Unreachable):
            counted.request("POST", "/v1/orders", json=order, timeout_s=1)
    else:
        assert counted.request("POST", "/v1/orders", json=order, timeout_s=1).octets == answer
    assert value("qkd_kme_rounds_total", link="a-b", outcome=outcome) == before + 1


def test_a_round_that_still_runs_is_not_counted_yet():
    class Running:
        def request(self, method, path, **options):
            return Reply(202, b"")

    def counted():
        return [value("qkd_kme_rounds_total", link="a-b", outcome=one) for one in ("key", "aborted", "failed")]

    before = counted()
    kme_metrics.CountedQkde(Running()).request("POST", "/v1/orders", json={"link": "a-b", "block_id": "x"}, timeout_s=1)
    assert counted() == before


def test_connections_beyond_the_limit_are_counted_as_one():
    few = kme_metrics.Few(2)
    assert few.labels("a", "b") == ("a", "b") and few.labels("a", "c") == ("a", "c")
    assert few.labels("x", "y") == few.labels("y", "x") == (metrics.OTHERS, metrics.OTHERS)
    assert few.labels("a", "b") == ("a", "b")


def test_the_name_of_an_sae_can_not_break_out_of_its_label():
    name = '<script>"}\n# evil 1\\'
    kme_metrics.count_delivery(name, "sae-b", "master", 3, 768)
    families = text_string_to_metric_families(generate_latest(REGISTRY).decode())
    found = [one for family in families for one in family.samples if one.labels.get("master") == name]
    assert [(one.name, one.value) for one in found if one.name.endswith("_total")] == [
        ("qkd_kme_delivered_keys_total", 3)
    ]


def test_what_nature_does_on_a_link_is_shown_to_operators():
    link = QuantumLink("a-b", LinkPhysics().changed(loss_db=3.0, eve="intercept-resend:0.5"))
    link._measured = Measured(2, 1000, 0.5)
    registry = CollectorRegistry()
    registry.register(qlink_metrics.link_metrics(link))

    def shown(name):
        return registry.get_sample_value(name, {"link": "a-b"})

    assert shown("qkd_qlink_measured_frames_total") == 2 and shown("qkd_qlink_measured_pulses_total") == 1000
    assert shown("qkd_qlink_pulses_per_second") == 2000 and shown("qkd_qlink_loss_decibels") == 3
    assert shown("qkd_qlink_eve_present") == 1 and shown("qkd_qlink_depolarizing_ratio") == 0
    link.change_physics(eve="none")
    assert shown("qkd_qlink_eve_present") == 0


def test_a_store_that_does_not_answer_hides_no_more_than_its_own_metrics(caplog):
    def values():
        yield "qkd_first", (), 1.0
        raise Unavailable("Redis does not answer")

    text = metrics.exposition([Asked(LookedUp(qkd_first=("x", ()), qkd_second=("x", ())), values)]).decode()
    assert "qkd_first 1.0" in text and "qkd_second" not in text
    assert "Redis does not answer" in caplog.text


def test_what_an_earlier_run_counted_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "_folder", None)
    folder = tmp_path / "metrics" / "kme-a"
    metrics.start_anew(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "counter_7.db").write_bytes(b"")
    metrics.start_anew(folder)
    assert list(folder.iterdir()) == []


def rows() -> Iterator[str]:
    """The page's row of each metric there is."""
    for module in MODULES:
        for found in described(module):
            name, labels, text = found
            yield f"| `{name}` | {', '.join(f'`{label}`' for label in labels) or '–'} | {text} |"


def described(module: ModuleType) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for one in vars(module).values():
        if isinstance(one, MetricWrapperBase):
            name = one._name + ("_total" if one._type == "counter" else "")
            yield name, one._labelnames, one._documentation
        elif isinstance(one, LookedUp):
            for name, (text, labels) in one.described.items():
                yield name, labels, text


def test_the_page_has_every_metric_and_no_other():
    on_page = re.findall(r"^\| `qkd_.*$", PAGE.read_text(), re.M)
    assert sorted(on_page) == sorted(set(rows()))


def test_names_follow_the_conventions_and_no_metric_lacks_a_label_where_workers_count():
    for module in MODULES:
        for one in vars(module).values():
            if isinstance(one, MetricWrapperBase):
                # Without a label its file would be made at the import, and be removed by `start_anew`.
                assert one._labelnames, one._name
        for name, labels, text in described(module):
            assert re.fullmatch(r"qkd_[a-z_]+", name) and text.endswith(".")
            assert not {"process", "site", "kind", "job", "instance"} & set(labels), name
