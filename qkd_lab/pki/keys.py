"""The kinds of key a certificate can be for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DEFAULT = "p256"

KEY_TYPES: Mapping[str, Callable[[], Key]] = {
    "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa3072": lambda: rsa.generate_private_key(65537, 3072),
}


def key_type_of(public_key: object) -> str:
    """The kind of another key of the same strength, for its successor."""
    if isinstance(public_key, rsa.RSAPublicKey):
        return "rsa3072"
    is_p384 = isinstance(public_key, ec.EllipticCurvePublicKey) and public_key.curve.name == "secp384r1"
    return "p384" if is_p384 else "p256"


def hash_for(key: Key) -> hashes.HashAlgorithm:
    """As strong as the key that signs (RFC 5758 clause 3.2)."""
    return hashes.SHA384() if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256 else hashes.SHA256()


def key_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
