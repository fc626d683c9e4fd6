"""The tunnel: one Nym client, one exit, and fetch, names, sockets through them.

Set-up goes through named stages, each with its own deadlines and errors. While the tunnel is up, a lost
gateway link is replaced under the feet of open connections; a lost exit, or the move to another gateway, ends
them (their addresses are gone) and leads to a new exit session, for which new calls wait. When the tunnel is
down, calls fail; nothing ever goes around it.

The parts: :class:`.mix_client.MixClient` keeps keys, gateway and topology; :class:`.exits.ExitFinder` chooses
exits; an :class:`.exit_session.ExitSession` holds all that lives and dies with one of them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from smolmix_web import __version__, crypto, features
from smolmix_web.directory.selection import ExitChoice
from smolmix_web.errors import NetworkError, OptionError, SmolmixError, TunnelClosed, TunnelStateError
from smolmix_web.fetch.request import FetchRequest, RedirectMode
from smolmix_web.fetch.timeouts import FetchTimeouts, during
from smolmix_web.ipr.client import IprClient, IprClientConfig
from smolmix_web.net.pure_acks import drop_superseded
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import Platform, current_platform
from smolmix_web.resolve import Address, Family
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.sockets.driver import Driver
from smolmix_web.sockets.streams import TcpStream, UdpSocket
from smolmix_web.sockets.tasks import end_tasks
from smolmix_web.tunnel.events import (
    RUNNING,
    TUNNEL_PLAN,
    Observer,
    Progress,
    Stage,
    StateChange,
    TunnelEvent,
    TunnelState,
    error_code,
    progress,
)
from smolmix_web.tunnel.exit_session import ExitSession, make_stack
from smolmix_web.tunnel.exits import ExitFinder
from smolmix_web.tunnel.mix_client import MixClient, numbers
from smolmix_web.tunnel.option_checks import check_options
from smolmix_web.tunnel.timing import TunnelTiming, deadline
from smolmix_web.tunnel.uplink import UplinkConfig

if TYPE_CHECKING:
    # What a page's assets may be built without is imported where it is used.
    from smolmix_web.fetch.client import FetchResponse
    from smolmix_web.fetch.cookies import CookieJar
    from smolmix_web.tls.stream import TlsStream
    from smolmix_web.websocket.client import WebSocketClient
    from smolmix_web.websocket.request import WebSocketRequest
    from smolmix_web.websocket.settings import WebSocketSettings

logger = logging.getLogger("smolmix_web.tunnel")

EXIT_ATTEMPTS = 5
"""Exits tried in one round."""

_Part = TypeVar("_Part")


class Tunnel:
    """A page's or program's own network. Made by :meth:`connect`; ended by :meth:`aclose`.

    Usable as an async context manager. All methods may be called from any number of tasks of one event loop.
    """

    def __init__(
        self,
        options: TunnelOptions,
        platform: Platform,
        on_event: Observer | None,
        *,
        traffic: ClientConfig | None = None,
        timing: TunnelTiming | None = None,
        uplink: UplinkConfig | None = None,
    ) -> None:
        """Use :meth:`connect`."""
        check_options(options)
        self.options = options
        self._uplink = uplink or UplinkConfig()
        self.timing = timing or TunnelTiming()
        self.state = TunnelState.CONNECTING
        self.state_reason = "not connected yet"
        self.mix_client = MixClient(
            options, platform, on_event=self._mix_event, traffic=traffic, timing=self.timing
        )
        """The Nym client below: raw messages over the same gateway. It is closed with the tunnel."""
        self.mix_client.on_exit_lost = self._exit_lost
        self._platform = platform
        self._on_event = on_event
        self._stage: Stage = "keys"
        self._finder = ExitFinder(options, platform, self.mix_client.view)
        self._exit: ExitSession | None = None
        self._exit_settled = asyncio.Event()
        self._replacing: asyncio.Task[None] | None = None
        self._websockets: set[WebSocketClient] = set()
        self._cookies = _cookie_jar(platform) if options.cookies else None
        self._exits_lost = 0
        self._proven_exits: set[Recipient] = set()  # those known to answer keep-alives
        self._fetches_repeated = 0

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
        uplink: UplinkConfig | None = None,
    ) -> Tunnel:
        """Set a tunnel up and wait until it is ready.

        :param platform: where we run; found out when not given.
        :param on_event: called with every :class:`StateChange` and :class:`Progress`.
        :param traffic: delays, pacing and cover instead of what ``options`` say (measurements, experiments).
        :param timing: deadlines and intervals other than the defaults.
        :param uplink: how IP packets are put into messages (measurements, experiments).
        :raises OptionError: an option cannot be used.
        :raises StorageError: the stored keys cannot be opened.
        :raises DirectoryError, DirectoryUnavailable: no usable directory.
        :raises NetworkError, RemoteProtocolError: no gateway or no exit could be used.
        :raises DeadlineError: a wait, or set-up as a whole, took too long; the error names it.
        """
        tunnel = cls(
            options or TunnelOptions(),
            platform or current_platform(),
            on_event,
            traffic=traffic,
            timing=timing,
            uplink=uplink,
        )
        logger.info("setting up (directory %s)", tunnel.options.network)
        try:
            async with deadline(lambda: f"set-up, stage {tunnel._stage}", tunnel.timing.set_up):
                await tunnel._set_up()
        except BaseException as error:
            reason = str(error) or type(error).__name__
            tunnel._enter(TunnelState.FAILED, reason, code=error_code(error), stage=tunnel._stage)
            await tunnel._close_exit()
            await tunnel.mix_client.fail(error)
            raise
        return tunnel

    async def aclose(self) -> None:
        """Shut down: open connections fail, tasks end, the gateway is left. Idempotent."""
        if self.state in (TunnelState.SHUTTING_DOWN, TunnelState.SHUTDOWN):
            return
        failed = self.state is TunnelState.FAILED
        if not failed:
            self._enter(TunnelState.SHUTTING_DOWN, "disconnect was called")
        await self._close_exit()
        await self.mix_client.aclose()
        if not failed:
            self._enter(TunnelState.SHUTDOWN, "disconnected")
        logger.info("shut down")

    async def __aenter__(self) -> Tunnel:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def _enter(self, state: TunnelState, reason: str, *, code: str = "", stage: Stage | None = None) -> None:
        if state is self.state and state is not TunnelState.CONNECTING:
            return
        self.state, self.state_reason = state, reason
        if state not in RUNNING:
            self._exit_settled.set()
        logger.debug("state %s: %s", state, reason)
        if self._on_event is not None:
            self._on_event(StateChange(state, reason, code, stage))

    def _reach(self, stage: Stage, fraction: float, detail: str) -> None:
        self._stage = stage
        if self._on_event is not None:
            self._on_event(progress(TUNNEL_PLAN, stage, fraction, detail))

    # -- set-up --------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        self._enter(TunnelState.CONNECTING, "setting up")
        await self.mix_client.set_up(self._finder.load)
        self._reach("exit", 0.0, "connecting to an exit")
        await self._connect_exit(set(), self.options.connect_timeout_ms / 1000)
        self._reach("ready", 1.0, "ready")
        self._enter(TunnelState.READY, "connected")
        self._review("the gateway link was lost during set-up")

    def _mix_event(self, event: TunnelEvent) -> None:
        if isinstance(event, Progress):
            if event.stage != "ready":
                self._reach(event.stage, event.stage_fraction, event.detail)
        elif self.state in RUNNING:
            if event.state is TunnelState.FAILED:
                self._enter(TunnelState.FAILED, event.reason, code=event.code)
            elif event.state in RUNNING:
                self._review(event.reason)

    def _review(self, reason: str) -> None:
        """Enter the state that fits what works."""
        if self.state in RUNNING:
            up = self._exit is not None and self.mix_client.is_connected
            self._enter(TunnelState.READY if up else TunnelState.RECONNECTING, reason)

    # -- the exit ------------------------------------------------------------------------------------------

    async def _connect_exit(
        self, excluded: set[bytes], timeout: float, first: ExitChoice | None = None
    ) -> None:
        """Connect to an exit, trying others when one does not answer; ``first`` before all.

        An exit beside which there are others is not waited for longer than for a replacement: a public
        network always has some that are down.

        Adds what failed to ``excluded`` (identities of exit gateways).
        """
        for attempt in range(1, EXIT_ATTEMPTS + 1):
            choice, first = first or self._finder.choose(excluded), None
            if self._stage == "exit":
                detail = f"handshake with exit {choice.address}"
                self._reach("exit", (attempt - 1) / EXIT_ATTEMPTS, detail)
            driver = self.mix_client.driver
            last = attempt == EXIT_ATTEMPTS or not self._finder.has_other({*excluded, choice.address.gateway})
            patience = timeout if last else min(timeout, self.timing.exit_attempt)
            try:
                self._exit = await self._try_exit(driver, choice, patience)
                self._exit_settled.set()
                return
            except (NetworkError, TimeoutError) as error:
                logger.info("exit %s: %s", choice.address, error)
                excluded.add(choice.address.gateway)
                if last or self.mix_client.driver.failure is not None:
                    raise

    async def _try_exit(self, driver: Driver, choice: ExitChoice, timeout: float) -> ExitSession:
        logger.info("exit handshake with %s", choice.address)
        ipr = IprClient(
            exit_version=choice.build_version,
            unix_time=self._platform.unix_time,
            config=IprClientConfig(
                open_reply_surbs=self.options.open_reply_surbs,
                data_reply_surbs=self.options.data_reply_surbs,
                connect_timeout=timeout,
                probe_after=self.timing.exit_probe,
                silence_limit=self.timing.exit_silence,
                session_probe=True,
                answers_keepalives=choice.address in self._proven_exits,
                bundling=self._uplink.bundling,
                thrifty_surbs=self._uplink.thrifty_surbs,
            ),
            random_bytes=self._platform.random_bytes,
            thin=drop_superseded if self._uplink.drop_superseded else None,
        )
        connected = await driver.connect_exit(
            choice.address, ipr, lambda answer: make_stack(self.options, self._platform, answer)
        )
        if driver.stack is None:
            raise TunnelClosed("the exit was lost at once")
        return ExitSession(
            self.options, self._platform, driver, driver.stack, choice, connected, self._cookies
        )

    def _exit_lost(self, reason: str) -> None:
        """The exit is gone, or the gateway that we reached it through: both end the session with it."""
        if self.state not in RUNNING:
            return
        lost, self._exit = self._exit, None
        self._exit_settled.clear()
        error = TunnelClosed(f"the exit was lost: {reason}")
        moved = lost is None or lost.driver is not self.mix_client.driver
        self._enter(TunnelState.RECONNECTING, f"exit: {reason}")
        if lost is not None:
            self._exits_lost += 1
            if lost.driver.ipr is not None and lost.driver.ipr.answers_keepalives:
                self._proven_exits.add(lost.choice.address)
            lost.lost = error
            lost.driver.drop_exit(error)
        if self._replacing is not None:
            self._replacing.cancel()
        self._replacing = self.mix_client.spawn(self._replace_exit(lost, moved), "replace-exit")

    async def _replace_exit(self, lost: ExitSession | None, moved: bool) -> None:
        first: ExitChoice | None = None
        excluded: set[bytes] = set()
        if lost is not None:
            await self._end_exit(lost, lost.lost or TunnelClosed("the exit was lost"))
            if moved:
                first = lost.choice  # the exit is innocent
            elif self._finder.has_other({lost.choice.address.gateway}):
                excluded.add(lost.choice.address.gateway)
        delay = self.timing.retry_first
        while True:
            await self.mix_client.connected()
            try:
                await self._connect_exit(excluded, self.timing.exit_attempt, first)
            except (SmolmixError, TimeoutError) as error:
                logger.info("no exit yet: %s", error)
            else:
                self._review("connected to an exit again")
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.timing.retry_last)
            excluded, first = set(), None  # the one that failed may be back
            await self._finder.reload()

    async def _end_exit(self, session: ExitSession, error: TunnelClosed) -> None:
        await session.end(error)
        for socket in list(self._websockets):
            socket.abort()

    async def _close_exit(self) -> None:
        if self._replacing is not None:
            await end_tasks(self._replacing)
        if self._exit is not None:
            await self._end_exit(self._exit, TunnelClosed("the tunnel was closed"))

    async def _available(self, ends_at: float | None = None) -> ExitSession:
        """The exit session; waits while a lost one is being replaced, at most until ``ends_at``.

        :raises TunnelStateError: the tunnel is not up (there is no other way out).
        :raises DeadlineError: no other exit was found in time.
        """
        if self.state in RUNNING and self._exit is None:
            left = self.timing.exit_wait
            if ends_at is not None:
                left = min(left, ends_at - asyncio.get_running_loop().time())
            with during("exit"):
                async with deadline("replacement of the lost exit", left):
                    while self.state in RUNNING and self._exit is None:
                        await self._exit_settled.wait()
        return self._usable(self._exit)

    def _usable(self, part: _Part | None) -> _Part:
        """``part`` if the tunnel is up. :raises TunnelStateError: it is not."""
        if part is None or self.state not in RUNNING:
            raise TunnelStateError(f"the tunnel is {self.state}: {self.state_reason}")
        return part

    # -- what it is for ------------------------------------------------------------------------------------

    async def fetch(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | AsyncIterator[bytes] | None = None,
        redirect: RedirectMode = "follow",
        max_redirects: int | None = None,
        timeout: float | None = None,
        timeouts: FetchTimeouts | None = None,
        credentials: bool = True,
    ) -> FetchResponse:
        """Fetch ``url`` through the tunnel; the body of the response is read from it piece by piece.

        When the exit is lost before the response's head is there, a request that may be repeated (an
        idempotent method, no streamed body) is made once more over the next exit; any other fails with
        TunnelClosed.

        :param body: bytes, or an asynchronous iterator for a streamed upload (sent in chunks).
        :param max_redirects: 0 to 255; the option ``max_redirects`` when None.
        :param timeout: seconds for everything, the body included; None: only the phases have limits.
        :param timeouts: limits of the phases.
        :param credentials: use the cookie jar (option ``cookies``).
        :raises TunnelStateError: the tunnel is not up. :raises OptionError: names the bad argument.
        :raises TunnelClosed: the exit was lost, or the tunnel closed.
        :raises NetworkError, RemoteProtocolError, DeadlineError: see :mod:`smolmix_web.fetch`.
        :raises FeatureMissing: these are assets without ``fetch``.
        """
        features.require("fetch")
        request = FetchRequest.create(url, method=method, headers=headers, body=body)
        if max_redirects is None:
            max_redirects = self.options.max_redirects
        elif not 0 <= max_redirects <= 255:
            raise OptionError("maxRedirects", f"{max_redirects} is not between 0 and 255")
        limits = timeouts or FetchTimeouts()
        if timeout is not None:
            limits = replace(limits, total=timeout)
        ends_at = None if limits.total is None else asyncio.get_running_loop().time() + limits.total
        session = await self._available(ends_at)
        try:
            return await session.fetch(
                request,
                redirect=redirect,
                max_redirects=max_redirects,
                timeouts=_until(ends_at, limits),
                credentials=credentials,
            )
        except TunnelClosed:
            if session.lost is None or not request.repeatable:
                raise
        session = await self._available(ends_at)
        self._fetches_repeated += 1
        return await session.fetch(
            request,
            redirect=redirect,
            max_redirects=max_redirects,
            timeouts=_until(ends_at, limits),
            credentials=credentials,
        )

    async def resolve(self, host: str, *, family: Family = 0, timeout: float | None = None) -> str:
        """One IP address of ``host``, asked through the tunnel; an IPv4 one where there is one.

        :param family: 4 or 6 for addresses of that kind only.
        :param timeout: seconds. Errors: see :mod:`smolmix_web.resolve`.
        """
        return await (await self._available()).resolve(host, family, timeout)

    async def resolve_all(
        self, host: str, *, family: Family = 0, timeout: float | None = None
    ) -> tuple[Address, ...]:
        """Every IP address of ``host`` with its family and time to live. Otherwise as :meth:`resolve`."""
        return await (await self._available()).resolve_all(host, family, timeout)

    async def open_connection(
        self, host: str, port: int, *, tls: bool = False, timeout: float = 30.0
    ) -> TcpStream | TlsStream:
        """A stream to ``host`` (name or IP address), with TLS where wanted.

        :param timeout: seconds for the TCP handshake, and again for TLS's.
        :raises TunnelStateError: the tunnel is not up. :raises TunnelClosed: the exit was lost meanwhile.
        :raises ResolutionFailed, ConnectionRefused, Unreachable: see :mod:`smolmix_web.errors`.
        :raises TlsError: see :mod:`smolmix_web.tls`. :raises DeadlineError: it took too long.
        :raises FeatureMissing: these are assets without TLS, which comes with ``fetch`` and ``socket``.
        """
        if tls:
            features.require("web")
        if not 0 < port < 65536:
            raise OptionError("port", f"{port} is not between 1 and 65535")
        session = await self._available()
        stream = await session.open_stream(host, port, timeout)
        return await session.secure(stream, host, (), timeout) if tls else stream

    async def open_websocket(
        self,
        url: str,
        protocols: str | Iterable[str] = (),
        *,
        headers: Iterable[tuple[str, str]] = (),
        settings: WebSocketSettings | None = None,
    ) -> WebSocketClient:
        """An open WebSocket to ``url`` (ws or wss) through the tunnel.

        :raises OptionError: names the bad argument. :raises HandshakeRefused: the server did not upgrade.
        :raises FeatureMissing: these are assets without ``socket``.
        """
        features.require("socket")
        from smolmix_web.websocket.client import WebSocketClient
        from smolmix_web.websocket.request import WebSocketRequest

        request = WebSocketRequest.create(url, protocols, headers)
        jar = self._cookies
        if jar is not None:
            request = request.with_cookies(jar)
        session = await self._available()

        async def open_stream(wanted: WebSocketRequest, limits: WebSocketSettings) -> ByteStream:
            timeouts = FetchTimeouts(
                resolve=limits.resolve_timeout, connect=limits.connect_timeout, tls=limits.tls_timeout
            )
            return await session.open_origin(wanted.origin, timeouts)

        socket = await WebSocketClient.connect(request, open_stream, settings)
        self._websockets.add(socket)
        socket.on_over(self._websockets.discard)
        if jar is not None:
            lines = [value for name, value in socket.handshake_headers if name == "set-cookie"]
            jar.store(lines, request.origin, request.target)
        return socket

    def open_udp(self) -> UdpSocket:
        """A UDP socket in the tunnel. :raises TunnelStateError: there is no exit at the moment."""
        return self._usable(self._exit).open_udp()

    def info(self) -> dict[str, Any]:
        """What this tunnel is made of, for people and tests; nothing secret."""
        session = self._exit
        connected = session.connected if session is not None else None
        return {
            "version": __version__,
            "provider": crypto.provider().name,
            "platform": self._platform.name,
            **self.mix_client.info(),
            "state": str(self.state),
            "reason": self.state_reason,
            "exit": str(session.choice.address) if session is not None else None,
            "exitGateway": (base58.encode(session.choice.address.gateway) if session is not None else None),
            "iprVersion": connected.version if connected is not None else None,
            "ipv4": str(connected.ipv4) if connected is not None else None,
            "ipv6": str(connected.ipv6) if connected is not None else None,
            "mtu": connected.mtu if connected is not None else None,
        }

    def stats(self) -> dict[str, Any]:
        """Counters of every layer, each a mapping of names to numbers."""
        layers = self.mix_client.stats()
        layers["tunnel"] = {"exitsLost": self._exits_lost, "fetchesRepeated": self._fetches_repeated}
        session = self._exit
        if session is not None:
            driver = session.driver
            if driver.ipr is not None:
                layers["ipr"] = numbers(driver.ipr.stats)
            layers["stack"] = numbers(session.stack.stats) | session.stack.counts()
            layers["tls"] = numbers(session.tls_stats)
            if (client := session.fetch_client) is not None:
                layers["fetch"] = numbers(client.stats) | client.pool.counts()
        layers["websocket"] = {"open": len(self._websockets)}
        return layers


def _cookie_jar(platform: Platform) -> CookieJar | None:
    """None where there is nothing that sends cookies."""
    if not features.has("web"):
        return None
    from smolmix_web.fetch.cookies import CookieJar

    return CookieJar(platform.unix_time)


def _until(ends_at: float | None, limits: FetchTimeouts) -> FetchTimeouts:
    """``limits`` with what is left of the total."""
    if ends_at is None:
        return limits
    return replace(limits, total=max(ends_at - asyncio.get_running_loop().time(), 0.001))
