"""WebSockets over the page boundary: every message in order, the end told once, nothing left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest

from smolmix_web.bridge.handlers import Handlers
from smolmix_web.bridge.messages import (
    Abort,
    Disconnect,
    FailureMessage,
    ResultMessage,
    Setup,
    SocketClose,
    SocketOpen,
    SocketReceive,
    SocketSend,
    ToPage,
    ToWorker,
)
from smolmix_web.errors import ConnectionReset, SmolmixError
from smolmix_web.options import TunnelOptions
from smolmix_web.websocket import WebSocketSettings


class ScriptedSocket:
    protocol = "chat"
    extensions = "permessage-deflate"

    def __init__(self) -> None:
        self.incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.sent: list[str | bytes] = []
        self.aborted = False
        self.close_code, self.close_reason, self.was_clean = 1006, "", False
        self.failure: SmolmixError | None = None

    async def receive(self) -> str | bytes | None:
        return await self.incoming.get()

    async def send(self, message: str | bytes) -> None:
        self.sent.append(message)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.close_code, self.close_reason, self.was_clean = code, reason, True
        self.incoming.put_nowait(None)

    def abort(self) -> None:
        self.aborted = True
        self.incoming.put_nowait(None)


class ScriptedTunnel:
    def __init__(self) -> None:
        self.socket = ScriptedSocket()
        self.opened: list[tuple[str, list[str]]] = []
        self.stuck = False

    def stats(self) -> dict[str, Any]:
        return {}

    async def open_websocket(
        self,
        url: str,
        protocols: Iterable[str],
        *,
        headers: Iterable[tuple[str, str]],
        settings: WebSocketSettings,
    ) -> ScriptedSocket:
        if self.stuck:
            await asyncio.Event().wait()
        self.headers, self.settings = list(headers), settings
        self.opened.append((url, list(protocols)))
        return self.socket

    async def aclose(self) -> None: ...


def socket_open(identifier: int, url: str, protocols: list[str], **more: Any) -> SocketOpen:
    values = {"headers": [], "timeouts": None, "ping_interval": None, "max_message_size": None, **more}
    return SocketOpen(identifier, url, protocols, **values)


class Page:
    def __init__(self) -> None:
        self.posted: list[ToPage] = []
        self.tunnel = ScriptedTunnel()
        self.handlers = Handlers(self.posted.append, self.connect)

    async def connect(self, options: TunnelOptions, on_event: Any) -> Any:
        return self.tunnel

    async def ask(self, message: ToWorker) -> ToPage:
        self.handlers.receive(message)
        return await self.answer(message.id)  # type: ignore[union-attr]

    async def answer(self, identifier: int) -> ToPage:
        for _ in range(100):
            for item in self.posted:
                if getattr(item, "id", None) == identifier:
                    return item
            await asyncio.sleep(0)
        raise AssertionError(f"no answer to {identifier}")


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    page = Page()
    await page.ask(Setup(1, {}))
    yield page
    await page.ask(Disconnect(-1))
    assert not any(page.handlers.counters().values())


async def test_open_tells_what_was_negotiated(page):
    answer = await page.ask(socket_open(2, "ws://web.test/", ["chat", "echo"]))
    assert answer == ResultMessage(2, {"protocol": "chat", "extensions": "permessage-deflate"})
    assert page.tunnel.opened == [("ws://web.test/", ["chat", "echo"])]


async def test_limits_and_headers_reach_the_socket(page):
    limits = {
        "timeouts": {"close": 500, "idle": 7000, "pong": None},
        "ping_interval": 20_000,
        "max_message_size": 1000,
    }
    await page.ask(socket_open(2, "ws://web.test/", [], headers=[("x", "1")], **limits))
    assert page.tunnel.headers == [("x", "1")]
    assert page.tunnel.settings == WebSocketSettings(
        idle_timeout=7, close_timeout=0.5, ping_interval=20, max_message_size=1000
    )
    for number, (bad, field) in enumerate(
        (
            ({"timeouts": {"queue": 5}}, "timeouts.queue"),
            ({"ping_interval": -1}, "pingInterval"),
            ({"max_message_size": 0}, "maxMessageSize"),
        ),
        3,
    ):
        answer = await page.ask(socket_open(number, "ws://web.test/", [], **bad))
        assert (answer.error.code, answer.error.field) == ("BAD_OPTION", field)


async def test_messages_keep_their_kind_and_order(page):
    await page.ask(socket_open(2, "ws://web.test/", []))
    for message in ("text", b"", b"\x00\xff", ""):
        page.tunnel.socket.incoming.put_nowait(message)
    answers = [await page.ask(SocketReceive(3 + n, 2)) for n in range(4)]
    assert [(answer.value, answer.data) for answer in answers] == [
        ({"text": "text"}, None),
        ({}, b""),
        ({}, b"\x00\xff"),
        ({"text": ""}, None),
    ]


async def test_send_texts_and_bytes(page):
    await page.ask(socket_open(2, "ws://web.test/", []))
    await page.ask(SocketSend(3, 2, "text", None))
    await page.ask(SocketSend(4, 2, None, b"bytes"))
    await page.ask(SocketSend(5, 2, "", None))
    assert page.tunnel.socket.sent == ["text", b"bytes", ""]


async def test_close_is_told_by_the_pending_receive(page):
    await page.ask(socket_open(2, "ws://web.test/", []))
    page.handlers.receive(SocketReceive(3, 2))
    await page.ask(SocketClose(4, 2, 3001, "bye"))
    closed = (await page.answer(3)).value["closed"]
    assert closed == {"code": 3001, "reason": "bye", "wasClean": True, "error": None}
    assert page.handlers.counters()["sockets"] == 0


async def test_a_lost_connection_says_why(page):
    await page.ask(socket_open(2, "ws://web.test/", []))
    page.tunnel.socket.failure = ConnectionReset("reset by peer")
    page.tunnel.socket.incoming.put_nowait(None)
    closed = (await page.ask(SocketReceive(3, 2))).value["closed"]
    assert (closed["code"], closed["wasClean"], closed["error"].code) == (1006, False, "RESET")


async def test_abort_while_opening(page):
    page.tunnel.stuck = True
    page.handlers.receive(socket_open(2, "ws://web.test/", []))
    await asyncio.sleep(0)
    page.handlers.receive(Abort(2))
    answer = await page.answer(2)
    assert isinstance(answer, FailureMessage)
    assert answer.error.code == "ABORTED"


async def test_abort_of_an_open_socket_cuts_it(page):
    await page.ask(socket_open(2, "ws://web.test/", []))
    page.handlers.receive(Abort(2))
    assert page.tunnel.socket.aborted


async def test_what_is_not_open_is_refused(page):
    for message in (SocketReceive(3, 9), SocketSend(4, 9, "x", None), SocketClose(5, 9, 1000, "")):
        answer = await page.ask(message)
        assert answer.error.code == "MISUSE"


async def test_disconnect_cuts_open_sockets():
    page = Page()
    await page.ask(Setup(1, {}))
    await page.ask(socket_open(2, "ws://web.test/", []))
    page.handlers.receive(SocketReceive(3, 2))
    await asyncio.sleep(0)
    await page.ask(Disconnect(4))
    assert page.tunnel.socket.aborted
    assert await page.answer(3)
    assert not any(page.handlers.counters().values())
