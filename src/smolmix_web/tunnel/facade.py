"""The tunnel: one Nym client, one exit, and fetch, names, sockets through them.

Set-up goes through named stages, each with its own deadline and its own error. While the tunnel is up, a lost
gateway link is replaced under the feet of open connections; a lost exit ends them (its addresses are gone)
and is replaced by another one. When the tunnel is down, calls fail; nothing ever goes around it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from smolmix_web import __version__, crypto
from smolmix_web.directory import client as directory
from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.epochs import KeyRotationInfo
from smolmix_web.directory.errors import DirectoryError
from smolmix_web.directory.selection import (
    ExitChoice,
    choose_exit,
    choose_gateway,
    gateway_url,
    preferred_exit,
)
from smolmix_web.directory.skimmed import SkimmedNode
from smolmix_web.errors import (
    DeadlineError,
    MalformedError,
    NetworkError,
    OptionError,
    SmolmixError,
    TunnelClosed,
    TunnelStateError,
)
from smolmix_web.fetch import FetchClient, FetchRequest, FetchResponse, FetchTimeouts
from smolmix_web.fetch.request import Origin, RedirectMode
from smolmix_web.gateway.client import GatewayClient
from smolmix_web.gateway.errors import RegistrationLost
from smolmix_web.ipr.client import IprClient, IprClientConfig
from smolmix_web.ipr.events import Connected
from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.stack import Stack
from smolmix_web.nym import base58
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.topology import Topology
from smolmix_web.options import TunnelOptions, camel_case, parse_socket_address
from smolmix_web.platform import Platform, current_platform
from smolmix_web.platform.base import HttpAnswer
from smolmix_web.resolve import Resolver
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.sockets.driver import Driver, LinkState
from smolmix_web.sockets.streams import TcpStream, UdpSocket, open_tcp, open_udp
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.stream import TlsStream
from smolmix_web.tls.stream import wrap as wrap_tls
from smolmix_web.tunnel.events import Progress, Stage, StateChange, TunnelEvent, TunnelState
from smolmix_web.tunnel.keystore import Identity, Keystore, Registration
from smolmix_web.websocket import WebSocketClient, WebSocketRequest, WebSocketSettings

logger = logging.getLogger("smolmix_web.tunnel")

DIRECTORY_TIMEOUT = 30.0  # seconds a request (spec/directory.md 2)
TOPOLOGY_REFRESH = 300.0  # seconds
TOPOLOGY_RETRY = 30.0  # seconds until a failed refresh is tried again
GATEWAY_ATTEMPTS = 3
EXIT_ATTEMPTS = 3
EXIT_RETRY_FIRST = 1.0  # seconds between rounds of looking for a new exit; doubles up to the next figure
EXIT_RETRY_LAST = 60.0

Observer = Callable[[TunnelEvent], None]
_Part = TypeVar("_Part")


class Tunnel:
    """A page's or program's own network. Made by :meth:`connect`; ended by :meth:`aclose`.

    Usable as an async context manager. All methods may be called from any number of tasks of one event loop.
    """

    def __init__(self, options: TunnelOptions, platform: Platform, on_event: Observer | None) -> None:
        """Use :meth:`connect`."""
        self.options = options
        self.state = TunnelState.CONNECTING
        self.state_reason = "not connected yet"
        self._platform = platform
        self._on_event = on_event
        self._traffic: ClientConfig | None = None
        self._keystore = Keystore(
            platform.storage(options.client_id),
            options.storage_passphrase,
            random_bytes=platform.random_bytes,
        )
        self._identity: Identity | None = None
        self._topology: Topology | None = None
        self._key_rotation: KeyRotationInfo | None = None
        self._driver: Driver | None = None
        self._exit: ExitChoice | None = None
        self._connected: Connected | None = None
        self._exit_nodes: tuple[SkimmedNode, ...] = ()
        self._described: tuple[DescribedNode, ...] = ()
        self._resolver: Resolver | None = None
        self._fetch: FetchClient | None = None
        self._websockets: set[WebSocketClient] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life ----------------------------------------------------------------------------------------------

    @classmethod
    async def connect(
        cls,
        options: TunnelOptions | None = None,
        *,
        platform: Platform | None = None,
        on_event: Observer | None = None,
        traffic: ClientConfig | None = None,
    ) -> Tunnel:
        """Set a tunnel up and wait until it is ready.

        :param platform: where we run; found out when not given.
        :param on_event: called with every :class:`StateChange` and :class:`Progress`.
        :param traffic: delays, pacing and cover instead of what ``options`` say (measurements, experiments).
        :raises OptionError: an option cannot be used.
        :raises DirectoryError, DirectoryUnavailable: no usable directory.
        :raises NetworkError, DeadlineError: no gateway or no exit could be reached.
        """
        tunnel = cls(options or TunnelOptions(), platform or current_platform(), on_event)
        tunnel._traffic = traffic
        logger.info("setting up (directory %s)", tunnel.options.network)
        try:
            await tunnel._set_up()
        except BaseException as error:
            tunnel._enter(TunnelState.FAILED, str(error) or type(error).__name__)
            await tunnel._tear_down()
            raise
        return tunnel

    async def aclose(self) -> None:
        """Shut down: open connections fail, tasks end, the gateway is left. Idempotent."""
        if self.state in (TunnelState.SHUTTING_DOWN, TunnelState.SHUTDOWN):
            return
        failed = self.state is TunnelState.FAILED
        if not failed:
            self._enter(TunnelState.SHUTTING_DOWN, "disconnect was called")
        await self._tear_down()
        if not failed:
            self._enter(TunnelState.SHUTDOWN, "disconnected")
        logger.info("shut down")

    async def __aenter__(self) -> Tunnel:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    async def _tear_down(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close_layers()
        if self._driver is not None:
            await self._driver.close()
        await self._platform.aclose()

    async def _close_layers(self) -> None:
        """Close what stands on the current exit."""
        if self._resolver is not None:
            await self._resolver.aclose()
        if self._fetch is not None:
            await self._fetch.aclose()
        for socket in list(self._websockets):
            socket.abort()

    def _enter(self, state: TunnelState, reason: str) -> None:
        if state is self.state and state is not TunnelState.CONNECTING:
            return
        self.state, self.state_reason = state, reason
        logger.debug("state %s: %s", state, reason)
        if self._on_event is not None:
            self._on_event(StateChange(state, reason))

    def _progress(self, stage: Stage, fraction: float, detail: str) -> None:
        logger.debug("set-up: %s (%s)", stage, detail)
        if self._on_event is not None:
            self._on_event(Progress(stage, fraction, detail))

    # -- set-up --------------------------------------------------------------------------------------------

    async def _set_up(self) -> None:
        self._enter(TunnelState.CONNECTING, "setting up")
        self._progress("keys", 0.0, "loading the keys of this client id")
        self._identity = await self._keystore.load()
        if self._identity is None:
            self._identity = Identity(ClientKeys.generate(self._platform.random_bytes))
        self._progress("directory", 0.1, "asking the directory for the network")
        (
            self._topology,
            gateways,
            self._key_rotation,
            (self._exit_nodes, self._described),
        ) = await directory.together(
            directory.fetch_topology(self._get),
            directory.fetch_gateways(self._get),
            directory.fetch_key_rotation(self._get),
            self._fetch_exits(),
        )
        self._progress("gateway", 0.4, "connecting to an entry gateway")
        self._driver = await self._reach_gateway(gateways)
        self._progress("exit", 0.7, "connecting to an exit")
        await self._reach_exit(self._driver, excluded=set())
        self._spawn(self._refresh_topology(), "topology-refresh")
        self._progress("ready", 1.0, "ready")
        self._enter(TunnelState.READY, "connected")

    async def _get(self, path: str) -> HttpAnswer:
        url = self.options.network.rstrip("/") + "/" + path
        return await self._platform.http_get(url, {"Accept": "application/json"}, DIRECTORY_TIMEOUT)

    async def _fetch_exits(self) -> tuple[tuple[SkimmedNode, ...], tuple[DescribedNode, ...]]:
        if self.options.preferred_ipr is None:
            return await directory.fetch_exits(self._get)
        try:
            return (), await directory.fetch_described(self._get)
        except (SmolmixError, TimeoutError):
            return (), ()  # the user named the exit; only its version stays unknown

    async def _reach_gateway(self, gateways: tuple[SkimmedNode, ...]) -> Driver:
        """A running driver with an authenticated session: the stored gateway, else a new registration."""
        identity = self._known_identity()
        registration = identity.registration
        preferred = self.options.preferred_gateway
        if registration is not None and (
            self._known_topology().node_by_identity(registration.gateway) is not None
            and (preferred is None or base58.encode(registration.gateway) == preferred)
        ):
            try:
                return await self._try_gateway(
                    registration.gateway, registration.url, registration.shared_key
                )
            except (NetworkError, RegistrationLost, TimeoutError) as error:
                logger.debug("the stored gateway cannot be used: %s", error)
        failed: set[bytes] = set()
        for attempt in range(1, GATEWAY_ATTEMPTS + 1):
            node = choose_gateway(
                gateways,
                force_tls=self.options.force_tls,
                preferred=preferred,
                exclude=failed,
                random_bytes=self._platform.random_bytes,
            )
            try:
                url = gateway_url(node, force_tls=self.options.force_tls)
                return await self._try_gateway(node.identity, url, None)
            except (NetworkError, TimeoutError) as error:
                logger.debug("gateway %s: %s", base58.encode(node.identity), error)
                failed.add(node.identity)
                usable = {candidate.identity for candidate in gateways} - failed
                if attempt == GATEWAY_ATTEMPTS or preferred is not None or not usable:
                    raise
        raise AssertionError("unreachable")

    async def _try_gateway(self, gateway: bytes, url: str, shared_key: bytes | None) -> Driver:
        keys = self._known_identity().keys
        now = self._platform.monotonic()
        nym = NymClient(
            keys,
            gateway,
            self._traffic
            or ClientConfig(
                disable_poisson=self.options.disable_poisson_traffic,
                disable_cover=self.options.disable_cover_traffic,
                fill_surbs=True,
            ),
            random_bytes=self._platform.random_bytes,
            now=now,
        )
        unix_time = self._platform.unix_time()
        nym.set_topology(self._known_topology(), now, unix_time=unix_time)
        if self._key_rotation is not None:
            nym.set_key_rotation(self._key_rotation.clock, now, unix_time)
        session = GatewayClient(
            keys.identity_seed,
            gateway,
            shared_key=shared_key,
            unix_time=self._platform.unix_time,
            random_bytes=self._platform.random_bytes,
        )
        registered: list[bytes] = []
        driver = Driver(
            self._platform,
            nym,
            session,
            url,
            on_link=self._on_link,
            on_registered=registered.append,
            on_exit_lost=self._on_exit_lost,
        )
        driver.start()
        try:
            await driver.gateway_ready()
        except BaseException:
            await driver.close()
            raise
        if registered:
            identity = Identity(keys, Registration(gateway, url, registered[-1]))
            await self._keystore.save(identity)
            self._identity = identity
        return driver

    async def _reach_exit(self, driver: Driver, *, excluded: set[bytes]) -> None:
        """Connect to an exit, trying others when one does not answer. Adds failed ones to ``excluded``."""
        for attempt in range(1, EXIT_ATTEMPTS + 1):
            choice = self._choose_exit(excluded)
            try:
                await self._try_exit(driver, choice)
                return
            except (NetworkError, TimeoutError) as error:
                logger.debug("exit %s: %s", choice.address, error)
                excluded.add(choice.address.gateway)
                if attempt == EXIT_ATTEMPTS or driver.failure is not None or not self._other_exits(excluded):
                    raise

    def _choose_exit(self, excluded: set[bytes]) -> ExitChoice:
        if self.options.preferred_ipr is not None:
            try:
                return preferred_exit(self.options.preferred_ipr, self._described)
            except MalformedError as error:
                raise OptionError("preferredIpr", str(error)) from error
        return choose_exit(
            self._exit_nodes,
            self._described,
            exclude=excluded,
            random_bytes=self._platform.random_bytes,
        )

    def _other_exits(self, excluded: set[bytes]) -> bool:
        if self.options.preferred_ipr is not None:
            return False
        try:
            self._choose_exit(excluded)
        except DirectoryError:
            return False
        return True

    async def _try_exit(self, driver: Driver, choice: ExitChoice) -> None:
        logger.info("exit handshake with %s", choice.address)
        ipr = IprClient(
            exit_version=choice.build_version,
            unix_time=self._platform.unix_time,
            config=IprClientConfig(
                open_reply_surbs=self.options.open_reply_surbs,
                data_reply_surbs=self.options.data_reply_surbs,
                connect_timeout=self.options.connect_timeout_ms / 1000,
            ),
            random_bytes=self._platform.random_bytes,
        )
        self._connected = await driver.connect_exit(choice.address, ipr, self._make_stack)
        self._exit = choice
        self._resolver = Resolver(
            (
                parse_socket_address("primaryDns", self.options.primary_dns),
                parse_socket_address("fallbackDns", self.options.fallback_dns),
            ),
            timeout=self.options.dns_timeout_ms / 1000,
            open_udp=lambda: open_udp(driver),
            open_tcp=lambda address, port: open_tcp(
                driver, address, port, timeout=self.options.dns_timeout_ms / 1000
            ),
            now=driver.now,
            random_bytes=self._platform.random_bytes,
        )
        self._fetch = FetchClient(self._open_origin, driver.now)

    def _make_stack(self, connected: Connected) -> Stack:
        keepalive = self.options.tcp_keepalive_ms / 1000
        return Stack(
            ipv4=str(connected.ipv4),
            ipv6=str(connected.ipv6),
            mtu=connected.mtu,
            config=StackConfig(
                tcp=TcpOptions(
                    receive_buffer_limit=self.options.tcp_buffer_size,
                    send_buffer_limit=self.options.tcp_buffer_size,
                    keepalive_idle=keepalive or None,
                    keepalive_interval=keepalive or 15.0,
                )
            ),
            random_bytes=self._platform.random_bytes,
        )

    # -- while it runs -------------------------------------------------------------------------------------

    def _spawn(self, coroutine: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _on_link(self, state: LinkState, reason: str) -> None:
        if self.state is TunnelState.READY and state is LinkState.LOST:
            self._enter(TunnelState.RECONNECTING, f"gateway: {reason}")
        elif self.state is TunnelState.RECONNECTING and state is LinkState.READY:
            if self._driver is not None and self._driver.stack is not None:
                self._enter(TunnelState.READY, "the gateway is back")
        elif state is LinkState.CLOSED and self.state in (TunnelState.READY, TunnelState.RECONNECTING):
            self._enter(TunnelState.FAILED, reason)

    def _on_exit_lost(self, reason: str) -> None:
        driver = self._driver
        if driver is None or driver.stack is None or self.state not in _RUNNING:
            return
        if driver.link_state is not LinkState.READY:
            return  # silence is what a lost gateway link sounds like
        self._enter(TunnelState.RECONNECTING, f"exit: {reason}")
        driver.drop_exit(TunnelClosed(f"the exit was lost: {reason}"))
        self._spawn(self._replace_exit(driver), "replace-exit")

    async def _replace_exit(self, driver: Driver) -> None:
        await self._close_layers()
        lost = self._exit.address.gateway if self._exit is not None else b""
        delay = EXIT_RETRY_FIRST
        excluded = {lost} if self._other_exits({lost}) else set()
        while True:
            try:
                await self._reach_exit(driver, excluded=excluded)
            except (SmolmixError, TimeoutError) as error:
                logger.debug("no exit yet: %s", error)
            else:
                if driver.link_state is LinkState.READY:
                    self._enter(TunnelState.READY, "connected to another exit")
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, EXIT_RETRY_LAST)
            excluded = set()  # the one that failed may be back
            with contextlib.suppress(SmolmixError, TimeoutError):
                self._exit_nodes, self._described = await self._fetch_exits()

    async def _refresh_topology(self) -> None:
        delay = TOPOLOGY_REFRESH
        while True:
            await asyncio.sleep(delay)
            try:
                topology = await directory.fetch_topology(self._get)
            except (SmolmixError, TimeoutError) as error:
                logger.debug("topology refresh failed, the old one stays: %s", error)
                delay = TOPOLOGY_RETRY
                continue
            delay = TOPOLOGY_REFRESH
            self._topology = topology
            if self._driver is not None:
                self._driver.nym.set_topology(topology, self._driver.now())
                self._driver.wake()

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
    ) -> FetchResponse:
        """Fetch ``url`` through the tunnel; the body of the response is read from it piece by piece.

        :param body: bytes, or an asynchronous iterator for a streamed upload (sent in chunks).
        :param max_redirects: 0 to 255; the option ``max_redirects`` when None.
        :param timeout: seconds for everything up to the response's head; None: only the phases have limits.
        :raises TunnelStateError: the tunnel is not up. :raises OptionError: names the bad argument.
        :raises NetworkError, RemoteProtocolError, DeadlineError: see :mod:`smolmix_web.fetch`.
        """
        request = FetchRequest.create(url, method=method, headers=headers, body=body)
        if max_redirects is None:
            max_redirects = self.options.max_redirects
        elif not 0 <= max_redirects <= 255:
            raise OptionError("maxRedirects", f"{max_redirects} is not between 0 and 255")
        if timeout is not None and not timeout > 0:
            raise OptionError("timeout", "must be greater than zero")
        client = self._usable(self._fetch)
        timeouts = dataclasses.replace(client.timeouts, total=timeout)
        return await client.fetch(request, redirect=redirect, max_redirects=max_redirects, timeouts=timeouts)

    async def resolve(self, host: str) -> str:
        """One IP address of ``host``, asked through the tunnel. Errors: see :mod:`smolmix_web.resolve`."""
        return await self._usable(self._resolver).resolve(host)

    async def open_connection(
        self, host: str, port: int, *, tls: bool = False, timeout: float = 30.0
    ) -> TcpStream | TlsStream:
        """A stream to ``host`` (name or IP address), with TLS where wanted.

        :param timeout: seconds for the TCP handshake, and again for TLS's.
        """
        if not 0 < port < 65536:
            raise OptionError("port", f"{port} is not between 1 and 65535")
        addresses = await self._usable(self._resolver).resolve_all(host)
        driver = self._usable(self._driver)
        stream = await _first_to_connect(driver, addresses, port, timeout)
        return await self._secure(stream, host, (), timeout) if tls else stream

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
        """
        request = WebSocketRequest.create(url, protocols, headers)
        self._usable(self._driver)
        socket = await WebSocketClient.connect(request, self._open_websocket_stream, settings)
        self._websockets.add(socket)
        socket.on_over(self._websockets.discard)
        return socket

    async def _open_websocket_stream(
        self, request: WebSocketRequest, settings: WebSocketSettings
    ) -> ByteStream:
        timeouts = FetchTimeouts(connect=settings.connect_timeout, tls=settings.tls_timeout)
        return await self._open_origin(request.origin, timeouts)

    def open_udp(self) -> UdpSocket:
        """A UDP socket in the tunnel."""
        return open_udp(self._usable(self._driver))

    def info(self) -> dict[str, Any]:
        """What this tunnel is made of, for people and tests; nothing secret."""
        identity, exit_choice, connected = self._identity, self._exit, self._connected
        registration = identity.registration if identity is not None else None
        return {
            "version": __version__,
            "provider": crypto.provider().name,
            "platform": self._platform.name,
            "state": str(self.state),
            "reason": self.state_reason,
            "network": self.options.network,
            "gateway": base58.encode(registration.gateway) if registration is not None else None,
            "gatewayUrl": registration.url if registration is not None else None,
            "address": str(self._driver.nym.address) if self._driver is not None else None,
            "exit": str(exit_choice.address) if exit_choice is not None else None,
            "iprVersion": connected.version if connected is not None else None,
            "ipv4": str(connected.ipv4) if connected is not None else None,
            "ipv6": str(connected.ipv6) if connected is not None else None,
            "mtu": connected.mtu if connected is not None else None,
        }

    def stats(self) -> dict[str, Any]:
        """Counters of every layer, each a mapping of names to numbers."""
        layers: dict[str, Any] = {}
        driver = self._driver
        if driver is not None:
            layers["driver"] = _numbers(driver.stats) | {"waiting": driver.waiting}
            layers["gateway"] = _numbers(driver.gateway.stats) | {"balance": driver.gateway.balance}
            layers["nym"] = _numbers(driver.nym.stats) | {"queued": driver.nym.queued()}
            if driver.ipr is not None:
                layers["ipr"] = _numbers(driver.ipr.stats)
            if driver.stack is not None:
                layers["stack"] = _numbers(driver.stack.stats)
        if self._fetch is not None:
            layers["fetch"] = _numbers(self._fetch.stats) | self._fetch.pool.counts()
        layers["websocket"] = {"open": len(self._websockets)}
        return layers

    # -- inside --------------------------------------------------------------------------------------------

    async def _open_origin(self, origin: Origin, timeouts: FetchTimeouts) -> ByteStream:
        addresses = await self._usable(self._resolver).resolve_all(origin.host)
        stream = await _first_to_connect(self._usable(self._driver), addresses, origin.port, timeouts.connect)
        if origin.scheme == "https":
            return await self._secure(stream, origin.host, ("http/1.1",), timeouts.tls)
        return stream

    async def _secure(self, stream: TcpStream, host: str, alpn: tuple[str, ...], timeout: float) -> TlsStream:
        config = TlsConfig(alpn=alpn, trust_anchors=self.options.trust_anchors)
        try:
            async with asyncio.timeout(timeout):
                return await wrap_tls(
                    stream,
                    host,
                    config,
                    unix_time=self._platform.unix_time,
                    random_bytes=self._platform.random_bytes,
                )
        except TimeoutError as error:
            if isinstance(error, SmolmixError):
                raise
            raise DeadlineError(f"TLS handshake with {host}", timeout) from error

    def _usable(self, part: _Part | None) -> _Part:
        """``part`` if the tunnel is up. :raises TunnelStateError: it is not (there is no other way out)."""
        if part is None or self.state not in _RUNNING:
            raise TunnelStateError(f"the tunnel is {self.state}: {self.state_reason}")
        return part

    def _known_identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    def _known_topology(self) -> Topology:
        assert self._topology is not None
        return self._topology


_RUNNING = (TunnelState.READY, TunnelState.RECONNECTING)


async def _first_to_connect(driver: Driver, addresses: Iterable[str], port: int, timeout: float) -> TcpStream:
    """A connection to the first address that takes one, in order."""
    problem: BaseException = NetworkError("no address to connect to")
    for address in addresses:
        try:
            return await open_tcp(driver, address, port, timeout=timeout)
        except (TunnelClosed, TunnelStateError):
            raise
        except (NetworkError, TimeoutError) as error:
            problem = error
    raise problem


def _numbers(stats: Any) -> dict[str, Any]:
    """The fields of a stats dataclass, names in camelCase."""
    return {camel_case(name): value for name, value in dataclasses.asdict(stats).items()}
