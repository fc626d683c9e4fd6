"""The listening side (LISTEN state) and its queue."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from smolmix_web.net.config import TcpOptions
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.state import State

if TYPE_CHECKING:
    from smolmix_web.net.socket_table import SocketTable


class TcpListener:
    """Made by :meth:`SocketTable.listen_tcp`. ``accept`` gives connections in the order in which they were
    established; of a deferred listener, in the order of their SYNs, each waiting for ``accept_syn`` or
    ``refuse``."""

    def __init__(
        self,
        stack: SocketTable,
        address: bytes | None,
        port: int | None,
        backlog: int,
        options: TcpOptions,
        deferred: bool,
    ) -> None:
        self._stack = stack
        self.address = address
        self.port = port
        self.backlog = backlog
        self.options = options
        self.deferred = deferred
        self.closed = False
        self._half_open: set[TcpConnection] = set()
        self._ready: deque[TcpConnection] = deque()

    def accept(self) -> TcpConnection | None:
        """The next connection, or ``None``."""
        while self._ready:
            connection = self._ready.popleft()
            if connection.state is not State.CLOSED or connection.readable():
                return connection
        return None

    def close(self, now: float) -> None:
        """Stop listening; connections that nobody accepted are reset."""
        if self.closed:
            return
        self.closed = True
        self._stack.close_listener(self)
        for connection in [*self._ready, *self._half_open]:
            connection.abort(now)
        self._ready.clear()
        self._half_open.clear()

    # -- called by the stack -----------------------------------------------------------------------

    @property
    def has_room(self) -> bool:
        return len(self._half_open) + len(self._ready) < self.backlog

    def syn_arrived(self, connection: TcpConnection) -> None:
        connection.listener = self
        if self.deferred:
            self._ready.append(connection)
            self._stack.changed.add(self)
        else:
            self._half_open.add(connection)

    def established(self, connection: TcpConnection) -> None:
        if connection in self._half_open:
            self._half_open.discard(connection)
            self._ready.append(connection)
            self._stack.changed.add(self)

    def removed(self, connection: TcpConnection) -> None:
        self._half_open.discard(connection)
