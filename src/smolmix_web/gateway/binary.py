"""Binary WebSocket frames: the envelope around a mix packet or a pushed message (spec gateway.md section 8).

``kind(1) || encryption flag(1) || nonce(12) || ciphertext and tag``, the same in both directions.
"""

from __future__ import annotations

from enum import IntEnum

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.gateway.shared_key import NONCE_SIZE, SharedKey

_HEADER_SIZE = 2 + NONCE_SIZE
_PLAIN, _ENCRYPTED = 0, 1


class RequestKind(IntEnum):
    """What a client uploads."""

    FORWARD_SPHINX = 1  # MixPacket without the key rotation byte, protocol version <= 4
    FORWARD_SPHINX_V2 = 2  # with it, protocol version >= 5


class ResponseKind(IntEnum):
    """What a gateway pushes."""

    PUSHED_MIX_MESSAGE = 1


def seal_frame(key: SharedKey, kind: int, plaintext: bytes, nonce: bytes) -> bytes:
    """The binary frame for ``plaintext``; ``nonce`` is 12 fresh random bytes."""
    return bytes((kind, _ENCRYPTED)) + nonce + key.seal(nonce, plaintext)


def open_frame(key: SharedKey, frame: bytes) -> tuple[int, bytes]:
    """Kind and plaintext of a binary frame; the caller judges the kind.

    Frames with flag 0 (plaintext) are legal in the format, but nobody sends them: an attacker could then
    speak for the peer without the key, so they are refused here like any frame that does not verify.

    :raises MalformedError: too short, or an unknown encryption flag.
    :raises CryptoError: the frame does not verify under ``key``.
    """
    if len(frame) < _HEADER_SIZE:
        raise MalformedError("the request is too short")
    if frame[1] == _PLAIN:
        raise CryptoError("failed to either encrypt or decrypt provided message")
    if frame[1] != _ENCRYPTED:
        raise MalformedError("the encryption flag had an unexpected value")
    try:
        plaintext = key.open(frame[2:_HEADER_SIZE], frame[_HEADER_SIZE:])
    except CryptoError:
        raise CryptoError("failed to either encrypt or decrypt provided message") from None
    return frame[0], plaintext
