"""A Nym client without an exit: keys, a gateway, the topology, and raw messages. The tunnel stands on one.

What keeps it alive: the link to the gateway repairs itself (:mod:`smolmix_web.sockets.gateway_link`); when
the gateway stays away, others are tried *beside* it, and whichever answers first is used. Going to another
gateway changes the address and loses what was under way; coming back to the old one loses nothing.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from smolmix_web.errors import (
    NetworkError,
    OptionError,
    TunnelClosed,
    TunnelStateError,
    Unreachable,
)
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.lanes import GENERAL, Lane, connection_lane
from smolmix_web.nym.topology import Topology
from smolmix_web.options import TunnelOptions, camel_case
from smolmix_web.platform import Platform, current_platform, ready_crypto
from smolmix_web.sockets.driver import Driver
from smolmix_web.sockets.gateway_link import LinkState
from smolmix_web.sockets.tasks import end_tasks
from smolmix_web.tunnel.events import (
    CLIENT_PLAN,
    RUNNING,
    Observer,
    Stage,
    StateChange,
    TunnelState,
    error_code,
    progress,
)
from smolmix_web.tunnel.gateway_access import UNUSABLE, GatewayAccess, GatewaySession, SessionHooks
from smolmix_web.tunnel.keystore import StorageError
from smolmix_web.tunnel.messages import (
    HeldMessages,
    MixMessage,
    check_data,
    parse_recipient,
    parse_sender_tag,
)
from smolmix_web.tunnel.network_view import ANSWERS_AT_START, NetworkView
from smolmix_web.tunnel.rates import PacketRates
from smolmix_web.tunnel.timing import TunnelTiming, deadline

logger = logging.getLogger("smolmix_web.tunnel")

DEFAULT_REPLY_SURBS = 10  # spec/native-clients.md 3.2

QUEUE_TARGET = 256
"""Packets of raw messages waiting above which a sender waits: five seconds at the official pace."""


class MixClient:
    """Raw messages from Nym address to Nym address; no exit takes part.

    Made by :meth:`connect`, ended by :meth:`aclose`; usable as an async context manager. Messages
    that arrive are taken by :meth:`receive` or ``async for``, or by :attr:`on_message`.
    """

    def __init__(
        self,
        options: TunnelOptions,
        platform: Platform,
        *,
        on_event: Observer | None = None,
        traffic: ClientConfig | None = None,
        timing: TunnelTiming | None = None,
    ) -> None:
        """Use :meth:`connect`."""
        self.options = options
        self.timing = timing or TunnelTiming()
        self.state = TunnelState.CONNECTING
        self.state_reason = "not connected yet"
        self.stage: Stage = "keys"
        self.on_exit_lost: Callable[[str], None] = lambda _why: None
        """Called when the exit that :attr:`driver` is connected to is lost, or the driver is replaced."""
        self.view = NetworkView(
            options, platform, self.timing, self._topology_changed, lambda: self._seek(at_once=True)
        )
        self._platform = platform
        self._on_event = on_event
        self._access = GatewayAccess(
            options,
            platform,
            self.timing,
            self.view,
            SessionHooks(
                self._link_changed,
                lambda _session, event: self._deliver(event),
                self._exit_lost,
                lambda _session, _seconds: self.view.refresh_soon(),
                self._registered,
            ),
            traffic,
        )
        self._session: GatewaySession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._seeking: asyncio.Task[None] | None = None
        self._patience_over = asyncio.Event()
        self._held = HeldMessages()
        self._arrival = asyncio.Event()
        self._changed = asyncio.Event()
        self._rates = PacketRates()

    # -- life ----------------------------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        options: TunnelOptions | None = None,
        *,
        platform: Platform | None = None,
        on_event: Observer | None = None,
        traffic: ClientConfig | None = None,
        timing: TunnelTiming | None = None,
    ) -> MixClient:
        """Set a client up and wait until it can send and receive.

        Arguments and errors are those of :meth:`Tunnel.connect <smolmix_web.tunnel.Tunnel.connect>`; what the
        options say about exits and names is not used.
        """
        client = cls(
            options or TunnelOptions(),
            platform or current_platform(),
            on_event=on_event,
            traffic=traffic,
            timing=timing,
        )
        try:
            async with deadline(lambda: f"set-up, stage {client.stage}", client.timing.set_up):
                await client.set_up()
        except BaseException as error:
            await client.fail(error)
            raise
        return client

    async def set_up(self, *also: Callable[[], Awaitable[None]]) -> None:
        """What :meth:`connect` does; ``also`` runs together with the requests to the directory."""
        self.enter(TunnelState.CONNECTING, "setting up")
        await ready_crypto()
        self.reach("keys", 0.0, "loading the keys of this client id")
        await self._access.load()
        self.reach("directory", 0.0, "asking the directory for the network")
        expected = ANSWERS_AT_START + 2 * len(also)
        await self.view.load(
            lambda answers: self.reach(
                "directory", min(answers / expected, 1.0), f"answer {answers} of the directory"
            ),
            *also,
        )
        self.reach("gateway", 0.0, "connecting to an entry gateway")
        session = await self._access.connect()
        self._use(session)
        await self._access.adopt(session)
        self.spawn(self.view.keep_fresh(), "topology-refresh")
        self.reach("ready", 1.0, "ready")
        self.enter(TunnelState.READY, "connected")
        if session.driver.link_state is not LinkState.READY:
            self._link_changed(session, LinkState.LOST, "lost right after set-up")

    async def aclose(self) -> None:
        """Leave the gateway; tasks end, and whoever waits for a message gets TunnelClosed. Idempotent."""
        if self.state in (TunnelState.SHUTTING_DOWN, TunnelState.SHUTDOWN):
            return
        failed = self.state is TunnelState.FAILED
        if not failed:
            self.enter(TunnelState.SHUTTING_DOWN, "disconnect was called")
        await self._tear_down()
        if not failed:
            self.enter(TunnelState.SHUTDOWN, "disconnected")

    async def __aenter__(self) -> MixClient:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def fail(self, error: BaseException) -> None:
        """Set-up ended with ``error``: leave nothing behind."""
        reason = str(error) or type(error).__name__
        self.enter(TunnelState.FAILED, reason, code=error_code(error), stage=self.stage)
        await self._tear_down()

    async def _tear_down(self) -> None:
        await end_tasks(*self._tasks)
        if self._session is not None:
            await self._session.driver.close()
        await self._platform.aclose()

    def spawn(self, coroutine: Any, name: str) -> asyncio.Task[None]:
        """A task that ends with this client."""
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s ended with an error", task.get_name(), exc_info=error)

    def enter(self, state: TunnelState, reason: str, *, code: str = "", stage: Stage | None = None) -> None:
        """Change the state, and tell."""
        if state is self.state and state is not TunnelState.CONNECTING:
            return
        self.state, self.state_reason = state, reason
        if state not in RUNNING:
            self._arrival.set()
        logger.debug("state %s: %s", state, reason)
        if self._on_event is not None:
            self._on_event(StateChange(state, reason, code, stage))

    def reach(self, stage: Stage, fraction: float, detail: str) -> None:
        """Set-up has come so far."""
        self.stage = stage
        logger.debug("set-up: %s (%s)", stage, detail)
        if self._on_event is not None:
            self._on_event(progress(CLIENT_PLAN, stage, fraction, detail))

    # -- what it stands on ---------------------------------------------------------------------------------

    @property
    def driver(self) -> Driver:
        """The driver in use. :raises TunnelStateError: there is none yet."""
        if self._session is None:
            raise TunnelStateError(f"the client is {self.state}: {self.state_reason}")
        return self._session.driver

    @property
    def has_driver(self) -> bool:
        return self._session is not None

    @property
    def is_connected(self) -> bool:
        """Whether packets can leave: the gateway session is up and there is a usable topology."""
        session = self._session
        return (
            session is not None
            and session.driver.link_state is LinkState.READY
            and session.driver.nym.is_ready
        )

    @property
    def address(self) -> Recipient:
        """Our Nym address. It changes with the gateway. :raises TunnelStateError: not connected yet."""
        return self.driver.nym.address

    @property
    def self_address(self) -> str:
        """The text form of :attr:`address`."""
        return str(self.address)

    async def connected(self) -> None:
        """Wait until packets can leave."""
        while not self.is_connected:
            self._changed.clear()
            await self._changed.wait()

    def _use(self, session: GatewaySession) -> None:
        self._session = session
        self.view.own_gateway = session.gateway

    def _review(self, reason: str) -> None:
        """Enter the state that fits what works."""
        self._changed.set()
        if self.state in RUNNING:
            self.enter(TunnelState.READY if self.is_connected else TunnelState.RECONNECTING, reason)

    def _link_changed(self, session: GatewaySession, state: LinkState, reason: str) -> None:
        if self.state is TunnelState.CONNECTING and self.stage == "gateway":
            fraction = {LinkState.OPEN: 0.4, LinkState.READY: 1.0}.get(state)
            if fraction is not None:
                self.reach("gateway", fraction, reason)
        if session is not self._session:
            return
        if state is LinkState.CLOSED and self.state in RUNNING:
            self.enter(TunnelState.FAILED, reason, code="INTERNAL")
        elif state is LinkState.READY:
            self._stop_seeking()
            self._review("the gateway is back")
        elif state is LinkState.LOST:
            self._review(f"gateway: {reason}")
            self._seek(at_once=False)
            if session.driver.link.failed_attempts >= self.timing.gateway_attempts:
                self._patience_over.set()

    def _registered(self, session: GatewaySession) -> None:
        """Also in the middle of its life: the gateway had forgotten us."""
        if session is self._session:
            self.spawn(self._keep_registration(session), "keep-registration")

    async def _keep_registration(self, session: GatewaySession) -> None:
        try:
            await self._access.adopt(session)
        except (NetworkError, StorageError, TimeoutError, OSError) as error:
            logger.warning("the new registration could not be stored: %s", error)

    def _exit_lost(self, session: GatewaySession, reason: str) -> None:
        if session is self._session:
            self.on_exit_lost(reason)

    def _topology_changed(self, topology: Topology | None, reason: str) -> None:
        if self._session is not None:
            self._session.driver.set_topology(topology)
            self._review(f"directory: {reason}")

    # -- another gateway -----------------------------------------------------------------------------------

    def _seek(self, *, at_once: bool) -> None:
        if self._access.is_pinned or self.state not in RUNNING:
            return
        if self._seeking is None:
            self._patience_over.clear()
            self._seeking = self.spawn(self._find_another_gateway(), "seek-gateway")
        if at_once:
            self._patience_over.set()

    def _stop_seeking(self) -> None:
        if self._seeking is not None and self._seeking is not asyncio.current_task():
            self._seeking.cancel()
            self._seeking = None

    async def _find_another_gateway(self) -> None:
        """Beside the old link, which may come back first and ends this then."""
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(self.timing.gateway_patience, self._patience_over.set)
        try:
            await self._patience_over.wait()
        finally:
            alarm.cancel()
        delay = self.timing.retry_first
        while (old := self._session) is not None:
            try:
                session = await self._access.connect_other({old.gateway})
            except UNUSABLE as error:
                logger.info("no other gateway yet: %s", error)
            else:
                self._seeking = None  # from here on this task is the one that must not be cancelled
                await self._move(session)
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.timing.retry_last)

    async def _move(self, session: GatewaySession) -> None:
        old = self._session
        self._use(session)
        logger.info("moved to gateway %s", base58.encode(session.gateway))
        if old is not None:
            await old.driver.close("the tunnel moved to another gateway")
        self.on_exit_lost("the tunnel moved to another gateway")
        self._review("connected through another gateway")
        await self._keep_registration(session)

    # -- raw messages --------------------------------------------------------------------------------------

    async def send(
        self, recipient: str | Recipient, data: bytes, *, connection_id: int | None = None
    ) -> None:
        """Send ``data`` (up to 16 MiB) as a plain message. Returns when it is queued; nothing tells more.

        :param connection_id: 0 to 2**64 - 1: a queue of its own, which is served fairly beside others.
        :raises OptionError: the recipient or the data cannot be used.
        :raises Unreachable: the recipient's gateway is not in the network.
        :raises TunnelStateError: not connected. :raises DeadlineError: the queue stayed full.
        """
        to, data = parse_recipient(recipient), check_data(data)
        driver = await self._room()
        self._check_route(to)
        driver.nym.send(to, data, driver.now(), anonymous=False, lane=_lane(connection_id))
        driver.wake()

    async def send_anonymous(
        self,
        recipient: str | Recipient,
        data: bytes,
        *,
        reply_surbs: int = DEFAULT_REPLY_SURBS,
        connection_id: int | None = None,
    ) -> None:
        """Send a message that can be answered without knowing who we are. Otherwise as :meth:`send`.

        :param reply_surbs: packets of answer that the recipient may send without asking for more, 0 to 500.
        """
        to, data = parse_recipient(recipient), check_data(data)
        if not 0 <= reply_surbs <= 500:
            raise OptionError("replySurbs", f"{reply_surbs} is not between 0 and 500")
        driver = await self._room()
        self._check_route(to)
        lane = _lane(connection_id)
        driver.nym.send(to, data, driver.now(), reply_surbs=reply_surbs, anonymous=True, lane=lane)
        driver.wake()

    async def reply(self, sender_tag: str | bytes, data: bytes, *, connection_id: int | None = None) -> None:
        """Answer whoever sent the message with ``sender_tag`` (16 bytes, or base58).

        :raises Unreachable: that sender gave no reply SURBs, or too long ago. Others as :meth:`send`.
        """
        tag = parse_sender_tag(sender_tag)
        data = check_data(data, may_be_empty=False)
        driver = await self._room()
        if not driver.nym.can_reply(tag):
            raise Unreachable("no reply SURBs of this sender")
        driver.nym.reply(tag, data, driver.now(), lane=_lane(connection_id))
        driver.wake()

    def queue_length(self, connection_id: int | None = None) -> int:
        """Packets of a connection id (None: of all without one) that were not sent yet.

        Those that wait for reply SURBs count. :raises TunnelStateError: not connected yet.
        """
        return self.driver.nym.waiting_in(_lane(connection_id))

    def drop_lane(self, connection_id: int) -> None:
        """Give up what waits under a connection id. :raises TunnelStateError: not connected yet."""
        self.driver.nym.drop_lane(_lane(connection_id))

    @property
    def on_message(self) -> Callable[[MixMessage], None] | None:
        """Gets every message from now on, those held included; None: they are held for :meth:`receive`."""
        return self._held.on_message

    @on_message.setter
    def on_message(self, callback: Callable[[MixMessage], None] | None) -> None:
        self._held.on_message = callback
        while callback is not None and (message := self._held.take()) is not None:
            callback(message)

    async def receive(self) -> MixMessage:
        """The next message. :raises TunnelClosed: the client was closed, and none is left."""
        while True:
            if (message := self._held.take()) is not None:
                return message
            if self.state not in (*RUNNING, TunnelState.CONNECTING):
                raise TunnelClosed(f"the client is {self.state}: {self.state_reason}")
            self._arrival.clear()
            await self._arrival.wait()

    async def __aiter__(self) -> AsyncIterator[MixMessage]:
        while True:
            try:
                message = await self.receive()
            except TunnelClosed:
                return
            yield message

    def _deliver(self, event: MessageReceived) -> None:
        self._held.put(MixMessage.of(event))
        self._arrival.set()

    def _check_route(self, to: Recipient) -> None:
        topology = self.view.topology
        if topology is not None and topology.node_by_identity(to.gateway) is None:
            raise Unreachable("the recipient's gateway is not in the network")

    async def _room(self) -> Driver:
        if self.state not in RUNNING:
            raise TunnelStateError(f"the client is {self.state}: {self.state_reason}")
        async with deadline("room in the send queue", self.timing.send_wait):
            await self.driver.room_for_messages(QUEUE_TARGET)
        return self.driver

    # -- what it is made of --------------------------------------------------------------------------------

    def info(self) -> dict[str, Any]:
        """For people and tests; nothing secret."""
        registration = self._access.registration
        return {
            "state": str(self.state),
            "reason": self.state_reason,
            "network": self.options.network,
            "gateway": base58.encode(registration.gateway) if registration is not None else None,
            "gatewayUrl": registration.url if registration is not None else None,
            "address": self.self_address if self._session is not None else None,
            "mixLayers": self._mix_layers(),
        }

    def _mix_layers(self) -> list[list[str]]:
        """Identities of the mix nodes that routes are made of, by layer."""
        topology = self.view.topology
        if topology is None:
            return []
        return [
            [base58.encode(topology.nodes[node].identity) for node in layer if node in topology.nodes]
            for layer in topology.layers
        ]

    def stats(self) -> dict[str, Any]:
        """Counters of every layer, each a mapping of names to numbers."""
        layers: dict[str, Any] = {
            "messages": {
                "received": self._held.received,
                "held": len(self._held),
                "dropped": self._held.dropped,
            },
            "directory": {"refreshes": self.view.refreshes, "failures": self.view.failures},
        }
        if self._session is not None:
            driver = self._session.driver
            layers["driver"] = numbers(driver.stats) | {"waiting": driver.waiting}
            layers["gateway"] = numbers(driver.gateway.stats) | {"balance": driver.gateway.balance}
            layers["nym"] = numbers(driver.nym.stats) | {
                "queued": driver.nym.queued(),
                "unacknowledged": driver.nym.unacknowledged(),
                "surbsOutstanding": driver.nym.surbs_outstanding(),
            }
            layers["rates"] = self._rates.rates(driver.nym.stats, driver.now())
        return layers


def _lane(connection_id: int | None) -> Lane:
    """:raises OptionError: not a number of 64 bits."""
    if connection_id is None:
        return GENERAL
    if not 0 <= connection_id < 2**64:
        raise OptionError("connectionId", f"{connection_id} is not between 0 and 2**64 - 1")
    return connection_lane(connection_id)


def numbers(stats: Any) -> dict[str, Any]:
    """The fields of a stats dataclass, names in camelCase."""
    return {camel_case(name): value for name, value in dataclasses.asdict(stats).items()}
