"""Addresses of nodes inside packets, and of clients (sphinx.md 13)."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58, edwards
from smolmix_web.wire import Reader

_LENGTHS = {4: 7, 6: 19}
"""First byte of an encoded node address -> bytes of the encoding."""

PADDED_IN_HEADER = 32
PADDED_IN_ACK = 19

DEFAULT_MIX_PORT = 1789


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """Where a node listens for packets: an IPv4 or IPv6 address as text, and a TCP port (0 to 65535)."""

    ip: str
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    def pack(self) -> bytes:
        """Unpadded: 7 bytes for IPv4, 19 for IPv6. :raises ValueError: not an IP address, or no such port."""
        return _pack(self.ip, self.port)

    def pack_padded(self, length: int) -> bytes:
        """Zero-padded on the right to ``length`` bytes (32 in a header, 19 before an ack)."""
        packed = self.pack()
        if len(packed) > length:
            raise ValueError(f"node address needs {len(packed)} bytes")
        return packed.ljust(length, b"\0")

    @staticmethod
    def unpack(data: bytes) -> NodeAddress:
        """From the front of ``data``; what follows is ignored, as padding is nowhere checked.

        :raises MalformedError: unknown kind or too short.
        """
        return _unpack(data[: _packed_length(data[0] if data else 0)])

    @staticmethod
    def pull(reader: Reader) -> NodeAddress:
        """The unpadded form, which tells its own length. :raises MalformedError: unknown kind, truncated."""
        kind = reader.pull_bytes(1)
        return _unpack(kind + reader.pull_bytes(_packed_length(kind[0]) - 1))


def _packed_length(kind: int) -> int:
    length = _LENGTHS.get(kind)
    if length is None:
        raise MalformedError(f"{kind} is not a kind of node address")
    return length


# A network has a few hundred nodes and every packet names several of them.
@lru_cache(maxsize=8192)
def _pack(ip: str, port: int) -> bytes:
    address = ipaddress.ip_address(ip)
    if not 0 <= port <= 0xFFFF:
        raise ValueError(f"{port} is not a port")
    return bytes([address.version]) + port.to_bytes(2, "big") + address.packed


@lru_cache(maxsize=8192)
def _unpack(data: bytes) -> NodeAddress:
    if len(data) != _packed_length(data[0]):
        raise MalformedError("truncated node address")
    return NodeAddress(str(ipaddress.ip_address(data[3:])), int.from_bytes(data[1:3], "big"))


@dataclass(frozen=True, slots=True)
class Recipient:
    """Address of a client.

    :ivar identity: ed25519 public key of the client, 32 bytes; also its Sphinx destination.
    :ivar encryption: x25519 public key of the client, 32 bytes.
    :ivar gateway: ed25519 public key of the gateway where the client is reached, 32 bytes.
    """

    identity: bytes
    encryption: bytes
    gateway: bytes

    def __post_init__(self) -> None:
        if not len(self.identity) == len(self.encryption) == len(self.gateway) == 32:
            raise MalformedError("each part of a recipient has 32 bytes")
        if not edwards.is_point(self.identity) or not edwards.is_point(self.gateway):
            raise MalformedError("recipient holds a key that is not a point of Ed25519")

    def __str__(self) -> str:
        identity, encryption, gateway = map(base58.encode, (self.identity, self.encryption, self.gateway))
        return f"{identity}.{encryption}@{gateway}"

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """From ``identity.encryption@gateway``. :raises MalformedError: not such an address."""
        halves = text.split("@")
        keys = halves[0].split(".")
        if len(halves) != 2 or len(keys) != 2:
            raise MalformedError("a recipient reads identity.encryption@gateway")
        identity, encryption, gateway = (base58.decode(part, 32) for part in (*keys, halves[1]))
        return cls(identity, encryption, gateway)

    def to_bytes(self) -> bytes:
        return self.identity + self.encryption + self.gateway

    @classmethod
    def from_bytes(cls, data: bytes) -> Recipient:
        """From exactly 96 bytes. :raises MalformedError: another length, or keys that are no points."""
        if len(data) != 96:
            raise MalformedError(f"recipient of {len(data)} bytes, 96 wanted")
        return cls(data[:32], data[32:64], data[64:])
