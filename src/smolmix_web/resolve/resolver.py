"""Resolves a name: which questions are asked, who shares them, and what their answers make together.

A page waits for this on every new origin, and a mixnet round trip is long, so the questions for IPv4 and IPv6
leave together. Callers who only want to connect get the first family as soon as it is known; IPv4 goes first
where both are there, because not every exit has IPv6. Callers who ask the same question share it; a stuck
one delays nobody else. A name that does not exist is final.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

from smolmix_web.errors import DeadlineError, OptionError, SmolmixError
from smolmix_web.resolve.cache import Cache, Entry, Key
from smolmix_web.resolve.errors import NameNotFound, NoAddress, ResolutionFailed
from smolmix_web.resolve.message import RecordType, parse_name
from smolmix_web.resolve.servers import Datagrams, Servers
from smolmix_web.sockets.bytestream import ByteStream

logger = logging.getLogger("smolmix_web.resolve")

GRACE = 2.0
"""Seconds that IPv4 gets once IPv6 is known, and one family once the other is known where all are wanted."""

MAX_ALIASES = 8

Family = Literal[0, 4, 6]
_TYPES: dict[int, tuple[RecordType, ...]] = {0: ("A", "AAAA"), 4: ("A",), 6: ("AAAA",)}


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a name."""

    address: str
    family: int
    """4 or 6."""

    ttl: float | None
    """Seconds it may be kept; None for an address that was not asked for (a literal)."""


