"""Raw messages over the page boundary: sent by the right call, received with what is known of the sender."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from smolmix_web.bridge.handlers import Handlers
from smolmix_web.bridge.messages import (
    Abort,
    Disconnect,
    FailureMessage,
    MixReceive,
    MixReply,
    MixSend,
    ResultMessage,
    Setup,
    ToPage,
    ToWorker,
    parse_message,
)
from smolmix_web.errors import Unreachable
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.options import TunnelOptions
from smolmix_web.tunnel.messages import MixMessage

SENDER = Recipient(bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32)


class ScriptedClient:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.incoming: asyncio.Queue[MixMessage] = asyncio.Queue()
        self.full = False

    async def send(self, recipient: str, data: bytes) -> None:
        if self.full:
            await asyncio.Event().wait()
        self.calls.append(("send", recipient, data))

    async def send_anonymous(self, recipient: str, data: bytes, *, reply_surbs: int) -> None:
        self.calls.append(("send_anonymous", recipient, data, reply_surbs))

    async def reply(self, sender_tag: str, data: bytes) -> None:
        raise Unreachable("no reply SURBs of this sender")

    async def receive(self) -> MixMessage:
        return await self.incoming.get()


class ScriptedTunnel:
    def __init__(self) -> None:
        self.mix_client = ScriptedClient()

    def stats(self) -> dict[str, Any]:
        return {}

    async def aclose(self) -> None:
        pass


class Page:
    def __init__(self) -> None:
        self.answers: asyncio.Queue[ToPage] = asyncio.Queue()
        self.tunnel = ScriptedTunnel()
        self.handlers = Handlers(self.answers.put_nowait, self.connect)

    async def connect(self, _options: TunnelOptions, _on_event: Callable[[Any], None]) -> Any:
        return self.tunnel

    async def ask(self, message: ToWorker) -> ToPage:
        self.handlers.receive(message)
        async with asyncio.timeout(10):
            return await self.answers.get()


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    page = Page()
    await page.ask(Setup(1, {}))
    yield page
    await page.ask(Disconnect(-1))


async def test_plain_and_anonymous_messages(page):
    text = '{"kind":"mixSend","id":2,"recipient":"a.b@c","data":null,"replySurbs":null}'
    assert await page.ask(parse_message(text, b"plain")) == ResultMessage(2)
    assert await page.ask(MixSend(3, "a.b@c", b"hidden", 0)) == ResultMessage(3)
    assert await page.ask(MixSend(4, "a.b@c", None, 7)) == ResultMessage(4)
    assert page.tunnel.mix_client.calls == [
        ("send", "a.b@c", b"plain"),
        ("send_anonymous", "a.b@c", b"hidden", 0),
        ("send_anonymous", "a.b@c", b"", 7),
    ]


async def test_a_failed_reply_tells_why(page):
    answer = await page.ask(MixReply(2, "tag", b"x"))
    assert isinstance(answer, FailureMessage)
    assert answer.error.code == "UNREACHABLE"


async def test_received_messages_carry_what_is_known_of_the_sender(page):
    incoming = page.tunnel.mix_client.incoming
    incoming.put_nowait(MixMessage(b"plain"))
    incoming.put_nowait(MixMessage(b"question", bytes(range(16))))
    incoming.put_nowait(MixMessage(b"answer", None, SENDER))
    nobody = {"senderTag": None, "sender": None}
    assert await page.ask(MixReceive(2)) == ResultMessage(2, nobody, b"plain")
    tagged = nobody | {"senderTag": base58.encode(bytes(range(16)))}
    assert await page.ask(MixReceive(3)) == ResultMessage(3, tagged, b"question")
    assert await page.ask(MixReceive(4)) == ResultMessage(4, nobody | {"sender": str(SENDER)}, b"answer")


async def test_waits_end_with_an_abort_and_with_the_tunnel(page):
    page.tunnel.mix_client.full = True
    page.handlers.receive(MixSend(2, "a.b@c", b"x", None))
    aborted = await page.ask(Abort(2))
    assert isinstance(aborted, FailureMessage)
    assert aborted.error.code == "ABORTED"
    page.handlers.receive(MixReceive(3))
    ended = await page.ask(Disconnect(4))
    assert isinstance(ended, FailureMessage)
    assert (ended.id, ended.error.code) == (3, "ABORTED")
    assert await page.answers.get() == ResultMessage(4)
    closed = await page.ask(MixReceive(5))
    assert isinstance(closed, FailureMessage)
    assert closed.error.code == "TUNNEL_NOT_READY"
