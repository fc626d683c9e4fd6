"""The Sphinx payload: padding, and layers of LIONESS (spec/sphinx.md section 6).

A payload that was changed on its way decrypts to noise: the final hop looks for 16 zero bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

from smolmix_web import crypto
from smolmix_web.crypto import lioness
from smolmix_web.errors import CryptoError, LocalProtocolError, MalformedError
from smolmix_web.sphinx.constants import MIN_PAYLOAD_LENGTH, PAYLOAD_OVERHEAD

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
    return crypto.provider().lioness_encrypt(tuple(keys), block)


def decrypt_payload(key: bytes, block: bytes) -> bytes:
    """Take one layer off."""
    return lioness.decrypt(crypto.provider().chacha20, key, block)
