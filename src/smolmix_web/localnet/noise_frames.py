"""Frames around Noise messages on a link (spec nodes.md 3.3).

``version(1) || pattern(1) || type(1) || length(2) || reserved(3) || Noise message``
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from smolmix_web.errors import MalformedError

VERSION = 1
PATTERN_XKPSK3 = 1
HEADER_SIZE = 8
MAX_HANDSHAKE = 1024
"""Bytes of a handshake message: the reference reads them into a buffer of this size."""


class NoiseFrameType(IntEnum):
    HANDSHAKE = 0
    DATA = 1


@dataclass(frozen=True, slots=True)
class NoiseFrame:
    frame_type: NoiseFrameType
    message: bytes


def emit_noise_frame(frame: NoiseFrame) -> bytes:
    """With our version and pattern; messages have at most 65,535 bytes."""
    header = bytes((VERSION, PATTERN_XKPSK3, frame.frame_type)) + len(frame.message).to_bytes(2, "big")
    return header + bytes(3) + frame.message


class NoiseFrameDecoder:
    """Cuts a byte stream into frames; memory is bounded by one frame and the chunk just given."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    def receive_data(self, data: bytes) -> None:
        self._buffer += data

    def next_frame(self) -> NoiseFrame | None:
        """:raises MalformedError: another version or pattern, an unknown type, or an overlong handshake."""
        buffer = self._buffer
        if len(buffer) < HEADER_SIZE:
            return None
        if buffer[0] != VERSION:
            raise MalformedError(f"failed to generate psk for requested version {buffer[0]}")
        if buffer[1] != PATTERN_XKPSK3:
            raise MalformedError("attempted to use an unexpected noise pattern")
        if buffer[2] > 1:
            raise MalformedError(f"{buffer[2]} is not a noise message type")
        frame_type = NoiseFrameType(buffer[2])
        length = int.from_bytes(buffer[3:5], "big")
        if frame_type is NoiseFrameType.HANDSHAKE and length > MAX_HANDSHAKE:
            raise MalformedError("noise handshake message too long")
        end = HEADER_SIZE + length
        if len(buffer) < end:
            return None
        message = bytes(buffer[HEADER_SIZE:end])
        del buffer[:end]
        return NoiseFrame(frame_type, message)
