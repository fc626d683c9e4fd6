"""The Sphinx payload: padding, and LIONESS over ChaCha20 and keyed BLAKE2b (spec/sphinx.md section 6).

LIONESS makes one wide block cipher out of a stream cipher and a hash: change any bit of the block and all of
it decrypts to noise. That is the payload's integrity check: the final hop looks for 16 zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from smolmix_web import crypto
from smolmix_web.errors import CryptoError, LocalProtocolError, MalformedError
from smolmix_web.sphinx.constants import MIN_PAYLOAD_LENGTH, PAYLOAD_OVERHEAD

_LEFT = 32
_ZEROS = bytes(16)


def pad_payload(message: bytes, payload_size: int) -> bytes:
    """``0^16 || message || 0x01 || 0...``. :raises LocalProtocolError: it does not fit ``payload_size``."""
    if payload_size < MIN_PAYLOAD_LENGTH or len(message) > payload_size - PAYLOAD_OVERHEAD:
        raise LocalProtocolError(
            f"a message of {len(message)} bytes does not fit a payload of {payload_size}"
        )
    return (_ZEROS + message + b"\x01").ljust(payload_size, b"\0")


def unpad_payload(padded: bytes) -> bytes:
    """The message.

    :raises CryptoError: no leading zeros: the payload was changed, or decrypted with a wrong key.
    :raises MalformedError: nothing ends the message.
    """
    if padded[:16] != _ZEROS:
        raise CryptoError("Sphinx: the payload was changed on its way")
    end = padded.rfind(b"\x01", 16)
    if end < 0:
        raise MalformedError("Sphinx: the payload's padding has no beginning")
    return padded[16:end]


def encrypt_payload(keys: Iterable[bytes], block: bytes) -> bytes:
    """Wrap ``block`` (at least 33 bytes) in one layer per key of 192 bytes; the first key is innermost."""
    chacha20 = crypto.provider().chacha20
    left = int.from_bytes(block[:_LEFT], "big")
    right = block[_LEFT:]
    for key in keys:
        right = chacha20((left ^ int.from_bytes(key[:32], "big")).to_bytes(_LEFT, "big"), right)
        left ^= int.from_bytes(blake2b(right, digest_size=_LEFT, key=key[32:96]).digest(), "big")
        right = chacha20((left ^ int.from_bytes(key[96:128], "big")).to_bytes(_LEFT, "big"), right)
        left ^= int.from_bytes(blake2b(right, digest_size=_LEFT, key=key[128:]).digest(), "big")
    return left.to_bytes(_LEFT, "big") + right


def decrypt_payload(key: bytes, block: bytes) -> bytes:
    """Take one layer off: the steps of :func:`encrypt_payload` backwards."""
    chacha20 = crypto.provider().chacha20
    left = int.from_bytes(block[:_LEFT], "big")
    right = block[_LEFT:]
    left ^= int.from_bytes(blake2b(right, digest_size=_LEFT, key=key[128:]).digest(), "big")
    right = chacha20((left ^ int.from_bytes(key[96:128], "big")).to_bytes(_LEFT, "big"), right)
    left ^= int.from_bytes(blake2b(right, digest_size=_LEFT, key=key[32:96]).digest(), "big")
    right = chacha20((left ^ int.from_bytes(key[:32], "big")).to_bytes(_LEFT, "big"), right)
    return left.to_bytes(_LEFT, "big") + right
