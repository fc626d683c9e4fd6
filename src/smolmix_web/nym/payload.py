"""Encryption of a fragment between sender and receiver (sphinx.md 16).

Either under a key agreed with the receiver's encryption key, the ephemeral public key going in front; or
under the key that came with a reply SURB, its BLAKE3 digest going in front. Both are 32 bytes, and the
receiver tells them apart by looking for the digest among the SURBs it gave away. Nothing is authenticated
here: a changed fragment is noticed by Sphinx.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web import crypto
from smolmix_web.crypto.kdf import hkdf
from smolmix_web.errors import MalformedError
from smolmix_web.nym.randomness import RandomBytes

PREFIX_LENGTH = 32
KEY_LENGTH = 16
_ZERO_IV = bytes(16)


@dataclass(frozen=True, slots=True)
class FragmentKey:
    """A key for exactly one fragment: zero IV, so encrypting a second one would reveal both."""

    prefix: bytes
    """32 bytes that tell the receiver which key it is."""
    key: bytes = field(repr=False)

    def encrypt(self, fragment: bytes) -> bytes:
        """Prefix and ciphertext, 32 bytes longer than ``fragment``."""
        return self.prefix + crypto.provider().aes_ctr(self.key, _ZERO_IV, fragment)


def agree_fragment_key(encryption_key: bytes, random_bytes: RandomBytes) -> FragmentKey:
    """A fresh key for the holder of ``encryption_key`` (x25519, 32 bytes).

    :raises CryptoError: that key is unusable.
    """
    ephemeral = crypto.provider().x25519_key(random_bytes(32))
    return FragmentKey(ephemeral.public, _derive(ephemeral.exchange(encryption_key)))


def reply_fragment_key(key: bytes) -> FragmentKey:
    """The key of a reply SURB, 16 bytes, as it is."""
    return FragmentKey(reply_key_digest(key), key)


def reply_key_digest(key: bytes) -> bytes:
    return crypto.provider().blake3(key)


def decrypt_fragment(secret: crypto.X25519Key, message: bytes) -> bytes:
    """What the holder of the encryption secret makes of ephemeral key and ciphertext.

    :raises MalformedError: too short. :raises CryptoError: the ephemeral key is unusable.
    """
    if len(message) <= PREFIX_LENGTH:
        raise MalformedError(f"no fragment in {len(message)} bytes")
    key = _derive(secret.exchange(message[:PREFIX_LENGTH]))
    return crypto.provider().aes_ctr(key, _ZERO_IV, message[PREFIX_LENGTH:])


def decrypt_reply_fragment(key: bytes, message: bytes) -> bytes:
    """The same for a reply; the digest in front has done its work. :raises MalformedError: too short."""
    if len(message) <= PREFIX_LENGTH:
        raise MalformedError(f"no fragment in {len(message)} bytes")
    return crypto.provider().aes_ctr(key, _ZERO_IV, message[PREFIX_LENGTH:])


def _derive(shared_secret: bytes) -> bytes:
    return hkdf("blake3", b"", shared_secret, b"", KEY_LENGTH)
