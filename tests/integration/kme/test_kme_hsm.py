"""The key-encryption key in a hardware token over PKCS#11, with SoftHSM 2 in the place of one.

Needs `softhsm2-util` (Debian: softhsm2) and the package python-pkcs11 (extra `hsm`).
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from kme.errors import Unavailable
from kme.kek_folder import KekFolder
from kme.keyring import KeyRing
from kme.token_seal import TokenKey, TokenSeal
from mutual_tls.identity import Identity

from kme_steps import filled, pool_ids

FOLDERS = ("lib", "lib64", "local/lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu")
MODULES = [Path("/usr") / folder / "softhsm" / "libsofthsm2.so" for folder in FOLDERS]
MODULE = next((path for path in MODULES if path.exists()), None)
pytestmark = pytest.mark.skipif(
    MODULE is None or not shutil.which("softhsm2-util") or importlib.util.find_spec("pkcs11") is None,
    reason="no SoftHSM 2 here: apt-get install softhsm2; pip install 'qkd-lab[hsm]'",
)
PIN = "6279"


@pytest.fixture
def token(tmp_path, monkeypatch):
    """A new token, without a key yet."""
    (tmp_path / "tokens").mkdir()
    settings = tmp_path / "softhsm2.conf"
    settings.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\nlog.level = ERROR\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(settings))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    (tmp_path / "pkcs11.pin").write_text(f"{PIN}\n")
    command = ["softhsm2-util", "--init-token", "--free", "--label", "kme a", "--so-pin", "4711", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    uri = f"pkcs11:token=kme%20a;object=kek?module-path={MODULE}&pin-source=file:pkcs11.pin"
    return TokenKey.of_uri(uri, tmp_path)


@pytest.fixture
def folder(tmp_path, token):
    (tmp_path / "keks").mkdir()
    return lambda: KekFolder(tmp_path / "keks", TokenSeal(token, tmp_path / "refused"))


def test_a_kme_delivers_and_rotates_with_its_kek_sealed_by_a_token(network, make_site, folder):
    network.a.entity.keystore._redis.flushdb()
    network.a.scheduler.resign()
    site = make_site("kme-a", kek=None, keks=folder(), peers=network.a.peers)
    site.entity.prepare()
    port = network.qkde.at("kme-a")
    site.scheduler = site.entity.scheduler(port, clock=lambda: site.clock[0], start_round=lambda work: work())
    network.b.peers["kme-a"] = type(site.peers["kme-b"])(site.apps["kme"], Identity("kme", "kme-b"))
    network.a, network.qkde.sites = site, [site, network.b]
    network.exchange_witness()
    filled(network, 5)
    assert site.operator.get("/v1/kek").get_json()["kept_in"] == "pkcs11"
    site.entity.kek_rotation.begin()
    while site.entity.kek_rotation.status().retired and site.entity.kek_rotation._clean_at is None:
        site.entity.kek_rotation.step()
    again = make_site("kme-a", kek=None, keks=folder(), peers=site.peers)  # after a restart
    again.entity.prepare()
    assert again.entity.keyring.fingerprint == site.entity.keyring.fingerprint
    network.a = again
    assert len(pool_ids(network)) == 5


def test_no_file_of_the_kme_holds_a_kek(folder):
    ring = KeyRing(None, folder())
    (kek,) = ring.folder.keks()
    assert len(kek) == 32
    for file in ring.folder.path.iterdir():
        content = file.read_text()
        assert kek.hex() not in content and ring.folder.lasting_key().hex() not in content


def test_what_was_sealed_opens_after_a_restart_and_in_no_other_token(folder, token, tmp_path):
    first, second = KeyRing(None, folder()), KeyRing(None, folder())
    assert first.fingerprint == second.fingerprint and first.audit_key == second.audit_key
    command = ["softhsm2-util", "--init-token", "--free", "--label", "other", "--so-pin", "4711", "--pin", PIN]
    subprocess.run(command, check=True, capture_output=True)
    other = TokenKey(token.module, "other", token.label, token.pin_file)
    TokenSeal(other, tmp_path / "refused").close(b"x")  # makes its key
    with pytest.raises(Unavailable, match="another key sealed it"):
        KeyRing(None, KekFolder(tmp_path / "keks", TokenSeal(other, tmp_path / "refused")))


@pytest.mark.parametrize(
    "change, told",
    [
        ({"token": "nobody's"}, "no token of that label"),
        ({"label": "nothing"}, "no key 'nothing'"),
        ({"module": Path("/no/such.so")}, "no module /no/such.so"),
        ({"pin_file": "wrong"}, "PIN is wrong"),
        ({"pin_file": "absent"}, "PIN can't be read"),
    ],
)
def test_what_keeps_the_token_from_working_is_told(folder, token, tmp_path, change, told):
    sealed = TokenSeal(token, tmp_path / "refused").close(b"a secret")
    (tmp_path / "wrong").write_text("0000")
    if "pin_file" in change:
        change = {"pin_file": tmp_path / change["pin_file"]}
    values = {"module": token.module, "token": token.token, "label": token.label, "pin_file": token.pin_file} | change
    with pytest.raises(Unavailable, match=told) as raised:
        TokenSeal(TokenKey(**values), tmp_path / "refused").open(sealed)
    assert PIN not in str(raised.value) and sealed not in str(raised.value)


def test_a_pin_that_was_refused_is_not_tried_again_until_its_file_is_written(token, tmp_path, monkeypatch):
    sealed = TokenSeal(token, tmp_path / "refused").close(b"a secret")
    token.pin_file.write_text("0000\n")
    with pytest.raises(Unavailable, match="its PIN is wrong"):
        TokenSeal(token, tmp_path / "refused").open(sealed)
    with monkeypatch.context() as without_token:
        without_token.setattr(subprocess, "run", lambda *_, **__: pytest.fail("the token was asked"))
        for _ in range(3):  # as many processes, or starts of one
            with pytest.raises(Unavailable, match="not tried again") as raised:
                TokenSeal(token, tmp_path / "refused").open(sealed)
    assert str(token.pin_file) in str(raised.value) and "0000" not in str(raised.value)
    token.pin_file.write_text(f"{PIN}\n")
    assert TokenSeal(token, tmp_path / "refused").open(sealed) == b"a secret"


def test_a_key_that_could_leave_the_token_is_refused(token, tmp_path):
    import pkcs11

    attribute = pkcs11.Attribute
    with pkcs11.lib(str(token.module)).get_token(token_label=token.token).open(user_pin=PIN, rw=True) as session:
        template = {attribute.SENSITIVE: False, attribute.EXTRACTABLE: True}
        session.generate_key(pkcs11.KeyType.AES, 256, label="kek", store=True, template=template)
    with pytest.raises(Unavailable, match="stays in the token"):
        TokenSeal(token, tmp_path / "refused").close(b"a secret")
