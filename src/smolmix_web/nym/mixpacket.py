"""What a client hands to its entry gateway: a packet, and where it goes first (sphinx.md 12)."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType
from smolmix_web.wire import Reader


@dataclass(frozen=True, slots=True)
class MixPacket:
    """The gateway forwards ``packet`` to ``first_hop`` at once; it is not a Sphinx hop itself.

    Version 1 of the encoding has no rotation byte (gateway protocol below 5), version 2 has it.
    """

    first_hop: NodeAddress
    packet: bytes
    packet_type: PacketType = PacketType.MIX
    rotation: KeyRotation = KeyRotation.UNKNOWN

    @property
    def size(self) -> PacketSize:
        return PacketSize.from_total(len(self.packet))

    def to_bytes_v1(self) -> bytes:
        return bytes((self.packet_type,)) + self.first_hop.pack() + self.packet

    @classmethod
    def from_bytes_v1(cls, data: bytes) -> MixPacket:
        """:raises MalformedError: unknown type, address kind or packet length."""
        reader = Reader(data)
        packet_type = PacketType.from_byte(reader.pull_u8())
        return cls._pull_packet(reader, packet_type, KeyRotation.UNKNOWN)

    def to_bytes_v2(self) -> bytes:
        return bytes((self.packet_type, self.rotation)) + self.first_hop.pack() + self.packet

    @classmethod
    def from_bytes_v2(cls, data: bytes) -> MixPacket:
        """:raises MalformedError: unknown type, rotation, address kind or packet length."""
        reader = Reader(data)
        packet_type = PacketType.from_byte(reader.pull_u8())
        rotation = KeyRotation.from_byte(reader.pull_u8())
        return cls._pull_packet(reader, packet_type, rotation)

    @classmethod
    def _pull_packet(cls, reader: Reader, packet_type: PacketType, rotation: KeyRotation) -> MixPacket:
        first_hop = NodeAddress.pull(reader)
        packet = reader.pull_rest()
        PacketSize.from_total(len(packet))
        return cls(first_hop, packet, packet_type, rotation)
