"""The way out without privileges: TCP and UDP end in an IP stack of ours, and go on over ordinary sockets.

Every client has a stack of its own that accepts any address and port, so that limits, memory and clean-up are
per client by construction. A SYN is answered only after the real connection stands: what is refused there is
refused here. ICMP echo requests are answered by the stack itself, for any address that the policy allows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from smolmix_web.ipr.packetinfo import ICMP, ICMPV6, PacketInfo
from smolmix_web.localnet.address_map import AddressMap, Blackhole, Endpoint, Protocol
from smolmix_web.localnet.userspace_tcp import TcpRelay
from smolmix_web.localnet.userspace_udp import UdpRelay
from smolmix_web.localnet.way_out import ExitClient
from smolmix_web.net.stack import Stack, StackConfig, TcpConnection, TcpListener, UdpAnySocket

# How often silent UDP flows are looked for, in seconds.
_SWEEP_INTERVAL = 5.0

# The exit's own addresses, as on the TUN device of the reference exit.
_OWN_IPV4, _OWN_IPV6 = "10.0.0.1", "fc00::1"


@dataclass(frozen=True, slots=True)
class UserspaceLimits:
    """Per client; times in seconds, sizes in bytes."""

    max_tcp_connections: int = 512
    max_udp_flows: int = 256
    connect_timeout: float = 20.0
    # Bytes received from the client and not yet taken by real sockets.
    receive_memory: int = 16 * 1024 * 1024
    # Bytes for the client that wait in the stack; above it only connections with little waiting read on.
    send_memory: int = 32 * 1024 * 1024
    # Over all clients; None: half of what the system lets this process open.
    max_sockets: int | None = None


@dataclass(slots=True)
class UserspaceStats:
    tcp_opened: int = 0
    tcp_refused: int = 0
    tcp_over_limit: int = 0
    udp_datagrams: int = 0
    udp_refused: int = 0
    udp_over_limit: int = 0
    swallowed: int = 0


class _Client:
    """One client's stack with its relays."""

    def __init__(self, exit_: UserspaceExit, client: ExitClient) -> None:
        limits = exit_.limits
        config = StackConfig(
            receive_memory_limit=limits.receive_memory, max_connections=limits.max_tcp_connections
        )
        self.client = client
        self._exit = exit_
        self.stack = Stack(
            ipv4=_OWN_IPV4,
            ipv6=_OWN_IPV6,
            mtu=client.mtu,
            config=config,
            random_bytes=exit_.random_bytes,
            accept_any=True,
        )
        self._listener = self.stack.listen_tcp(None, None, limits.max_tcp_connections, deferred=True)
        self._datagrams = self.stack.open_udp_any()
        self.relays: dict[TcpConnection, TcpRelay] = {}
        self.connecting: set[asyncio.Task[str]] = set()
        self.udp = UdpRelay(self._datagrams, exit_.clock, self._wake, limits.max_udp_flows)

    def process(self, now: float) -> None:
        """Acts on everything that changed in the stack."""
        while changed := self.stack.take_changed():
            for one in changed:
                if isinstance(one, TcpConnection):
                    relay = self.relays.get(one)
                    if relay is not None:
                        relay.client_changed(now)
                elif isinstance(one, TcpListener):
                    self._accept(now)
                elif isinstance(one, UdpAnySocket):
                    self._take_datagrams(now)

    def refill(self, now: float) -> None:
        """Sending made room in the stack's buffers: give it what waits for that."""
        for relay in [relay for relay in self.relays.values() if relay.is_waiting]:
            relay.client_changed(now)
        self.process(now)

    def close(self, now: float) -> None:
        for relay in list(self.relays.values()):
            relay.abort(now)
        for task in self.connecting:
            task.cancel()
        self.udp.close()
        self.stack.take_changed()

    def _wake(self) -> None:
        self._exit.mark(self)

    def _accept(self, now: float) -> None:
        while (connection := self._listener.accept()) is not None:
            if not connection.deferred:
                continue
            target = self._exit.resolve(*connection.local, Protocol.TCP)
            if isinstance(target, Blackhole):
                self._exit.stats.swallowed += 1
                connection.fail_silently()
            elif target is None:
                self._exit.stats.tcp_refused += 1
                connection.refuse(now)
            elif len(self.relays) >= self._exit.limits.max_tcp_connections or self._exit.is_full():
                self._exit.stats.tcp_over_limit += 1
                connection.refuse(now)
            else:
                self._connect(connection, target)

    def _connect(self, connection: TcpConnection, target: Endpoint) -> None:
        relay = TcpRelay(connection, self._exit.clock, self._wake, self._relay_ended, self._has_memory)
        self.relays[connection] = relay
        task = asyncio.get_running_loop().create_task(
            relay.connect(target, self._exit.limits.connect_timeout, self._exit.source_for(target))
        )
        self.connecting.add(task)
        task.add_done_callback(self._connect_done)

    def _connect_done(self, task: asyncio.Task[str]) -> None:
        self.connecting.discard(task)
        if not task.cancelled():
            if task.result() == "connected":
                self._exit.stats.tcp_opened += 1
            else:
                self._exit.stats.tcp_refused += 1

    def _has_memory(self) -> bool:
        return sum(relay.connection.unsent for relay in self.relays.values()) < self._exit.limits.send_memory

    def _relay_ended(self, relay: TcpRelay) -> None:
        self.relays.pop(relay.connection, None)

    def _take_datagrams(self, now: float) -> None:
        while (item := self._datagrams.recv()) is not None:
            source, destination, data = item
            target = self._exit.resolve(*destination, Protocol.UDP)
            if isinstance(target, Blackhole):
                self._exit.stats.swallowed += 1
            elif target is None:
                self._exit.stats.udp_refused += 1
                self._datagrams.refuse(source, destination, data)
            elif self._exit.is_full() and not self.udp.knows(source, destination):
                self._exit.stats.udp_over_limit += 1
            else:
                self._exit.stats.udp_datagrams += 1
                self.udp.send(source, destination, data, target, now)


