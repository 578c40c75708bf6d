"""The ring of key-encryption keys, and the folder they are kept in."""

from __future__ import annotations

import stat

import pytest

from kme.errors import Unavailable
from kme.kek_folder import FileMode, KekFolder
from kme.keyring import KeyRing
from kme.token_seal import TokenKey

FIRST = b"k" * 32


@pytest.fixture
def folder(tmp_path):
    return KekFolder(tmp_path)


def added(ring):
    with ring.folder.locked():
        return ring.add()


def test_an_older_kek_unwraps_and_the_current_one_wraps(folder):
    ring = KeyRing(FIRST, folder)
    old = ring.wrap(b"a secret", b"context")
    new = added(ring)
    assert ring.wrap(b"a secret", b"context")[:4] == ring.fingerprint != new
    ring.use(new)
    assert ring.wrap(b"a secret", b"context")[:4] == new
    assert ring.unwrap(old, b"context") == b"a secret"


def test_another_process_finds_a_new_kek_when_it_meets_it(folder, tmp_path):
    ring, other = KeyRing(FIRST, folder), KeyRing(FIRST, KekFolder(tmp_path))
    ring.use(added(ring))
    assert other.unwrap(ring.wrap(b"a secret", b""), b"") == b"a secret"
    other.use(ring.fingerprint)
    assert other.fingerprint == ring.fingerprint


def test_a_dropped_kek_is_gone_even_where_it_is_given_again(folder, tmp_path):
    ring = KeyRing(FIRST, folder)
    old, first = ring.wrap(b"a secret", b""), ring.fingerprint
    ring.use(added(ring))
    ring.drop(first)
    for one in (ring, KeyRing(FIRST, KekFolder(tmp_path))):
        with pytest.raises(Unavailable, match="another key-encryption key"):
            one.unwrap(old, b"")
        assert one.was_destroyed(first) and first != one.newest()
        with pytest.raises(Unavailable, match=f"{first.hex()}, this KME was given"):
            one.use(first)
    with pytest.raises(Unavailable, match="01020304, this KME was given"):
        ring.use(bytes([1, 2, 3, 4]))


def test_digests_and_the_audit_trails_key_outlive_every_kek(folder, tmp_path):
    ring = KeyRing(FIRST, folder)
    digest, first = ring.digest(b"a block", b""), ring.fingerprint
    ring.use(added(ring))
    ring.drop(first)
    later = KeyRing(None, KekFolder(tmp_path))
    assert later.digest(b"a block", b"") == digest and later.audit_key == ring.audit_key
    assert digest != later.audit_key


def test_a_kme_without_a_kek_makes_its_first_one(tmp_path):
    first, second = KeyRing(None, KekFolder(tmp_path)), KeyRing(None, KekFolder(tmp_path))
    assert first.fingerprint == second.fingerprint
    with pytest.raises(ValueError, match="needs a key-encryption key"):
        KeyRing(None)


def test_only_the_kmes_user_can_read_what_is_kept(folder):
    ring = KeyRing(FIRST, folder)
    added(ring)
    modes = {stat.S_IMODE(file.stat().st_mode) for file in folder.path.iterdir() if file.name != "lock"}
    assert modes == {0o600} and len(folder.keks()) == 1


def test_neither_ring_nor_folder_shows_a_key(folder):
    ring = KeyRing(FIRST, folder)
    (kek,) = [ring.folder.keks()[0] for _ in (added(ring),)]
    assert not any(key.hex()[8:16] in repr(one) for key in (FIRST, kek) for one in (ring, folder))


URI = "pkcs11:token=kme%20a;object=kek?module-path=/usr/lib/hsm.so&pin-source=file:pkcs11.pin"


def test_a_token_is_named_by_its_uri(tmp_path):
    key = TokenKey.of_uri(URI, tmp_path)
    assert (str(key.module), key.token, key.label) == ("/usr/lib/hsm.so", "kme a", "kek")
    assert key.pin_file == tmp_path / "pkcs11.pin" and "pin" not in repr(key)
    absolute = TokenKey.of_uri(URI.replace("file:pkcs11.pin", "file:/run/secrets/pin"), tmp_path)
    assert str(absolute.pin_file) == "/run/secrets/pin"


@pytest.mark.parametrize(
    "missing", ["token=kme%20a", "object=kek", "module-path=/usr/lib/hsm.so", "pin-source=file:pkcs11.pin"]
)
def test_what_a_uri_lacks_is_named(tmp_path, missing):
    with pytest.raises(ValueError, match=f"has no {missing.partition('=')[0]}: expected pkcs11:token="):
        TokenKey.of_uri(URI.replace(missing, ""), tmp_path)


def test_a_pin_in_the_uri_is_refused(tmp_path):
    with pytest.raises(ValueError, match="put the PIN into a file") as raised:
        TokenKey.of_uri(URI + "&pin-value=6279", tmp_path)
    assert "6279" not in str(raised.value)


def test_a_kek_that_is_dropped_while_the_folder_is_read_is_passed_over(tmp_path):
    """By another process, between the listing and the reading."""
    kept, dropped = bytes(32), bytes(31) + b"\1"

    class Dropping(FileMode):
        def open(self, sealed: str) -> bytes:
            KekFolder(tmp_path).drop(b"drop")
            return super().open(sealed)

    folder = KekFolder(tmp_path, Dropping())
    folder.add(kept, b"kept")
    folder.add(dropped, b"drop")
    assert folder.keks() == [kept]
