"""Which connection serves which request: up to six per origin as browsers have, a total, a fair queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from smolmix_web.errors import DeadlineError, TunnelClosed
from smolmix_web.fetch.connection import HttpConnection
from smolmix_web.fetch.request import Origin
from smolmix_web.fetch.timeouts import FetchTimeouts, during

MAX_PER_ORIGIN = 6
MAX_TOTAL = 64
IDLE_SECONDS = 60.0
"""A connection idle for longer is closed: servers keep theirs open for 60 to 120 s, exits forget as well."""


@dataclass
class _Host:
    """The connections of one origin."""

    idle: list[tuple[HttpConnection, float]] = field(default_factory=list)  # newest last, with its time
    busy: set[HttpConnection] = field(default_factory=set)
    dialling: int = 0
    queue: deque[asyncio.Future[None]] = field(default_factory=deque)
    turns: int = 0
    """Requests taken from the queue that have not run yet; nobody may overtake them."""

    @property
    def open(self) -> int:
        return len(self.idle) + len(self.busy) + self.dialling


class Pool:
    """Hands out connections; every one handed out comes back through :meth:`release` or :meth:`discard`.

    :param dial: makes a fresh connection to an origin.
    """

    def __init__(
        self,
        dial: Callable[[Origin, FetchTimeouts], Awaitable[HttpConnection]],
        now: Callable[[], float],
        *,
        max_per_origin: int = MAX_PER_ORIGIN,
        max_total: int = MAX_TOTAL,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._dial = dial
        self._now = now
        self._max_per_origin = max_per_origin
        self._max_total = max_total
        self._idle_seconds = idle_seconds
        self._hosts: dict[Origin, _Host] = {}
        self._closed = False
        self._expiry: asyncio.TimerHandle | None = None

    def counts(self) -> dict[str, int]:
        """Connections idle, busy and being dialled, and requests queued."""
        hosts = self._hosts.values()
        return {
            "idle": sum(len(host.idle) for host in hosts),
            "busy": sum(len(host.busy) for host in hosts),
            "dialling": sum(host.dialling for host in hosts),
            "queued": sum(len(host.queue) for host in hosts),
        }

    async def acquire(
        self, origin: Origin, timeouts: FetchTimeouts, *, fresh: bool = False
    ) -> tuple[HttpConnection, bool]:
        """A connection to ``origin`` and whether it was used before.

        :param fresh: never an idle one (the retry of a request that met a stale connection).
        :raises DeadlineError: none came free within ``timeouts.queue`` seconds.
        """
        waited = False
        while True:
            if self._closed:
                raise TunnelClosed("the tunnel was closed")
            host = self._hosts.setdefault(origin, _Host())
            if waited or not (host.queue or host.turns):
                if not fresh and (connection := await self._take_idle(host)) is not None:
                    return connection, True
                if self._closed:
                    continue
                if fresh and host.idle and host.open >= self._max_per_origin:
                    host.idle.pop(0)[0].abort()
                if host.open < self._max_per_origin and self._make_room():
                    return await self._dialled(origin, host, timeouts), False
            await self._queue(origin, host, timeouts.queue, in_front=waited)
            waited = True

    async def _take_idle(self, host: _Host) -> HttpConnection | None:
        """The most recently used idle connection that is still alive."""
        while host.idle:
            connection, _ = host.idle.pop()
            host.busy.add(connection)
            try:
                alive = await connection.resume()
            except BaseException:
                host.busy.discard(connection)
                connection.abort()
                self._next_turn()
                raise
            if alive:
                return connection
            host.busy.discard(connection)
            connection.abort()
        return None

    async def _queue(self, origin: Origin, host: _Host, seconds: float, *, in_front: bool) -> None:
        """Wait until something came free."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if in_front:
            host.queue.appendleft(turn)
        else:
            host.queue.append(turn)
        try:
            with during("queue"):
                try:
                    async with asyncio.timeout(seconds):
                        await turn
                except TimeoutError as error:
                    raise DeadlineError(f"a free connection to {origin.authority}", seconds) from error
        finally:
            if turn in host.queue:
                host.queue.remove(turn)
            else:
                host.turns -= 1
            # Once we have taken our connection (or given up), there may be room for the next one.
            asyncio.get_running_loop().call_soon(self._next_turn)

    async def _dialled(self, origin: Origin, host: _Host, timeouts: FetchTimeouts) -> HttpConnection:
        host.dialling += 1
        try:
            connection = await self._dial(origin, timeouts)
        except BaseException:
            host.dialling -= 1
            self._next_turn()
            raise
        host.dialling -= 1
        if self._closed:
            connection.abort()
            raise TunnelClosed("the tunnel was closed")
        host.busy.add(connection)
        return connection

    def release(self, origin: Origin, connection: HttpConnection) -> None:
        """The exchange is complete; keep the connection if it can serve another one."""
        host = self._hosts.get(origin)
        if host is not None:
            host.busy.discard(connection)
        if host is not None and connection.reusable and not self._closed:
            connection.rest()
            host.idle.append((connection, self._now()))
            self._watch_expiry()
        else:
            connection.abort()
        self._next_turn()

    def discard(self, origin: Origin, connection: HttpConnection) -> None:
        """The exchange failed or was abandoned."""
        host = self._hosts.get(origin)
        if host is not None:
            host.busy.discard(connection)
        connection.abort()
        self._next_turn()

    async def aclose(self) -> None:
        """Close every connection and fail everyone in a queue."""
        self._closed = True
        if self._expiry is not None:
            self._expiry.cancel()
        for host in self._hosts.values():
            for turn in host.queue:
                if not turn.done():
                    turn.set_result(None)
            for connection, _ in host.idle:
                connection.abort()
            for connection in list(host.busy):
                connection.abort()
        self._hosts.clear()

    def _make_room(self) -> bool:
        """True if one more connection may be opened, at the cost of the oldest idle one where needed."""
        if sum(host.open for host in self._hosts.values()) < self._max_total:
            return True
        idle = [(since, host, connection) for host in self._hosts.values() for connection, since in host.idle]
        if not idle:
            return False
        since, host, connection = min(idle, key=lambda entry: entry[0])
        host.idle.remove((connection, since))
        connection.abort()
        return True

    def _next_turn(self) -> None:
        """Something came free: wake the first in each queue that can go on."""
        for host in self._hosts.values():
            # One at a time: whoever had its turn calls this again.
            if host.queue and not host.turns and self._has_room(host):
                turn = host.queue.popleft()
                host.turns += 1
                if not turn.done():
                    turn.set_result(None)
        for origin in [
            key for key, host in self._hosts.items() if not (host.open or host.queue or host.turns)
        ]:
            del self._hosts[origin]

    def _has_room(self, host: _Host) -> bool:
        if host.idle:
            return True
        hosts = self._hosts.values()
        room_in_total = sum(one.open for one in hosts) < self._max_total or any(one.idle for one in hosts)
        return host.open < self._max_per_origin and room_in_total

    def _watch_expiry(self) -> None:
        if self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(self._idle_seconds / 2, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        oldest = self._now() - self._idle_seconds
        for host in self._hosts.values():
            for entry in list(host.idle):
                if entry[1] <= oldest or not entry[0].resting_alive:
                    host.idle.remove(entry)
                    entry[0].abort()
        self._next_turn()
        if any(host.idle for host in self._hosts.values()):
            self._watch_expiry()
