"""The key-encryption keys of a KME: the current one wraps, older ones only unwrap until nothing is left under them.

Which is the current one, the key store says (`kek` in Redis), and it takes nothing that is wrapped under another: so a
process that has not heard of a rotation can't bring back an old KEK, and finds the new one in the folder as soon as it
meets it. What must outlive every KEK, the key of digests and that of the audit trail, comes from a key that no rotation
changes; it encrypts nothing.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable

from kme.errors import Unavailable
from kme.kek_folder import KekFolder
from kme.keywrap import KEK_BYTES, KeyWrap, derived, fingerprint_in


class KeyRing:
    """`initial`: the KEK that the KME was given, None where it makes all itself; `folder`: where the others are, None
    for a KME that never changes its KEK. Made once per process; methods may be called from any thread."""

    def __init__(
        self,
        initial: bytes | None,
        folder: KekFolder | None = None,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if initial is None and folder is None:
            raise ValueError("a KME needs a key-encryption key, or a folder to keep its own in")
        self._initial = initial
        self.folder = folder
        self._random = random
        self._wraps: dict[bytes, KeyWrap] = {}
        if initial is None and not folder.keks():
            with folder.locked():
                if not folder.keks():
                    self._add_new()
        self.reload()
        self.current = list(self._wraps.values())[-1]
        lasting = folder.lasting_key() if folder else derived(initial, b"lasting")
        self._digest_key = derived(lasting, b"digest")
        self.audit_key = derived(lasting, b"audit")

    def __repr__(self) -> str:
        return f"KeyRing({self.fingerprint.hex()} of {len(self._wraps)})"

    @property
    def fingerprint(self) -> bytes:
        return self.current.fingerprint

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        return self.current.wrap(secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Raises Unavailable where it was wrapped under no KEK of this ring, belongs elsewhere, or was changed."""
        wrap = self._wraps.get(fingerprint := fingerprint_in(wrapped))
        if wrap is None and self.has(fingerprint):
            wrap = self._wraps[fingerprint]
        return (wrap or self.current).unwrap(wrapped, context)  # the current one says what is wrong

    def digest(self, secret: bytes, context: bytes) -> bytes:
        """A keyed digest, the same under every KEK: tells whether a secret comes again, and nothing else to who reads
        the records alone."""
        return hmac.digest(self._digest_key, len(context).to_bytes(4) + context + secret, "sha256")

    def has(self, fingerprint: bytes) -> bool:
        if fingerprint not in self._wraps:
            self.reload()
        return fingerprint in self._wraps

    def was_destroyed(self, fingerprint: bytes) -> bool:
        """By a rotation: whatever is under it, nobody can read any more."""
        return self.folder is not None and fingerprint in self.folder.dropped()

    def newest(self) -> bytes:
        """For a store that holds nothing under another."""
        self.reload()
        return list(self._wraps)[-1]

    def use(self, fingerprint: bytes) -> None:
        """Makes it the current one. Raises Unavailable where it is not in this ring."""
        if fingerprint == self.fingerprint and fingerprint in self._wraps:
            return
        if not self.has(fingerprint):
            raise Unavailable(
                f"the key store was encrypted under key-encryption key {fingerprint.hex()}, this KME was given"
                f" {', '.join(one.hex() for one in self._wraps)}: give it the one it had"
            )
        self.current = self._wraps[fingerprint]

    def add(self) -> bytes:
        """Makes a new KEK, not the current one yet; its fingerprint. To be called in the folder's lock."""
        fingerprint = self._add_new()
        self.reload()
        return fingerprint

    def drop(self, fingerprint: bytes) -> None:
        """Destroys a KEK that nothing is wrapped under any more."""
        assert self.folder is not None and fingerprint != self.fingerprint
        self.folder.drop(fingerprint)
        self.reload()

    def reload(self) -> None:
        keks = [self._initial] if self._initial is not None else []
        dropped: set[bytes] = set()
        if self.folder is not None:
            keks += self.folder.keks()
            dropped = self.folder.dropped()
        # A KEK's own object is kept, so that nothing is derived anew at each look.
        wraps = [self._wraps.get(fingerprint_of(kek)) or KeyWrap(kek, self._random) for kek in keks]
        self._wraps = {one.fingerprint: one for one in wraps if one.fingerprint not in dropped}
        if not self._wraps:
            raise Unavailable("the key-encryption keys of this KME are not in their folder")

    def _add_new(self) -> bytes:
        assert self.folder is not None
        while True:
            kek = self._random(KEK_BYTES)
            fingerprint = fingerprint_of(kek)
            if fingerprint not in self._wraps and fingerprint not in self.folder.dropped():
                self.folder.add(kek, fingerprint)
                return fingerprint


def fingerprint_of(kek: bytes) -> bytes:
    return KeyWrap(kek).fingerprint
