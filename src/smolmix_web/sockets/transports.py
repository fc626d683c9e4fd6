"""asyncio's own shapes over the tunnel's sockets, for libraries that are written against asyncio.

:func:`create_connection` joins a :class:`~smolmix_web.sockets.bytestream.ByteStream` (TCP or TLS through the
tunnel) with an :class:`asyncio.Protocol`, :func:`open_streams` gives the pair of
:class:`asyncio.StreamReader` and :class:`asyncio.StreamWriter`, :func:`create_datagram_endpoint` does it for
UDP. The rules are those of the asyncio documentation ("Transports and Protocols"): ``write`` never blocks
and asks the protocol to pause, ``close`` sends what is buffered, ``connection_lost`` comes exactly once and
last. ``loop.start_tls`` works, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, TypeVar

from smolmix_web.errors import OptionError, SmolmixError
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.sockets.streams import UdpSocket

READ_SIZE = 64 * 1024
"""Bytes asked of the stream at once."""

HIGH_WATER = 64 * 1024
"""Bytes in the transport's buffer above which the protocol is asked to pause; asyncio's default."""

_AnyProtocol = asyncio.Protocol | asyncio.BufferedProtocol
_P = TypeVar("_P", bound=_AnyProtocol)
_D = TypeVar("_D", bound=asyncio.DatagramProtocol)


class _Pausing:
    """The write side's water marks (asyncio documentation, "Write flow control")."""

    def __init__(self) -> None:
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._paused_writing = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """:raises OptionError: not ``high >= low >= 0``."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise OptionError("high", f"high ({high}) must be >= low ({low}) must be >= 0")
        self._high, self._low = high, low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def _review(self, size: int, protocol: asyncio.BaseProtocol) -> None:
        """The buffer now holds ``size`` bytes."""
        if size > self._high and not self._paused_writing:
            self._paused_writing = True
            protocol.pause_writing()
        elif size <= self._low and self._paused_writing:
            self._paused_writing = False
            protocol.resume_writing()


class StreamTransport(_Pausing, asyncio.Transport):
    """A byte stream as an asyncio transport; made by :func:`create_connection`.

    Two tasks serve it, one for each direction, so neither waits for the other. ``get_extra_info`` knows
    ``peername``, ``sockname`` and ``stream`` (the byte stream itself).
    """

    _start_tls_compatible = True  # loop.start_tls asks for it

    def __init__(
        self, stream: ByteStream, protocol: _AnyProtocol, extra: Mapping[str, Any] | None = None
    ) -> None:
        asyncio.Transport.__init__(self, {"stream": stream, **(extra or {})})
        _Pausing.__init__(self)
        self._loop = asyncio.get_running_loop()
        self._stream = stream
        self._protocol = protocol
        self._buffer: deque[bytes] = deque()
        self._buffered = 0
        self._wake_writer = asyncio.Event()
        self._may_read = asyncio.Event()
        self._may_read.set()
        self._closing = self._eof_wanted = self._lost = False
        protocol.connection_made(self)
        self._reader = self._spawn(self._read())
        self._writer = self._spawn(self._write())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._loop.create_task(work, name="tunnel-transport")

    def __repr__(self) -> str:
        state = "lost" if self._lost else "closing" if self._closing else "open"
        return f"<StreamTransport {state} {self._stream!r}>"

    def __del__(self) -> None:
        if not getattr(self, "_lost", True):
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._stream.abort()

    # -- the protocol --------------------------------------------------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, _AnyProtocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    # -- reading -------------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        return self._may_read.is_set() and not self._closing

    def pause_reading(self) -> None:
        """Nothing is delivered until :meth:`resume_reading`; TCP's window then holds the peer back."""
        self._may_read.clear()

    def resume_reading(self) -> None:
        self._may_read.set()

    async def _read(self) -> None:
        try:
            while True:
                await self._may_read.wait()
                data = await self._stream.read(READ_SIZE)
                # Paused meanwhile: what has been read waits here.
                await self._may_read.wait()
                if not data:
                    break
                self._deliver(data)
            if not self._protocol.eof_received():
                self.close()
        except (SmolmixError, OSError) as error:
            self._force_close(_as_os_error(error))
        except Exception as error:
            self._report(error, "reading")

    def _deliver(self, data: bytes) -> None:
        protocol = self._protocol
        if isinstance(protocol, asyncio.Protocol):
            protocol.data_received(data)
            return
        view = memoryview(data)
        while view:
            target = memoryview(protocol.get_buffer(len(view)))
            size = min(len(target), len(view))
            if not size:
                raise RuntimeError("get_buffer() returned an empty buffer")
            target[:size] = view[:size]
            protocol.buffer_updated(size)
            view = view[size:]

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Queue ``data``, a copy if it may change. After the end of the connection it is dropped."""
        if self._eof_wanted:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or self._closing or not data:
            return
        self._buffer.append(bytes(data))
        self._buffered += len(self._buffer[-1])
        self._wake_writer.set()
        self._review(self._buffered, self._protocol)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        """Bytes that the stream has not taken yet."""
        return self._buffered

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Half-close once the buffer is out."""
        if not self._closing:
            self._eof_wanted = True
            self._wake_writer.set()

    async def _write(self) -> None:
        eof_sent = False
        try:
            while True:
                await self._wake_writer.wait()
                self._wake_writer.clear()
                while self._buffer:
                    # Small writes of one turn of the loop travel together.
                    chunk = self._buffer[0] if len(self._buffer) == 1 else b"".join(self._buffer)
                    self._buffer.clear()
                    await self._stream.write(chunk)
                    self._buffered -= len(chunk)
                    self._review(self._buffered, self._protocol)
                if self._eof_wanted and not eof_sent:
                    eof_sent = True
                    await self._stream.write_eof()
                if self._closing:
                    await self._stream.close()
                    self._end(None)
                    return
        except (SmolmixError, OSError) as error:
            self._force_close(_as_os_error(error))
        except Exception as error:
            self._report(error, "writing")

    # -- the end -------------------------------------------------------------------------------------------

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """Read no more, send what is buffered, then close in order. ``connection_lost`` follows."""
        if not self._closing:
            self._closing = True
            self._stop(self._reader)
            self._wake_writer.set()

    def abort(self) -> None:
        """Reset; what is buffered is dropped. ``connection_lost(None)`` follows."""
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._closing = True
        self._buffer.clear()
        self._buffered = 0
        self._stream.abort()
        self._stop(self._reader)
        self._stop(self._writer)
        self._end(error)

    def _report(self, error: Exception, doing: str) -> None:
        """The protocol raised: a bug of its own, as in asyncio's transports."""
        self._loop.call_exception_handler(
            {
                "message": f"Fatal error: protocol callback failed while {doing}",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )
        self._force_close(error)

    def _stop(self, task: asyncio.Task[None]) -> None:
        if task is not asyncio.current_task():
            task.cancel()

    def _end(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            # Not at once: callbacks of a protocol must not run inside its own calls.
            self._loop.call_soon(self._protocol.connection_lost, error)


def _as_os_error(error: Exception) -> OSError:
    """asyncio's users catch OSError; what TLS or a protocol has to say is the cause of one."""
    if isinstance(error, OSError):
        return error
    lost = ConnectionAbortedError(str(error))
    lost.__cause__ = error
    return lost


def create_connection(
    stream: ByteStream, protocol_factory: Callable[[], _P], extra: Mapping[str, Any] | None = None
) -> tuple[StreamTransport, _P]:
    """Join an open stream with a new protocol, as ``loop.create_connection`` does with a socket.

    Call it where an event loop runs.

    :param extra: further answers of ``get_extra_info``.
    """
    if (remote := getattr(stream, "remote", None)) is not None:
        extra = {"peername": remote, "sockname": getattr(stream, "local", None), **(extra or {})}
    try:
        protocol = protocol_factory()
        return StreamTransport(stream, protocol, extra), protocol
    except BaseException:
        stream.abort()
        raise


def open_streams(
    stream: ByteStream, *, limit: int = 64 * 1024, extra: Mapping[str, Any] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """What ``asyncio.open_connection`` gives. Call it where an event loop runs.

    :param limit: bytes the reader buffers (twice as many at most) before TCP's window holds the peer back.
    """
    reader = asyncio.StreamReader(limit=limit)
    transport, protocol = create_connection(stream, lambda: asyncio.StreamReaderProtocol(reader), extra)
    return reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop())


class DatagramTransport(asyncio.DatagramTransport):
    """A UDP socket as an asyncio transport; made by :func:`create_datagram_endpoint`.

    Datagrams that arrive while the tunnel is congested are dropped as by any UDP socket; so ``sendto`` never
    buffers and never pauses the protocol.
    """

    def __init__(
        self, socket: UdpSocket, protocol: asyncio.DatagramProtocol, remote: tuple[str, int] | None
    ) -> None:
        super().__init__({"peername": remote, "sockname": socket.local})
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._protocol = protocol
        self._remote = remote
        self._closing = False
        protocol.connection_made(self)
        self._reader = self._loop.create_task(self._read(), name="tunnel-datagrams")

    def __del__(self) -> None:
        if not getattr(self, "_closing", True):
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, source=self, stacklevel=2)
            self._socket.close()

    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
        """:raises ValueError: neither or another remote address. Errors of sending go to the protocol."""
        address = addr if addr is not None else self._remote
        if address is None or (self._remote is not None and address != self._remote):
            raise ValueError(f"Invalid address: must be None or {self._remote}")
        if self._closing:
            return
        try:
            self._socket.send_to(bytes(data), address)
        except OSError as error:
            self._protocol.error_received(error)

    def get_write_buffer_size(self) -> int:
        return 0

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.DatagramProtocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self._end(None)

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._socket.close()
            if self._reader is not asyncio.current_task():
                self._reader.cancel()
            self._loop.call_soon(self._protocol.connection_lost, error)

    async def _read(self) -> None:
        while not self._closing:
            try:
                data, source = await self._socket.recv_from()
            except OSError as error:
                if self._socket.usable:
                    self._protocol.error_received(error)  # ICMP told of one datagram; the socket lives on
                    continue
                self._end(error)
                return
            if self._remote is None or source == self._remote:
                self._protocol.datagram_received(data, source)


def create_datagram_endpoint(
    socket: UdpSocket, protocol_factory: Callable[[], _D], remote: tuple[str, int] | None = None
) -> tuple[DatagramTransport, _D]:
    """Join a UDP socket with a new protocol, as ``loop.create_datagram_endpoint`` does.

    :param remote: IP address and port to which the transport is connected; others are neither sent to nor
        heard.
    """
    protocol = protocol_factory()
    with contextlib.ExitStack() as on_error:
        on_error.callback(socket.close)
        transport = DatagramTransport(socket, protocol, remote)
        on_error.pop_all()
    return transport, protocol
