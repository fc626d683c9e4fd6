"""The two ends of a TCP or UDP exchange, and what every packet between them has in common."""

from __future__ import annotations

import struct

from smolmix_web.net.addresses import format_address
from smolmix_web.net.ip import pseudo_sum
from smolmix_web.net.ipv4 import build_ipv4_header
from smolmix_web.net.ipv6 import build_ipv6_header

_PORTS = struct.Struct(">HH")


def flow_key(source: bytes, destination: bytes, source_port: int, destination_port: int) -> bytes:
    """What an arriving packet is looked up by: the bytes in the order of the packet."""
    return source + destination + _PORTS.pack(source_port, destination_port)


class Flow:
    """Addresses as 4 or 16 bytes. ``pseudo`` is the checksum's share of addresses and protocol; ``mtu`` is
    bytes."""

    __slots__ = (
        "_hop_limit",
        "header_size",
        "local_address",
        "local_port",
        "mtu",
        "protocol",
        "pseudo",
        "remote_address",
        "remote_port",
        "version",
    )

    def __init__(
        self,
        protocol: int,
        local_address: bytes,
        local_port: int,
        remote_address: bytes,
        remote_port: int,
        mtu: int,
        hop_limit: int,
    ) -> None:
        self.protocol = protocol
        self.local_address = local_address
        self.local_port = local_port
        self.remote_address = remote_address
        self.remote_port = remote_port
        self.version = 4 if len(local_address) == 4 else 6
        self.header_size = 20 if self.version == 4 else 40
        self.mtu = mtu
        self.pseudo = pseudo_sum(local_address, remote_address, protocol, 0) % 0xFFFF
        self._hop_limit = hop_limit

    @property
    def key(self) -> bytes:
        """The key under which packets from the remote end arrive."""
        return flow_key(self.remote_address, self.local_address, self.remote_port, self.local_port)

    @property
    def local(self) -> tuple[str, int]:
        return format_address(self.local_address), self.local_port

    @property
    def remote(self) -> tuple[str, int]:
        return format_address(self.remote_address), self.remote_port

    def packet(self, payload: bytes) -> bytes:
        """``payload`` behind an IP header to the remote end."""
        return ip_packet(self.local_address, self.remote_address, self.protocol, payload, self._hop_limit)


def ip_packet(source: bytes, destination: bytes, protocol: int, payload: bytes, hop_limit: int = 64) -> bytes:
    """An unfragmented packet of the family of its addresses."""
    if len(source) == 4:
        return build_ipv4_header(source, destination, protocol, len(payload), ttl=hop_limit) + payload
    return build_ipv6_header(source, destination, protocol, len(payload), hop_limit=hop_limit) + payload
