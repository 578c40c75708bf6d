"""The audit trail on real stores: every kind of tampering with its table is noticed and named."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kme.audit_chain import Entry, append
from kme.records import write_audit

from kme_steps import Crash


@pytest.fixture
def site(network):
    """A KME with some history, all of it in Postgres."""
    for i in range(4):
        assert network.a.operator.post("/v1/saes", json={"sae_id": f"sae-{i}"}).status_code == 201
    network.step_until(lambda: network.a.entity.account().stored >= 20 * 256)
    for _ in range(3):
        assert network.a.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").status_code == 200
    drain(network.a)
    assert network.a.entity.audit.end().number > 12
    return network.a


def drain(site):
    while site.entity.audit.drain():
        pass


def findings(site, count=1000):
    """What the operator is told, page by page."""
    found, after, complete = [], 0, False
    while not complete:
        page = site.operator.get(f"/v1/audit/verification?after={after}&count={count}").get_json()
        found += page["findings"]
        after, complete = page["last"], page["complete"]
    return [(one["audit_id"], one["what"]) for one in found]


def sql(site, statement, *values):
    with site.entity.database.transaction() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


def test_an_untouched_trail_verifies_in_pages_of_any_size(site):
    for count in (1, 3, 1000):
        assert findings(site, count) == []
    rows = sql(site, "SELECT audit_id FROM audit ORDER BY audit_id")
    assert [row["audit_id"] for row in rows] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    "change",
    [
        "event = 'keys_expired'",
        'detail = detail || \'{"sae_id": "sae-x"}\'',
        "detail = detail - 'bits'",
        "happened_at = happened_at + interval '1 microsecond'",
        "stream_id = '1-1'",
        "chain = sha256(chain)",
    ],
)
def test_a_changed_row_is_named(site, change):
    row = sql(site, "SELECT min(audit_id) AS at FROM audit WHERE event = 'keys_delivered'")[0]["at"]
    sql(site, f"UPDATE audit SET {change} WHERE audit_id = %s", row)
    found = findings(site)
    assert found[0][0] == row and "changed" in found[0][1]
    assert {at for at, _ in found} <= {row, row + 1}
    assert findings(site, 2) == found


def test_removed_rows_are_named(site):
    sql(site, "DELETE FROM audit WHERE audit_id IN (3, 6, 7)")
    first, second = findings(site)
    assert first[0] == 3 and "row 3 is missing" in first[1]
    assert second[0] == 6 and "rows 6 to 7 are missing" in second[1]


def test_a_removed_row_whose_place_was_closed_is_named(site):
    sql(site, "DELETE FROM audit WHERE audit_id = 3")
    for at in range(4, site.entity.audit.end().number + 1):
        sql(site, "UPDATE audit SET audit_id = %s WHERE audit_id = %s", at - 1, at)
    assert findings(site)[0][0] == 3


def test_rows_that_changed_places_are_named(site):
    for before, after in ((4, -1), (5, 4), (-1, 5)):
        sql(site, "UPDATE audit SET audit_id = %s WHERE audit_id = %s", after, before)
    assert {at for at, what in findings(site) if "moved" in what} >= {4, 5}


@pytest.mark.parametrize("place", ["end", "beginning", "unchained"])
def test_an_inserted_row_is_named(site, place):
    end = site.entity.audit.end().number
    at = {"end": end + 1, "beginning": 0, "unchained": end + 1}[place]
    chain = None if place == "unchained" else bytes(32)
    sql(
        site,
        "INSERT INTO audit (audit_id, happened_at, event, detail, chain)"
        " VALUES (%s, now(), 'sae_registered', '{}', %s)",
        at,
        chain,
    )
    (found,) = findings(site)
    assert found[0] == at and "inserted" in found[1]


def test_a_chain_made_anew_without_the_key_does_not_verify(site):
    rows = sql(site, "DELETE FROM audit RETURNING *")
    with site.entity.database.transaction() as cursor:
        for row in sorted(rows, key=lambda row: row["audit_id"]):
            sae = {"sae_id": "another"} if row["audit_id"] == 2 else row["detail"]
            append(cursor, b"not the key", [Entry(row["event"], sae, row["stream_id"], row["happened_at"])])
    assert len(findings(site)) >= len(rows)


def test_a_cut_tail_shows_and_goes_on_showing_when_the_trail_goes_on(site):
    end = site.entity.audit.end()
    sql(site, "DELETE FROM audit WHERE audit_id > 5")
    verified = site.entity.audit.verify(0, 1000)
    (found,) = verified.findings
    assert f"its end was row {end.number}" in found.what and not found.is_explained
    # What is appended meanwhile must not wipe out the trace.
    for i in range(end.number):
        site.operator.post("/v1/saes", json={"sae_id": f"later-{i}"})
    drain(site)
    (found,) = findings(site)
    assert "cut or replaced before it" in found[1] and f'"number": {end.number}' in found[1]
    drain(site)
    assert len(findings(site)) == 1


def restore_the_database(site):
    """To what it was after row 5, the witness in it too."""
    sql(site, "DELETE FROM audit WHERE audit_id > 5")
    sql(site, "UPDATE witness SET count = count - 1 WHERE is_own")


def restored(site):
    return site.operator.get("/v1/audit/verification").get_json()["restored"]


def test_a_restored_database_is_told_as_the_new_epoch_that_it_is(network, site):
    end = site.entity.audit.end().number
    restore_the_database(site)
    (found,) = restored(site)  # before the witness has looked
    assert f"its end was row {end}" in found["what"] and "the database was restored" in found["what"]
    site.operator.post("/v1/saes", json={"sae_id": "meanwhile"})
    network.step(3)
    assert findings(site) == []
    (began,) = [row for row in site.entity.audit.rows(0, 1000) if row["detail"].get("trail_lost")]
    assert began["event"] == "epoch_began" and began["detail"]["trail_lost"]["number"] == end
    (found,) = restored(site)
    assert found["audit_id"] == began["audit_id"] and f"to row {end}, which is gone" in found["what"]


def test_a_cut_tail_is_no_restored_database(network, site):
    sql(site, "DELETE FROM audit WHERE audit_id > 5")
    network.step(3)
    assert restored(site) == []
    assert [what for _, what in findings(site) if "cut or replaced" in what]


def test_the_end_that_an_operator_keeps_is_that_of_the_trail(site):
    end = site.entity.audit.end()
    assert site.operator.get("/v1/status").get_json()["audit"] == {"audit_id": end.number, "chain": end.chain.hex()}


@pytest.mark.parametrize("step", ["anchor_audit", "forget_audit_entries"])
def test_a_crash_after_the_commit_duplicates_nothing(site, monkeypatch, step):
    site.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys")
    before = site.entity.audit.end().number

    def crash(*_):
        raise Crash

    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(site.entity.keystore, step, crash)
        site.entity.audit.drain()
    assert site.entity.audit.end().number == before + 1
    drain(site)
    assert site.entity.audit.end().number == before + 1
    assert findings(site) == []


def test_processes_that_drain_and_append_at_once_keep_one_chain(site, make_site):
    other = make_site("kme-a")
    for _ in range(15):
        assert site.sae("sae-a").get("/api/v1/keys/sae-b/enc_keys").status_code == 200
    before = site.entity.audit.end().number
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(one.entity.audit.drain, 2) for one in (site, other) * 12]
        for i in range(6):
            jobs += [pool.submit(one.entity.registration.add_sae, f"at-once-{i}") for one in (site, other)]
        for job in jobs:
            job.result()
    drain(site)
    assert site.entity.audit.end().number == before + 15 + 6
    assert findings(site) == []


def test_an_act_that_is_undone_leaves_no_row(site):
    before = site.entity.audit.end()
    with pytest.raises(RuntimeError), site.entity.database.transaction() as cursor:
        write_audit(cursor, "sae_registered", {"sae_id": "never"})
        raise RuntimeError
    assert site.entity.audit.end() == before


def test_a_revoked_certificate_is_told_once_by_however_many_processes(site, make_site):
    for one in (site, site, make_site("kme-a")):
        one.entity.revocations.record("sae-a", {0x1F0A, 7})
    rows = site.entity.audit.rows(0, 9, "certificate_revoked")
    assert [row["detail"] for row in rows] == [
        {"authority": "sae-a", "serial": "7"},
        {"authority": "sae-a", "serial": "1f0a"},
    ]
    assert findings(site) == []


def test_the_trail_is_read_by_event_time_and_page(site):
    (first, second) = site.operator.get("/v1/audit?event=keys_delivered&count=2").get_json()
    assert first["event"] == "keys_delivered" and first["detail"]["sae_id"] == "sae-a"
    after = site.operator.get(f"/v1/audit?event=keys_delivered&after={second['audit_id']}").get_json()
    assert len(after) == 1 and after[0]["audit_id"] > second["audit_id"]
    since = site.operator.get("/v1/audit", query_string={"since": second["at"], "count": 1000}).get_json()
    assert {row["event"] for row in since} >= {"keys_delivered"} and second in since
    assert site.operator.get("/v1/audit?since=2999-01-01T00:00:00").get_json() == []


@pytest.mark.parametrize("query", ["after=-1", "after=x", "count=0", "count=1001", "since=yesterday"])
def test_a_page_that_makes_no_sense_is_refused(network, query):
    answer = network.a.operator.get(f"/v1/audit?{query}")
    assert answer.status_code == 400 and query.partition("=")[0] in answer.get_json()["message"]
