"""The one loop that runs the chain of engines; the only place where they meet time and I/O.

::

    GatewayLink -> NymClient -> IprClient -> Stack -> sockets      (in)
    sockets -> Stack -> IprClient -> NymClient -> GatewayLink      (out)

Each turn takes what has arrived, carries events up, lets timers run, carries what is due down, and then
sleeps until the earliest ``poll_at`` of any engine or until something happens. Two tasks exist: this loop,
and the keeper of the WebSocket (:mod:`.gateway_link`), which makes a new one when it is lost. Everything
above the gateway session (TCP connections included) survives such a loss: packets that went down with the
WebSocket are repeated by the Nym client.

Back-pressure runs against the data's way: the stack is asked for packets only while the Nym client's queue
is short, the Nym client only while the WebSocket's buffer is short. So TCP sees the mixnet's pace as the
rate of its path, instead of filling a queue in front of it.

The loop also notices when it did not run although it was due: the machine slept, or the page was frozen.
For the engines that time has not passed (or every timer of every connection would run out at once), and the
WebSocket is replaced, because its other end has most likely given it up.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import NetworkError, SmolmixError, TunnelClosed
from smolmix_web.gateway.client import GatewayClient
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
from smolmix_web.nym.lanes import GENERAL, connection_lane
from smolmix_web.nym.topology import Topology
from smolmix_web.platform.base import Platform
from smolmix_web.sockets.gateway_link import GatewayLink, LinkConfig, LinkState
from smolmix_web.sockets.tasks import end_tasks

UPLINK_TARGET = 24
"""IP packets waiting for the mixnet above which the stack holds its own back. At the official pace of 50
packets/s this is half a second of queue, below a mixnet round trip."""

NYM_QUEUE_TARGET = 4
"""Real packets waiting in a paced Nym client above which IP packets wait before it, where they can still be
bundled and superseded: those of 80 ms at the official pace."""

IP_LANE = connection_lane(0)
"""IP packets take turns with raw messages, which have the general lane."""

PACKETS_PER_TURN = 32
"""Packets taken from the Nym client in one turn, about 1 ms of work each; bounds the length of a turn. The
published client's channel to its gateway has as many slots."""

IDLE_WORTH_USING = 0.002
"""Seconds: a shorter gap is no room to prepare a header in."""

MESSAGES_PER_TURN = 64
"""Messages taken from the WebSocket in one turn, for the same reason."""

MAX_DENIALS = 256  # destinations remembered as refused by the exit's policy

LONGEST_SLEEP = 10.0
"""Seconds: the loop turns at least this often, so that it notices when it was kept from it."""

SLEEP_NOTICED = 15.0
"""Seconds by which a turn may be late. Beyond, the machine slept."""

LATE = 3.0
"""Seconds beyond which a late turn starts the clocks of silence anew: the peers' answers may lie unread."""


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
    late_turns: int = 0
    sleeps: int = 0


