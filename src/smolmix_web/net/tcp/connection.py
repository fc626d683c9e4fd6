"""One TCP connection as its users see it: the calls of RFC 9293 section 3.10.1 to 3.10.6.

What segments and time do to it is in the classes below it, each in a module of its own; see ``block.py``.
"""

from __future__ import annotations

from smolmix_web.errors import LocalProtocolError, SmolmixError
from smolmix_web.net.tcp.block import MIN_MSS
from smolmix_web.net.tcp.segment import TIMESTAMPS_SIZE
from smolmix_web.net.tcp.sequence import unwrap
from smolmix_web.net.tcp.state import RECEIVING, WRITABLE, State
from smolmix_web.net.tcp.timers import Timers


class TcpConnection(Timers):
    """A connection made by :meth:`Stack.connect_tcp` or :meth:`TcpListener.accept`.

    ``send``, ``recv``, ``shutdown_write``, ``close`` and ``abort`` never block; ``writable`` and ``readable``
    tell bytes; the stack's ``take_changed`` tells when to look again. ``error`` is set when the connection
    ended other than by FIN: :class:`~smolmix_web.errors.ConnectionRefused`,
    :class:`~smolmix_web.errors.ConnectionReset`, :class:`~smolmix_web.errors.DeadlineError` (phases
    ``connect``, ``acknowledgement``, ``keep-alive``), :class:`~smolmix_web.errors.Unreachable`.
    """

    __slots__ = ()

    def writable(self) -> int:
        """Bytes that :meth:`send` would take now."""
        if self.error is not None or self.state not in WRITABLE or self._tx.fin_wanted:
            return 0
        room = self._tx.writable()
        if not room:
            self._writer_waits = True
        return room

    def readable(self) -> int:
        """Bytes that :meth:`recv` would return now."""
        return len(self._rx.queue)

    @property
    def eof_received(self) -> bool:
        """The peer sent FIN and everything before it has been read."""
        rx = self._rx
        return rx.fin is not None and rx.nxt > rx.fin and not rx.queue

    receive_ended = eof_received

    @property
    def unsent(self) -> int:
        """Bytes written and not yet acknowledged."""
        return len(self._tx.buffer)

    def send(self, data: bytes | bytearray | memoryview, now: float) -> int:
        """Queue as much of ``data`` as there is room for; the number of bytes taken.

        :raises LocalProtocolError: after ``shutdown_write`` or ``close``.
        :raises SmolmixError: the connection failed (its ``error``).
        """
        if self.error is not None:
            raise self.error
        if self._tx.fin_wanted:
            raise LocalProtocolError("send after the writing side was closed")
        if self.state not in WRITABLE:
            return 0
        taken = self._tx.write(data)
        if taken < len(data):
            self._writer_waits = True
        if taken:
            self._wake()
        return taken

    def recv(self, max_bytes: int, now: float) -> bytes:
        """Up to ``max_bytes`` of what has arrived in order; empty when nothing has."""
        rx = self._rx
        data = rx.take(max_bytes)
        if data and self.state is not State.CLOSED:
            self._stack.memory.used -= len(data)
            if rx.fin is None and self.state in RECEIVING and rx.window_would_open():
                self._acks.due = True
                self._wake()
        return data

    def set_no_delay(self, on: bool) -> None:
        """``TCP_NODELAY``: off is Nagle's algorithm (RFC 9293 section 3.7.4)."""
        self._tx.no_delay = on
        self._wake()

    def shutdown_write(self, now: float) -> None:
        """Half-close: FIN follows the queued bytes; reading goes on. During the handshake, FIN waits for its
        end."""
        if self._tx.fin_wanted or self.state in (State.CLOSED, State.LISTEN):
            return
        self._tx.fin_wanted = True
        if self.state is State.ESTABLISHED:
            self.state = State.FIN_WAIT_1
        elif self.state is State.CLOSE_WAIT:
            self.state = State.LAST_ACK
        self._wake()

    def close(self, now: float) -> None:
        """The user reads no more: queued bytes and FIN are still delivered. Unread data makes it an abort
        (RFC 9293 section 3.6.1, RFC 2525 section 2.17)."""
        if self.deferred:
            self.refuse(now)
            return
        if self._rx.queue and self.state not in (State.CLOSED, State.TIME_WAIT):
            self.abort(now)
            return
        self._closed_by_user = True
        if self.state is State.SYN_SENT and not self._tx.buffer:
            self._finish(None)
            return
        self.shutdown_write(now)
        if self.state is State.FIN_WAIT_2:
            self._deadline = now + self._stack.config.fin_wait_2
            self._wake()

    def abort(self, now: float) -> None:
        """RST, and everything queued is dropped (RFC 9293 section 3.10.5)."""
        if self.deferred:
            self.refuse(now)
            return
        if self.state in (
            State.SYN_RECEIVED,
            State.ESTABLISHED,
            State.FIN_WAIT_1,
            State.FIN_WAIT_2,
            State.CLOSE_WAIT,
        ):
            self._send_reset()
        self._closed_by_user = True
        self._finish(None)

    def fail(self, error: SmolmixError) -> None:
        """The stack ends the connection (an ICMP error during the handshake, the tunnel closing)."""
        if self.state is not State.CLOSED:
            self._finish(error)

    def icmp_error(self, error: SmolmixError, seq: int, hard: bool) -> None:
        """An ICMP error quotes our segment ``seq`` (RFC 5461 section 4: hard only before the connection
        stands)."""
        if not self.quotes_outstanding(seq):
            return
        if hard and self.state in (State.SYN_SENT, State.SYN_RECEIVED):
            self._finish(error)
        else:
            self.soft_error = error

    def quotes_outstanding(self, seq: int) -> bool:
        """Whether an ICMP error quotes a sequence number that is in flight (RFC 5927 section 4.1)."""
        tx = self._tx
        return tx.una <= unwrap(seq, tx.una) < max(tx.nxt, tx.una + 1)

    def path_mtu_changed(self, mtu: int) -> None:
        """The path to the peer takes packets of ``mtu`` bytes at most."""
        tx = self._tx
        mss = min(mtu - self.flow.header_size - 20, self._peer_mss, self._local_mss)
        if mss - (TIMESTAMPS_SIZE if self._timestamps else 0) < tx.mss:
            self._set_payload_size(max(mss, MIN_MSS))
            for record in tx.board.from_first():
                if record.end - record.seq > tx.mss:
                    tx.board.mark_lost(record)
            self._wake()
