"""Frames on a link between nodes (sphinx.md 11, nodes.md 2): back to back, one direction, no answers."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion

_SIZES = {int(size): size.total for size in PacketSize}
_TYPES = {int(packet_type): packet_type for packet_type in PacketType}
_ROTATIONS = {int(rotation): rotation for rotation in KeyRotation}
_VERSIONS = {int(version): version for version in PacketVersion}
_ROTATION_VERSION = int(PacketVersion.KEY_ROTATION)


# Not frozen: one is made per packet, and setting the fields of a frozen one costs three times as much.
@dataclass(slots=True)
class NodeFrame:
    """One packet on a link. A frame of version 7 carries no rotation: it reads as UNKNOWN."""

    packet: bytes
    packet_type: PacketType = PacketType.MIX
    rotation: KeyRotation = KeyRotation.UNKNOWN
    version: PacketVersion = PacketVersion.LEGACY

    @property
    def size(self) -> PacketSize:
        return PacketSize.from_total(len(self.packet))


def encode_frame(frame: NodeFrame, version: int | None = None) -> bytes:
    """
    :param version: 7 or 8; None takes the frame's own.
    :raises LocalProtocolError: the packet has a length that no size tag stands for.
    """
    version = frame.version if version is None else version
    return encode_packet(frame.packet, frame.packet_type, frame.rotation, version)


def encode_packet(packet: bytes, packet_type: PacketType, rotation: KeyRotation, version: int) -> bytes:
    """:func:`encode_frame` for who has no frame in hand."""
    try:
        size = PacketSize.from_total(len(packet))
    except MalformedError as error:
        raise LocalProtocolError(str(error)) from error
    if version == PacketVersion.LEGACY:
        return bytes((7, size, packet_type)) + packet
    return bytes((8, size, packet_type, rotation)) + packet


class FrameDecoder:
    """Cuts a byte stream into frames.

    Memory is bounded by one frame (33,137 bytes) plus the chunk just given. After an error the stream cannot
    be resynchronised: every further call raises, and the connection has to be closed.
    """

    __slots__ = ("_buffer", "_missing", "error")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._missing = 0  # bytes that the frame begun in the buffer lacks at least
        self.error: MalformedError | None = None
        """Set once the stream went bad."""

    def receive_data(self, data: bytes) -> list[NodeFrame]:
        """Frames completed by ``data``.

        Frames that precede a malformed one are still good (nodes.md 2.1): they are returned, ``error`` is
        set, and the next call raises.

        :raises MalformedError: unknown version, size tag, type or rotation.
        """
        if self.error is not None:
            raise self.error
        frames: list[NodeFrame] = []
        buffer = self._buffer
        if buffer:
            buffer += data
            self._missing -= len(data)
            if self._missing > 0:
                return frames
            data = bytes(buffer)
            buffer.clear()
        try:
            position = self._take_frames(data, frames)
        except MalformedError as error:
            self.error = error
            if not frames:
                raise
            return frames
        if position < len(data):
            buffer += memoryview(data)[position:]
        return frames

    def _take_frames(self, data: bytes, frames: list[NodeFrame]) -> int:
        """Appends the whole frames; returns where the first incomplete one begins."""
        position, end = 0, len(data)
        while (left := end - position) >= 3:
            version_byte = data[position]
            version = _VERSIONS.get(version_byte)
            total = _SIZES.get(data[position + 1])
            packet_type = _TYPES.get(data[position + 2])
            if version is None or total is None or packet_type is None:
                raise _bad_head(data[position : position + 3])
            rotation = KeyRotation.UNKNOWN
            head = 3
            if version_byte == _ROTATION_VERSION:
                if left == 3:
                    break
                known = _ROTATIONS.get(data[position + 3])
                if known is None:
                    raise MalformedError(f"{data[position + 3]} is not a key rotation")
                rotation, head = known, 4
            if left < head + total:
                self._missing = head + total - left
                return position
            start = position + head
            position = start + total
            frames.append(NodeFrame(data[start:position], packet_type, rotation, version))
        self._missing = 1
        return position


def _bad_head(head: bytes) -> MalformedError:
    """What is wrong with version, size tag and type."""
    try:
        PacketVersion.from_byte(head[0])
        PacketSize.from_tag(head[1])
        PacketType.from_byte(head[2])
    except MalformedError as error:
        return error
    return MalformedError("not a frame")
