"""One coroutine per message kind, between the messages of the page and the tunnel.

Each request runs as a task of its own and ends in exactly one result or failure. What outlives its
request (a response whose body is still being read, an upload under way) is kept under the id of its
fetch until it has ended or is aborted. Nothing here touches JavaScript.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Protocol, cast

from smolmix_web.bridge.client_handlers import MixClientLike, serve_mix_request
from smolmix_web.bridge.limits import fetch_timeouts
from smolmix_web.bridge.messages import (
    STREAM,
    Abort,
    DemandMessage,
    Disconnect,
    EventMessage,
    Failure,
    FailureMessage,
    Fetch,
    Info,
    MixReceive,
    MixReply,
    MixSend,
    Pull,
    Request,
    Resolve,
    ResultMessage,
    Setup,
    SocketClose,
    SocketOpen,
    SocketReceive,
    SocketSend,
    Stats,
    ToPage,
    ToWorker,
    Upload,
    camel_case,
    describe,
)
from smolmix_web.bridge.socket_handlers import SocketHandlers, WebSocketLike
from smolmix_web.errors import LocalProtocolError, NetworkError, TunnelStateError
from smolmix_web.fetch.request import RedirectMode
from smolmix_web.fetch.timeouts import FetchTimeouts
from smolmix_web.options import TunnelOptions
from smolmix_web.resolve import Address, Family
from smolmix_web.websocket.settings import WebSocketSettings

logger = logging.getLogger(__name__)

STATS_INTERVAL = 1.0
# One part of a streamed request body; the page's stream decides the true size of its chunks.
UPLOAD_CHUNK = 64 * 1024
ABORTED = Failure("AbortError", "ABORTED", "the request was aborted")


class Response(Protocol):
    """What the tunnel's fetch returns, as far as it is used here."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    url: str
    redirected: bool
    has_body: bool
    timings: dict[str, float]

    async def read_chunk(self, max_bytes: int) -> bytes: ...

    async def aclose(self) -> None: ...


class TunnelLike(Protocol):
    """The part of :class:`smolmix_web.tunnel.Tunnel` that is used here."""

    @property
    def mix_client(self) -> MixClientLike: ...

    def info(self) -> dict[str, Any]: ...

    def stats(self) -> dict[str, Any]: ...

    async def fetch(
        self,
        url: str,
        *,
        method: str,
        headers: list[tuple[str, str]],
        body: bytes | AsyncIterator[bytes] | None,
        redirect: RedirectMode,
        max_redirects: int | None,
        timeouts: FetchTimeouts,
        credentials: bool,
    ) -> Response: ...

    async def resolve(self, host: str, *, family: Family, timeout: float | None) -> str: ...

    async def resolve_all(
        self, host: str, *, family: Family, timeout: float | None
    ) -> tuple[Address, ...]: ...

    async def open_websocket(
        self,
        url: str,
        protocols: Iterable[str],
        *,
        headers: Iterable[tuple[str, str]],
        settings: WebSocketSettings,
    ) -> WebSocketLike: ...

    async def aclose(self) -> None: ...


Connect = Callable[[TunnelOptions, Callable[[Any], None]], Awaitable[TunnelLike]]


@dataclass(slots=True)
class Exchange:
    """What is kept of a fetch between its messages."""

    response: Response | None = None
    demanded: asyncio.Future[bytes | None] | None = None
    pulling: set[asyncio.Task[Any]] = field(default_factory=set)


