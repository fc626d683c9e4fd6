"""One fetch from request to response: redirects, the pool, one safe retry, time-outs by phase."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace

from smolmix_web.errors import DeadlineError, NetworkError, OptionError
from smolmix_web.fetch.body import Decoder, decoder_for
from smolmix_web.fetch.connection import Head, HttpConnection
from smolmix_web.fetch.cookies import CookieJar, site_of
from smolmix_web.fetch.errors import BadResponse, RedirectError
from smolmix_web.fetch.headers import Headers
from smolmix_web.fetch.pool import Pool
from smolmix_web.fetch.request import REDIRECT_STATUSES, FetchRequest, Origin, RedirectMode
from smolmix_web.fetch.timeouts import FetchTimeouts, during, timed
from smolmix_web.sockets.bytestream import ByteStream

logger = logging.getLogger("smolmix_web.fetch")

MAX_DRAIN = 64 * 1024
"""Bytes of a redirect's body read away to keep the connection; beyond, a new one is cheaper."""

MAX_DRAIN_SECONDS = 5.0
"""And how long that may take."""

NULL_BODY_STATUSES = frozenset({101, 103, 204, 205, 304})
"""Their responses have no body, whatever their headers say (Fetch standard, "null body status")."""

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


@dataclass(slots=True)
class FetchStats:
    """Counters of one client."""

    requests: int = 0
    responses: int = 0
    redirects: int = 0
    retries: int = 0
    failures: int = 0
    open_bodies: int = 0


class FetchResponse:
    """A response whose body is still to be read: :meth:`read_chunk` until ``b""``, or :meth:`read`.

    Not reading the body to its end wants :meth:`aclose` (also as an async context manager).
    """

    def __init__(
        self,
        head: Head,
        request: FetchRequest,
        redirected: bool,
        connection: HttpConnection,
        pool: Pool,
        timeouts: FetchTimeouts,
        stats: FetchStats,
    ) -> None:
        self.status = head.status
        self.reason = head.reason
        self.headers: Headers = head.headers
        self.url = request.url
        self.redirected = redirected
        self.has_body = request.method != "HEAD" and head.status not in NULL_BODY_STATUSES
        """False where a body cannot be; if the server sends one all the same, the connection is given up."""
        self.timings: dict[str, float] = {}
        """Seconds by phase until the head was there; see :func:`~smolmix_web.fetch.timeouts.timed`."""
        self._origin = request.origin
        self._connection: HttpConnection | None = connection
        self._pool = pool
        self._timeouts = timeouts
        self._ends_at: float | None = None
        self._stats = stats
        self._pending = b""
        self._decoder: Decoder | None = None
        stats.open_bodies += 1

    def __repr__(self) -> str:
        return f"<FetchResponse {self.status} {self.url}>"

    def header_values(self, name: str) -> list[str]:
        """All values of one header, in order."""
        name = name.lower()
        return [value for key, value in self.headers if key == name]

    async def prepare(self, ends_at: float | None) -> None:
        """Make ready for reading. ``ends_at``: when the time of the whole fetch is over, on the loop's clock.

        :raises BadResponse: the body is coded in a way that cannot be undone.
        """
        self._ends_at = ends_at
        if self.has_body:
            with during("body"):
                self._decoder = await decoder_for(self.header_values("content-encoding"))

    async def read_chunk(self, max_bytes: int = 65536) -> bytes:
        """The next 1 to ``max_bytes`` decoded bytes, ``b""`` at the end.

        Nothing is read ahead: a caller that does not ask lets the TCP window close.

        :raises ResponseCutOff: the connection ended early.
        :raises BadResponse: damaged framing or compression.
        :raises DeadlineError: nothing came for too long.
        """
        while not self._pending:
            if self._connection is None:
                return b""
            try:
                complete = await self._read_more(self._connection, max_bytes)
            except BaseException:
                self._end(complete=False)
                raise
            if complete:
                self._end(complete=True)
            elif not self.has_body:
                self._end(complete=False)
        piece, self._pending = self._pending[:max_bytes], self._pending[max_bytes:]
        return piece

    async def _read_more(self, connection: HttpConnection, max_bytes: int) -> bool:
        """Fill ``_pending``. True at the end of the body."""
        with during("body"):
            if self._decoder is not None:
                self._pending = self._decoder.read(max_bytes)
                if self._pending:
                    return False
            total = asyncio.timeout_at(self._ends_at)
            try:
                async with total:
                    data = await connection.read_body(self._timeouts)
            except TimeoutError as error:
                raise _total_ran_out(error, total, self._timeouts) from error
            if self._decoder is None:
                self._pending = data if self.has_body else b""
            elif data:
                self._decoder.feed(data)
            else:
                self._decoder.finish()
            return not data

    async def read(self) -> bytes:
        """The whole decoded body (what is left of it)."""
        return b"".join([piece async for piece in self])

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self.read_chunk():
            yield piece

    async def aclose(self) -> None:
        """Give the body up; frees the connection. Idempotent."""
        self._pending = b""
        self._end(complete=False)

    async def __aenter__(self) -> FetchResponse:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.aclose()

    def _end(self, *, complete: bool) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._stats.open_bodies -= 1
        if self._decoder is not None:
            self._decoder.close()
        if complete:
            self._pool.release(self._origin, connection)
        else:
            self._pool.discard(self._origin, connection)


