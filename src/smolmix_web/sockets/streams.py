"""asyncio-shaped sockets over the stack: :class:`TcpStream` and :class:`UdpSocket`."""

from __future__ import annotations

import asyncio
import warnings
from types import TracebackType

from smolmix_web.errors import ConnectionReset, DeadlineError, LocalProtocolError, TunnelClosed, Unreachable
from smolmix_web.net.stack import Stack
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.state import State
from smolmix_web.net.udp import UdpSocket as UdpEngine
from smolmix_web.sockets.driver import Driver


class TcpStream:
    """A TCP connection through the tunnel; a :class:`~smolmix_web.sockets.bytestream.ByteStream`.

    Reads and writes may come from different tasks; two tasks that read (or write) at once take turns in no
    promised order. Usable as an async context manager, which closes it.
    """

    def __init__(self, driver: Driver, stack: Stack, connection: TcpConnection) -> None:
        self._driver = driver
        self._stack = stack
        self._connection = connection
        self._closed = False

    @property
    def remote(self) -> tuple[str, int]:
        """IP address and port of the peer."""
        return self._connection.remote

    @property
    def local(self) -> tuple[str, int]:
        """Our address and port inside the tunnel."""
        return self._connection.local

    async def read(self, max_bytes: int = 65536) -> bytes:
        """1 to ``max_bytes`` bytes; ``b""`` once the peer has ended its side. :raises NetworkError: reset."""
        if max_bytes < 1:
            raise LocalProtocolError("max_bytes must be at least 1")
        connection = self._connection
        while True:
            data = connection.recv(max_bytes, self._driver.now())
            if data:
                self._driver.wake()  # the window may have opened
                return data
            if connection.error is not None:
                raise connection.error
            if connection.eof_received:
                return b""
            if self._closed:
                raise ConnectionReset("the stream was closed on this side")
            await self._driver.changed(connection, self._stack)

    async def write(self, data: bytes) -> None:
        """Hand over all of ``data``; waits while the send buffer is full. :raises NetworkError: reset."""
        connection = self._connection
        view = memoryview(data)
        while view:
            if connection.error is not None:
                raise connection.error
            if self._closed:
                raise LocalProtocolError("the stream is closed")
            taken = connection.send(view, self._driver.now())
            if taken:
                view = view[taken:]
                self._driver.wake()
            else:
                await self._driver.changed(connection, self._stack)

    async def write_eof(self) -> None:
        """End our side after everything written before."""
        if self._connection.error is None and not self._closed:
            self._connection.shutdown_write(self._driver.now())
            self._driver.wake()

    def set_no_delay(self, on: bool) -> None:
        """``TCP_NODELAY``, on by default: off holds a small segment back until all before is acknowledged."""
        self._connection.set_no_delay(on)
        self._driver.wake()

    async def close(self) -> None:
        """Close in an orderly way; what was written still goes out. Idempotent; does not wait. A task that is
        reading or writing gets an error."""
        if not self._closed:
            self._closed = True
            self._connection.close(self._driver.now())
            self._tell_waiting()

    def abort(self) -> None:
        """Reset the connection. Idempotent."""
        self._closed = True
        self._connection.abort(self._driver.now())
        self._tell_waiting()

    def _tell_waiting(self) -> None:
        self._stack.changed.add(self._connection)
        self._driver.wake()

    def __del__(self) -> None:
        # The stack would keep the connection for as long as the peer does.
        if not getattr(self, "_closed", True) and self._connection.state is not State.CLOSED:
            warnings.warn(f"unclosed stream {self!r}", ResourceWarning, source=self, stacklevel=2)
            self.abort()

    def __repr__(self) -> str:
        return f"<TcpStream {self._connection!r}>"

    async def __aenter__(self) -> TcpStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class UdpSocket:
    """A UDP socket through the tunnel."""

    def __init__(self, driver: Driver, stack: Stack, engine: UdpEngine) -> None:
        self._driver = driver
        self._stack = stack
        self._engine = engine

    @property
    def local(self) -> tuple[str, int]:
        """Our address and port inside the tunnel."""
        return self._engine.local

    @property
    def usable(self) -> bool:
        """Neither closed, nor its exit gone."""
        return not self._engine.closed and self._driver.has(self._stack)

    def send_to(self, data: bytes, address: tuple[str, int]) -> None:
        """Send one datagram; like any datagram it may be lost.

        :raises TunnelClosed: the exit is gone. :raises DatagramTooLong: it does not fit the path.
        :raises LocalProtocolError: the socket is closed.
        """
        self._driver.check(self._stack)
        self._engine.send_to(data, address, self._driver.now())
        self._driver.wake()

    async def recv_from(self) -> tuple[bytes, tuple[str, int]]:
        """The next datagram and its sender.

        :raises NetworkError: an ICMP error arrived for this socket, which goes on.
        :raises LocalProtocolError: the socket is closed, also while this waits.
        """
        while True:
            if self._engine.closed:
                raise LocalProtocolError("the socket is closed")
            failed = self._engine.next_error()
            if failed is not None:
                raise failed[0]
            datagram = self._engine.recv_from()
            if datagram is not None:
                return datagram
            await self._driver.changed(self._engine, self._stack)

    def close(self) -> None:
        """Free the port. Idempotent."""
        if not self._engine.closed:
            self._engine.close()
            self._stack.changed.add(self._engine)  # whoever waits for a datagram is told
            self._driver.wake()

    def __enter__(self) -> UdpSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _usable(driver: Driver, stack: Stack | None) -> Stack:
    """``stack``, or the driver's present one. :raises TunnelClosed: its exit is gone."""
    if stack is None:
        stack = driver.stack
        if stack is None:
            raise TunnelClosed("there is no exit")
    driver.check(stack)
    return stack


async def open_tcp(
    driver: Driver, address: str, port: int, *, timeout: float, stack: Stack | None = None
) -> TcpStream:
    """Connect to an IP address.

    :param timeout: seconds until :class:`~smolmix_web.errors.DeadlineError`.
    :param stack: the one to use; the driver's when None.
    :raises ConnectionRefused: the destination refused. :raises Unreachable: so an ICMP message said.
    :raises TunnelClosed: the exit of that stack is gone.
    """
    stack = _usable(driver, stack)
    started = driver.now()
    connection = stack.connect_tcp(address, port, started)
    driver.wake()
    try:
        async with asyncio.timeout(timeout):
            while connection.state in (State.CLOSED, State.SYN_SENT, State.SYN_RECEIVED):
                if connection.error is not None:
                    raise connection.error
                if driver.denied_at.get((address, port), started - 1) >= started:
                    raise Unreachable(f"the exit's policy refuses {address} port {port}")
                await driver.changed(connection, stack)
    except BaseException as error:
        connection.abort(driver.now())
        driver.wake()
        if isinstance(error, TimeoutError) and not isinstance(error, DeadlineError):
            raise DeadlineError(f"connect to {address} port {port}", timeout) from error
        raise
    return TcpStream(driver, stack, connection)


def open_udp(driver: Driver, stack: Stack | None = None) -> UdpSocket:
    """A UDP socket on a free port. :raises TunnelClosed: the exit of the stack is gone."""
    stack = _usable(driver, stack)
    return UdpSocket(driver, stack, stack.open_udp())
