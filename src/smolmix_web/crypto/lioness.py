"""LIONESS over ChaCha20 and keyed BLAKE2b: the block cipher of Sphinx payloads (spec/sphinx.md section 6).

Change any bit of a block and all of it decrypts to noise: that is the payload's integrity check.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b

from smolmix_web.errors import CryptoError

KEY_LENGTH = 192
LEFT = 32
"""Bytes of the block's shorter half."""

_StreamCipher = Callable[[bytes, bytes], bytes]


def check_lengths(keys: Sequence[bytes], block: bytes) -> None:
    """:raises CryptoError: a key has not 192 bytes, or the block not more than 32."""
    if any(len(key) != KEY_LENGTH for key in keys) or len(block) <= LEFT:
        raise CryptoError("LIONESS: wrong key or block length")


def encrypt(chacha20: _StreamCipher, keys: Sequence[bytes], block: bytes) -> bytes:
    """``block`` under each of the keys in turn, the first one innermost.

    :raises CryptoError: a length does not fit.
    """
    check_lengths(keys, block)
    left = int.from_bytes(block[:LEFT], "big")
    right = block[LEFT:]
    for key in keys:
        right = chacha20((left ^ int.from_bytes(key[:32], "big")).to_bytes(LEFT, "big"), right)
        left ^= int.from_bytes(blake2b(right, digest_size=LEFT, key=key[32:96]).digest(), "big")
        right = chacha20((left ^ int.from_bytes(key[96:128], "big")).to_bytes(LEFT, "big"), right)
        left ^= int.from_bytes(blake2b(right, digest_size=LEFT, key=key[128:]).digest(), "big")
    return left.to_bytes(LEFT, "big") + right


def decrypt(chacha20: _StreamCipher, key: bytes, block: bytes) -> bytes:
    """One layer off: :func:`encrypt` backwards, for a key and a block of lengths known to fit."""
    left = int.from_bytes(block[:LEFT], "big")
    right = block[LEFT:]
    left ^= int.from_bytes(blake2b(right, digest_size=LEFT, key=key[128:]).digest(), "big")
    right = chacha20((left ^ int.from_bytes(key[96:128], "big")).to_bytes(LEFT, "big"), right)
    left ^= int.from_bytes(blake2b(right, digest_size=LEFT, key=key[32:96]).digest(), "big")
    right = chacha20((left ^ int.from_bytes(key[:32], "big")).to_bytes(LEFT, "big"), right)
    return left.to_bytes(LEFT, "big") + right
