"""The symmetric key a client shares with its gateway, and what it seals (spec gateway.md sections 2, 6.2, 8).

AES-256-GCM-SIV, 32-byte key, fresh random 12-byte nonces, no associated data.
"""

from __future__ import annotations

from smolmix_web.crypto import provider
from smolmix_web.errors import CryptoError

KEY_SIZE = 32
NONCE_SIZE = 12
TAG_SIZE = 16


class SharedKey:
    """One AES-256-GCM-SIV key with its expanded form kept for reuse.

    :raises CryptoError: from ``open`` when the tag does not verify or a length does not fit.
    """

    __slots__ = ("_aead", "_key")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise CryptoError("a gateway key has 32 bytes")
        self._key = bytes(key)
        self._aead = provider().aead("aes-256-gcm-siv", self._key)

    def __repr__(self) -> str:
        return "SharedKey(...)"

    def secret_bytes(self) -> bytes:
        """The 32 key bytes, for storage."""
        return self._key

    def seal(self, nonce: bytes, plaintext: bytes) -> bytes:
        """Ciphertext and tag."""
        return self._aead.seal(nonce, plaintext)

    def open(self, nonce: bytes, ciphertext: bytes) -> bytes:
        """The plaintext of ``ciphertext`` (tag included)."""
        if len(nonce) != NONCE_SIZE or len(ciphertext) < TAG_SIZE:
            raise CryptoError("too short for a sealed message")
        return self._aead.open(nonce, ciphertext)
