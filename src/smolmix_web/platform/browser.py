"""A Web Worker under Pyodide: the worker's own fetch, WebSocket and IndexedDB.

Written against ``js`` alone, so that a page which already runs Pyodide needs nothing but the wheel.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import js
from pyodide.ffi import JsException, create_proxy, to_js

from smolmix_web.errors import DeadlineError, NetworkError, OptionError
from smolmix_web.platform.base import HttpAnswer, Storage

# As in native.py: the directory's answers are about 1 MB.
MAX_HTTP_BODY = 64 * 1024 * 1024

# readyState values (HTML standard, section 9.3 "Web sockets" of its communication chapter)
OPEN = 1


class BrowserWebSocketLink:
    """:class:`~smolmix_web.platform.base.WebSocketLink` over the worker's ``WebSocket``.

    Frames wait as JavaScript values; they are turned into Python's when the driver takes them, which then
    finds a whole batch without another turn of the event loop.
    """

    def __init__(self, url: str) -> None:
        self._socket = js.WebSocket.new(url)
        self._socket.binaryType = "arraybuffer"
        self._frames: deque[Any] = deque()
        self._arrival: asyncio.Future[None] | None = None
        self._opened: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ended = False
        self._proxies = {
            "onopen": create_proxy(self._on_open),
            "onmessage": create_proxy(self._on_message),
            # A connection that a Content-Security-Policy forbids gives no close event, only an error.
            "onerror": create_proxy(self._on_end),
            "onclose": create_proxy(self._on_end),
        }
        for name, proxy in self._proxies.items():
            setattr(self._socket, name, proxy)

    async def opened(self) -> bool:
        """Whether the connection came up; the browser does not tell a page why it did not."""
        return await asyncio.shield(self._opened)

    async def receive(self) -> str | bytes | None:
        while not self._frames:
            if self._ended:
                return None
            self._arrival = asyncio.get_running_loop().create_future()
            await self._arrival
        frame = self._frames.popleft()
        return frame if isinstance(frame, str) else frame.to_bytes()

    def send(self, message: str | bytes) -> None:
        if self._ended or self._socket.readyState != OPEN:
            return
        self._socket.send(message if isinstance(message, str) else to_js(message))

    def buffered(self) -> int:
        return int(self._socket.bufferedAmount)

    async def close(self) -> None:
        self._end()
        self._socket.close()

    def _on_open(self, _: Any) -> None:
        if not self._opened.done():
            self._opened.set_result(True)

    def _on_message(self, event: Any) -> None:
        self._frames.append(event.data)
        self._wake()

    def _on_end(self, _: Any) -> None:
        self._end()

    def _end(self) -> None:
        """Detach from the socket. Frames that have arrived can still be received."""
        if self._ended:
            return
        self._ended = True
        for name, proxy in self._proxies.items():
            setattr(self._socket, name, None)
            proxy.destroy()
        self._proxies = {}
        if not self._opened.done():
            self._opened.set_result(False)
        self._wake()

    def _wake(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


class IndexedDbStorage:
    """One object store of blobs in one IndexedDB database per client id."""

    _STORE = "blobs"

    def __init__(self, client_id: str) -> None:
        self._name = f"smolmix-web.{client_id}"

    async def load(self, name: str) -> bytes | None:
        value = await self._run("readonly", lambda store: store.get(name))
        return None if value is None else value.to_bytes()

    async def save(self, name: str, value: bytes) -> None:
        await self._run("readwrite", lambda store: store.put(to_js(value), name))

    async def delete(self, name: str) -> None:
        await self._run("readwrite", lambda store: store.delete(name))

    async def _run(self, mode: str, action: Any) -> Any:
        """One transaction, which goes on to its end though the caller may be cancelled.

        A database whose opening is given up half way can be left without its store.
        """
        transaction = asyncio.ensure_future(self._transact(mode, action))
        try:
            return await asyncio.shield(transaction)
        except asyncio.CancelledError:
            transaction.add_done_callback(lambda task: task.cancelled() or task.exception())
            raise

    async def _transact(self, mode: str, action: Any) -> Any:
        """On a connection of its own, so that no other tab's upgrade or deletion is blocked."""
        database = await self._open()
        try:
            transaction = database.transaction(self._STORE, mode)
            return await _outcome(action(transaction.objectStore(self._STORE)))
        finally:
            database.close()

    async def _open(self) -> Any:
        """The database with its store: one that lacks it, whatever the reason, is given it."""
        database = await self._request(js.indexedDB.open(self._name))
        if database.objectStoreNames.contains(self._STORE):
            return database
        version = database.version + 1
        database.close()
        return await self._request(js.indexedDB.open(self._name, version))

    async def _request(self, opening: Any) -> Any:
        def upgrade(_: Any) -> None:
            if not opening.result.objectStoreNames.contains(self._STORE):
                opening.result.createObjectStore(self._STORE)

        on_upgrade = create_proxy(upgrade)
        opening.onupgradeneeded = on_upgrade
        try:
            return await _outcome(opening)
        finally:
            opening.onupgradeneeded = None
            on_upgrade.destroy()