class UserspaceExit:
    """A :class:`~smolmix_web.localnet.way_out.WayOut`.

    :param address_map: the test internet; mapped destinations lead to their listeners
    :param reach_internet: connect to unmapped destinations for real; otherwise they are refused. (Which
        destinations get this far at all is the exit policy's business.)
    :param source: IPv4 loopback address that TCP connections to other loopback addresses come from, so that
        the test internet sees the exit as somebody else than the client's own connections
    """

    def __init__(
        self,
        address_map: AddressMap | None = None,
        *,
        reach_internet: bool = True,
        source: str | None = None,
        limits: UserspaceLimits | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.address_map = address_map if address_map is not None else AddressMap()
        self.reach_internet = reach_internet
        self.source = source
        self.limits = limits or UserspaceLimits()
        self.random_bytes = random_bytes
        self.stats = UserspaceStats()
        self.clock: Callable[[], float] = lambda: 0.0
        self._wake: Callable[[], None] = lambda: None
        self._connected: dict[bytes, ExitClient] = {}
        # Clients that have sent a packet; the others cost no stack.
        self._clients: dict[bytes, _Client] = {}
        # Clients whose stack may have something to do; ordered, so that all get their turn.
        self._dirty: dict[bytes, _Client] = {}
        self._sweep_at = 0.0
        self._max_sockets = self.limits.max_sockets or _half_of_the_file_limit()

    async def start(self, wake: Callable[[], None]) -> None:
        self.clock = asyncio.get_running_loop().time
        self._wake = wake

    async def stop(self) -> None:
        tasks = [task for client in self._clients.values() for task in client.connecting]
        now = self.clock()
        for client in list(self._connected.values()):
            self.client_gone(client, now)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the next turn of the loop

    def client_connected(self, client: ExitClient, now: float) -> None:
        self._connected[client.tag] = client

    def client_gone(self, client: ExitClient, now: float) -> None:
        # A client that connected again has other addresses by now; the news about its old ones is no news.
        if self._connected.get(client.tag) != client:
            return
        del self._connected[client.tag]
        own = self._clients.pop(client.tag, None)
        if own is not None:
            self._dirty.pop(client.tag, None)
            own.close(now)

    def receive_packet(self, client: ExitClient, packet: bytes, info: PacketInfo, now: float) -> None:
        if client.tag not in self._connected:
            return
        if info.protocol in (ICMP, ICMPV6) and self._swallows(info.destination):
            self.stats.swallowed += 1
            return
        own = self._clients.get(client.tag)
        if own is None:
            own = self._clients[client.tag] = _Client(self, client)
            self._sweep_at = self._sweep_at or now + _SWEEP_INTERVAL
        own.stack.receive_packet(packet, now)
        self._dirty[client.tag] = own

    def packets_to_send(self, now: float, room: Callable[[bytes], int]) -> list[bytes]:
        packets: list[bytes] = []
        for tag, client in list(self._dirty.items()):
            client.process(now)
            limit = room(tag)
            if limit > 0:
                packets += client.stack.packets_to_send(now, limit)
                client.refill(now)
            if self._dirty.get(tag) is client:
                del self._dirty[tag]
                if client.stack.has_packets or client.stack.changed:
                    self._dirty[tag] = client
        return packets

    def poll_at(self) -> float | None:
        deadlines = [self._sweep_at] if self._clients else []
        for client in self._clients.values():
            deadline = client.stack.poll_at()
            if deadline is not None:
                deadlines.append(deadline)
        return min(deadlines, default=None)

    def handle_timer(self, now: float) -> None:
        sweep = now >= self._sweep_at
        if sweep:
            self._sweep_at = now + _SWEEP_INTERVAL
        for tag, client in self._clients.items():
            deadline = client.stack.poll_at()
            if deadline is not None and deadline <= now:
                client.stack.handle_timer(now)
                self._dirty[tag] = client
            if sweep:
                client.udp.expire(now)

    def snapshot(self) -> dict[str, Any]:
        return {"kind": "user space", **asdict(self.stats), **self.counts()}

    def destinations(self) -> list[str]:
        """Where TCP connections are open to now, over all clients: ``address:port``, each once."""
        relays = (relay for client in self._clients.values() for relay in client.relays.values())
        open_to = {relay.connection.local for relay in relays}
        return sorted(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in open_to)

    def source_for(self, target: Endpoint) -> tuple[str, int] | None:
        """What a connection to ``target`` is bound to; None leaves it to the system."""
        return (self.source, 0) if self.source and _is_loopback_ipv4(target.host) else None

    def counts(self) -> dict[str, int]:
        """What is open now, over all clients."""
        counts: Counter[str] = Counter(clients=len(self._connected), tcp_connections=0, udp_flows=0)
        for client in self._clients.values():
            counts["tcp_connections"] += len(client.relays)
            counts["udp_flows"] += len(client.udp)
        return dict(counts)

    def held(self) -> int:
        """Bytes of TCP connections on their way between the two halves, over all clients."""
        relays = (relay for client in self._clients.values() for relay in client.relays.values())
        return sum(relay.held() for relay in relays)

    # --- for the clients ---

    def mark(self, client: _Client) -> None:
        """A real socket did something: the client wants a turn."""
        if self._clients.get(client.client.tag) is client:
            self._dirty[client.client.tag] = client
            self._wake()

    def resolve(self, address: str, port: int, protocol: Protocol) -> Endpoint | Blackhole | None:
        """Where a destination leads; None where nothing is to be reached."""
        ip = ipaddress.ip_address(address)
        target = self.address_map.lookup(ip, port, protocol)
        if target is not None:
            return target
        if self.address_map.covers(ip) or not self.reach_internet:
            return None
        return Endpoint(address, port)

    def is_full(self) -> bool:
        """Whether all clients together have as many sockets as they may."""
        open_now = sum(len(client.relays) + len(client.udp) for client in self._clients.values())
        return open_now >= self._max_sockets

    def _swallows(self, destination: bytes) -> bool:
        """A black hole answers no pings either."""
        return self.address_map.is_blackhole(ipaddress.ip_address(destination))


def _half_of_the_file_limit() -> int:
    try:
        import resource
    except ImportError:  # not a Unix
        return 1024
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max((soft if soft != resource.RLIM_INFINITY else 1 << 20) // 2, 64)


def _is_loopback_ipv4(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return address.version == 4 and address.is_loopback
