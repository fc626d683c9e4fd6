"""The one loop that runs the chain of engines; the only place where they meet time and I/O.

::

    WebSocket -> GatewayClient -> NymClient -> IprClient -> Stack -> sockets      (in)
    sockets -> Stack -> IprClient -> NymClient -> GatewayClient -> WebSocket      (out)

Each turn takes what has arrived, carries events up, lets timers run, carries what is due down, and then
sleeps until the earliest ``poll_at`` of any engine or until something happens. Two tasks exist: this loop,
and the keeper of the WebSocket, which reads it and makes a new one when it is lost. Everything above the
gateway session (TCP connections included) survives such a loss: packets that went down with the WebSocket
are repeated by the Nym client.

Back-pressure runs against the data's way: the stack is asked for packets only while the Nym client's queue
is short, the Nym client only while the WebSocket's buffer is short. So TCP sees the mixnet's pace as the
rate of its path, instead of filling a queue in front of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import NetworkError, RemoteProtocolError, SmolmixError, TunnelClosed
from smolmix_web.gateway.client import GatewayClient
from smolmix_web.gateway.events import Failed, MessagePushed, Ready, Registered
from smolmix_web.ipr.client import IprClient
from smolmix_web.ipr.events import (
    Connected,
    ConnectTimedOut,
    Denied,
    Disconnected,
    ExitSilent,
    PacketReceived,
    PolicyDenied,
)
from smolmix_web.net.stack import Stack
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.packets import PacketSize
from smolmix_web.platform.base import Platform, WebSocketLink

NYM_QUEUE_TARGET = 24
"""Real packets waiting in the Nym client above which the stack holds its own back. At the official pace of
50 packets/s this is half a second of queue, below a mixnet round trip."""

PACKETS_PER_TURN = 32
"""Packets taken from the Nym client in one turn, about 1 ms of work each; bounds the length of a turn. The
published client's channel to its gateway has as many slots."""

IDLE_WORTH_USING = 0.002
"""Seconds: a shorter gap is no room to prepare a header in."""

MESSAGES_PER_TURN = 64
"""Messages taken from the WebSocket in one turn, for the same reason."""

WEBSOCKET_BUFFER_TARGET = 128 * 1024
"""Bytes waiting in the WebSocket above which no more packets are made."""

INBOX_LIMIT = 1024
"""Messages read ahead of the loop; then the reader waits, and TCP slows the gateway down."""

MAX_DENIALS = 256  # destinations remembered as refused by the exit's policy

WEBSOCKET_OPEN_TIMEOUT = 15.0  # seconds
RECONNECT_FIRST_DELAY = 0.5  # seconds; doubles with each failure in a row
RECONNECT_LAST_DELAY = 15.0


class LinkState(enum.Enum):
    """Where the link to the entry gateway stands."""

    CONNECTING = "connecting"
    READY = "ready"
    LOST = "lost"
    CLOSED = "closed"


@dataclass(slots=True)
class DriverStats:
    """Counters of one driver since its start."""

    websocket_messages_in: int = 0
    websocket_messages_out: int = 0
    ip_packets_in: int = 0
    ip_packets_out: int = 0
    reconnects: int = 0
    malformed_messages: int = 0
    policy_denials: int = 0


