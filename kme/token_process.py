"""One operation of a PKCS#11 token, in a process of its own (see `kme.token_seal`): asked and answered over pipes.

Needs the package `python-pkcs11`, which nothing else does. Exit 1 with one line that says what is wrong; 3 where that
is the PIN.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

_PURPOSE = b"qkd-lab kme kek"  # authenticated with what is sealed, so that nothing else of this key passes for it
_NONCE_BYTES = 12
PIN_REFUSED = 3
_PINS = {"PinIncorrect": "its PIN is wrong", "PinLocked": "its PIN is locked"}
_LABELS = _PINS | {
    "NoSuchToken": "there is no token of that label",
}


class TokenError(Exception):
    """The message is for the operator."""


def main() -> None:
    asked = json.load(sys.stdin)
    try:
        print(_done(asked))
    except TokenError as error:
        print(error)
        sys.exit(1)
    except Exception as error:
        # The text of what the module raises may quote what it was given.
        name = type(error).__name__
        print(_LABELS.get(name, f"{name} by {asked['module']}"))
        sys.exit(PIN_REFUSED if name in _PINS else 1)


def _done(asked: dict[str, str]) -> str:
    try:
        import pkcs11
    except ImportError:
        raise TokenError("the package python-pkcs11 is not installed: pip install 'qkd-lab[hsm]'") from None
    closing = asked["action"] == "close"
    if not os.path.exists(asked["module"]):
        raise TokenError(f"there is no module {asked['module']}")
    token = pkcs11.lib(asked["module"]).get_token(token_label=asked["token"])
    with token.open(user_pin=asked["pin"], rw=closing) as session:
        key = _key(pkcs11, session, asked["label"], make=closing)
        nonce = session.generate_random(_NONCE_BYTES * 8) if closing else bytes.fromhex(asked["content"])[:_NONCE_BYTES]
        gcm = {
            "mechanism": pkcs11.Mechanism.AES_GCM,
            "mechanism_param": pkcs11.GCMParams(nonce=nonce, aad=_PURPOSE, tag_bits=128),
        }
        if closing:
            return (bytes(nonce) + bytes(key.encrypt(bytes.fromhex(asked["content"]), **gcm))).hex()
        try:
            return bytes(key.decrypt(bytes.fromhex(asked["content"])[_NONCE_BYTES:], **gcm)).hex()
        except (pkcs11.exceptions.GeneralError, pkcs11.exceptions.EncryptedDataInvalid) as error:
            # Modules disagree on what a wrong tag of GCM is called; SoftHSM says CKR_GENERAL_ERROR.
            raise TokenError(f"it can't open this ({type(error).__name__}): another key sealed it") from None


def _key(pkcs11: Any, session: Any, label: str, make: bool) -> Any:
    attribute = pkcs11.Attribute
    try:
        key = session.get_key(label=label, object_class=pkcs11.ObjectClass.SECRET_KEY)
    except pkcs11.NoSuchKey:
        if not make:
            raise TokenError(f"it has no key {label!r}") from None
        template = {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False, attribute.PRIVATE: True}
        key = session.generate_key(pkcs11.KeyType.AES, 256, label=label, store=True, template=template)
    if key[attribute.EXTRACTABLE] or not key[attribute.SENSITIVE] or key[attribute.VALUE_LEN] != 32:
        raise TokenError(f"key {label!r} is not an AES-256 key that stays in the token (sensitive, not extractable)")
    return key


if __name__ == "__main__":
    main()
