"""Resolves a name: which question goes to which server when, and which answer wins.

A page waits for this on every new origin, and each packet costs a mixnet round trip, so: A before AAAA (one
question is enough for almost every name), one datagram repeated with back-off on the same socket, and the
second server joins after a short silence instead of after the first one's whole time-out. Look-ups of the
same name share one run; a stuck one delays nobody else. A name that does not exist is final.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import dns.name

from smolmix_web.errors import DeadlineError, MalformedError, SmolmixError
from smolmix_web.resolve.cache import Cache
from smolmix_web.resolve.errors import NameNotFound, ResolutionFailed
from smolmix_web.resolve.message import Answer, RecordType, build_query, parse_answer, parse_name
from smolmix_web.sockets.bytestream import ByteStream

HEDGE_AFTER = 4.0
"""Seconds of silence after which the next server is asked as well: about twice a slow mixnet round trip."""

REPEAT_AFTER = 3.0
"""Seconds until a query is sent again, doubling: nobody else repeats a datagram lost beyond the exit."""

MAX_ALIASES = 8


class Datagrams(Protocol):
    """What is needed of a UDP socket."""

    def send_to(self, data: bytes, address: tuple[str, int]) -> None: ...

    async def recv_from(self) -> tuple[bytes, tuple[str, int]]: ...

    def close(self) -> None: ...


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
        self._servers = tuple(servers)
        self._timeout = timeout
        self._open_udp = open_udp
        self._open_tcp = open_tcp
        self._now = now
        self._random_bytes = random_bytes
        self.cache = cache if cache is not None else Cache()
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}
        self._interested: dict[str, int] = {}

    async def resolve(self, host: str) -> str:
        """One address of ``host``; an IP literal is returned as it is.

        :raises OptionError: not a host name. :raises NameNotFound: no such name, or it has no address.
        :raises ResolutionFailed: no server could answer. :raises DeadlineError: none answered in time.
        """
        return (await self.resolve_all(host))[0]

    async def resolve_all(self, host: str) -> tuple[str, ...]:
        """All addresses found, IPv4 ones if there are any. Errors as :meth:`resolve`."""
        literal = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        try:
            return (str(ipaddress.ip_address(literal)),)
        except ValueError:
            pass
        key = parse_name(host).to_text(omit_final_dot=True).lower()
        entry = self.cache.get(key, self._now())
        if entry is not None:
            if not entry.addresses:
                raise NameNotFound(f"{host}: no such name, or it has no address")
            return entry.addresses
        task = self._running.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._run(key), name=f"resolve {key}")
            self._running[key] = task
            task.add_done_callback(lambda _task: self._running.pop(key, None))
        self._interested[key] = self._interested.get(key, 0) + 1
        try:
            return await asyncio.shield(task)
        finally:
            self._interested[key] -= 1
            if not self._interested[key]:
                del self._interested[key]
                if not task.done():
                    task.cancel()  # nobody waits any more
                    self._running.pop(key, None)

    async def aclose(self) -> None:
        """Cancel every look-up under way."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: str) -> tuple[str, ...]:
        name, ttl = key, float("inf")
        for _ in range(MAX_ALIASES + 1):
            answer = Answer()
            for record_type in _RECORD_TYPES:
                answer = await self._ask_servers(parse_name(name), record_type)
                ttl = min(ttl, answer.ttl)
                if answer.addresses or answer.alias or not answer.exists:
                    break
            if answer.addresses:
                self.cache.put(key, answer.addresses, ttl, self._now())
                return answer.addresses
            if answer.alias is None:
                self.cache.put(key, (), ttl, self._now())
                raise NameNotFound(f"{key}: no such name, or it has no address")
            name = answer.alias
        raise ResolutionFailed(f"{key}: more than {MAX_ALIASES} aliases in a row")

    async def _ask_servers(self, name: dns.name.Name, record_type: RecordType) -> Answer:
        """The first usable answer; servers join one after the other."""
        pending: set[asyncio.Task[Answer]] = set()
        waiting = list(self._servers)
        problems: list[str] = []
        deadline = self._now() + self._timeout
        try:
            while True:
                # Each pass either starts the race, or follows a silence or a failure: the next server joins.
                if waiting:
                    pending.add(asyncio.ensure_future(self._ask(waiting.pop(0), name, record_type)))
                if not pending:
                    raise ResolutionFailed(f"{name.to_text(True)}: " + "; ".join(problems))
                left = deadline - self._now()
                if left <= 0:
                    raise DeadlineError(f"DNS query for {name.to_text(True)}", self._timeout)
                done, pending = await asyncio.wait(
                    pending,
                    timeout=min(left, HEDGE_AFTER) if waiting else left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    try:
                        answer = task.result()
                    except SmolmixError as error:
                        problems.append(str(error))
                        continue
                    if answer.failed is None:
                        return answer
                    problems.append(answer.failed)
        finally:
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _ask(self, server: tuple[str, int], name: dns.name.Name, record_type: RecordType) -> Answer:
        query_id = int.from_bytes(self._random_bytes(2), "big")
        query = build_query(name, record_type, query_id)
        socket = self._open_udp()
        try:
            answer: Answer | None = None
            repeat = REPEAT_AFTER
            while answer is None:
                socket.send_to(query, server)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(repeat):
                        answer = await self._matching_answer(socket, server, name, record_type, query_id)
                repeat *= 2
        finally:
            socket.close()
        if answer.truncated:
            return await self._ask_over_tcp(server, query, name, record_type, query_id)
        return answer

    async def _matching_answer(
        self,
        socket: Datagrams,
        server: tuple[str, int],
        name: dns.name.Name,
        record_type: RecordType,
        query_id: int,
    ) -> Answer:
        while True:
            wire, sender = await socket.recv_from()
            if sender != server:
                continue
            try:
                answer = parse_answer(wire, name, record_type, query_id)
            except MalformedError:
                continue  # forged or damaged: the true answer may still come
            if answer is not None:
                return answer

    async def _ask_over_tcp(
        self,
        server: tuple[str, int],
        query: bytes,
        name: dns.name.Name,
        record_type: RecordType,
        query_id: int,
    ) -> Answer:
        stream = await self._open_tcp(*server)
        try:
            await stream.write(len(query).to_bytes(2, "big") + query)
            length = int.from_bytes(await _read_exactly(stream, 2), "big")
            answer = parse_answer(await _read_exactly(stream, length), name, record_type, query_id)
        finally:
            stream.abort()
        if answer is None or answer.truncated:
            raise ResolutionFailed(f"{server[0]}: the answer over TCP does not fit the question")
        return answer


_RECORD_TYPES: tuple[RecordType, ...] = ("A", "AAAA")


async def _read_exactly(stream: ByteStream, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = await stream.read(length - len(data))
        if not more:
            raise ResolutionFailed("the resolver closed the connection in the middle of its answer")
        data += more
    return bytes(data)
