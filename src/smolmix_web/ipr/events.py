"""What :class:`~smolmix_web.ipr.client.IprClient` and :class:`~smolmix_web.ipr.server.IprServer` tell."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from smolmix_web.errors import DeadlineError
from smolmix_web.ipr.packetinfo import PacketInfo
from smolmix_web.ipr.routable import IpAddress


@dataclass(frozen=True, slots=True)
class Connected:
    """``version`` is the protocol version that was answered; ``mtu`` is 1280 or more."""

    ipv4: IPv4Address
    ipv6: IPv6Address
    mtu: int
    version: int


@dataclass(frozen=True, slots=True)
class Denied:
    """The exit refused the connect; ``reason`` is its text."""

    reason: str


@dataclass(frozen=True, slots=True)
class ConnectTimedOut:
    """No connect response came within ``seconds``."""

    seconds: float

    @property
    def error(self) -> DeadlineError:
        return DeadlineError("connect to the exit", self.seconds)


@dataclass(frozen=True, slots=True)
class PacketReceived:
    """One IP packet from the exit."""

    packet: bytes


@dataclass(frozen=True, slots=True)
class PolicyDenied:
    """The exit's policy refuses ``destination`` ("ip:port"); ``address`` and ``port`` are its parts.

    ``address`` is None when the exit's text cannot be read as an address.
    """

    destination: str
    address: IpAddress | None
    port: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The exit dropped us."""

    reason: str


@dataclass(frozen=True, slots=True)
class ExitSilent:
    """Nothing came for ``seconds`` although an answer is due, a ping's included."""

    seconds: float

    @property
    def error(self) -> DeadlineError:
        return DeadlineError("sign of life from the exit", round(self.seconds, 1))


ClientEvent: TypeAlias = (
    Connected | Denied | ConnectTimedOut | PacketReceived | PolicyDenied | Disconnected | ExitSilent
)


@dataclass(frozen=True, slots=True)
class ClientConnected:
    """``client`` is the sender tag, 16 bytes; ``mtu`` is what the client was told, or has to assume."""

    client: bytes
    ipv4: IPv4Address
    ipv6: IPv6Address
    mtu: int


@dataclass(frozen=True, slots=True)
class ClientGone:
    """The addresses are free again. ``reason`` is "disconnected", "reconnected" or "idle"."""

    client: bytes
    ipv4: IPv4Address
    ipv6: IPv6Address
    reason: str


@dataclass(frozen=True, slots=True)
class PacketFromClient:
    """An IP packet that passed the policy; ``client`` owns its source address."""

    client: bytes
    packet: bytes
    info: PacketInfo


ServerEvent: TypeAlias = ClientConnected | ClientGone | PacketFromClient
