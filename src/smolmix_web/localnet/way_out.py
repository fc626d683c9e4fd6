"""How packets leave an exit: the interface that the user-space exit and the TUN device share.

The exit's loop calls, in each turn: ``receive_packet`` for what clients sent, ``handle_timer`` when
``poll_at`` is due, and ``packets_to_send`` for what goes back. A way out calls ``wake`` when something
happened outside of a turn (a socket became readable), so that a turn follows.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, Protocol

from smolmix_web.ipr.packetinfo import PacketInfo


class ExitClient(NamedTuple):
    """A connected client; ``tag`` is its sender tag, ``mtu`` the size of the largest packet it takes."""

    tag: bytes
    ipv4: IPv4Address
    ipv6: IPv6Address
    mtu: int


class WayOut(Protocol):
    async def start(self, wake: Callable[[], None]) -> None: ...

    def client_connected(self, client: ExitClient, now: float) -> None: ...

    def client_gone(self, client: ExitClient, now: float) -> None:
        """Everything that belongs to the client ends."""
        ...

    def receive_packet(self, client: ExitClient, packet: bytes, info: PacketInfo, now: float) -> None:
        """A packet that the exit policy allows."""
        ...

    def packets_to_send(self, now: float, room: Callable[[bytes], int]) -> list[bytes]:
        """Packets for clients; ``room(tag)`` tells how many a client can take, what is beyond waits or is
        lost."""
        ...

    def poll_at(self) -> float | None: ...

    def handle_timer(self, now: float) -> None: ...

    def snapshot(self) -> dict[str, Any]:
        """Counters and what is open now, for the status page."""
        ...

    async def stop(self) -> None: ...
