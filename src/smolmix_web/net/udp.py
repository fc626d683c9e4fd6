"""UDP (RFC 768): datagram format, connected and unconnected sockets, and the exit's socket for everything
else."""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING

from smolmix_web.errors import LocalProtocolError, MalformedError, OptionError, SmolmixError
from smolmix_web.net.addresses import format_address, pack_address
from smolmix_web.net.checksum import checksum
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.ip import UDP, pseudo_sum

if TYPE_CHECKING:
    from smolmix_web.net.socket_table import SocketTable

Endpoint = tuple[str, int]

HEADER_SIZE = 8
_HEADER = struct.Struct(">HHHH")
_MAX_ERRORS = 16


class DatagramTooLong(LocalProtocolError):
    """A datagram does not fit the path's MTU; the stack does not fragment (RFC 8085 section 3.2)."""

    code = "DATAGRAM_TOO_LONG"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(f"datagram of {size} bytes; the path takes {limit}")
        self.limit = limit


def parse_udp(
    packet: bytes, offset: int, end: int, source: bytes, destination: bytes
) -> tuple[int, int, bytes]:
    """Source port, destination port, data.

    :raises MalformedError: truncated, wrong length or checksum, or over IPv6 without one (RFC 8200 section
        8.1).
    """
    if end - offset < HEADER_SIZE:
        raise MalformedError("UDP: truncated header")
    source_port, destination_port, length, given = _HEADER.unpack_from(packet, offset)
    if not HEADER_SIZE <= length <= end - offset:
        raise MalformedError("UDP: impossible length")
    datagram = packet[offset : offset + length]
    if given:
        if checksum(datagram, extra=pseudo_sum(source, destination, UDP, length)):
            raise MalformedError("UDP: wrong checksum")
    elif len(source) == 16:
        raise MalformedError("UDP: no checksum over IPv6")
    return source_port, destination_port, datagram[HEADER_SIZE:]


def build_udp(
    source: bytes, destination: bytes, source_port: int, destination_port: int, data: bytes
) -> bytes:
    """A datagram with its checksum (0 is sent as 0xFFFF, RFC 768)."""
    length = HEADER_SIZE + len(data)
    extra = pseudo_sum(source, destination, UDP, length) + source_port + destination_port + length
    return _HEADER.pack(source_port, destination_port, length, checksum(data, extra=extra) or 0xFFFF) + data


class _DatagramQueue:
    """Bounded by bytes, overhead included; the newest is dropped when full."""

    __slots__ = ("_size", "dropped", "items", "limit")

    def __init__(self, limit: int) -> None:
        self.items: deque[tuple[int, object]] = deque()
        self._size = 0
        self.limit = limit
        self.dropped = 0

    def push(self, size: int, item: object) -> bool:
        size += 256
        if self._size + size > self.limit:
            self.dropped += 1
            return False
        self._size += size
        self.items.append((size, item))
        return True

    def pop(self) -> object | None:
        if not self.items:
            return None
        size, item = self.items.popleft()
        self._size -= size
        return item


class UdpSocket:
    """One local port; connected sockets take and send datagrams of one remote end only."""

    def __init__(self, stack: SocketTable, local_port: int, remote: Endpoint | None) -> None:
        self._stack = stack
        self.local_port = local_port
        self.remote = remote
        self._remote_address = pack_address(remote[0]) if remote is not None else None
        self._queue = _DatagramQueue(stack.config.udp_queue_limit)
        self._errors: deque[tuple[SmolmixError, Endpoint]] = deque(maxlen=_MAX_ERRORS)
        self.closed = False

    @property
    def local(self) -> Endpoint:
        """Our address (of the connected family, else IPv4 first) and port."""
        remote = self._remote_address
        version = 6 if remote is not None and len(remote) == 16 else 4
        return self._stack.local_address_text(version), self.local_port

    @property
    def dropped(self) -> int:
        """Datagrams dropped because the queue was full."""
        return self._queue.dropped

    def send_to(self, data: bytes, destination: Endpoint | None, now: float) -> None:
        """Send one datagram; ``None`` means the connected end.

        :raises DatagramTooLong: it does not fit the path MTU.
        :raises OptionError: the destination is no address or port, or its family has no address here.
        :raises LocalProtocolError: closed, or no destination.
        """
        if self.closed:
            raise LocalProtocolError("send_to on a closed socket")
        destination = destination if destination is not None else self.remote
        if destination is None:
            raise LocalProtocolError("send_to: the socket is not connected, a destination is needed")
        host, port = destination
        if not 0 < port < 65_536:
            raise OptionError("port", "not between 1 and 65535")
        address = pack_address(host)
        self._stack.send_datagram(self._stack.source_for(address), self.local_port, address, port, data, now)

    def recv_from(self) -> tuple[bytes, Endpoint] | None:
        """The next datagram and who sent it, or ``None``."""
        return self._queue.pop()  # type: ignore[return-value]

    def next_error(self) -> tuple[SmolmixError, Endpoint] | None:
        """The next ICMP error about a datagram of this socket, with the destination it had, or ``None``."""
        return self._errors.popleft() if self._errors else None

    def readable(self) -> int:
        """Datagrams waiting."""
        return len(self._queue.items)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._stack.close_udp(self)

    # -- called by the stack -----------------------------------------------------------------------

    def takes(self, source: bytes, source_port: int) -> bool:
        return self.remote is None or (source == self._remote_address and source_port == self.remote[1])

    def datagram_arrived(self, source: bytes, source_port: int, data: bytes) -> bool:
        return self._queue.push(len(data), (data, (format_address(source), source_port)))

    def error_arrived(self, error: SmolmixError, destination: Endpoint) -> None:
        self._errors.append((error, destination))


class UdpAnySocket:
    """The exit's: every datagram for which there is no socket, with both ends."""

    def __init__(self, stack: SocketTable) -> None:
        self._stack = stack
        # One queue for all clients, so it may hold more than one socket's.
        self._queue = _DatagramQueue(16 * stack.config.udp_queue_limit)
        self.closed = False

    @property
    def dropped(self) -> int:
        return self._queue.dropped

    def recv(self) -> tuple[Endpoint, Endpoint, bytes] | None:
        """``(source, destination, data)`` of the next datagram, or ``None``."""
        return self._queue.pop()  # type: ignore[return-value]

    def send(self, source: Endpoint, destination: Endpoint, data: bytes, now: float = 0.0) -> None:
        """Send a datagram that claims to come from ``source``. :raises DatagramTooLong: it does not fit."""
        self._stack.send_datagram(
            pack_address(source[0]), source[1], pack_address(destination[0]), destination[1], data, now
        )

    def refuse(self, source: Endpoint, destination: Endpoint, data: bytes) -> None:
        """Answer a datagram received from ``source`` for ``destination`` with ICMP port unreachable."""
        packed_source, packed_destination = pack_address(source[0]), pack_address(destination[0])
        original = ip_packet(
            packed_source,
            packed_destination,
            UDP,
            build_udp(packed_source, packed_destination, source[1], destination[1], data),
        )
        self._stack.send_unreachable(original)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._stack.close_udp_any(self)

    def datagram_arrived(self, source: Endpoint, destination: Endpoint, data: bytes) -> bool:
        return self._queue.push(len(data), (source, destination, data))
