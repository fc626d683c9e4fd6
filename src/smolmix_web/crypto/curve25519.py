"""X25519 (RFC 7748) outside the browser: on libsodium where PyNaCl is installed, else on ``cryptography``.

OpenSSL, behind ``cryptography``, multiplies the base point whenever it loads a secret, wanted or not.
A Sphinx node blinds with a secret that serves once, so there two multiplications become three; and a sender
needs one of every five of them. libsodium takes the bare bytes. In Pyodide there is no PyNaCl here.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import x25519

from smolmix_web.crypto.provider import X25519Key
from smolmix_web.errors import CryptoError

try:
    from nacl import bindings as sodium
except ImportError:
    HAS_SODIUM = False
else:
    HAS_SODIUM = True

_LENGTH = 32


def x25519_key(secret: bytes) -> X25519Key:
    """A loaded secret. :raises CryptoError: it has not 32 bytes."""
    if len(secret) != _LENGTH:
        raise CryptoError("X25519: a secret has 32 bytes")
    return SodiumX25519(bytes(secret)) if HAS_SODIUM else PycaX25519(bytes(secret))


class SodiumX25519:
    """On libsodium; loading costs nothing, and each operation one multiplication."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    @property
    def public(self) -> bytes:
        return bytes(sodium.crypto_scalarmult_base(self._secret))

    def exchange(self, peer_public: bytes) -> bytes:
        # The binding hands the pointer on without a look at the length.
        if len(peer_public) != _LENGTH:
            raise CryptoError("X25519: unusable public key")
        try:
            return bytes(sodium.crypto_scalarmult(self._secret, bytes(peer_public)))
        except RuntimeError:  # the result is all zero
            raise CryptoError("X25519: unusable public key") from None


class PycaX25519:
    """On OpenSSL; loading costs one multiplication."""

    __slots__ = ("_key",)

    def __init__(self, secret: bytes) -> None:
        self._key = x25519.X25519PrivateKey.from_private_bytes(secret)

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def exchange(self, peer_public: bytes) -> bytes:
        try:
            return self._key.exchange(x25519.X25519PublicKey.from_public_bytes(peer_public))
        except ValueError:
            raise CryptoError("X25519: unusable public key") from None
