"""The stack: an interface, the sockets on it, and the packets and timers that move them.

Feed packets with :meth:`Stack.receive_packet`, take packets with :meth:`Stack.packets_to_send`, call
:meth:`Stack.handle_timer` at :meth:`Stack.poll_at`, and look at the sockets in :meth:`Stack.take_changed`.
Sockets are made by the calls of :class:`~smolmix_web.net.socket_table.SocketTable`.

Work is per packet, never per connection: an arriving packet finds its connection by the bytes of its
addresses and ports; connections with something to send stand in a queue; timers in a heap whose entries may
be early but never late (an entry that turns out early is put back).
"""

from __future__ import annotations

from heapq import heappop, heappush

from smolmix_web.errors import MalformedError
from smolmix_web.net import icmp
from smolmix_web.net.addresses import format_address, is_unicast
from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.flow import Flow, flow_key, ip_packet
from smolmix_web.net.interface import StackStats
from smolmix_web.net.ip import ICMP, ICMPV6, TCP, UDP, IpPacket, pseudo_sum
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.ipv6 import parse_ipv6
from smolmix_web.net.socket_table import Socket, SocketTable
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.listener import TcpListener
from smolmix_web.net.tcp.segment import ACK, FIN, RST, SYN, Segment, build_segment, parse_segment
from smolmix_web.net.tcp.state import State
from smolmix_web.net.udp import DatagramTooLong, UdpAnySocket, UdpSocket, parse_udp


class Stack(SocketTable):
    """See the module; made by the arguments of :class:`~smolmix_web.net.socket_table.SocketTable`."""

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
