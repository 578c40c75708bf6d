"""Where a KME's key-encryption keys come from, and what is said where they can't be used."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kme.errors import Unavailable
from kme.keyring import KeyRing
from qkd_lab.topology import SHIPPED
from services.kek import key_encryption
from services.settings import Settings, SettingsError

KEK = bytes(range(32))
URI = "pkcs11:token=kme%20a;object=kek?module-path=/no/such.so&pin-source=file:pkcs11.pin"


@pytest.fixture
def settings(tmp_path):
    names = ("QKD_PKI", "QKD_ADDRESSES", "QKD_SECRETS", "QKD_STATE")
    environ = {name: str(tmp_path) for name in names} | {"QKD_TOPOLOGY": str(SHIPPED / "two-sites.toml")}
    return replace(Settings.from_environment(environ | {"QKD_PROCESS": "kme-a"}), state=tmp_path, secrets=tmp_path)


def ring(settings):
    return KeyRing(*key_encryption(settings))


def test_the_secret_is_the_first_kek_and_may_go_once_another_has_its_place(settings, tmp_path):
    (tmp_path / "kek").write_text(f"{KEK.hex()}\n")
    keys = ring(settings)
    first = keys.fingerprint
    with keys.folder.locked():
        keys.use(keys.add())
    keys.drop(first)
    (tmp_path / "kek").unlink()
    assert ring(settings).fingerprint == keys.fingerprint != first


@pytest.mark.parametrize(
    "content, told",
    [
        (KEK.hex()[:-2], "62 characters: expected 64 hexadecimal digits, or a PKCS#11 URI"),
        (KEK.hex() + "00", "66 characters"),
        ("", "0 characters"),
        (KEK.hex()[:-1] + "x", "64 characters: expected 64 hexadecimal"),
        (URI.replace("token=kme%20a;", ""), "no token"),
        (URI + "&pin-value=6279", "put the PIN into a file"),
    ],
)
def test_a_secret_that_is_no_kek_is_told_in_a_line_without_a_digit_of_it(settings, tmp_path, content, told):
    (tmp_path / "kek").write_text(content)
    with pytest.raises(SettingsError, match=f"secret .*kek.*{told}") as raised:
        key_encryption(settings)
    assert KEK.hex()[:16] not in str(raised.value) and "6279" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_octets_instead_of_digits_are_told(settings, tmp_path):
    (tmp_path / "kek").write_bytes(b"\xff" * 32)
    with pytest.raises(SettingsError, match="kek is no text"):
        key_encryption(settings)


def test_a_missing_secret_is_told(settings):
    with pytest.raises(SettingsError, match="kek can't be read: No such file"):
        key_encryption(settings)


def test_a_token_that_can_not_be_used_is_told_when_the_first_kek_is_made(settings, tmp_path):
    (tmp_path / "kek").write_text(URI)
    with pytest.raises(Unavailable, match="PIN can't be read"):
        ring(settings)


@pytest.mark.parametrize("content", ["", "00" * 31, "no digits"])
@pytest.mark.parametrize("file", ["0001-01020304.kek", "lasting.key"])
def test_a_damaged_file_of_the_kmes_own_is_named(settings, tmp_path, file, content):
    (tmp_path / "kek").write_text(KEK.hex())
    key_encryption(settings)[1].path.joinpath(file).write_text(content)
    with pytest.raises(Unavailable, match=f"{file} is no key of 32 bytes"):
        ring(settings)
