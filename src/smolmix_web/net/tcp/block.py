"""What a connection remembers (the transmission control block of RFC 9293 section 3.3.1), and its end.

The parts with a life of their own are objects: ``_tx`` (``send.py``: queue, recovery), ``_rx``
(``receive.py``: reassembly, window), ``_acks`` (``acking.py``: when to acknowledge). Everything else stands
here, once, and classes that build upon each other add what happens to it::

    ControlBlock
      Output         output.py      a segment leaves
        Text         text.py        text and FIN of an acceptable segment
          Opening    opening.py     the handshake
            Arrival  arrival.py     a segment arrives, and is checked
              Timers timers.py      time passes
                TcpConnection  connection.py  the user's calls
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from smolmix_web.errors import SmolmixError
from smolmix_web.net.config import TcpOptions
from smolmix_web.net.flow import Flow
from smolmix_web.net.tcp.acking import AckPolicy
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.receive import Receiver
from smolmix_web.net.tcp.send import Sender
from smolmix_web.net.tcp.sequence import MASK
from smolmix_web.net.tcp.state import State

if TYPE_CHECKING:
    from smolmix_web.net.socket_table import SocketTable
    from smolmix_web.net.tcp.connection import TcpConnection

DEFAULT_MSS = {4: 536, 6: 1220}  # RFC 9293 MUST-15 and section 3.7.1, when the peer's SYN names none
MIN_MSS = 64  # what we agree to at least; a peer that offers less wants us to burn packets


class ControlBlock:
    """Base of :class:`~smolmix_web.net.tcp.connection.TcpConnection`."""

    __slots__ = (
        "_acks",
        "_challenge_at",
        "_closed_by_user",
        "_deadline",
        "_echo_seen",
        "_heard_at",
        "_keepalive_due",
        "_keepalives",
        "_last_ack_sent",
        "_local_mss",
        "_offered_scale",
        "_opened_at",
        "_passive",
        "_peer_mss",
        "_receive_scale",
        "_rx",
        "_sack",
        "_send_scale",
        "_stack",
        "_syn_at",
        "_syn_due",
        "_syns",
        "_timestamps",
        "_ts_offset",
        "_ts_recent",
        "_ts_recent_at",
        "_tx",
        "_writer_waits",
        "deferred",
        "error",
        "flow",
        "listener",
        "options",
        "queued",
        "scheduled_at",
        "soft_error",
        "state",
        "woken",
    )

    def __init__(self, stack: SocketTable, flow: Flow, options: TcpOptions, now: float) -> None:
        self._stack = stack
        self.flow = flow
        self.options = options
        self.state = State.CLOSED
        self.error: SmolmixError | None = None
        self.soft_error: SmolmixError | None = None
        self._ts_offset = int.from_bytes(stack.random_bytes(4), "big")
        self._local_mss = min(flow.mtu - flow.header_size - 20, options.max_segment_size or 65_535)
        self._tx = Sender(options, stack.initial_sequence(flow, now), self._local_mss)
        self._rx = Receiver(options.receive_buffer_initial, options.receive_buffer_limit, self._local_mss)
        self._acks = AckPolicy(options.sparse_acks)
        self._timestamps = False
        self._sack = False
        self._send_scale = 0
        self._receive_scale = 0
        self._offered_scale = _scale_for(options.receive_buffer_limit)
        self._ts_recent = 0
        self._ts_recent_at = now
        self._last_ack_sent = 0
        self._passive = False
        self._syn_due = False
        self._keepalive_due = False
        self._keepalives = 0
        self._writer_waits = False
        self._peer_mss = DEFAULT_MSS[flow.version]
        self._echo_seen = -1
        self._heard_at = now
        self._opened_at = now
        self._syns = 0
        self._challenge_at = -1e9
        self._closed_by_user = False
        self._deadline = NEVER  # TIME-WAIT, FIN-WAIT-2
        self._syn_at = NEVER
        # bookkeeping of the stack
        self.queued = False
        self.woken = False
        self.scheduled_at = NEVER
        self.listener: object | None = None
        self.deferred = False

    @property
    def local(self) -> tuple[str, int]:
        """Our address and port; on an exit, the ones the client aimed at."""
        return self.flow.local

    @property
    def remote(self) -> tuple[str, int]:
        return self.flow.remote

    @property
    def _whole(self) -> TcpConnection:
        """This object as what it always is."""
        return cast("TcpConnection", self)

    def _wake(self) -> None:
        """There may be something to send, or a new deadline."""
        if not self.queued:
            self.queued = True
            self._stack.ready.append(self)  # type: ignore[arg-type]
        if not self.woken:
            self.woken = True
            self._stack.woken.append(self)  # type: ignore[arg-type]

    def _tell_user(self) -> None:
        """Readability, writability or the state changed."""
        self._stack.changed.add(self)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        (host, port), (peer, peer_port) = self.local, self.remote
        return f"<TcpConnection {host}:{port} {peer}:{peer_port} {self.state.value}>"

    def _finish(self, error: SmolmixError | None) -> None:
        """CLOSED: forget the peer; what was received in order stays readable."""
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self.error = error
        self.deferred = False
        tx, rx = self._tx, self._rx
        # What is left to be read belongs to the user now and no longer counts.
        self._stack.memory.used -= rx.held
        if self._closed_by_user:
            rx.queue = bytearray()
        rx.drop_all()
        tx.buffer = bytearray()
        tx.base = tx.end
        tx.rtx_at = tx.reo_at = tx.persist_at = self._syn_at = self._deadline = NEVER
        self._acks.due, self._acks.at = False, NEVER
        self._syn_due = self._keepalive_due = False
        self._stack.remove(self._whole)
        self._tell_user()

    def fail_silently(self) -> None:
        """Leave TIME-WAIT early."""
        self._finish(None)

    def _enter_time_wait(self, now: float) -> None:
        self.state = State.TIME_WAIT
        self._deadline = now + self._stack.config.time_wait
        self._tx.rtx_at = self._tx.reo_at = self._tx.persist_at = NEVER
        self._stack.entered_time_wait(self._whole)
        self._tell_user()
        self._wake()

    def _stamp(self, now: float) -> int:
        """Our timestamp clock: milliseconds from a random start (RFC 7323 section 5.4 and 7.1)."""
        return (int(now * 1000) + self._ts_offset) & MASK


def _scale_for(limit: int) -> int:
    """The smallest shift by which a window of ``limit`` bytes fits 16 bits (RFC 7323 section 2.2)."""
    shift = 0
    while limit >> shift > 65_535 and shift < 14:
        shift += 1
    return shift