class Driver:
    """Runs a Nym client behind one gateway and, after :meth:`connect_exit`, an IP stack over it.

    Order of calls: :meth:`start`, :meth:`gateway_ready`, :meth:`connect_exit`; then :attr:`stack` is there to
    be used, with :meth:`wake` after every call that may produce packets; at last :meth:`close`.

    :param on_link: called with each new state of the gateway link and the reason.
    :param on_registered: called with a new shared key (32 bytes, secret).
    :param on_message: called with Nym messages that do not belong to the exit session.
    :param on_exit_lost: called when the exit ends the session.
    """

    def __init__(
        self,
        platform: Platform,
        nym: NymClient,
        gateway: GatewayClient,
        gateway_url: str,
        *,
        on_link: Callable[[LinkState, str], None] = lambda _state, _why: None,
        on_registered: Callable[[bytes], None] = lambda _key: None,
        on_message: Callable[[MessageReceived], None] = lambda _message: None,
        on_exit_lost: Callable[[str], None] = lambda _why: None,
    ) -> None:
        self.nym = nym
        self.gateway = gateway
        self.ipr: IprClient | None = None
        self.stack: Stack | None = None
        self.stats = DriverStats()
        self.link_state = LinkState.CONNECTING
        self.failure: BaseException | None = None
        self.denied_at: dict[tuple[str, int], float] = {}
        """When the exit's policy last refused a destination (address and port), on :meth:`now`'s clock."""
        self._platform = platform
        self._gateway_url = gateway_url
        self._on_link = on_link
        self._on_registered = on_registered
        self._on_message = on_message
        self._on_exit_lost = on_exit_lost
        self._link: WebSocketLink | None = None
        self._inbox: deque[str | bytes] = deque()
        self._wake = asyncio.Event()
        self._inbox_has_room = asyncio.Event()
        self._link_over = asyncio.Event()
        self._session_error: SmolmixError | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._exit: Recipient | None = None
        self._exit_answer: asyncio.Future[Connected] | None = None
        self._make_stack: Callable[[Connected], Stack] | None = None
        self._waiters: dict[object, list[asyncio.Future[None]]] = {}

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the two tasks."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._keep_linked(), name="gateway-link"),
            loop.create_task(self._run(), name="tunnel-driver"),
        ]

    async def gateway_ready(self) -> None:
        """Wait for the first authenticated session. :raises SmolmixError: what prevented it."""
        await asyncio.shield(self._ready)

    async def connect_exit(
        self, exit_address: Recipient, ipr: IprClient, make_stack: Callable[[Connected], Stack]
    ) -> Connected:
        """Run the exit's connect handshake, then the stack that ``make_stack`` builds from its answer.

        :raises DeadlineError: the exit did not answer in time.
        :raises NetworkError: it refused, or the tunnel ended.
        """
        if self.failure is not None:
            raise TunnelClosed("the tunnel is closed") from self.failure
        answer: asyncio.Future[Connected] = asyncio.get_running_loop().create_future()
        self._exit_answer, self._exit, self._make_stack, self.ipr = answer, exit_address, make_stack, ipr
        ipr.start(self.now())
        self.wake()
        try:
            return await answer
        finally:
            if self._exit_answer is answer:
                self._exit_answer = None
            if self.stack is None and self.ipr is ipr:
                self.ipr = None

    def drop_exit(self, error: SmolmixError) -> None:
        """Forget the exit and its stack; everyone who waits for one of its sockets gets ``error``."""
        if self.stack is not None:
            self.stack.abort_all(error)
        if self._exit is not None:
            self.nym.abandon(self._exit)  # or its packets would be repeated for ever
        self.ipr = self.stack = None
        self._fail_waiters(error)

    async def close(self) -> None:
        """Say goodbye to the exit, stop, and fail every socket still open with TunnelClosed. Idempotent."""
        if self.link_state is LinkState.READY and self.ipr is not None and self.failure is None:
            # One turn more, so that resets of open connections and the exit's Disconnect get their chance.
            with contextlib.suppress(SmolmixError):
                self.ipr.close(self.now())
                self._turn(self.now())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._fail(TunnelClosed("the tunnel was closed"))
        self._set_link(LinkState.CLOSED, "closed")

    def now(self) -> float:
        """Seconds on the monotonic clock that every engine of this driver is given."""
        return self._platform.monotonic()

    def wake(self) -> None:
        """Something changed above: take a turn soon."""
        self._wake.set()

    async def changed(self, socket: object, stack: Stack) -> None:
        """Wait until ``stack`` reports a change of ``socket``.

        :raises TunnelClosed: the tunnel, or the exit that the stack stood on, is gone.
        """
        if self.failure is not None:
            raise TunnelClosed("the tunnel is closed") from self.failure
        if stack is not self.stack:
            raise TunnelClosed("the exit was lost")
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(socket, []).append(future)
        try:
            await future
        finally:
            waiting = self._waiters.get(socket)
            if waiting is not None and future in waiting:
                waiting.remove(future)
                if not waiting:
                    del self._waiters[socket]

    @property
    def waiting(self) -> int:
        """Sockets that somebody waits for."""
        return len(self._waiters)

    # -- the gateway link ----------------------------------------------------------------------------------

    async def _keep_linked(self) -> None:
        delay = RECONNECT_FIRST_DELAY
        while True:
            self._session_error = None
            try:
                await self._serve_one_link()
                reason = str(self._session_error or "the gateway closed the WebSocket")
            except SmolmixError as error:
                self._session_error = error
                reason = str(error)
            except Exception as error:
                self._fail(error)
                raise
            if not self._ready.done():
                # The first session decides whether set-up succeeds; whoever set up decides what comes next.
                self._ready.set_exception(self._session_error or NetworkError(reason))
                self._ready.exception()  # retrieved: an abandoned set-up must not be logged as a defect
                return
            if self.link_state is LinkState.READY:
                delay = RECONNECT_FIRST_DELAY
            self._set_link(LinkState.LOST, reason)
            self.stats.reconnects += 1
            # Jitter keeps the clients of a restarted gateway from coming back in step.
            await asyncio.sleep(delay * (0.75 + 0.5 * self._platform.random_bytes(1)[0] / 255))
            delay = min(2 * delay, RECONNECT_LAST_DELAY)
            self._set_link(LinkState.CONNECTING, "reconnecting")

    async def _serve_one_link(self) -> None:
        link = await self._platform.open_websocket(self._gateway_url, WEBSOCKET_OPEN_TIMEOUT)
        self._inbox.clear()
        self._link_over.clear()
        self.gateway.connected(self.now())
        self._link = link
        self.wake()
        over = asyncio.ensure_future(self._link_over.wait())
        reader = asyncio.ensure_future(self._read(link))
        try:
            await asyncio.wait({over, reader}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()  # a defect in the reader is not a lost connection
            if not self._link_over.is_set():
                self._take_inbox(self.now(), limit=len(self._inbox))
                self.gateway.receive_closed(self.now())
                self._gateway_events(self.now())
        finally:
            self._link = None
            over.cancel()
            reader.cancel()
            await asyncio.gather(over, reader, return_exceptions=True)
            await link.close()

    async def _read(self, link: WebSocketLink) -> None:
        while (message := await link.receive()) is not None:
            self._inbox.append(message)
            self.stats.websocket_messages_in += 1
            self._wake.set()
            if len(self._inbox) >= INBOX_LIMIT:
                self._inbox_has_room.clear()
                await self._inbox_has_room.wait()

    def _set_link(self, state: LinkState, reason: str) -> None:
        if state is not self.link_state and self.link_state is not LinkState.CLOSED:
            self.link_state = state
            self._on_link(state, reason)

    # -- the loop ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                now = self.now()
                self._turn(now)
                await self._sleep(now)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(error)
            raise

    def _turn(self, now: float) -> None:
        self._take_inbox(now, MESSAGES_PER_TURN)
        self._timers(now)
        self._gateway_events(now)
        self._nym_events(now)
        self._ipr_events(now)
        self._send(now)
        if self.stack is not None:
            for socket in self.stack.take_changed():
                for future in self._waiters.pop(socket, ()):
                    if not future.done():
                        future.set_result(None)

    async def _sleep(self, now: float) -> None:
        if self._wake.is_set() or self._inbox:
            await asyncio.sleep(0)  # others get their turn: the reader, the user's tasks
            return
        due = [at for at in (self._poll_at(now),) if at is not None]
        if not due:
            await self._wake.wait()
            return
        delay = due[0] - self.now()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        if delay > IDLE_WORTH_USING and self.nym.prepare_ahead(now, 1):
            # Headers and reply blocks made in the gaps leave only a payload to encrypt when a tick is due.
            await asyncio.sleep(0)
            return
        # Not wait_for: in CPython 3.11 it can swallow a cancellation that meets a wake-up.
        alarm = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    def _poll_at(self, now: float) -> float | None:
        engines: list[GatewayClient | IprClient | Stack] = [self.gateway]
        if self.ipr is not None:
            engines.append(self.ipr)
        if self.stack is not None and self.nym.queued() < NYM_QUEUE_TARGET:
            engines.append(self.stack)
        due = [at for engine in engines if (at := engine.poll_at()) is not None]
        nym_at = self.nym.poll_at()
        if nym_at is not None:
            if nym_at <= now and not self._link_has_room():
                nym_at = now + 0.02  # the WebSocket does not say when its buffer has drained
            due.append(nym_at)
        return min(due) if due else None

    def _link_has_room(self) -> bool:
        return self._link is not None and self._link.buffered() < WEBSOCKET_BUFFER_TARGET

    # -- in ------------------------------------------------------------------------------------------------

    def _take_inbox(self, now: float, limit: int) -> None:
        gateway = self.gateway
        for _ in range(min(limit, len(self._inbox))):
            message = self._inbox.popleft()
            try:
                if isinstance(message, str):
                    gateway.receive_text(message, now)
                else:
                    gateway.receive_binary(message, now)
            except RemoteProtocolError:
                self.stats.malformed_messages += 1
        if not self._inbox_has_room.is_set() and len(self._inbox) < INBOX_LIMIT // 2:
            self._inbox_has_room.set()

    def _timers(self, now: float) -> None:
        self.gateway.handle_timer(now)
        self.nym.handle_timer(now)
        if self.ipr is not None:
            self.ipr.handle_timer(now)
        if self.stack is not None:
            self.stack.handle_timer(now)

    def _gateway_events(self, now: float) -> None:
        while (event := self.gateway.next_event()) is not None:
            match event:
                case MessagePushed(data):
                    self.nym.receive_push(data, now)
                case Registered(shared_key):
                    self._on_registered(shared_key)
                case Ready():
                    self._set_link(LinkState.READY, "authenticated")
                    if not self._ready.done():
                        self._ready.set_result(None)
                case Failed(error):
                    self._session_error = error
                    self._flush_gateway()
                    self._link_over.set()
                case _:
                    pass

    def _nym_events(self, now: float) -> None:
        while (event := self.nym.next_event()) is not None:
            if not isinstance(event, MessageReceived):
                continue
            from_exit = self.ipr is not None and event.peer is not None and event.peer == self._exit
            if not (from_exit and self.ipr is not None and self.ipr.receive_message(event.data, now)):
                self._on_message(event)

    def _ipr_events(self, now: float) -> None:
        if self.ipr is None:
            return
        while (event := self.ipr.next_event()) is not None:
            match event:
                case PacketReceived(packet):
                    if self.stack is not None:
                        self.stats.ip_packets_in += 1
                        self.stack.receive_packet(packet, now)
                case Connected():
                    if self._make_stack is not None:
                        self.stack = self._make_stack(event)
                    if self._exit_answer is not None and not self._exit_answer.done():
                        self._exit_answer.set_result(event)
                case PolicyDenied():
                    self._policy_denied(event, now)
                case ConnectTimedOut() | ExitSilent():
                    if not self._exit_refused(event.error):
                        self._on_exit_lost(str(event.error))
                case Denied(reason):
                    self._exit_refused(NetworkError(f"the exit refused: {reason}"))
                case Disconnected(reason):
                    self._on_exit_lost(reason)

    def _policy_denied(self, event: PolicyDenied, now: float) -> None:
        self.stats.policy_denials += 1
        if event.address is None:
            return
        destination = (str(event.address), event.port)
        self.denied_at.pop(destination, None)
        self.denied_at[destination] = now
        while len(self.denied_at) > MAX_DENIALS:
            del self.denied_at[next(iter(self.denied_at))]
        for socket, futures in self._waiters.items():
            if getattr(socket, "remote", None) == destination:
                for future in futures:
                    if not future.done():
                        future.set_result(None)

    def _exit_refused(self, error: SmolmixError) -> bool:
        """Fail the connect that waits for the exit's answer, if one does."""
        if self._exit_answer is None or self._exit_answer.done():
            return False
        self._exit_answer.set_exception(error)
        return True

    # -- out -----------------------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        nym, ipr = self.nym, self.ipr
        if ipr is not None and self._exit is not None:
            room = NYM_QUEUE_TARGET - nym.queued()
            if self.stack is not None and room > 0:
                packets = self.stack.packets_to_send(now, room)
                if packets:
                    self.stats.ip_packets_out += len(packets)
                    ipr.send_packets(packets, now)
            for message in ipr.messages_to_send(now, max(room, 4)):
                nym.send(self._exit, message.data, now, reply_surbs=message.reply_surbs, anonymous=True)
        if self.link_state is LinkState.READY and self._link_has_room():
            backlog = self._link.buffered() // PacketSize.REGULAR.total if self._link is not None else 0
            for packet in nym.packets_to_send(now, PACKETS_PER_TURN, backlog=backlog):
                self.gateway.send_packet(packet)
        self._flush_gateway()

    def _flush_gateway(self) -> None:
        frames = self.gateway.frames_to_send()
        if self._link is not None:
            self.stats.websocket_messages_out += len(frames)
            for frame in frames:
                self._link.send(frame)

    # -- the end -------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        if self.failure is not None:
            return
        self.failure = error
        closed = TunnelClosed("the tunnel ended")
        closed.__cause__ = error
        pending: list[asyncio.Future[None] | asyncio.Future[Connected]] = [self._ready]
        if self._exit_answer is not None:
            pending.append(self._exit_answer)
        for future in pending:
            if not future.done():
                future.set_exception(closed)
                future.exception()
        self._fail_waiters(closed)
        if not isinstance(error, TunnelClosed):
            self._set_link(LinkState.CLOSED, f"{type(error).__name__}: {error}")

    def _fail_waiters(self, error: SmolmixError) -> None:
        for futures in self._waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiters.clear()