class Driver:
    """Runs a Nym client behind one gateway and, after :meth:`connect_exit`, an IP stack over it.

    Order of calls: :meth:`start`, :meth:`gateway_ready`, :meth:`connect_exit`; then :attr:`stack` is there to
    be used, with :meth:`wake` after every call that may produce packets; at last :meth:`close`.

    :param on_link: called with each state of the gateway link and the reason.
    :param on_registered: called with each new shared key (32 bytes, secret).
    :param on_message: called with Nym messages that do not belong to the exit session.
    :param on_exit_lost: called when the exit ends the session or falls silent.
    :param on_slept: called after the machine slept, with about how many seconds.
    """

    def __init__(
        self,
        platform: Platform,
        nym: NymClient,
        gateway: GatewayClient,
        gateway_url: str,
        *,
        link: LinkConfig | None = None,
        on_link: Callable[[LinkState, str], None] = lambda _state, _why: None,
        on_registered: Callable[[bytes], None] = lambda _key: None,
        on_message: Callable[[MessageReceived], None] = lambda _message: None,
        on_exit_lost: Callable[[str], None] = lambda _why: None,
        on_slept: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self.nym = nym
        self._nym_target = UPLINK_TARGET if nym.config.disable_poisson else NYM_QUEUE_TARGET
        self.gateway = gateway
        self.ipr: IprClient | None = None
        self.stack: Stack | None = None
        self.failure: BaseException | None = None
        self.denied_at: dict[tuple[str, int], float] = {}
        """When the exit's policy last refused a destination (address and port), on :meth:`now`'s clock."""
        self._platform = platform
        self._stats = DriverStats()
        self._on_link = on_link
        self._on_message = on_message
        self._on_exit_lost = on_exit_lost
        self._on_slept = on_slept
        self._wake = asyncio.Event()
        self.link = GatewayLink(
            platform,
            gateway,
            gateway_url,
            link or LinkConfig(),
            on_state=self._link_changed,
            on_registered=on_registered,
            wake=self._wake.set,
            now=self.now,
        )
        self._task: asyncio.Task[None] | None = None
        self._wanted_at = 0.0
        self._asleep = 0.0
        self._unix_offset = 0.0
        self._exit: Recipient | None = None
        self._exit_answer: asyncio.Future[Connected] | None = None
        self._make_stack: Callable[[Connected], Stack] | None = None
        self._waiters: dict[object, list[asyncio.Future[None]]] = {}
        self._room_waiters: list[tuple[int, asyncio.Future[None]]] = []

    # -- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the two tasks."""
        self._wanted_at = self.now()
        self._unix_offset = self._platform.unix_time() - self._platform.monotonic()
        self.link.start(self._fail)
        self._task = asyncio.get_running_loop().create_task(self._run(), name="tunnel-driver")

    async def gateway_ready(self) -> None:
        """Wait for the first authenticated session.

        :raises SmolmixError: what prevented it. :raises DeadlineError: it took too long.
        """
        await self.link.ready()

    async def connect_exit(
        self, exit_address: Recipient, ipr: IprClient, make_stack: Callable[[Connected], Stack]
    ) -> Connected:
        """Run the exit's connect handshake, then the stack that ``make_stack`` builds from its answer.

        :raises DeadlineError: the exit did not answer within the time-out of ``ipr``.
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
        except BaseException:
            if self.ipr is ipr and self.stack is None:
                self.ipr = None
                self.nym.abandon(exit_address)
            raise
        finally:
            if self._exit_answer is answer:
                self._exit_answer = None

    def drop_exit(self, error: SmolmixError) -> None:
        """Forget the exit and its stack; everyone who waits for one of its sockets gets ``error``."""
        if self.stack is not None:
            self.stack.abort_all(error)
        if self._exit is not None:
            self.nym.abandon(self._exit)  # or its packets would be repeated for ever
        self.ipr = self.stack = None
        self._fail_waiters(error)

    async def close(self, reason: str = "the tunnel was closed") -> None:
        """Say goodbye to the exit, stop, and fail every socket still open with TunnelClosed. Idempotent."""
        if self.link.state is LinkState.READY and self.ipr is not None and self.failure is None:
            # One turn more, so that resets of open connections and the exit's Disconnect get their chance.
            with contextlib.suppress(SmolmixError):
                self.ipr.close(self.now())
                self._turn(self.now())
        if self._task is not None:
            await end_tasks(self._task)
        await self.link.close()
        self._fail(TunnelClosed(reason))

    def now(self) -> float:
        """Seconds on the monotonic clock that every engine of this driver is given. It rests in sleep."""
        return self._platform.monotonic() - self._asleep

    def wake(self) -> None:
        """Something changed above: take a turn soon."""
        self._wake.set()

    async def changed(self, socket: object, stack: Stack) -> None:
        """Wait until ``stack`` reports a change of ``socket``.

        :raises TunnelClosed: the tunnel, or the exit that the stack stood on, is gone.
        """
        self.check(stack)
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

    def set_topology(self, topology: Topology | None) -> None:
        """A new topology for the Nym client; None stops all sending until the next one."""
        now, was_ready = self.now(), self.nym.is_ready
        self.nym.set_topology(topology, now, unix_time=self._platform.unix_time())
        if self.ipr is not None and self.nym.is_ready and not was_ready:
            self.ipr.restart_silence(now)
        self.wake()

    async def room_for_messages(self, queued: int) -> None:
        """Wait until fewer than ``queued`` packets of raw messages wait. :raises TunnelClosed: the end."""
        while self.nym.queued_in(GENERAL) >= queued:
            if self.failure is not None:
                raise TunnelClosed("the tunnel is closed") from self.failure
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._room_waiters.append((queued, future))
            await future

    def check(self, stack: Stack) -> None:
        """:raises TunnelClosed: the tunnel, or the exit that ``stack`` stood on, is gone."""
        if self.failure is not None:
            raise TunnelClosed("the tunnel is closed") from self.failure
        if stack is not self.stack:
            raise TunnelClosed("the exit was lost")

    def has(self, stack: Stack) -> bool:
        """Whether ``stack`` is the one in use."""
        return self.failure is None and stack is self.stack

    @property
    def waiting(self) -> int:
        """Sockets that somebody waits for."""
        return len(self._waiters)

    @property
    def link_state(self) -> LinkState:
        return self.link.state

    @property
    def stats(self) -> DriverStats:
        """Counters, those of the link included."""
        stats, link = self._stats, self.link
        stats.websocket_messages_in, stats.websocket_messages_out = link.messages_in, link.messages_out
        stats.malformed_messages = link.malformed_messages
        stats.reconnects = max(link.sessions - 1, 0)
        return stats

    def _link_changed(self, state: LinkState, reason: str) -> None:
        if state is LinkState.READY and self.ipr is not None:
            # While the link was down, silence was not the exit's.
            self.ipr.restart_silence(self.now())
        self._on_link(state, reason)

    # -- the loop ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while True:
                self._wake.clear()
                now = self._awake()
                self._turn(now)
                await self._sleep(now)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self._fail(error)
            raise

    def _awake(self) -> float:
        """:meth:`now`, after a look at whether this turn comes late.

        The monotonic clock may or may not run while a machine sleeps; the wall clock shows it then.
        """
        now = self.now()
        unix_offset = self._platform.unix_time() - self._platform.monotonic()
        late = max(now - self._wanted_at, unix_offset - self._unix_offset)
        self._unix_offset = unix_offset
        if late < LATE:
            return now
        self._stats.late_turns += 1
        if late >= SLEEP_NOTICED:
            self._stats.sleeps += 1
            self._asleep += max(now - self._wanted_at, 0.0)
            now = self.now()
            self.link.drop(f"the machine slept for {late:.0f} s", now)
            self._on_slept(late)
        self.link.restart_silence(now)
        if self.ipr is not None:
            self.ipr.restart_silence(now)
        return now

    def _turn(self, now: float) -> None:
        link = self.link
        if link.has_input:
            for message in link.receive(now, MESSAGES_PER_TURN):
                self.nym.receive_push(message, now)
        self._timers(now)
        self._nym_events(now)
        self._ipr_events(now)
        self._send(now)
        if self._room_waiters:
            self._tell_room(self.nym.queued_in(GENERAL))
        if self.stack is not None:
            for socket in self.stack.take_changed():
                for future in self._waiters.pop(socket, ()):
                    if not future.done():
                        future.set_result(None)

    async def _sleep(self, now: float) -> None:
        self._wanted_at = now
        if self._wake.is_set() or self.link.has_input:
            await asyncio.sleep(0)  # others get their turn: the reader, the user's tasks
            return
        self._wanted_at = due = min(self._poll_at(now), now + LONGEST_SLEEP)
        # Headers and reply blocks made in the gaps leave only a payload to encrypt when a tick is due.
        while due - self.now() > IDLE_WORTH_USING and self.nym.prepare_ahead(now, 1):
            await asyncio.sleep(0)
            if self._wake.is_set() or self.link.has_input:
                return
        delay = due - self.now()
        if delay <= 0:
            await asyncio.sleep(0)
            return
        # Not wait_for: in CPython 3.11 it can swallow a cancellation that meets a wake-up.
        alarm = asyncio.get_running_loop().call_later(delay, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    def _poll_at(self, now: float) -> float:
        has_room = self.link.has_room()
        due: list[float] = []
        if (nym_at := self.nym.poll_at(can_send=has_room)) is not None:
            due.append(nym_at)
        if not has_room and self.link.state is LinkState.READY:
            due.append(now + 0.02)  # the WebSocket does not say when its buffer has drained
        engines: list[GatewayLink | IprClient | Stack] = [self.link]
        if self.ipr is not None:
            engines.append(self.ipr)
        if self.stack is not None and self._room() > 0:
            engines.append(self.stack)
        due += [at for engine in engines if (at := engine.poll_at()) is not None]
        return min(due, default=now + LONGEST_SLEEP)

    # -- in ------------------------------------------------------------------------------------------------

    def _timers(self, now: float) -> None:
        self.link.handle_timer(now)
        self.nym.handle_timer(now)
        if self.ipr is not None:
            self.ipr.path_delay = self.nym.path_delay
            self.ipr.handle_timer(now)
        if self.stack is not None:
            self.stack.handle_timer(now)

    def _nym_events(self, now: float) -> None:
        while (event := self.nym.next_event()) is not None:
            if not isinstance(event, MessageReceived):
                continue
            from_exit = self.ipr is not None and event.peer is not None and event.peer == self._exit
            if not (from_exit and self.ipr is not None and self.ipr.receive_message(event.data, now)):
                self._on_message(event)

    def _ipr_events(self, now: float) -> None:
        ipr = self.ipr
        # An event may take the exit away, and the rest of its events with it.
        while ipr is not None and ipr is self.ipr and (event := ipr.next_event()) is not None:
            match event:
                case PacketReceived(packet):
                    if self.stack is not None:
                        self._stats.ip_packets_in += 1
                        self.stack.receive_packet(packet, now)
                case Connected():
                    if self._make_stack is not None:
                        self.stack = self._make_stack(event)
                    if self._exit_answer is not None and not self._exit_answer.done():
                        self._exit_answer.set_result(event)
                case PolicyDenied():
                    self._policy_denied(event, now)
                case ConnectTimedOut():
                    self._exit_refused(event.error)
                case ExitSilent():
                    if self.link.state is LinkState.READY and self.nym.is_ready:
                        self._on_exit_lost(str(event.error))
                    else:  # it is we who cannot be heard
                        ipr.restart_silence(now)
                case Denied(reason):
                    self._exit_refused(NetworkError(f"the exit refused: {reason}"))
                case Disconnected(reason):
                    self._on_exit_lost(reason)

    def _policy_denied(self, event: PolicyDenied, now: float) -> None:
        self._stats.policy_denials += 1
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
        nym, ipr, link = self.nym, self.ipr, self.link
        if ipr is not None and self._exit is not None:
            room = self._room()
            if self.stack is not None and room > 0:
                packets = self.stack.packets_to_send(now, room)
                if packets:
                    self._stats.ip_packets_out += len(packets)
                    ipr.send_packets(packets, now)
            for message in ipr.messages_to_send(now, self._nym_target - self._queued()):
                nym.send(
                    self._exit,
                    message.data,
                    now,
                    reply_surbs=message.reply_surbs,
                    anonymous=True,
                    lane=IP_LANE,
                )
        if link.has_room():
            for packet in nym.packets_to_send(now, PACKETS_PER_TURN, backlog=link.backlog()):
                self.gateway.send_packet(packet)
        link.flush(now)

    def _queued(self) -> int:
        """Packets in the Nym client, those of raw messages left out: they have their own turns."""
        return self.nym.queued() - self.nym.queued_in(GENERAL)

    def _room(self) -> int:
        """Packets that the stack may hand down now."""
        waiting = self.ipr.queued() if self.ipr is not None else 0
        return UPLINK_TARGET - self._queued() - waiting

    # -- the end -------------------------------------------------------------------------------------------

    def _fail(self, error: BaseException) -> None:
        if self.failure is not None:
            return
        self.failure = error
        closed = error if isinstance(error, TunnelClosed) else TunnelClosed("the tunnel ended")
        if closed is not error:
            closed.__cause__ = error
        if self._exit_answer is not None and not self._exit_answer.done():
            self._exit_answer.set_exception(closed)
            self._exit_answer.exception()
        self.link.fail(closed)
        if self.stack is not None:
            self.stack.abort_all(closed)  # or streams would go on taking what nobody will send
        self._fail_waiters(closed)
        self._tell_room(0)
        if not isinstance(error, TunnelClosed):
            self._on_link(LinkState.CLOSED, f"{type(error).__name__}: {error}")

    def _tell_room(self, queued: int) -> None:
        waiters, self._room_waiters = self._room_waiters, []
        for wanted, future in waiters:
            if future.done():
                continue
            if queued < wanted:
                future.set_result(None)
            else:
                self._room_waiters.append((wanted, future))

    def _fail_waiters(self, error: SmolmixError) -> None:
        for futures in self._waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self._waiters.clear()
