"""Time passes: the deadlines of a connection, and what each of them does."""

from __future__ import annotations

from smolmix_web.errors import DeadlineError
from smolmix_web.net.tcp.arrival import Arrival
from smolmix_web.net.tcp.flight import NEVER
from smolmix_web.net.tcp.state import State


class Timers(Arrival):
    """See the module."""

    __slots__ = ()

    def poll_at(self) -> float:
        """The earliest instant at which :meth:`handle_timer` has something to do; infinite if never."""
        tx = self._tx
        tx.settle_timer()
        deadline = min(tx.rtx_at, tx.reo_at, tx.persist_at, self._acks.at, self._syn_at, self._deadline)
        if tx.paced_out and tx.pace_at < deadline:
            deadline = tx.pace_at
        if self.deferred:
            deadline = min(deadline, self._opened_at + self.options.connect_timeout)
        if self.options.keepalive_idle is not None:
            deadline = min(deadline, self._keepalive_at())
        return deadline

    def _keepalive_at(self) -> float:
        idle = self.options.keepalive_idle
        if idle is None or self.state not in (State.ESTABLISHED, State.CLOSE_WAIT, State.FIN_WAIT_2):
            return NEVER
        if self._tx.una != self._tx.nxt:
            return NEVER  # retransmission watches the peer
        return self._heard_at + idle + self._keepalives * self.options.keepalive_interval

    def handle_timer(self, now: float) -> None:
        tx, options = self._tx, self.options
        if now >= self._deadline:
            self._finish(None)
            return
        if self.deferred:
            if now >= self._opened_at + options.connect_timeout:
                self._finish(DeadlineError("connect", options.connect_timeout))
            return
        if now >= self._syn_at:
            self._syn_at = NEVER
            if now - self._opened_at >= options.connect_timeout:
                self._finish(self.soft_error or DeadlineError("connect", options.connect_timeout))
                return
            tx.rtt.back_off()
            self._syn_due = True
        tx.settle_timer()
        tx.paced_out = False
        if self._acks.at <= now:
            self._acks.due, self._acks.at = True, NEVER
        if now >= min(tx.rtx_at, tx.reo_at, tx.persist_at):
            if (len(tx.board) or tx.probing_window) and now - tx.progress_at >= options.user_timeout:
                self._send_reset()
                self._finish(self.soft_error or DeadlineError("acknowledgement", options.user_timeout))
                return
            tx.handle_timer(now)
        if options.keepalive_idle is not None and now >= self._keepalive_at():
            if self._keepalives >= options.keepalive_count:
                waited = options.keepalive_idle + options.keepalive_interval * options.keepalive_count
                self._send_reset()
                self._finish(self.soft_error or DeadlineError("keep-alive", waited))
                return
            self._keepalives += 1
            self._keepalive_due = True
        self._wake()