async def _outcome(request: Any) -> Any:
    """The result of an ``IDBRequest``. :raises NetworkError: it failed (storage denied or full)."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def on_success(_: Any) -> None:
        if not future.done():
            future.set_result(request.result)

    def on_error(_: Any) -> None:
        if not future.done():
            future.set_exception(NetworkError(f"IndexedDB: {request.error.name}"))

    proxies = create_proxy(on_success), create_proxy(on_error)
    request.onsuccess, request.onerror = proxies
    try:
        return await future
    finally:
        request.onsuccess = request.onerror = None
        for proxy in proxies:
            proxy.destroy()


def _no_early_answer(url: str) -> Any:
    return None


_take_early_answer: Callable[[str], Any] = _no_early_answer


def use_early_answers(take: Callable[[str], Any]) -> None:
    """Let :meth:`BrowserPlatform.http_get` look first among answers that were asked for during the boot.

    ``take(url)`` gives the promise of a response, each once, or ``undefined``.
    """
    global _take_early_answer
    _take_early_answer = take


def accept_past_deadlines() -> None:
    """Let the running loop take deadlines that have just passed, as asyncio's own loops do.

    Pyodide's loop raises ValueError for them, so that ``asyncio.timeout`` fails whenever a busy worker
    comes a moment too late. (Pyodide 314: ``WebLoop.call_later``.)
    """
    loop: Any = asyncio.get_running_loop()
    if "call_later" in vars(loop):
        return  # done before
    original = loop.call_later

    def call_later(delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        handle: asyncio.Handle = original(max(delay, 0), callback, *args, context=context)
        return handle

    loop.call_later = call_later


class BrowserPlatform:
    """:class:`~smolmix_web.platform.base.Platform` for a worker (or a page) under Pyodide.

    To be made inside the running event loop.
    """

    name = "browser"

    def __init__(self) -> None:
        accept_past_deadlines()

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def http_get(self, url: str, headers: dict[str, str], timeout: float) -> HttpAnswer:
        controller = js.AbortController.new()
        init = {
            "headers": headers,
            "signal": controller.signal,
            # Nothing of the page goes along to the directory.
            "credentials": "omit",
            "referrerPolicy": "no-referrer",
            "cache": "no-store",
        }
        try:
            async with asyncio.timeout(timeout):
                early = _take_early_answer(url)
                if early is not None:
                    response = await early
                else:
                    response = await js.fetch(url, to_js(init, dict_converter=js.Object.fromEntries))
                declared = response.headers.get("content-length")
                if isinstance(declared, str) and declared.isdigit() and int(declared) > MAX_HTTP_BODY:
                    raise NetworkError(f"GET {url}: the answer is larger than {MAX_HTTP_BODY} bytes")
                body = (await response.arrayBuffer()).to_bytes()
        except TimeoutError as error:
            raise DeadlineError(f"GET {url}", timeout) from error
        except JsException as error:
            raise NetworkError(f"GET {url}: {_reason(error)}") from None
        finally:
            # After a complete answer this has no effect.
            controller.abort()
        content_type = response.headers.get("content-type")
        return HttpAnswer(int(response.status), content_type if isinstance(content_type, str) else "", body)

    async def open_websocket(self, url: str, timeout: float) -> BrowserWebSocketLink:
        try:
            link = BrowserWebSocketLink(url)
        except JsException as error:
            # A malformed URL, or ws: from a page that was loaded over https: (mixed content).
            raise NetworkError(f"WebSocket to {url}: {_reason(error)}") from None
        try:
            async with asyncio.timeout(timeout):
                if await link.opened():
                    return link
        except TimeoutError as error:
            await link.close()
            raise DeadlineError(f"WebSocket to {url}", timeout) from error
        except BaseException:
            await link.close()
            raise
        raise NetworkError(f"WebSocket to {url}: could not be opened")

    def storage(self, client_id: str) -> Storage:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", client_id):
            raise OptionError("clientId", "use 1 to 64 letters, digits, dots, dashes and underscores")
        return IndexedDbStorage(client_id)

    async def aclose(self) -> None:
        """Nothing is held beyond single calls."""


def _reason(error: JsException) -> str:
    with contextlib.suppress(AttributeError):
        return str(error.message)
    return str(error)
