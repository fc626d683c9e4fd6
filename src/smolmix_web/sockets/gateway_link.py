"""The gateway session over successive WebSockets: opens them, reads them, notices when one is dead.

A WebSocket ends in four ways: it is closed, the session on it fails, it falls silent while an answer is due
(every uploaded packet is answered; a network that changed under a TCP connection sends no FIN), or the
machine slept, after which it cannot be trusted. All four lead to a new one, after a pause that doubles. The
engine (:class:`~smolmix_web.gateway.client.GatewayClient`) then authenticates again, or registers where the
gateway has forgotten us.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import (
    DeadlineError,
    NetworkError,
    RemoteProtocolError,
    SmolmixError,
    TunnelClosed,
)
from smolmix_web.gateway.client import GatewayClient
from smolmix_web.gateway.events import Failed, MessagePushed, Ready, Registered
from smolmix_web.nym.packets import PacketSize
from smolmix_web.platform.base import Platform, WebSocketLink
from smolmix_web.sockets.tasks import end_tasks

INBOX_LIMIT = 1024
"""Messages read ahead of the loop; then the reader waits, and TCP slows the gateway down."""


@dataclass(frozen=True, slots=True)
class LinkConfig:
    """Times in seconds."""

    open_timeout: float = 15.0
    """Of one WebSocket."""
    session_timeout: float = 60.0
    """From the first attempt to open a WebSocket to the first authenticated session."""
    silence_limit: float = 12.0
    """How long the gateway may say nothing at all while the answer to an upload is due."""
    retry_first: float = 0.5
    """Pause before a new WebSocket; doubles with each failure in a row."""
    retry_last: float = 15.0
    buffer_target: int = 128 * 1024
    """Bytes waiting in the WebSocket above which no more packets are made."""


class LinkState(enum.Enum):
    """Where the link to the entry gateway stands."""

    CONNECTING = "connecting"
    OPEN = "authenticating"
    READY = "ready"
    LOST = "lost"
    CLOSED = "closed"


class GatewayLink:
    """Order of calls: :meth:`start`, :meth:`ready`; then per turn :meth:`receive`, :meth:`handle_timer`,
    uploads through :attr:`engine` while :meth:`has_room`, :meth:`flush`; at last :meth:`close`.

    :param on_state: called with each state and the reason; LOST comes again for each failed attempt.
    :param on_registered: called with each new shared key (32 bytes, secret).
    :param wake: called when there is something to receive.
    :param now: the clock of all engines.
    """

    def __init__(
        self,
        platform: Platform,
        engine: GatewayClient,
        url: str,
        config: LinkConfig,
        *,
        on_state: Callable[[LinkState, str], None],
        on_registered: Callable[[bytes], None],
        wake: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self.engine = engine
        self.state = LinkState.CONNECTING
        self.failed_attempts = 0
        """Attempts in a row that did not end in an authenticated session."""
        self.last_error: SmolmixError | None = None
        self.sessions = 0
        self.messages_in = 0
        self.messages_out = 0
        self.malformed_messages = 0
        self._platform = platform
        self._url = url
        self._config = config
        self._on_state = on_state
        self._on_registered = on_registered
        self._wake = wake
        self._now = now
        self._socket: WebSocketLink | None = None
        self._inbox: deque[str | bytes] = deque()
        self._left: list[bytes] = []  # pushed on a WebSocket that has ended
        self._inbox_has_room = asyncio.Event()
        self._over = asyncio.Event()
        self._retry_now = asyncio.Event()
        self._unanswered_since: float | None = None
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    # -- life ----------------------------------------------------------------------------------------------

    def start(self, on_defect: Callable[[BaseException], None]) -> None:
        """Start to keep linked. ``on_defect`` hears of an exception that should not exist."""
        task = asyncio.get_running_loop().create_task(self._keep(), name="gateway-link")
        task.add_done_callback(
            lambda done: None if done.cancelled() or not (e := done.exception()) else on_defect(e)
        )
        self._task = task

    async def ready(self) -> None:
        """Wait for the first authenticated session; its failure is final.

        :raises SmolmixError: what prevented it. :raises DeadlineError: it took too long as a whole.
        """
        try:
            async with asyncio.timeout(self._config.session_timeout):
                await asyncio.shield(self._first)
        except TimeoutError as error:
            if isinstance(error, SmolmixError):
                raise
            raise DeadlineError("session with the gateway", self._config.session_timeout) from error

    async def close(self) -> None:
        """Idempotent."""
        if self._task is not None:
            await end_tasks(self._task)
        self.fail(TunnelClosed("the tunnel ended"))
        self._set(LinkState.CLOSED, "closed")

    def fail(self, error: BaseException) -> None:
        """Whoever waits in :meth:`ready` gets ``error``."""
        if not self._first.done():
            self._first.set_exception(error)
            self._first.exception()  # retrieved: an abandoned set-up must not be logged as a defect

    def drop(self, reason: str, now: float) -> None:
        """Give the present WebSocket up and open a new one at once."""
        self._retry_now.set()
        if self._socket is not None and not self._over.is_set():
            self._end_session(now)
            self.last_error = NetworkError(reason)
            self._over.set()

    async def _keep(self) -> None:
        delay = self._config.retry_first
        while True:
            self.last_error = None
            error: SmolmixError
            try:
                await self._serve_one()
                error = self.last_error or NetworkError("the gateway closed the WebSocket")
            except SmolmixError as problem:
                error = problem
            self.last_error = error
            if not self._first.done():
                self.fail(error)  # whoever set up decides what comes next
                return
            if self.state is LinkState.READY:
                delay, self.failed_attempts = self._config.retry_first, 0
            else:
                self.failed_attempts += 1
            self._set(LinkState.LOST, str(error))
            # Jitter keeps the clients of a restarted gateway from coming back in step.
            await self._pause(delay * (0.75 + 0.5 * self._platform.random_bytes(1)[0] / 255))
            delay = min(2 * delay, self._config.retry_last)
            self._set(LinkState.CONNECTING, "reconnecting")

    async def _pause(self, seconds: float) -> None:
        alarm = asyncio.get_running_loop().call_later(seconds, self._retry_now.set)
        try:
            await self._retry_now.wait()
        finally:
            alarm.cancel()
            self._retry_now.clear()

    async def _serve_one(self) -> None:
        socket = await self._platform.open_websocket(self._url, self._config.open_timeout)
        self._inbox.clear()
        self._over.clear()
        self._unanswered_since = None
        self._set(LinkState.OPEN, "the WebSocket is open")
        self.engine.connected(self._now())
        self._socket = socket
        self._wake()
        over = asyncio.ensure_future(self._over.wait())
        reader = asyncio.ensure_future(self._read(socket))
        try:
            await asyncio.wait({over, reader}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done():
                reader.result()  # a defect in the reader is not a lost connection
            if not self._over.is_set():
                self._end_session(self._now())
        finally:
            self._socket = None
            self._unanswered_since = None
            self._inbox_has_room.set()
            over.cancel()
            reader.cancel()
            await asyncio.gather(over, reader, return_exceptions=True)
            await socket.close()

    def _end_session(self, now: float) -> None:
        """The WebSocket is gone; what had arrived on it is still worth having."""
        self._left = self.receive(now, len(self._inbox))
        self.engine.receive_closed(now)
        self._take_events(self._left, now)
        self._wake()

    async def _read(self, socket: WebSocketLink) -> None:
        inbox = self._inbox
        while (message := await socket.receive()) is not None:
            inbox.append(message)
            self.messages_in += 1
            self._unanswered_since = None
            self._wake()
            if len(inbox) >= INBOX_LIMIT:
                self._inbox_has_room.clear()
                await self._inbox_has_room.wait()

    def _set(self, state: LinkState, reason: str) -> None:
        if self.state is LinkState.CLOSED or (state is self.state and state is not LinkState.LOST):
            return
        self.state = state
        self._on_state(state, reason)

    # -- traffic -------------------------------------------------------------------------------------------

    @property
    def has_input(self) -> bool:
        """Whether :meth:`receive` has something to do."""
        return bool(self._inbox or self._left)

    def receive(self, now: float, limit: int) -> list[bytes]:
        """Messages that the gateway pushed, from at most ``limit`` frames."""
        engine, inbox = self.engine, self._inbox
        pushed, self._left = self._left, []
        for _ in range(min(limit, len(inbox))):
            message = inbox.popleft()
            try:
                if isinstance(message, str):
                    engine.receive_text(message, now)
                else:
                    engine.receive_binary(message, now)
            except RemoteProtocolError:
                self.malformed_messages += 1
        self._take_events(pushed, now)
        if len(inbox) < INBOX_LIMIT // 2:
            self._inbox_has_room.set()
        return pushed

    def handle_timer(self, now: float) -> None:
        """Time-outs of the session, and the silence of a dead connection."""
        self.engine.handle_timer(now)
        self._take_events(self._left, now)
        since = self._unanswered_since
        if (
            since is not None
            and now - since >= self._config.silence_limit
            and self.state is LinkState.READY
            and not self._inbox
        ):
            self._unanswered_since = None
            self.drop(f"the gateway said nothing for {now - since:.0f} s", now)

    def restart_silence(self, now: float) -> None:
        """The caller was away: what the gateway said meanwhile may not have been read yet."""
        if self._unanswered_since is not None:
            self._unanswered_since = now

    def poll_at(self) -> float | None:
        """When :meth:`handle_timer` is wanted next."""
        at = self.engine.poll_at()
        if self._unanswered_since is not None and self.state is LinkState.READY:
            silent_at = self._unanswered_since + self._config.silence_limit
            at = silent_at if at is None else min(at, silent_at)
        return at

    def has_room(self) -> bool:
        """Whether packets can be uploaded and would leave soon."""
        return (
            self.state is LinkState.READY
            and self._socket is not None
            and self._socket.buffered() < self._config.buffer_target
        )

    def backlog(self) -> int:
        """Packets that wait in the WebSocket."""
        return self._socket.buffered() // PacketSize.REGULAR.total if self._socket is not None else 0

    def flush(self, now: float) -> None:
        """Send the frames of the session."""
        frames = self.engine.frames_to_send()
        socket = self._socket
        if socket is None or not frames:
            return
        self.messages_out += len(frames)
        for frame in frames:
            socket.send(frame)
        if self._unanswered_since is None and not self._inbox:
            self._unanswered_since = now

    def _take_events(self, pushed: list[bytes], now: float) -> None:
        while (event := self.engine.next_event()) is not None:
            match event:
                case MessagePushed(data):
                    pushed.append(data)
                case Registered(shared_key):
                    self._on_registered(shared_key)
                case Ready():
                    self.sessions += 1
                    self.failed_attempts = 0
                    self._retry_now.clear()
                    self._set(LinkState.READY, "authenticated")
                    if not self._first.done():
                        self._first.set_result(None)
                case Failed(error):
                    self.last_error = error
                    self.flush(now)  # the engine's last words
                    self._over.set()
                case _:
                    pass