class Resolver:
    """A stub resolver with a cache.

    :param servers: resolvers in order of preference, each an IP address and a port.
    :param timeout: seconds for one record type over all servers.
    :param open_udp: makes a datagram socket in the tunnel.
    :param open_tcp: connects a stream in the tunnel (for truncated answers).
    """

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        *,
        timeout: float,
        open_udp: Callable[[], Datagrams],
        open_tcp: Callable[[str, int], Awaitable[ByteStream]],
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        cache: Cache | None = None,
    ) -> None:
        self.servers = Servers(
            servers, timeout=timeout, open_udp=open_udp, open_tcp=open_tcp, now=now, random_bytes=random_bytes
        )
        self._now = now
        self.cache = cache if cache is not None else Cache()
        self._running: dict[Key, asyncio.Task[Entry]] = {}
        self._interested: dict[Key, int] = {}

    async def resolve(self, host: str, *, family: Family = 0, timeout: float | None = None) -> str:
        """One address of ``host``, an IPv4 one where there is one; an IP literal is returned as it is.

        :param timeout: seconds; None leaves it to the limits of the questions.
        :raises OptionError: not a host name. :raises NameNotFound: no such name, or it has no such address.
        :raises ResolutionFailed: no server could answer. :raises DeadlineError: none answered in time.
        """
        async with _Limit(host, timeout), self.candidates(host, family=family) as candidates:
            return (await candidates.first())[0].address

    async def resolve_all(
        self, host: str, *, family: Family = 0, timeout: float | None = None
    ) -> tuple[Address, ...]:
        """Every address found, IPv4 ones first. Arguments and errors as :meth:`resolve`."""
        async with _Limit(host, timeout), self.candidates(host, family=family) as candidates:
            first = await candidates.first()
            return first + await candidates.rest(GRACE)

    def candidates(self, host: str, *, family: Family = 0) -> Candidates:
        """Addresses to connect to, for ``async with``. :raises OptionError: not a host name."""
        if family not in _TYPES:
            raise OptionError("family", f"{family!r} is not 0, 4 or 6")
        literal = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            address = ipaddress.ip_address(literal)
        except ValueError:
            name = parse_name(host).to_text(omit_final_dot=True).lower()
            return Candidates(host, [(name, kind) for kind in _TYPES[family]], self._shared, self._now)
        if family not in (0, address.version):
            raise NoAddress(f"{host}: not an IPv{family} address")
        known = Address(str(address), address.version, None)
        return Candidates(host, [], self._shared, self._now, known)

    async def aclose(self) -> None:
        """Cancel every look-up under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- questions -----------------------------------------------------------------------------------------

    async def _shared(self, key: Key) -> Entry:
        """The answer to one question; whoever asks it meanwhile joins."""
        entry = self.cache.get(key, self._now())
        if entry is not None:
            return entry
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._follow(key), name=f"resolve {key}")
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        self._interested[key] = self._interested.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._interested[key] -= 1
            if not self._interested[key]:
                del self._interested[key]
                if not task.done():
                    task.cancel()  # nobody waits any more
                    self._forget(key, task)

    def _forget(self, key: Key, task: asyncio.Task[Entry]) -> None:
        if self._running.get(key) is task:
            del self._running[key]
        if task.done() and not task.cancelled():
            task.exception()  # whoever wanted it has it

    async def _follow(self, key: Key) -> Entry:
        """Ask, along the chain of aliases, and remember."""
        asked, kind = key
        name, expires_at = asked, float("inf")
        seen = {name}
        for _ in range(MAX_ALIASES + 1):
            answer = await self.servers.ask(parse_name(name), kind)
            expires_at = min(expires_at, self._now() + answer.ttl)
            if answer.alias is None or answer.addresses or not answer.exists:
                entry = Entry(answer.addresses, expires_at, answer.exists)
                self.cache.put(key, entry, self._now())
                if not answer.exists:
                    for other in _TYPES[0]:
                        self.cache.put((asked, other), entry, self._now())
                return entry
            name = answer.alias.lower()
            if name in seen:
                raise ResolutionFailed(f"{asked}: its aliases go round in a circle (CNAME loop)")
            seen.add(name)
        raise ResolutionFailed(f"{asked}: more than {MAX_ALIASES} aliases in a row")


class Candidates:
    """Addresses of one host, as they become known. Leaving the ``async with`` gives up what is still open."""

    def __init__(
        self,
        host: str,
        keys: list[Key],
        ask: Callable[[Key], Awaitable[Entry]],
        now: Callable[[], float],
        literal: Address | None = None,
    ) -> None:
        """:param keys: the questions, that of the preferred family first."""
        self._host = host
        self._keys = keys
        self._ask = ask
        self._now = now
        self._literal = literal
        self._tasks: list[asyncio.Task[Entry]] = []
        self._given: asyncio.Task[Entry] | None = None

    async def __aenter__(self) -> Candidates:
        self._tasks = [asyncio.ensure_future(self._ask(key)) for key in self._keys]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def first(self) -> tuple[Address, ...]:
        """Addresses of the preferred family that has any. Errors as :meth:`Resolver.resolve`."""
        if self._literal is not None:
            return (self._literal,)
        preferred = self._tasks[0]
        while not self._known_missing():
            found = next((task for task in self._tasks if self._addresses(task)), None)
            if found is not None:
                if not preferred.done():
                    await asyncio.wait({preferred}, timeout=GRACE)
                self._given = preferred if self._addresses(preferred) else found
                addresses = self._addresses(self._given)
                logger.debug("%s: %d addresses", self._host, len(addresses))
                return addresses
            pending = [task for task in self._tasks if not task.done()]
            if not pending:
                raise self._problem()
            await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        logger.debug("%s: no such name", self._host)
        raise NameNotFound(f"{self._host}: no such name")

    async def rest(self, grace: float | None = None) -> tuple[Address, ...]:
        """Addresses of the other family, after :meth:`first`; none if it has none or its question failed.

        :param grace: seconds that are waited for them at most.
        """
        others = [task for task in self._tasks if task is not self._given]
        if others:
            await asyncio.wait(others, timeout=grace)
        return tuple(address for task in others if task.done() for address in self._addresses(task))

    def _addresses(self, task: asyncio.Task[Entry]) -> tuple[Address, ...]:
        if not task.done() or task.cancelled() or task.exception() is not None:
            return ()
        entry = task.result()
        ttl = max(entry.expires_at - self._now(), 0.0)
        return tuple(Address(text, 6 if ":" in text else 4, ttl) for text in entry.addresses)

    def _known_missing(self) -> bool:
        done = (task for task in self._tasks if task.done() and not task.cancelled())
        return any(task.exception() is None and not task.result().exists for task in done)

    def _problem(self) -> BaseException:
        """Why there is no address: a server's failure before the lack of records."""
        errors = (task.exception() for task in self._tasks if not task.cancelled())
        known = next((error for error in errors if error is not None), None)
        return known if known is not None else NoAddress(f"{self._host}: the name has no such address")


class _Limit:
    """``async with``: the time for one look-up."""

    def __init__(self, host: str, seconds: float | None) -> None:
        self._host = host
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError as ran_out:
            if isinstance(ran_out, SmolmixError) or self._seconds is None:
                raise
            raise DeadlineError(f"addresses of {self._host}", self._seconds) from ran_out
