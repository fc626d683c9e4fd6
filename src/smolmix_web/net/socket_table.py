"""The sockets on an interface: how they are made and found by port, and what they ask of the stack."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable

from smolmix_web.errors import LocalProtocolError, OptionError, SmolmixError
from smolmix_web.net.addresses import is_unicast, pack_address
from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.flow import Flow, flow_key
from smolmix_web.net.interface import Interface
from smolmix_web.net.ip import TCP
from smolmix_web.net.memory import ReceiveMemory
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.listener import TcpListener
from smolmix_web.net.tcp.sequence import MASK
from smolmix_web.net.tcp.state import State
from smolmix_web.net.udp import Endpoint, UdpAnySocket, UdpSocket

Socket = TcpConnection | TcpListener | UdpSocket | UdpAnySocket


class SocketTable(Interface):
    """See the module; its one user is :class:`~smolmix_web.net.stack.Stack`.

    :param ipv4: our IPv4 address, ``None``: no IPv4.
    :param ipv6: our IPv6 address, ``None``: no IPv6.
    :param mtu: bytes of the largest packet the interface takes, 576 to 65,535; IPv6 needs 1,280.
    :param accept_any: take packets for any destination (the exit's side).
    :raises OptionError: an address or the MTU is not usable.
    """

    def __init__(
        self,
        *,
        ipv4: str | None,
        ipv6: str | None,
        mtu: int,
        config: StackConfig = StackConfig(),  # noqa: B008 - frozen
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        accept_any: bool = False,
    ) -> None:
        super().__init__(ipv4, ipv6, mtu, config, random_bytes, accept_any)
        self.changed: set[Socket] = set()
        self.memory = ReceiveMemory(config.receive_memory_limit)
        # Connections with something to send, and those whose deadlines changed; they enter themselves.
        self.ready: deque[TcpConnection] = deque()
        self.woken: list[TcpConnection] = []
        self._timers: list[tuple[float, int, TcpConnection]] = []
        self._timer_count = 0
        self._secret = random_bytes(32)
        self._connections: dict[bytes, TcpConnection] = {}
        self._time_wait: OrderedDict[TcpConnection, None] = OrderedDict()
        self._listeners: dict[tuple[bytes | None, int | None], TcpListener] = {}
        self._udp: dict[int, list[UdpSocket]] = {}
        self._udp_any: UdpAnySocket | None = None
        self._port_counter = int.from_bytes(random_bytes(2), "big")

    # -- for the layer above --------------------------------------------------------------------------

    def connect_tcp(
        self,
        address: str,
        port: int,
        now: float,
        *,
        local_port: int | None = None,
        options: TcpOptions | None = None,
    ) -> TcpConnection:
        """Start a connection; it is usable when ``state`` is ESTABLISHED (data may be queued before).

        :raises OptionError: no usable address or port, or no address of that family here.
        :raises LocalProtocolError: no port is free, or the limit of connections is reached.
        """
        remote = pack_address(address)
        if not is_unicast(remote):
            raise OptionError("address", "not a unicast address")
        if not 0 < port < 65_536:
            raise OptionError("port", "not between 1 and 65535")
        local = self.source_for(remote)
        if len(self._connections) - len(self._time_wait) >= self.config.max_connections:
            raise LocalProtocolError("too many connections")
        if local_port is None:
            local_port = self._choose_port(local, remote, port)
        elif flow_key(remote, local, port, local_port) in self._connections:
            raise LocalProtocolError("the local port is in use with this destination")
        flow = Flow(
            TCP, local, local_port, remote, port, self._path_mtu.get(remote, now), self.config.hop_limit
        )
        connection = TcpConnection(self, flow, options if options is not None else self.config.tcp, now)
        self._connections[flow.key] = connection
        connection.open_active(now)
        return connection

    def listen_tcp(
        self,
        address: str | None,
        port: int | None,
        backlog: int = 128,
        *,
        deferred: bool = False,
        options: TcpOptions | None = None,
    ) -> TcpListener:
        """Accept connections; ``None`` stands for any address or any port.

        :param deferred: hold each SYN until the connection's ``accept_syn`` or ``refuse``.
        :raises LocalProtocolError: something listens there already.
        """
        packed = pack_address(address) if address is not None else None
        if (packed, port) in self._listeners:
            raise LocalProtocolError("the address and port are in use")
        listener = TcpListener(
            self, packed, port, backlog, options if options is not None else self.config.tcp, deferred
        )
        self._listeners[packed, port] = listener
        return listener

    def open_udp(self, *, local_port: int | None = None, connect: Endpoint | None = None) -> UdpSocket:
        """:raises LocalProtocolError: the port is in use, or none is free."""
        if local_port is None:
            local_port = self._choose_udp_port()
        elif any(
            connect is None or other.remote in (None, connect) for other in self._udp.get(local_port, ())
        ):
            raise LocalProtocolError("the local port is in use")
        socket = UdpSocket(self, local_port, connect)
        # Connected sockets first, so that the more specific one gets the datagram.
        sockets = self._udp.setdefault(local_port, [])
        sockets.insert(0 if connect is not None else len(sockets), socket)
        return socket

    def open_udp_any(self) -> UdpAnySocket:
        """Every datagram for which there is no socket. :raises LocalProtocolError: there is one already."""
        if self._udp_any is not None:
            raise LocalProtocolError("there is such a socket already")
        self._udp_any = UdpAnySocket(self)
        return self._udp_any

    def abort_all(self, error: SmolmixError) -> None:
        """The link is gone: end every connection with ``error``; nothing is sent."""
        for connection in list(self._connections.values()):
            connection.fail(error)
        self._control.clear()

    # -- for the sockets ------------------------------------------------------------------------------

    def established(self, connection: TcpConnection) -> None:
        if isinstance(connection.listener, TcpListener):
            connection.listener.established(connection)

    def entered_time_wait(self, connection: TcpConnection) -> None:
        self._time_wait[connection] = None
        if len(self._time_wait) > self.config.max_time_wait:
            oldest = next(iter(self._time_wait))
            oldest.fail_silently()

    def remove(self, connection: TcpConnection) -> None:
        key = connection.flow.key
        if self._connections.get(key) is connection:
            del self._connections[key]
        self._time_wait.pop(connection, None)
        if isinstance(connection.listener, TcpListener):
            connection.listener.removed(connection)
        connection.scheduled_at = NEVER

    def close_listener(self, listener: TcpListener) -> None:
        self._listeners.pop((listener.address, listener.port), None)

    def close_udp(self, socket: UdpSocket) -> None:
        sockets = self._udp.get(socket.local_port, [])
        if socket in sockets:
            sockets.remove(socket)
        if not sockets:
            self._udp.pop(socket.local_port, None)

    def close_udp_any(self, socket: UdpAnySocket) -> None:
        if self._udp_any is socket:
            self._udp_any = None

    # -- what is there --------------------------------------------------------------------------------

    def _find_listener(self, address: bytes, port: int) -> TcpListener | None:
        listeners = self._listeners
        if not listeners:
            return None
        return (
            listeners.get((address, port))
            or listeners.get((None, port))
            or listeners.get((address, None))
            or listeners.get((None, None))
        )

    def counts(self) -> dict[str, int]:
        """What is held now: connections, those of them that only wait out TIME-WAIT, and UDP sockets; bytes
        that nobody has read yet, and bytes written that the peers have not acknowledged.
        """
        connections = self._connections.values()
        waiting = sum(one.state is State.TIME_WAIT for one in connections)
        return {
            "connections": len(connections) - waiting,
            "timeWait": waiting,
            "udpSockets": sum(map(len, self._udp.values())),
            "unread": sum(one.readable() for one in connections),
            "unsent": sum(one.unsent for one in connections),
        }

    def initial_sequence(self, flow: Flow, now: float) -> int:
        """RFC 6528 section 3: a 4 us clock plus a keyed hash of the connection's four coordinates."""
        offset = int.from_bytes(self._hash(b"isn", flow.key)[:4], "big")
        return (int(now * 250_000) + offset) & MASK

    def _hash(self, purpose: bytes, data: bytes) -> bytes:
        return hmac.digest(self._secret, purpose + data, hashlib.sha256)

    def _choose_port(self, local: bytes, remote: bytes, port: int) -> int:
        """RFC 6056 section 3.3.3, simple hash-based selection."""
        low, high = self.config.ephemeral_ports
        count = high - low + 1
        offset = int.from_bytes(self._hash(b"port", flow_key(remote, local, port, 0))[:4], "big")
        for _ in range(count):
            candidate = low + (offset + self._port_counter) % count
            self._port_counter += 1
            if flow_key(remote, local, port, candidate) not in self._connections:
                return candidate
        raise LocalProtocolError("no local port is free for this destination")

    def _choose_udp_port(self) -> int:
        """RFC 6056 section 3.3.1: random, because DNS over it is guarded by the port's secrecy."""
        low, high = self.config.ephemeral_ports
        count = high - low + 1
        start = int.from_bytes(self.random_bytes(4), "big")
        for step in range(count):
            candidate = low + (start + step) % count
            if candidate not in self._udp:
                return candidate
        raise LocalProtocolError("no local port is free")
