"""A tunnel for code without ``async``: the event loop runs in a thread of its own, or, under Pyodide, in the
pauses of WebAssembly.

::

    with BlockingTunnel.connect() as tunnel:
        response = tunnel.fetch("https://example.com/")
        print(response.status, response.read())

Under Pyodide it needs a browser that can suspend WebAssembly (:mod:`smolmix_web.platform.suspend`).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from types import TracebackType
from typing import Any, Protocol, TypeVar

from smolmix_web.errors import TunnelClosed
from smolmix_web.fetch import FetchResponse
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import Platform
from smolmix_web.resolve import Address, Family
from smolmix_web.tunnel import Tunnel, TunnelState
from smolmix_web.tunnel.events import Observer

_T = TypeVar("_T")


class Runner(Protocol):
    """Waits for coroutines."""

    def run(self, work: Coroutine[Any, Any, _T]) -> _T: ...

    def stop(self) -> None:
        """Idempotent; ``run`` raises :class:`~smolmix_web.errors.TunnelClosed` from now on."""
        ...


class LoopThread:
    """An event loop in a daemon thread; :meth:`run` may be called from any other thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``, which is cancelled when this thread is interrupted.

        :raises TunnelClosed: the thread has been stopped.
        """
        if self._loop.is_closed() or threading.current_thread() is self._thread:
            work.close()
            raise TunnelClosed("the tunnel is closed, or was called from its own thread")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        """End the loop and its thread. Idempotent."""
        if self._loop.is_closed():
            return
        self.run(self._leave_nothing())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _leave_nothing(self) -> None:
        """As :func:`asyncio.run` does at its end."""
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._loop.shutdown_default_executor()


class PausingRunner:
    """Pyodide: the page's own event loop goes on while Python waits."""

    def __init__(self) -> None:
        self._stopped = False

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """:raises LocalProtocolError: Python cannot wait here. :raises TunnelClosed: after :meth:`stop`."""
        from smolmix_web.platform.suspend import run_sync

        if self._stopped:
            work.close()
            raise TunnelClosed("the tunnel is closed")
        return run_sync(work)

    def stop(self) -> None:
        self._stopped = True


class BlockingTunnel:
    """A :class:`~smolmix_web.tunnel.Tunnel` whose calls wait.

    Made by :meth:`connect`, ended by :meth:`close`.

    May be used from any number of threads at once; a context manager closes it.
    """

    def __init__(self, runner: Runner, tunnel: Tunnel) -> None:
        """Use :meth:`connect`."""
        self._runner = runner
        self.tunnel = tunnel
        """The tunnel itself, for :meth:`run`; its methods belong to the loop's thread."""

    @classmethod
    def connect(
        cls,
        options: TunnelOptions | None = None,
        *,
        platform: Platform | None = None,
        on_event: Observer | None = None,
    ) -> BlockingTunnel:
        """Set a tunnel up and wait until it is ready.

        :param on_event: called in the loop's thread, which must not wait for the tunnel.

        Otherwise as :meth:`Tunnel.connect <smolmix_web.tunnel.Tunnel.connect>`.
        """
        runner: Runner = PausingRunner() if sys.platform == "emscripten" else LoopThread("smolmix-tunnel")
        try:
            tunnel = runner.run(Tunnel.connect(options, platform=platform, on_event=on_event))
        except BaseException:
            runner.stop()
            raise
        return cls(runner, tunnel)

    def close(self) -> None:
        """Shut the tunnel down and end its thread. Idempotent."""
        try:
            self._runner.run(self.tunnel.aclose())
        except TunnelClosed:
            return
        self._runner.stop()

    def __enter__(self) -> BlockingTunnel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of a coroutine, such as ``tunnel.run(tunnel.tunnel.open_websocket(url))``."""
        return self._runner.run(work)

    @property
    def state(self) -> TunnelState:
        return self.tunnel.state

    def fetch(
        self, url: str, *, body: bytes | Iterable[bytes] | None = None, **more: Any
    ) -> BlockingResponse:
        """As :meth:`Tunnel.fetch <smolmix_web.tunnel.Tunnel.fetch>`.

        :param body: bytes, or an iterable of bytes for a streamed upload; it is read in a thread of its own.
        """
        sent = body if body is None or isinstance(body, bytes) else pieces_of(body)
        return BlockingResponse(self, self.run(self.tunnel.fetch(url, body=sent, **more)))

    def resolve(self, host: str, *, family: Family = 0, timeout: float | None = None) -> str:
        """As :meth:`Tunnel.resolve <smolmix_web.tunnel.Tunnel.resolve>`."""
        return self.run(self.tunnel.resolve(host, family=family, timeout=timeout))

    def resolve_all(
        self, host: str, *, family: Family = 0, timeout: float | None = None
    ) -> tuple[Address, ...]:
        """As :meth:`Tunnel.resolve_all <smolmix_web.tunnel.Tunnel.resolve_all>`."""
        return self.run(self.tunnel.resolve_all(host, family=family, timeout=timeout))


class BlockingResponse:
    """A :class:`~smolmix_web.fetch.FetchResponse` whose body is read with waiting calls."""

    def __init__(self, tunnel: BlockingTunnel, response: FetchResponse) -> None:
        self._tunnel = tunnel
        self._response = response
        self.status = response.status
        self.reason = response.reason
        self.headers = response.headers
        """Pairs of lower-case name and value, in order."""
        self.url = response.url
        self.redirected = response.redirected

    def __repr__(self) -> str:
        return f"<BlockingResponse {self.status} {self.url}>"

    def read_chunk(self, max_bytes: int = 65536) -> bytes:
        """The next 1 to ``max_bytes`` decoded bytes, ``b""`` at the end."""
        return self._tunnel.run(self._response.read_chunk(max_bytes))

    def read(self) -> bytes:
        """What is left of the body, decoded."""
        return self._tunnel.run(self._response.read())

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read_chunk():
            yield piece

    def close(self) -> None:
        """Give the body up; frees the connection. Idempotent."""
        try:
            self._tunnel.run(self._response.aclose())
        except TunnelClosed:
            return

    def __enter__(self) -> BlockingResponse:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


async def pieces_of(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    """``body``, read in a worker thread, because it may wait for whatever it likes (Pyodide has none)."""
    iterator = iter(body)
    while True:
        if sys.platform == "emscripten":
            piece = next(iterator, None)
        else:
            piece = await asyncio.to_thread(next, iterator, None)
        if piece is None:
            return
        if piece:
            yield bytes(piece)
