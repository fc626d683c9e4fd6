"""Asks one question: which server is asked when, how often, over UDP or TCP, and which answer counts.

One datagram is repeated with back-off on the same socket, and the second server joins after a short silence
instead of after the first one's whole time-out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import dns.name

from smolmix_web.errors import DeadlineError, MalformedError, SmolmixError
from smolmix_web.resolve.errors import ResolutionFailed
from smolmix_web.resolve.message import Answer, RecordType, build_query, parse_answer
from smolmix_web.sockets.bytestream import ByteStream

HEDGE_AFTER = 4.0
"""Seconds of silence after which the next server is asked as well: about twice a slow mixnet round trip."""

REPEAT_AFTER = 3.0
"""Seconds until a query is sent again, doubling: nobody else repeats a datagram lost beyond the exit."""

_WITHOUT_EDNS = frozenset({"FORMERR", "NOTIMP", "BADVERS"})
"""What servers say that do not know EDNS (RFC 6891 section 7)."""


class Datagrams(Protocol):
    """What is needed of a UDP socket."""

    def send_to(self, data: bytes, address: tuple[str, int]) -> None: ...

    async def recv_from(self) -> tuple[bytes, tuple[str, int]]: ...

    def close(self) -> None: ...


class Servers:
    """The configured resolvers. Parameters: see :class:`~smolmix_web.resolve.resolver.Resolver`."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        *,
        timeout: float,
        open_udp: Callable[[], Datagrams],
        open_tcp: Callable[[str, int], Awaitable[ByteStream]],
        now: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._servers = tuple(servers)
        self._timeout = timeout
        self._open_udp = open_udp
        self._open_tcp = open_tcp
        self._now = now
        self._random_bytes = random_bytes

    async def ask(self, name: dns.name.Name, record_type: RecordType) -> Answer:
        """The first usable answer; servers join one after the other.

        :raises ResolutionFailed: every server failed. :raises DeadlineError: none answered in time.
        """
        pending: set[asyncio.Task[Answer]] = set()
        waiting = list(self._servers)
        problems: list[str] = []
        deadline = self._now() + self._timeout
        try:
            while True:
                # Each pass either starts the race, or follows a silence or a failure: the next server joins.
                if waiting:
                    pending.add(asyncio.ensure_future(self._ask_one(waiting.pop(0), name, record_type)))
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

    async def _ask_one(self, server: tuple[str, int], name: dns.name.Name, record_type: RecordType) -> Answer:
        exchange = _Exchange(server, name, record_type, int.from_bytes(self._random_bytes(2), "big"))
        query = build_query(name, record_type, exchange.query_id)
        answer = await self._over_udp(exchange, query)
        if answer.failed in _WITHOUT_EDNS:
            query = build_query(name, record_type, exchange.query_id, edns=False)
            answer = await self._over_udp(exchange, query)
        return await self._over_tcp(exchange, query) if answer.truncated else answer

    async def _over_udp(self, exchange: _Exchange, query: bytes) -> Answer:
        socket = self._open_udp()
        try:
            answer: Answer | None = None
            repeat = REPEAT_AFTER
            while answer is None:
                socket.send_to(query, exchange.server)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(repeat):
                        answer = await exchange.matching_answer(socket)
                repeat *= 2
            return answer
        finally:
            socket.close()

    async def _over_tcp(self, exchange: _Exchange, query: bytes) -> Answer:
        stream = await self._open_tcp(*exchange.server)
        try:
            await stream.write(len(query).to_bytes(2, "big") + query)
            length = int.from_bytes(await _read_exactly(stream, 2), "big")
            answer = exchange.parse(await _read_exactly(stream, length))
        finally:
            stream.abort()
        if answer is None or answer.truncated:
            raise ResolutionFailed(f"{exchange.server[0]}: the answer over TCP does not fit the question")
        return answer


class _Exchange:
    """One question to one server."""

    def __init__(
        self, server: tuple[str, int], name: dns.name.Name, record_type: RecordType, query_id: int
    ) -> None:
        self.server = server
        self.query_id = query_id
        self._name = name
        self._record_type = record_type

    def parse(self, wire: bytes) -> Answer | None:
        return parse_answer(wire, self._name, self._record_type, self.query_id)

    async def matching_answer(self, socket: Datagrams) -> Answer:
        while True:
            wire, sender = await socket.recv_from()
            if sender != self.server:
                continue
            try:
                answer = self.parse(wire)
            except MalformedError:
                continue  # forged or damaged: the true answer may still come
            if answer is not None:
                return answer


async def _read_exactly(stream: ByteStream, length: int) -> bytes:
    data = bytearray()
    while len(data) < length:
        more = await stream.read(length - len(data))
        if not more:
            raise ResolutionFailed("the resolver closed the connection in the middle of its answer")
        data += more
    return bytes(data)
