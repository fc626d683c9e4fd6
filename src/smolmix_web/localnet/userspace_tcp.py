"""One TCP connection through the user-space exit: the client's half ends in our stack, the other in a real
socket.

Each direction has one small buffer, and either half stops taking when the other stops giving: what the stack
has no room for pauses the real socket's reader, and a full write buffer of the real socket leaves data in the
stack, whose window then closes. An end of stream goes through as one, a reset as a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.localnet.address_map import Endpoint
from smolmix_web.net.stack import State, TcpConnection

_READ_SIZE = 64 * 1024
_WRITE_HIGH_WATER = 128 * 1024

# Bytes in the stack that every connection may have, however much its client's others hold.
_OWN_SHARE = 128 * 1024

# A linger time of zero makes close() send a reset.
_LINGER_ZERO = struct.pack("ii", 1, 0)


class TcpRelay(asyncio.BufferedProtocol):
    """Made for a connection whose SYN waits; answered by :meth:`connect`.

    :param changed: called when the stack may have something to send after a call from the real socket
    :param ended: called once, when both halves are over
    :param has_memory: whether the client's connections together may hold more in the stack
    """

    def __init__(
        self,
        connection: TcpConnection,
        clock: Callable[[], float],
        changed: Callable[[], None],
        ended: Callable[[TcpRelay], None],
        has_memory: Callable[[], bool],
    ) -> None:
        self.connection = connection
        self._clock = clock
        self._changed = changed
        self._ended = ended
        self._has_memory = has_memory
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(0)
        self._pending = memoryview(b"")  # read from the real socket, not yet taken by the stack
        self._reading = True
        self._write_blocked = False
        self._eof_from_server = False
        self._eof_from_client = False
        self._done = False

    async def connect(self, target: Endpoint, timeout: float, source: tuple[str, int] | None = None) -> str:
        """Opens the real connection, then answers the SYN: SYN/ACK, or RST. The outcome in one word.

        :param source: address and port to connect from; None leaves both to the system
        """
        loop = asyncio.get_running_loop()
        outcome = "connected"
        try:
            async with asyncio.timeout(timeout):
                await loop.create_connection(lambda: self, target.host, target.port, local_addr=source)
        except ConnectionRefusedError:
            outcome = "refused"
        except TimeoutError:
            outcome = "timed out"
        except OSError:
            outcome = "unreachable"
        now = self._clock()
        if outcome != "connected":
            self._fail(now)
        elif self.connection.state is State.CLOSED:
            self.abort(now)  # the client gave up meanwhile
            outcome = "abandoned"
        else:
            self.connection.accept_syn(now)
            self._changed()
        return outcome

    def abort(self, now: float) -> None:
        """Ends both halves with a reset."""
        self.connection.abort(now)
        self._reset_server()
        self._finish()

    def held(self) -> int:
        """Bytes on their way between the two halves, in either direction."""
        transport = self._transport
        return (
            self.connection.readable()
            + self.connection.unsent
            + len(self._pending)
            + (transport.get_write_buffer_size() if transport is not None else 0)
        )

    # --- the client's half ---

    @property
    def is_waiting(self) -> bool:
        """Whether the real socket has more for the client than the stack took, and the stack has room now."""
        return (not self._reading or bool(self._pending)) and self._has_room()

    def _has_room(self) -> bool:
        connection = self.connection
        return connection.writable() > 0 and (connection.unsent <= _OWN_SHARE or self._has_memory())

    def client_changed(self, now: float) -> None:
        """The stack says that the connection's state, readability or writability changed."""
        if self._done or self._transport is None:
            return
        if self.connection.error is not None:
            self._reset_server()
            self._finish()
            return
        self._flush_to_client(now)
        self._flush_to_server(now)
        self._finish_if_over(now)

    def _flush_to_server(self, now: float) -> None:
        connection, transport = self.connection, self._transport
        if transport is None or transport.is_closing():
            return
        while not self._write_blocked and (data := connection.recv(_READ_SIZE, now)):
            transport.write(data)
        if connection.receive_ended and not self._eof_from_client:
            self._eof_from_client = True
            with contextlib.suppress(OSError):  # the socket may have failed, connection_lost will tell
                transport.write_eof()

    def _flush_to_client(self, now: float) -> None:
        if self._pending:
            self._give_to_client(self._pending, now)
        if self._transport is None or self._pending:
            return
        if self._eof_from_server:
            self.connection.shutdown_write(now)
        elif not self._reading and self._has_room():
            self._reading = True
            self._transport.resume_reading()

    def _give_to_client(self, data: memoryview, now: float) -> None:
        try:
            taken = self.connection.send(data, now)
        except SmolmixError:
            taken = len(data)  # the connection is over; client_changed will end the relay
        self._pending = data[taken:]

    # --- the real socket's half: asyncio calls these ---

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=_WRITE_HIGH_WATER)
        # What a server sends at once goes to the stack before the SYN/ACK; it queues behind it.

    def get_buffer(self, sizehint: int) -> memoryview:
        if not self._buffer:
            self._buffer = bytearray(_READ_SIZE)
        return memoryview(self._buffer)

    def buffer_updated(self, nbytes: int) -> None:
        now = self._clock()
        self._give_to_client(memoryview(self._buffer)[:nbytes], now)
        if self._pending:
            # The next read would overwrite the buffer; a copy of the rest is at most as large.
            self._pending = memoryview(bytes(self._pending))
        if (self._pending or not self._has_room()) and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()
        self._changed()

    def eof_received(self) -> bool:
        now = self._clock()
        self._eof_from_server = True
        self._flush_to_client(now)
        self._finish_if_over(now)
        self._changed()
        return True  # half-closed: the client may still send

    def pause_writing(self) -> None:
        self._write_blocked = True

    def resume_writing(self) -> None:
        self._write_blocked = False
        self.client_changed(self._clock())
        self._changed()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if not self._done:
            # The real socket failed; for the client that is a reset, whatever waits.
            self.connection.abort(self._clock())
            self._finish()
            self._changed()

    # --- the end ---

    def _fail(self, now: float) -> None:
        if self.connection.deferred:
            self.connection.refuse(now)
        self._finish()
        self._changed()

    def _finish_if_over(self, now: float) -> None:
        if self._eof_from_client and self._eof_from_server and not self._pending and not self._done:
            self.connection.close(now)
            self._done = True
            if self._transport is not None:
                self._transport.close()  # after what is still in its write buffer
            self._ended(self)

    def _finish(self) -> None:
        if not self._done:
            self._done = True
            self._pending = memoryview(b"")
            self._ended(self)

    def _reset_server(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None and not transport.is_closing():
            real: socket.socket = transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                real.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            transport.abort()
