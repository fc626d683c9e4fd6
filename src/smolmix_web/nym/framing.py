"""Frames on a link between nodes (sphinx.md 11, nodes.md 2): back to back, one direction, no answers."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion


@dataclass(frozen=True, slots=True)
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
    try:
        size = frame.size
    except MalformedError as error:
        raise LocalProtocolError(str(error)) from error
    if version == PacketVersion.LEGACY:
        return bytes((7, size, frame.packet_type)) + frame.packet
    return bytes((8, size, frame.packet_type, frame.rotation)) + frame.packet


class FrameDecoder:
    """Cuts a byte stream into frames.

    Memory is bounded by one frame (33,137 bytes) plus the chunk just given. After an error the stream cannot
    be resynchronised: every further call raises, and the connection has to be closed.
    """

    __slots__ = ("_buffer", "error")

    def __init__(self) -> None:
        self._buffer = bytearray()
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
        self._buffer += data
        position = 0
        try:
            while (decoded := self._decode_at(position)) is not None:
                frame, position = decoded
                frames.append(frame)
        except MalformedError as error:
            self.error = error
            self._buffer.clear()
            if not frames:
                raise
            return frames
        del self._buffer[:position]
        return frames

    def _decode_at(self, position: int) -> tuple[NodeFrame, int] | None:
        buffer = self._buffer
        if len(buffer) - position < 3:
            return None
        version = PacketVersion.from_byte(buffer[position])
        size = PacketSize.from_tag(buffer[position + 1])
        packet_type = PacketType.from_byte(buffer[position + 2])
        start = position + 3
        rotation = KeyRotation.UNKNOWN
        if version is PacketVersion.KEY_ROTATION:
            if len(buffer) <= start:
                return None
            rotation = KeyRotation.from_byte(buffer[start])
            start += 1
        end = start + size.total
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            packet = bytes(view[start:end])
        return NodeFrame(packet, packet_type, rotation, version), end
