"""Numbers that name packet sizes, types, frame versions and key rotations (spec sphinx.md 10)."""

from __future__ import annotations

from enum import IntEnum

from smolmix_web.errors import MalformedError

HEADER_LENGTH = 348
"""Bytes of a Sphinx header (alpha, gamma, beta)."""

PAYLOAD_OVERHEAD = 17
"""Bytes a Sphinx payload is longer than its plaintext: 16 zero bytes in front, one 0x01 behind."""


class PacketSize(IntEnum):
    """Size tag of a packet; the value is the byte of the node-to-node frame.

    Tag 3 really is the largest one. Outfox is a different packet format: its sizes can be framed and
    forwarded, but nothing here builds or processes such packets.
    """

    REGULAR = 1
    ACK = 2
    EXTENDED32 = 3
    EXTENDED8 = 4
    EXTENDED16 = 5
    OUTFOX_REGULAR = 6
    OUTFOX_ACK = 7

    @property
    def total(self) -> int:
        """Bytes of the whole packet, header included."""
        return _TOTAL[self]

    @property
    def plaintext(self) -> int:
        """Largest message, in bytes, that the final hop recovers."""
        return _PLAINTEXT[self]

    @property
    def payload(self) -> int:
        """Bytes of the Sphinx payload S. Meaningless for Outfox."""
        return _TOTAL[self] - HEADER_LENGTH

    @property
    def is_sphinx(self) -> bool:
        return self not in (PacketSize.OUTFOX_REGULAR, PacketSize.OUTFOX_ACK)

    @classmethod
    def from_tag(cls, tag: int) -> PacketSize:
        """:raises MalformedError: no such size tag."""
        try:
            return cls(tag)
        except ValueError:
            raise MalformedError(f"{tag} is not a packet size tag") from None

    @classmethod
    def from_total(cls, length: int) -> PacketSize:
        """The size whose packets are ``length`` bytes long. :raises MalformedError: there is none."""
        size = _BY_TOTAL.get(length)
        if size is None:
            raise MalformedError(f"no packet size has {length} bytes")
        return size


_PLAINTEXT = {
    PacketSize.REGULAR: 2048,
    PacketSize.ACK: 21,
    PacketSize.EXTENDED32: 32768,
    PacketSize.EXTENDED8: 8192,
    PacketSize.EXTENDED16: 16384,
    PacketSize.OUTFOX_REGULAR: 2048,
    PacketSize.OUTFOX_ACK: 48,
}
_OUTFOX_OVERHEAD = 329
_TOTAL = {
    size: plaintext + (HEADER_LENGTH + PAYLOAD_OVERHEAD if size.is_sphinx else _OUTFOX_OVERHEAD)
    for size, plaintext in _PLAINTEXT.items()
}
_BY_TOTAL = {total: size for size, total in _TOTAL.items()}


class PacketType(IntEnum):
    """Packet format (sphinx.md 10.2)."""

    MIX = 0
    OUTFOX = 2

    @classmethod
    def from_byte(cls, value: int) -> PacketType:
        """:raises MalformedError: no such packet type."""
        if value == 0:
            return cls.MIX
        if value == 2:
            return cls.OUTFOX
        raise MalformedError(f"{value} is not a packet type")


class PacketVersion(IntEnum):
    """Version of the node-to-node frame (sphinx.md 10.3)."""

    LEGACY = 7
    """No key rotation byte."""
    KEY_ROTATION = 8

    @classmethod
    def from_byte(cls, value: int) -> PacketVersion:
        """:raises MalformedError: below 7 (obsolete) or above 8 (unknown)."""
        if value == 7:
            return cls.LEGACY
        if value == 8:
            return cls.KEY_ROTATION
        raise MalformedError(f"{value} is not a supported packet version (7 or 8)")


class KeyRotation(IntEnum):
    """Which of a node's two Sphinx keys a packet was made for (sphinx.md 10.4)."""

    UNKNOWN = 0
    ODD = 1
    EVEN = 2

    @classmethod
    def from_byte(cls, value: int) -> KeyRotation:
        """:raises MalformedError: not 0, 1 or 2."""
        try:
            return cls(value)
        except ValueError:
            raise MalformedError(f"{value} is not a key rotation") from None

    @classmethod
    def from_rotation_id(cls, rotation_id: int) -> KeyRotation:
        """From the numeric id (u32) of the directory; 0 and 2**32-1 stand for "not known"."""
        if rotation_id in (0, 0xFFFFFFFF):
            return cls.UNKNOWN
        return cls.ODD if rotation_id & 1 else cls.EVEN
