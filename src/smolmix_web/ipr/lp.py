"""LP frames of kind SphinxStream: the 16-byte header before an IPR message of version 9 and later.

====== ==== =====================================================
offset size field
====== ==== =====================================================
0      2    kind, *little*-endian; 3 is SphinxStream
2      8    stream id
10     1    message type: 0 Open, 1 Data
11     4    sequence number
15     1    reserved: sent 0, ignored when received
16     n    payload, to the end of the mixnet message
====== ==== =====================================================

There is no length, no checksum and no Close. Source: ipr.md section 8.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from smolmix_web.errors import MalformedError

HEADER_LENGTH = 16

_HEADER = struct.Struct(">xxQBIx")
_KIND = struct.Struct("<H")


class FrameKind(IntEnum):
    OPAQUE = 0
    REGISTRATION = 1
    FORWARD = 2
    SPHINX_STREAM = 3


class StreamMessageType(IntEnum):
    OPEN = 0
    DATA = 1


@dataclass(frozen=True, slots=True)
class StreamFrame:
    """One frame: ``stream_id`` is 64 bits, ``sequence`` 32 bits."""

    stream_id: int
    message_type: StreamMessageType
    sequence: int
    payload: bytes = b""


def frame_kind(data: bytes) -> FrameKind | None:
    """Kind of an LP frame, or None when ``data`` cannot be one (shorter than a header, unknown kind)."""
    if len(data) < HEADER_LENGTH:
        return None
    (value,) = _KIND.unpack_from(data)
    return FrameKind(value) if value <= FrameKind.SPHINX_STREAM else None


def parse_stream_frame(data: bytes) -> StreamFrame:
    """:raises MalformedError: shorter than a header, of another kind, or of an unknown message type"""
    if len(data) < HEADER_LENGTH:
        raise MalformedError(f"LP frame of {len(data)} bytes, the header alone has {HEADER_LENGTH}")
    (kind,) = _KIND.unpack_from(data)
    if kind != FrameKind.SPHINX_STREAM:
        raise MalformedError(f"LP frame kind {kind} is not SphinxStream")
    stream_id, message_type, sequence = _HEADER.unpack_from(data)
    if message_type > StreamMessageType.DATA:
        raise MalformedError(f"invalid stream msg_type: {message_type}")
    return StreamFrame(stream_id, StreamMessageType(message_type), sequence, data[HEADER_LENGTH:])


def emit_stream_frame(frame: StreamFrame) -> bytes:
    header = bytearray(HEADER_LENGTH)
    _HEADER.pack_into(header, 0, frame.stream_id, frame.message_type, frame.sequence)
    _KIND.pack_into(header, 0, FrameKind.SPHINX_STREAM)
    return bytes(header) + frame.payload
