"""Certificates that are revoked, renewed or brought along while the whole network runs."""

import json
import time

import pytest
import requests

from running_lab import eventually

ME = "/api/v1/sae/info/me"


def me(lab, session):
    return session.get(f"{lab.endpoint('kme-a')}{ME}")


def test_an_sae_is_known_by_the_serial_number_of_a_certificate_it_has(lab):
    lab.command("pki", "issue", "brought-along", "--site", "a", "--cn-only")
    with lab.as_sae("brought-along") as session:
        assert me(lab, session).status_code == 404
        certificate = lab.identity("brought-along") / "cert.pem"
        lab.command("register", "sae", "1001", "--site", "a", "--certificate", str(certificate))
        known = eventually(lambda: (answer := me(lab, session)).ok and answer.json(), "the SAE is known")
    assert known == {"SAE_ID": "1001", "KME_ID": "kme-a"}


def test_a_revoked_sae_is_refused_within_5_s_on_a_connection_that_is_open_and_on_a_new_one(lab):
    lab.command("register", "sae", "to-be-revoked", "--site", "a")
    with lab.as_sae("to-be-revoked") as session:
        assert me(lab, session).json()["SAE_ID"] == "to-be-revoked"
        lab.command("pki", "revoke", "to-be-revoked")
        revoked_at = time.monotonic()
        refusal = eventually(lambda: refusal_in(me(lab, session)), "it is refused", 5)
    assert refusal == {"message": "the caller's certificate was revoked"}
    with lab.as_sae("to-be-revoked") as session, pytest.raises(requests.RequestException):
        while time.monotonic() < revoked_at + 5:
            assert me(lab, session).status_code == 401
    assert me_of(lab, "sae-a") == 200
    audited = ("audit", "show", "--kme", "kme-a", "--event", "certificate_revoked", "--json")
    told = eventually(lambda: lab.command(*audited), "the audit trail tells of it")
    assert json.loads(told.splitlines()[-1])["detail"]["authority"] == "sae-a"


def refusal_in(answer):
    return answer.json() if answer.status_code == 401 else None


def me_of(lab, name):
    with lab.as_sae(name) as session:
        return me(lab, session).status_code


def test_everything_is_renewed_without_a_restart_and_keys_go_on(lab):
    before = lab.command("pki", "list", "--json")
    lab.command("pki", "renew", "--all")
    assert lab.command("pki", "list", "--json") != before
    if lab.compose:
        lab.hand_over_certificates()
    lab.wait_for_keys()
    for _ in range(3):
        taken = lab.enc_keys("sae-a", "sae-b", "kme-a").json()["keys"][0]
        assert lab.dec_keys("sae-b", "sae-a", "kme-b", [taken["key_ID"]]).json()["keys"] == [taken]
    lab.command("status")