class Handlers:
    """Serves one page.

    ``post`` takes messages to it; ``connect`` makes the tunnel. While the tunnel is up, its counters go to
    the page every ``stats_interval`` seconds. ``gauges`` adds numbers of the worker to them, by name.
    ``on_activity`` is called with every request and answer; looking at counters does not count.
    """

    def __init__(
        self,
        post: Callable[[ToPage], None],
        connect: Connect,
        *,
        stats_interval: float = STATS_INTERVAL,
        gauges: Callable[[], dict[str, int]] | None = None,
        on_activity: Callable[[], None] = lambda: None,
    ) -> None:
        self._post = post
        self._on_activity = on_activity
        self._gauges = gauges
        self._connect = connect
        self._stats_interval = stats_interval
        self._stats_task: asyncio.Task[None] | None = None
        self._tunnel: TunnelLike | None = None
        self._tasks: dict[int, asyncio.Task[ToPage]] = {}
        self._exchanges: dict[int, Exchange] = {}
        self._sockets = SocketHandlers()
        self._closing: set[asyncio.Task[None]] = set()

    def receive(self, message: ToWorker) -> None:
        """Take a message; its answer is posted later."""
        match message:
            case Upload():
                self._receive_upload(message)
            case Abort():
                self._abort(message.target)
            case _:
                loop = asyncio.get_running_loop()
                task = loop.create_task(self._serve(message), name=f"{message.kind} {message.id}")
                self._tasks[message.id] = task
                task.add_done_callback(lambda done: self._finish(message, done))
                self._note_activity(message)

    def counters(self) -> dict[str, int]:
        """What is held right now; all zero when the page has nothing under way."""
        return {
            "requests": len(self._tasks),
            "exchanges": len(self._exchanges),
            "sockets": len(self._sockets),
            "closing": len(self._closing),
        }

    # ---- one coroutine per kind ----

    async def _setup(self, message: Setup) -> None:
        if self._tunnel is not None:
            raise TunnelStateError("this worker has a tunnel already")
        self._tunnel = await self._connect(TunnelOptions.from_mapping(message.options), self._on_event)
        self._stats_task = asyncio.get_running_loop().create_task(self._send_stats(), name="stats")

    async def _disconnect(self, message: Disconnect) -> None:
        # An unfinished set-up ends here as well: disconnect means that nothing goes on.
        for identifier in set(self._tasks) | set(self._exchanges):
            if identifier != message.id:
                self._abort(identifier)
        self._sockets.abort_all()
        while others := [task for key, task in self._tasks.items() if key != message.id]:
            await asyncio.wait(others)
        if self._stats_task is not None:
            self._stats_task.cancel()
            self._stats_task = None
        if self._closing:
            await asyncio.wait(self._closing)
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            await tunnel.aclose()

    async def _info(self, _: Info) -> dict[str, Any]:
        return self._open_tunnel().info()

    async def _stats(self, _: Stats) -> dict[str, Any]:
        return self._all_stats()

    async def _resolve(self, message: Resolve) -> str | list[dict[str, Any]]:
        tunnel = self._open_tunnel()
        family = cast(Family, message.family)  # the resolver checks it
        timeout = None if message.timeout is None else message.timeout / 1000
        if not message.all:
            return await tunnel.resolve(message.host, family=family, timeout=timeout)
        found = await tunnel.resolve_all(message.host, family=family, timeout=timeout)
        return [{"address": one.address, "family": one.family, "ttl": _whole(one.ttl)} for one in found]

    async def _fetch(self, message: Fetch) -> dict[str, Any]:
        exchange = self._exchanges[message.id] = Exchange()
        try:
            body = message.body
            response = await self._open_tunnel().fetch(
                message.url,
                method=message.method,
                headers=message.headers,
                body=self._demand_body(message.id) if isinstance(body, str) else body,
                redirect=message.redirect,
                max_redirects=message.max_redirects,
                timeouts=fetch_timeouts(message.timeouts, message.timeout),
                credentials=message.credentials,
            )
        except BaseException:
            del self._exchanges[message.id]
            raise
        exchange.response = response
        if not response.has_body:
            self._release(message.id, drained=True)
        return {
            "status": response.status,
            "statusText": response.reason,
            "headers": response.headers,
            "url": response.url,
            "redirected": response.redirected,
            "body": response.has_body,
            "timings": {phase: round(seconds * 1000, 1) for phase, seconds in response.timings.items()},
        }

    async def _pull(self, message: Pull) -> bytes | None:
        exchange = self._exchanges.get(message.target)
        if exchange is None or exchange.response is None:
            raise LocalProtocolError(f"fetch {message.target} has no open body")
        task = asyncio.current_task()
        assert task is not None
        exchange.pulling.add(task)
        try:
            data = await exchange.response.read_chunk(message.max_bytes)
        except BaseException:
            self._release(message.target)
            raise
        finally:
            exchange.pulling.discard(task)
        if not data:
            self._release(message.target)
            return None
        return data

    # ---- around them ----

    async def _serve(self, message: Request) -> ToPage:
        try:
            match message:
                case Setup():
                    await self._setup(message)
                    return ResultMessage(message.id)
                case Disconnect():
                    await self._disconnect(message)
                    return ResultMessage(message.id)
                case Info():
                    return ResultMessage(message.id, await self._info(message))
                case Stats():
                    return ResultMessage(message.id, await self._stats(message))
                case Resolve():
                    return ResultMessage(message.id, await self._resolve(message))
                case Fetch():
                    return ResultMessage(message.id, await self._fetch(message))
                case Pull():
                    return ResultMessage(message.id, {}, data=await self._pull(message))
                case SocketOpen() | SocketReceive() | SocketSend() | SocketClose():
                    return await self._sockets.serve(message, self._open_tunnel())
                case MixSend() | MixReply() | MixReceive():
                    return await serve_mix_request(message, self._open_tunnel().mix_client)
        except Exception as error:
            failure = describe(error)
            if failure.code == "INTERNAL":
                logger.exception("%s failed", message.kind)
            return FailureMessage(message.id, failure)

    def _finish(self, message: Request, task: asyncio.Task[ToPage]) -> None:
        # Here and not in _serve: a task that is cancelled before its first step never enters its coroutine.
        self._tasks.pop(message.id, None)
        self._post(FailureMessage(message.id, ABORTED) if task.cancelled() else task.result())
        self._note_activity(message)

    def _note_activity(self, message: Request) -> None:
        if not isinstance(message, Stats | Info):
            self._on_activity()

    async def _send_stats(self) -> None:
        while True:
            await asyncio.sleep(self._stats_interval)
            self._post(EventMessage("stats", self._all_stats()))

    def _all_stats(self) -> dict[str, Any]:
        worker = {"tasks": len(asyncio.all_tasks())}
        if self._gauges is not None:
            worker |= self._gauges()
        return self._open_tunnel().stats() | {"bridge": self.counters(), "worker": worker}

    def _open_tunnel(self) -> TunnelLike:
        if self._tunnel is None:
            raise TunnelStateError("the tunnel is not ready")
        return self._tunnel

    def _on_event(self, event: Any) -> None:
        detail = {
            camel_case(item.name): getattr(event, item.name)
            for item in (fields(event) if is_dataclass(event) else ())
            if item.name != "kind"
        }
        self._post(EventMessage(event.kind, detail))

    async def _demand_body(self, identifier: int) -> AsyncIterator[bytes]:
        """The streamed body of a request, asked for part by part as the tunnel takes it."""
        while (exchange := self._exchanges.get(identifier)) is not None:
            exchange.demanded = asyncio.get_running_loop().create_future()
            self._post(DemandMessage(identifier, UPLOAD_CHUNK))
            data = await exchange.demanded
            if data is None:
                return
            if data:
                yield data

    def _receive_upload(self, message: Upload) -> None:
        exchange = self._exchanges.get(message.target)
        if exchange is None or exchange.demanded is None or exchange.demanded.done():
            return  # The fetch ended in the meantime.
        if message.error is not None:
            exchange.demanded.set_exception(NetworkError(f"the request body broke off: {message.error}"))
        else:
            exchange.demanded.set_result(message.data)

    def _abort(self, identifier: int) -> None:
        task = self._tasks.get(identifier)
        if task is not None:
            task.cancel()
        exchange = self._exchanges.get(identifier)
        if exchange is not None and exchange.response is not None:
            for pulling in exchange.pulling:
                pulling.cancel()
            self._release(identifier)
        self._sockets.abort(identifier)

    def _release(self, identifier: int, *, drained: bool = False) -> None:
        """Let go of a response. ``drained``: nothing is left to read, so that its connection can be kept."""
        exchange = self._exchanges.pop(identifier, None)
        if exchange is None or exchange.response is None:
            return
        closing = asyncio.get_running_loop().create_task(self._close(exchange.response, drained))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _close(self, response: Response, drained: bool) -> None:
        try:
            if drained:
                await response.read_chunk(1)  # the end is noticed by reading it
            await response.aclose()
        except Exception:
            logger.debug("closing a response failed", exc_info=True)


def _whole(ttl: float | None) -> int | None:
    """A time to live in the unit of its records."""
    return None if ttl is None else math.ceil(ttl)


__all__ = ["STREAM", "Connect", "Handlers", "Response", "TunnelLike"]
