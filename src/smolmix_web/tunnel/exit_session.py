"""Everything that stands on one exit: its IP stack, names, connections, fetches. It ends as a whole.

Names are remembered per exit and forgotten with it: answers depend on where the exit stands (many sites
answer with the nearest address), and an exit that could forge answers must not be believed longer than it is
used.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from smolmix_web import features
from smolmix_web.directory.selection import ExitChoice
from smolmix_web.errors import FeatureMissing, SmolmixError, TunnelClosed
from smolmix_web.fetch.request import FetchRequest, Origin, RedirectMode
from smolmix_web.fetch.timeouts import FetchTimeouts, during
from smolmix_web.ipr.events import Connected
from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.stack import Stack
from smolmix_web.options import TunnelOptions, parse_socket_address
from smolmix_web.platform import Platform
from smolmix_web.resolve import Address, Candidates, Family, Resolver
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.sockets.driver import Driver
from smolmix_web.sockets.happy_eyeballs import first_to_connect
from smolmix_web.sockets.streams import TcpStream, UdpSocket, open_tcp, open_udp
from smolmix_web.tunnel.timing import deadline

if TYPE_CHECKING:
    # What a page's assets may be built without is imported where it is used.
    from smolmix_web.fetch.client import FetchClient, FetchResponse
    from smolmix_web.fetch.cookies import CookieJar
    from smolmix_web.tls.stream import TlsStream
    from smolmix_web.tls.tickets import TicketStore

# What happens in the layers below is told here, where it is known what for.
tls_logger = logging.getLogger("smolmix_web.tls")
tcp_logger = logging.getLogger("smolmix_web.net")


@dataclass(slots=True)
class TlsStats:
    """Counters of one exit session."""

    handshakes: int = 0
    resumed: int = 0


class ExitSession:
    """Made when the exit has answered; :meth:`end` when it is lost or the tunnel closes.

    After its end every call raises :class:`~smolmix_web.errors.TunnelClosed`, and so do those under way.
    """

    def __init__(
        self,
        options: TunnelOptions,
        platform: Platform,
        driver: Driver,
        stack: Stack,
        choice: ExitChoice,
        connected: Connected,
        cookies: CookieJar | None = None,
    ) -> None:
        self.driver = driver
        self.stack = stack
        self.choice = choice
        self.connected = connected
        self.lost: TunnelClosed | None = None
        """Why this session ended; None while it is alive."""
        self._options = options
        self._platform = platform
        dns_timeout = options.dns_timeout_ms / 1000
        self._resolver = Resolver(
            (
                parse_socket_address("primaryDns", options.primary_dns),
                parse_socket_address("fallbackDns", options.fallback_dns),
            ),
            timeout=dns_timeout,
            open_udp=self.open_udp,
            open_tcp=lambda address, port: open_tcp(driver, address, port, timeout=dns_timeout, stack=stack),
            now=platform.monotonic,  # names and idle connections age while the machine sleeps
            random_bytes=platform.random_bytes,
        )
        # Tickets would tell a server that one visitor moved to another exit: they go with this one.
        self._tickets = _ticket_store() if options.tls_resumption else None
        self.tls_stats = TlsStats()
        self.fetch_client: FetchClient | None = None
        """None in assets without ``fetch``."""
        if features.has("fetch"):
            from smolmix_web.fetch.client import FetchClient

            self.fetch_client = FetchClient(self.open_origin, platform.monotonic, cookies=cookies)

    async def end(self, error: TunnelClosed) -> None:
        """Fail what is under way and free it. Idempotent."""
        if self.lost is None:
            self.lost = error
        await self._resolver.aclose()
        if self.fetch_client is not None:
            await self.fetch_client.aclose()

    async def resolve(self, host: str, family: Family = 0, timeout: float | None = None) -> str:
        """One address of ``host``. Errors: see :mod:`smolmix_web.resolve`."""
        with self._or_lost():
            return await self._resolver.resolve(host, family=family, timeout=timeout)

    async def resolve_all(
        self, host: str, family: Family = 0, timeout: float | None = None
    ) -> tuple[Address, ...]:
        """Every address of ``host``. Errors: see :mod:`smolmix_web.resolve`."""
        with self._or_lost():
            return await self._resolver.resolve_all(host, family=family, timeout=timeout)

    async def fetch(
        self,
        request: FetchRequest,
        *,
        redirect: RedirectMode,
        max_redirects: int,
        timeouts: FetchTimeouts,
        credentials: bool = True,
    ) -> FetchResponse:
        """See :meth:`smolmix_web.fetch.FetchClient.fetch`. :raises FeatureMissing: it is not there."""
        if self.fetch_client is None:
            raise FeatureMissing("fetch")
        with self._or_lost():
            return await self.fetch_client.fetch(
                request,
                redirect=redirect,
                max_redirects=max_redirects,
                timeouts=timeouts,
                credentials=credentials,
            )

    async def open_origin(self, origin: Origin, timeouts: FetchTimeouts) -> ByteStream:
        """A stream to an origin: name, TCP and, for https, TLS."""
        stream = await self.open_stream(
            origin.host, origin.port, timeouts.connect, resolve_timeout=timeouts.resolve
        )
        if origin.scheme == "https":
            with during("tls"):
                return await self.secure(
                    stream, origin.host, ("http/1.1",), timeouts.tls, partition=origin.authority
                )
        return stream

    async def open_stream(
        self, host: str, port: int, timeout: float, *, resolve_timeout: float | None = None
    ) -> TcpStream:
        """A connection to the first address of ``host`` that takes one.

        :param timeout: seconds over all addresses that are tried.
        :param resolve_timeout: seconds until the first address is known; None leaves it to the resolver.
        """
        with self._or_lost():
            async with self._resolver.candidates(host) as candidates:
                with during("resolve"):
                    async with deadline(f"addresses of {host}", resolve_timeout):
                        first = await candidates.first()
                with during("connect"):
                    return await self._first_to_connect(
                        first, candidates, f"{host} port {port}", port, timeout
                    )

    async def _first_to_connect(
        self, first: tuple[Address, ...], candidates: Candidates, where: str, port: int, timeout: float
    ) -> TcpStream:
        async def connect(address: str) -> TcpStream:
            return await open_tcp(self.driver, address, port, timeout=timeout, stack=self.stack)

        async def rest() -> tuple[str, ...]:
            return tuple(one.address for one in await candidates.rest())

        async with deadline(f"connect to {where}", timeout):
            stream = await first_to_connect(
                [one.address for one in first], rest(), connect, lambda stream: stream.abort()
            )
        tcp_logger.debug("connected to %s", where)
        return stream

    async def secure(
        self,
        stream: TcpStream,
        host: str,
        alpn: tuple[str, ...],
        timeout: float,
        *,
        partition: str | None = None,
    ) -> TlsStream:
        """TLS on a stream. :raises TlsError: see :mod:`smolmix_web.tls`.

        :param partition: with the option ``tls_resumption``, sessions are resumed within it; None: never.
        :raises FeatureMissing: these are assets without TLS.
        """
        features.require("web")
        from smolmix_web.tls.config import TlsConfig
        from smolmix_web.tls.stream import wrap as wrap_tls

        config = TlsConfig(
            alpn=alpn,
            trust_anchors=self._options.trust_anchors,
            resumption=self._tickets if partition is not None else None,
            resumption_partition=partition or "",
        )
        with self._or_lost():
            async with deadline(f"TLS handshake with {host}", timeout):
                secured = await wrap_tls(
                    stream,
                    host,
                    config,
                    unix_time=self._platform.unix_time,
                    random_bytes=self._platform.random_bytes,
                )
        self.tls_stats.handshakes += 1
        self.tls_stats.resumed += secured.info.resumed
        suite = secured.info.cipher_suite.name
        how = ", resumed" if secured.info.resumed else ""
        tls_logger.debug("%s: %s, %s%s", host, secured.info.version.name, suite, how)
        return secured

    def open_udp(self) -> UdpSocket:
        """A UDP socket on a free port."""
        return open_udp(self.driver, self.stack)

    @contextlib.contextmanager
    def _or_lost(self) -> Iterator[None]:
        """What went wrong because the exit was lost, says so."""
        try:
            yield
        except TunnelClosed:
            raise
        except (SmolmixError, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            is_our_own = isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling()
            if self.lost is None or is_our_own:
                raise
            raise TunnelClosed(str(self.lost)) from error


def _ticket_store() -> TicketStore | None:
    """None where there is no TLS."""
    if not features.has("web"):
        return None
    from smolmix_web.tls.tickets import TicketStore

    return TicketStore()


def make_stack(options: TunnelOptions, platform: Platform, connected: Connected) -> Stack:
    """The IP stack for the addresses that an exit gave."""
    keepalive = options.tcp_keepalive_ms / 1000
    return Stack(
        ipv4=str(connected.ipv4),
        ipv6=str(connected.ipv6),
        mtu=connected.mtu,
        config=StackConfig(
            tcp=TcpOptions(
                receive_buffer_limit=options.tcp_buffer_size,
                send_buffer_limit=options.tcp_buffer_size,
                keepalive_idle=keepalive or None,
                keepalive_interval=keepalive or 15.0,
            )
        ),
        random_bytes=platform.random_bytes,
    )