class FetchClient:
    """Fetches over streams that somebody else opens.

    :param open_stream: connects to an origin (name, TCP and, for https, TLS) within the given time-outs.
    :param cookies: keeps and sends cookies; None does neither.
    """

    def __init__(
        self,
        open_stream: Callable[[Origin, FetchTimeouts], Awaitable[ByteStream]],
        now: Callable[[], float],
        *,
        timeouts: FetchTimeouts | None = None,
        cookies: CookieJar | None = None,
    ) -> None:
        self._open_stream = open_stream
        self._cookies = cookies
        self.timeouts = timeouts if timeouts is not None else FetchTimeouts()
        self.pool = Pool(self._dial, now)
        self.stats = FetchStats()

    async def _dial(self, origin: Origin, timeouts: FetchTimeouts) -> HttpConnection:
        return HttpConnection(await self._open_stream(origin, timeouts))

    async def fetch(
        self,
        request: FetchRequest,
        *,
        redirect: RedirectMode = "follow",
        max_redirects: int = 5,
        timeouts: FetchTimeouts | None = None,
        credentials: bool = True,
    ) -> FetchResponse:
        """The response to ``request`` as soon as its head is there. Cancelling the task frees everything.

        :param credentials: use the cookie jar, where there is one.
        :raises OptionError: bad arguments. :raises NetworkError: no connection, or it was lost.
        :raises BadResponse: not HTTP. :raises RedirectError: too many or forbidden redirects.
        :raises DeadlineError: a phase, or the whole, took too long.
        """
        if redirect not in ("follow", "error", "manual"):
            raise OptionError("redirect", f"{redirect!r} is not follow, error or manual")
        timeouts = timeouts if timeouts is not None else self.timeouts
        self.stats.requests += 1
        jar = self._cookies if credentials else None
        total = asyncio.timeout(timeouts.total)
        try:
            async with total:
                with timed() as timings:
                    response = await self._follow(request, redirect, max_redirects, timeouts, jar)
                response.timings = timings
                try:
                    await response.prepare(total.when())
                except BaseException:
                    await response.aclose()
                    raise
        except TimeoutError as error:
            self.stats.failures += 1
            raise _total_ran_out(error, total, timeouts) from error
        except BaseException as error:
            self.stats.failures += 1
            logger.debug("%s %s: %s", request.method, request.origin.authority, type(error).__name__)
            raise
        self.stats.responses += 1
        # Not the path: addresses of pages hold names and tokens.
        logger.debug("%s %s: %d", request.method, request.origin.authority, response.status)
        return response

    async def _follow(
        self,
        request: FetchRequest,
        redirect: RedirectMode,
        max_redirects: int,
        timeouts: FetchTimeouts,
        jar: CookieJar | None,
    ) -> FetchResponse:
        from_other_site = False
        for hops in range(max_redirects + 1):
            sent = request if jar is None else _with_cookies(request, jar, from_other_site)
            response = await self._once(sent, hops > 0, timeouts)
            if jar is not None:
                jar.store(response.header_values("set-cookie"), request.origin, request.target)
            location = response.header_values("location")
            if response.status not in REDIRECT_STATUSES or not location or redirect == "manual":
                return response
            try:
                with during("redirect"):
                    if redirect == "error":
                        raise RedirectError(f"{request.url} redirects, and redirect is 'error'")
                    following = request.redirected(response.status, location[0])
                await self._drain(response, timeouts)
            finally:
                await response.aclose()
            from_other_site = from_other_site or site_of(following.origin) != site_of(request.origin)
            request = following
            self.stats.redirects += 1
        with during("redirect"):
            raise RedirectError(f"too many redirects (>{max_redirects})")

    async def _drain(self, response: FetchResponse, timeouts: FetchTimeouts) -> None:
        """Read a short body away, so that the connection can be used again."""
        left = MAX_DRAIN
        try:
            async with asyncio.timeout(min(MAX_DRAIN_SECONDS, timeouts.idle)):
                while left > 0 and (piece := await response.read_chunk()):
                    left -= len(piece)
        except (NetworkError, BadResponse, TimeoutError):
            pass

    async def _once(self, request: FetchRequest, redirected: bool, timeouts: FetchTimeouts) -> FetchResponse:
        connection, used = await self.pool.acquire(request.origin, timeouts)
        try:
            return await self._exchange(request, redirected, connection, timeouts)
        except NetworkError:
            # The server may have closed an idle connection while our request was on its way to it
            # (RFC 9112 section 9.3.1): once more on a fresh one, if nothing came back and repeating is safe.
            if not (used and request.repeatable and not connection.answered):
                raise
        self.stats.retries += 1
        connection, _ = await self.pool.acquire(request.origin, timeouts, fresh=True)
        return await self._exchange(request, redirected, connection, timeouts)

    async def _exchange(
        self,
        request: FetchRequest,
        redirected: bool,
        connection: HttpConnection,
        timeouts: FetchTimeouts,
    ) -> FetchResponse:
        try:
            head = await connection.exchange(request, timeouts)
            return FetchResponse(head, request, redirected, connection, self.pool, timeouts, self.stats)
        except BaseException:
            self.pool.discard(request.origin, connection)
            raise

    async def aclose(self) -> None:
        """Close every connection; responses still being read fail."""
        await self.pool.aclose()


def _with_cookies(request: FetchRequest, jar: CookieJar, from_other_site: bool) -> FetchRequest:
    """The request with the jar's cookies; a Cookie header of the caller's own wins."""
    if any(name == "cookie" for name, _ in request.headers):
        return request
    line = jar.header(
        request.origin,
        request.target,
        from_other_site=from_other_site,
        safe_method=request.method in _SAFE,
    )
    return request if line is None else replace(request, headers=[*request.headers, ("cookie", line)])


def _total_ran_out(error: TimeoutError, total: asyncio.Timeout, timeouts: FetchTimeouts) -> TimeoutError:
    """What to raise for ``error``: that of a phase stays what it is."""
    if isinstance(error, DeadlineError) or not total.expired() or timeouts.total is None:
        return error
    deadline = DeadlineError("the whole fetch", timeouts.total)
    deadline.phase = "total"
    return deadline
