"""The stack: one interface with an IPv4 and an IPv6 address, and the sockets on it.

Feed packets with :meth:`Stack.receive_packet`, take packets with :meth:`Stack.packets_to_send`, call
:meth:`Stack.handle_timer` at :meth:`Stack.poll_at`, and look at the sockets in :meth:`Stack.take_changed`.

Work is per packet, never per connection: an arriving packet finds its connection by the bytes of its
addresses and ports; connections with something to send stand in a queue; timers in a heap whose entries may
be early but never late (an entry that turns out early is put back).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush

from smolmix_web.errors import LocalProtocolError, MalformedError, OptionError, SmolmixError
from smolmix_web.net import icmp
from smolmix_web.net.addresses import format_address, is_unicast, pack_address
from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.flow import Flow, flow_key, ip_packet
from smolmix_web.net.ip import ICMP, ICMPV6, TCP, UDP, IpPacket, pseudo_sum
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.ipv6 import parse_ipv6
from smolmix_web.net.memory import ReceiveMemory
from smolmix_web.net.pmtu import PathMtu
from smolmix_web.net.reassembly import Reassembler
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.listener import TcpListener
from smolmix_web.net.tcp.segment import ACK, FIN, RST, SYN, Segment, build_segment, parse_segment
from smolmix_web.net.tcp.sequence import MASK
from smolmix_web.net.tcp.state import State
from smolmix_web.net.udp import DatagramTooLong, Endpoint, UdpAnySocket, UdpSocket, build_udp, parse_udp

Socket = TcpConnection | TcpListener | UdpSocket | UdpAnySocket


@dataclass(slots=True)
class StackStats:
    """Counters since the stack was made."""

    packets_received: int = 0
    packets_sent: int = 0
    malformed: int = 0
    not_for_us: int = 0
    no_socket: int = 0
    paws_dropped: int = 0
    reordered: int = 0
    challenge_acks: int = 0
    memory_dropped: int = 0
    control_dropped: int = 0
    resets_sent: int = 0
    syns_dropped: int = 0
    icmp_errors: int = 0


class Stack:
    """See the module.

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
        if not 576 <= mtu <= 65_535:
            raise OptionError("mtu", "not between 576 and 65535 bytes")
        self._ipv4 = pack_address(ipv4) if ipv4 is not None else None
        self._ipv6 = pack_address(ipv6) if ipv6 is not None else None
        if self._ipv4 is not None and len(self._ipv4) != 4:
            raise OptionError("ipv4", "not an IPv4 address")
        if self._ipv6 is not None and len(self._ipv6) != 16:
            raise OptionError("ipv6", "not an IPv6 address")
        self.mtu = mtu
        self.config = config
        self.random_bytes = random_bytes
        self.accept_any = accept_any
        self.stats = StackStats()
        self.changed: set[Socket] = set()
        self.memory = ReceiveMemory(config.receive_memory_limit)
        self._secret = random_bytes(32)
        self._path_mtu = PathMtu(mtu)
        self._reassembler = Reassembler(config.reassembly_limit, config.reassembly_timeout)
        self._connections: dict[bytes, TcpConnection] = {}
        self._time_wait: OrderedDict[TcpConnection, None] = OrderedDict()
        self._listeners: dict[tuple[bytes | None, int | None], TcpListener] = {}
        self._udp: dict[int, list[UdpSocket]] = {}
        self._udp_any: UdpAnySocket | None = None
        # Connections with something to send, and those whose deadlines changed; they enter themselves.
        self.ready: deque[TcpConnection] = deque()
        self.woken: list[TcpConnection] = []
        self._timers: list[tuple[float, int, TcpConnection]] = []
        self._timer_count = 0
        self._control: deque[bytes] = deque()
        self._icmp_tokens = float(config.icmp_per_second)
        self._icmp_at = 0.0
        self._port_counter = int.from_bytes(random_bytes(2), "big")
        self._now = 0.0

    # -- packets in --------------------------------------------------------------------------------

    def receive_packet(self, packet: bytes, now: float) -> None:
        """One IP packet from the link. Never raises: what is malformed is counted in ``stats`` and
        dropped."""
        self._now = now
        self.stats.packets_received += 1
        try:
            self._receive(packet, now, whole=False)
        except MalformedError:
            self.stats.malformed += 1

    def _receive(self, packet: bytes, now: float, whole: bool) -> None:
        version = packet[0] >> 4 if packet else 0
        if version == 4:
            parsed = parse_ipv4(packet)
            ours = parsed.destination == self._ipv4
        elif version == 6:
            parsed = parse_ipv6(packet)
            ours = parsed.destination == self._ipv6
        else:
            raise MalformedError("not an IP packet")
        if (
            not (ours or self.accept_any)
            or not is_unicast(parsed.source)
            or not is_unicast(parsed.destination)
        ):
            self.stats.not_for_us += 1
            return
        if parsed.is_fragment:
            complete = None if whole else self._reassembler.add(parsed, now)
            if complete is not None:
                self._receive(complete, now, whole=True)
            return
        protocol = parsed.protocol
        if protocol == TCP:
            self._receive_tcp(parsed, now)
        elif protocol == UDP:
            self._receive_udp(parsed, now)
        elif (protocol == ICMP and version == 4) or (protocol == ICMPV6 and version == 6):
            self._receive_icmp(parsed, now)
        else:
            self.stats.no_socket += 1

    def _receive_tcp(self, parsed: IpPacket, now: float) -> None:
        source, destination = parsed.source, parsed.destination
        pseudo = pseudo_sum(source, destination, TCP, 0)
        segment = parse_segment(parsed.packet, parsed.offset, parsed.end, pseudo)
        offset = parsed.offset
        key = source + destination + parsed.packet[offset : offset + 4]
        connection = self._connections.get(key)
        if connection is not None:
            if connection.state is State.TIME_WAIT and self._reopens(connection, segment):
                connection.fail_silently()
            else:
                connection.receive(segment, now)
                return
        if not segment.source_port or not segment.destination_port:
            raise MalformedError("TCP: port 0")
        self._receive_for_listener(parsed, segment, now)

    def _reopens(self, connection: TcpConnection, segment: Segment) -> bool:
        """A SYN in TIME-WAIT that is certainly new (RFC 9293 section 3.10.7.4, RFC 6191)."""
        if (
            segment.flags & (SYN | ACK | RST) != SYN
            or self._find_listener(connection.flow.local_address, segment.destination_port) is None
        ):
            return False
        return connection.is_newer(segment)

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

    def _receive_for_listener(self, parsed: IpPacket, segment: Segment, now: float) -> None:
        """LISTEN and CLOSED: RFC 9293 sections 3.10.7.2 and 3.10.7.1."""
        flags = segment.flags
        if flags & RST:
            return
        listener = self._find_listener(parsed.destination, segment.destination_port)
        if listener is None or flags & ACK:
            self.stats.no_socket += 1
            self._reset_unknown(parsed, segment, now)
            return
        if not flags & SYN:
            return
        if (
            not listener.has_room
            or len(self._connections) >= self.config.max_connections + self.config.max_time_wait
        ):
            self.stats.syns_dropped += 1
            return
        flow = Flow(
            TCP,
            parsed.destination,
            segment.destination_port,
            parsed.source,
            segment.source_port,
            self._path_mtu.get(parsed.source, now),
            self.config.hop_limit,
        )
        connection = TcpConnection(self, flow, listener.options, now)
        self._connections[flow.key] = connection
        connection.open_passive(segment, now, listener.deferred)
        listener.syn_arrived(connection)

    def _reset_unknown(self, parsed: IpPacket, segment: Segment, now: float) -> None:
        if not self.may_answer(now):
            return
        self.stats.resets_sent += 1
        if segment.flags & ACK:
            seq, ack, flags = segment.ack, 0, RST
        else:
            length = len(segment.payload) + bool(segment.flags & SYN) + bool(segment.flags & FIN)
            seq, ack, flags = 0, segment.seq + length, RST | ACK
        reset = build_segment(
            pseudo_sum(parsed.destination, parsed.source, TCP, 0),
            segment.destination_port,
            segment.source_port,
            seq,
            ack,
            flags,
            0,
        )
        self.send_control(ip_packet(parsed.destination, parsed.source, TCP, reset, self.config.hop_limit))

    def _receive_udp(self, parsed: IpPacket, now: float) -> None:
        source_port, port, data = parse_udp(
            parsed.packet, parsed.offset, parsed.end, parsed.source, parsed.destination
        )
        if parsed.destination in (self._ipv4, self._ipv6):
            for socket in self._udp.get(port, ()):
                if socket.takes(parsed.source, source_port):
                    if socket.datagram_arrived(parsed.source, source_port, data):
                        self.changed.add(socket)
                    return
        if self._udp_any is not None:
            source = (format_address(parsed.source), source_port)
            if self._udp_any.datagram_arrived(source, (format_address(parsed.destination), port), data):
                self.changed.add(self._udp_any)
            return
        self.stats.no_socket += 1
        self.send_unreachable(parsed.packet[: parsed.end])

    def _receive_icmp(self, parsed: IpPacket, now: float) -> None:
        message = icmp.parse_icmp(parsed.payload, parsed.source, parsed.destination)
        version = 4 if len(parsed.source) == 4 else 6
        if message.kind is icmp.Kind.ECHO_REQUEST:
            if self.may_answer(now):
                reply = icmp.ECHO_REPLY_V4 if version == 4 else icmp.ECHO_REPLY_V6
                body = icmp.build_icmp(
                    parsed.destination, parsed.source, reply, 0, message.value, message.body
                )
                self.send_control(
                    ip_packet(parsed.destination, parsed.source, parsed.protocol, body, self.config.hop_limit)
                )
        elif message.kind not in (icmp.Kind.OTHER, icmp.Kind.ECHO_REPLY):
            self._receive_icmp_error(message, icmp.parse_quoted(message.body, version), now)

    def _receive_icmp_error(self, message: icmp.IcmpMessage, quoted: icmp.Quoted, now: float) -> None:
        """Deliver to the socket whose packet is quoted."""
        self.stats.icmp_errors += 1
        too_big = message.kind is icmp.Kind.TOO_BIG
        if quoted.protocol == TCP:
            key = flow_key(quoted.destination, quoted.source, quoted.destination_port, quoted.source_port)
            connection = self._connections.get(key)
            if connection is None:
                return
            if too_big:
                if connection.quotes_outstanding(quoted.seq):
                    self._reduce_path_mtu(quoted.destination, message.value, now)
                return
            connection.icmp_error(message.error(), quoted.seq, message.kind is icmp.Kind.UNREACHABLE)
            return
        for socket in self._udp.get(quoted.source_port, ()):
            if socket.takes(quoted.destination, quoted.destination_port):
                destination = (format_address(quoted.destination), quoted.destination_port)
                if too_big:
                    self._reduce_path_mtu(quoted.destination, message.value, now)
                socket.error_arrived(message.error(), destination)
                self.changed.add(socket)
                return

    def _reduce_path_mtu(self, destination: bytes, mtu: int, now: float) -> None:
        mtu = mtu or 576  # RFC 1191 section 5: an old router names none
        reduced = self._path_mtu.reduce(destination, mtu, now)
        if reduced is None:
            return
        for connection in list(self._connections.values()):
            if connection.flow.remote_address == destination:
                connection.path_mtu_changed(reduced)

    # -- packets out -------------------------------------------------------------------------------

    def packets_to_send(self, now: float, limit: int | None = None) -> list[bytes]:
        """Packets to put on the link now, ``limit`` at most; connections take turns, one packet each.

        What is not taken stays unmade: call again when there is room. Segments are built at this moment, so
        they carry the newest acknowledgement, and small writes have merged.
        """
        self._now = now
        room = limit if limit is not None else 1 << 30
        out: list[bytes] = []
        control = self._control
        while control and len(out) < room:
            out.append(control.popleft())
        ready = self.ready
        while ready and len(out) < room:
            connection = ready[0]
            packet = connection.next_packet(now)
            if packet is None:
                ready.popleft()
                connection.queued = False
                if not connection.woken:
                    connection.woken = True
                    self.woken.append(connection)
            else:
                out.append(packet)
                if len(ready) > 1:
                    ready.rotate(-1)
        self.stats.packets_sent += len(out)
        return out

    @property
    def has_packets(self) -> bool:
        """Whether :meth:`packets_to_send` is worth calling."""
        return bool(self._control or self.ready)

    def take_changed(self) -> set[Socket]:
        """Sockets whose readability, writability or state changed since the last call."""
        changed, self.changed = self.changed, set()
        return changed

    # -- time --------------------------------------------------------------------------------------

    def poll_at(self) -> float | None:
        """Next instant at which :meth:`handle_timer` is wanted, or ``None``."""
        self._schedule_woken()
        timers = self._timers
        while timers:
            deadline, _count, connection = timers[0]
            if connection.scheduled_at == deadline:
                return deadline
            heappop(timers)  # replaced by an earlier entry, or gone
        return None

    def handle_timer(self, now: float) -> None:
        """Time has passed."""
        self._now = now
        self._schedule_woken()
        timers = self._timers
        due = []
        while timers and timers[0][0] <= now:
            deadline, _count, connection = heappop(timers)
            if connection.scheduled_at == deadline:
                connection.scheduled_at = NEVER
                due.append(connection)
        for connection in due:
            if connection.poll_at() <= now:
                connection.handle_timer(now)
            self._schedule(connection)
        self._reassembler.expire(now)

    def _schedule_woken(self) -> None:
        """Deadlines that changed since the last look, of connections whose packets were perhaps not taken
        yet."""
        woken, self.woken = self.woken, []
        for connection in woken:
            connection.woken = False
            self._schedule(connection)

    def _schedule(self, connection: TcpConnection) -> None:
        deadline = connection.poll_at()
        if deadline < connection.scheduled_at:
            connection.scheduled_at = deadline
            self._timer_count += 1
            heappush(self._timers, (deadline, self._timer_count, connection))

    # -- sockets -----------------------------------------------------------------------------------

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

    # -- for the sockets ---------------------------------------------------------------------------

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

    def send_control(self, packet: bytes) -> None:
        """Queue a packet that belongs to no connection; dropped when the queue is full."""
        if len(self._control) >= self.config.control_queue_limit:
            self.stats.control_dropped += 1
        else:
            self._control.append(packet)

    def send_datagram(
        self, source: bytes, source_port: int, destination: bytes, port: int, data: bytes, now: float
    ) -> None:
        """:raises DatagramTooLong: it does not fit the path MTU."""
        limit = self._path_mtu.get(destination, now) - (28 if len(source) == 4 else 48)
        if len(data) > limit:
            raise DatagramTooLong(len(data), limit)
        datagram = build_udp(source, destination, source_port, port, bytes(data))
        self.send_control(ip_packet(source, destination, UDP, datagram, self.config.hop_limit))

    def send_unreachable(self, original: bytes, *, code: int | None = None) -> None:
        """Tell the sender of ``original`` that its destination cannot be reached; default: port
        unreachable."""
        if not self.may_answer(self._now):
            return
        parsed = parse_ipv4(original) if original[0] >> 4 == 4 else parse_ipv6(original)
        if len(parsed.source) == 4:
            protocol, default = ICMP, icmp.PORT_UNREACHABLE_V4
        else:
            protocol, default = ICMPV6, icmp.PORT_UNREACHABLE_V6
        body = icmp.build_unreachable(
            original, parsed.destination, parsed.source, self.mtu, code=default if code is None else code
        )
        self.send_control(ip_packet(parsed.destination, parsed.source, protocol, body, self.config.hop_limit))

    def may_answer(self, now: float) -> bool:
        """A token bucket of one second."""
        rate = float(self.config.icmp_per_second)
        self._icmp_tokens = min(rate, self._icmp_tokens + max(now - self._icmp_at, 0.0) * rate)
        self._icmp_at = now
        if self._icmp_tokens < 1:
            return False
        self._icmp_tokens -= 1
        return True

    def source_for(self, destination: bytes) -> bytes:
        """Our address of the same family. :raises OptionError: there is none."""
        source = self._ipv4 if len(destination) == 4 else self._ipv6
        if source is None:
            raise OptionError("address", f"the stack has no IPv{4 if len(destination) == 4 else 6} address")
        return source

    def local_address_text(self, version: int) -> str:
        packed = self._ipv4 if version == 4 and self._ipv4 is not None else self._ipv6 or self._ipv4
        return format_address(packed) if packed is not None else ""

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


__all__ = [
    "DatagramTooLong",
    "Stack",
    "StackConfig",
    "StackStats",
    "State",
    "TcpConnection",
    "TcpListener",
    "TcpOptions",
    "UdpAnySocket",
    "UdpSocket",
]
