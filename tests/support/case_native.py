"""Runs the cases of the tables with Python's own tunnel, and tells what was seen as a page does."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from smolmix_web.bridge.limits import fetch_timeouts, socket_settings
from smolmix_web.errors import NetworkError, OptionError, SmolmixError
from smolmix_web.fetch import FetchResponse
from smolmix_web.tunnel import Tunnel
from smolmix_web.websocket import WebSocketClient, WebSocketClosed
from support.case_table import Case, Seen, body_bytes, describe_message, pattern, sha256

BASE = "http://web.test"


async def repeat(case: Case, run: Callable[[], Awaitable[Seen]]) -> list[Seen]:
    """What was seen each time."""
    return await asyncio.gather(*(run() for _ in range(case.get("times", 1))))


def error_seen(error: BaseException) -> dict[str, Any]:
    """An error in the words of a page."""
    if isinstance(error, asyncio.CancelledError):
        return {"name": "AbortError", "message": "aborted"}
    assert isinstance(error, SmolmixError), repr(error)
    name = "TimeoutError" if error.code == "TIMEOUT" else "TypeError"
    return {
        "name": name,
        "code": error.code,
        "phase": error.phase,
        "retriable": error.retriable,
        "message": str(error),
        "field": error.field if isinstance(error, OptionError) else None,
    }


# -- fetch -------------------------------------------------------------------------------------------------


async def run_fetch(tunnel: Tunnel, case: Case) -> Seen:
    for step in case.get("first", ()):
        await run_fetch(tunnel, step)
    seen: Seen = {}
    task = asyncio.ensure_future(_fetch(tunnel, case, seen))
    abort = case.get("abort")
    if abort == "start":
        task.cancel()
    elif isinstance(abort, int):
        asyncio.get_running_loop().call_later(abort / 1000, task.cancel)
    try:
        await task
    except (SmolmixError, asyncio.CancelledError) as error:
        seen["error"] = error_seen(error)
    return seen


async def _fetch(tunnel: Tunnel, case: Case, seen: Seen) -> None:
    url = case["url"]
    headers = [(name, value) for name, value in case.get("headers", [])]
    body: bytes | AsyncIterator[bytes] | None = None
    if "body" in case:
        body = _stream(case["body"]) if case["body"]["kind"] == "stream" else body_bytes(case["body"])
        if case["body"]["kind"] == "text" and not any(name == "content-type" for name, _ in headers):
            headers.append(("content-type", "text/plain;charset=UTF-8"))
    response = await tunnel.fetch(
        BASE + url if url.startswith("/") else url,
        method=case.get("method", "GET"),
        headers=headers,
        body=body,
        redirect=case.get("redirect", "follow"),
        max_redirects=case.get("maxRedirects"),
        timeouts=fetch_timeouts(case.get("timeouts"), case.get("timeout")),
        credentials=case.get("credentials") != "omit",
    )
    seen.update(
        status=response.status,
        statusText=response.reason,
        url=response.url,
        redirected=response.redirected,
        headers=[list(pair) for pair in response.headers],
        setCookie=response.header_values("set-cookie"),
        nullBody=not response.has_body,
        chunks=0,
    )
    await _read(case, response, seen)


async def _read(case: Case, response: FetchResponse, seen: Seen) -> None:
    async with response:
        if case.get("abort") == "head":
            raise asyncio.CancelledError
        received = bytearray()
        while piece := await response.read_chunk():
            received += piece
            seen["chunks"] += 1
            if case.get("abort") == "body":
                raise asyncio.CancelledError
            if case.get("read") == "cancel":
                seen["cancelled"] = True
                return
    seen["size"], seen["sha256"] = len(received), sha256(received)
    seen["text"] = received.decode("utf-8", "replace") if len(received) < 100_000 else None


async def _stream(body: dict[str, Any]) -> AsyncIterator[bytes]:
    for number, size in enumerate(body["chunks"]):
        if body.get("pause"):
            await asyncio.sleep(body["pause"] / 1000)
        yield bytes([number & 255]) * size
    if body.get("break"):
        raise NetworkError("the stream broke")


# -- WebSocket ---------------------------------------------------------------------------------------------


async def run_socket(tunnel: Tunnel, case: Case) -> Seen:
    started = time.monotonic()
    options = case.get("options", {})
    seen: Seen = {"opened": False, "messages": [], "protocol": "", "extensions": "", "error": False}
    seen["close"] = {"code": 1006, "reason": "", "wasClean": False}
    try:
        settings = socket_settings(
            options.get("timeouts"), options.get("pingInterval"), options.get("maxMessageSize")
        )
        headers = [(name, value) for name, value in options.get("headers", [])]
        socket = await tunnel.open_websocket(
            case["url"], case.get("protocols", ()), headers=headers, settings=settings
        )
    except OptionError as error:
        if error.field in ("url", "protocols"):
            return {"throws": "SyntaxError"}
        return {**seen, "error": True, "code": error.code}
    except SmolmixError as error:
        return {**seen, "error": True, "code": error.code, "phase": error.phase}
    seen.update(opened=True, protocol=socket.protocol, extensions=socket.extensions)
    await asyncio.gather(_talk(socket, case, seen), _listen(socket, case, seen))
    seen["close"] = {"code": socket.close_code, "reason": socket.close_reason, "wasClean": socket.was_clean}
    seen["error"] = socket.failure is not None
    seen["ms"] = (time.monotonic() - started) * 1000
    return seen


async def _talk(socket: WebSocketClient, case: Case, seen: Seen) -> None:
    if "badClose" in case:
        try:
            await socket.close(*case["badClose"])
        except OptionError as error:
            seen["closeThrows"] = "InvalidAccessError" if error.field == "code" else "SyntaxError"
    for message in case.get("send", ()):
        if isinstance(message, dict):
            message = "x" * message["chars"] if "chars" in message else pattern(message["bytes"])
        try:
            await socket.send(message)
        except (WebSocketClosed, NetworkError):
            return
    if case.get("closeAfter") == 0:
        await asyncio.sleep(case.get("closeDelay", 0) / 1000)
        await _close(socket, case)


async def _listen(socket: WebSocketClient, case: Case, seen: Seen) -> None:
    closing: asyncio.Task[None] | None = None
    while (message := await socket.receive()) is not None:
        seen["messages"].append(describe_message(message))
        if case.get("closeAfter") == len(seen["messages"]):
            closing = asyncio.ensure_future(_close(socket, case))
    if closing is not None:
        await closing


async def _close(socket: WebSocketClient, case: Case) -> None:
    code, reason, *_ = [*case["close"], None, None]
    first = asyncio.ensure_future(socket.close(code, reason or ""))
    if "closeAgain" in case:
        await asyncio.sleep(0)
        await socket.close(*case["closeAgain"])
    await first


# -- names -------------------------------------------------------------------------------------------------


async def run_dns(tunnel: Tunnel, case: Case) -> Seen:
    options = case.get("options", {})
    timeout = options.get("timeout")
    arguments = {
        "family": options.get("family", 0),
        "timeout": None if timeout is None else timeout / 1000,
    }
    beside = [asyncio.ensure_future(tunnel.resolve(host)) for host in case.get("beside", ())]
    await asyncio.sleep(0)
    started = time.monotonic()
    call = tunnel.resolve_all if options.get("all") else tunnel.resolve
    task: asyncio.Task[Any] = asyncio.ensure_future(call(case["host"], **arguments))
    if case.get("abort") is not None:
        asyncio.get_running_loop().call_later(case["abort"] / 1000, task.cancel)
    try:
        value = await task
    except (SmolmixError, asyncio.CancelledError) as error:
        return {"error": error_seen(error)}
    finally:
        for other in beside:
            other.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    if options.get("all"):
        value = [
            {"address": one.address, "family": one.family, "ttl": one.ttl and math.ceil(one.ttl)}
            for one in value
        ]
    return {"value": value, "ms": (time.monotonic() - started) * 1000}
