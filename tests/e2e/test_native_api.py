"""The native client's interface over a local network, met by aiohttp's WebSocket client as an application."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest

from e2e.conftest import eventually, options_for
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.native_api import NativeApiServer
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import MixClient


class Application:
    """A program that speaks to one server."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket

    async def ask(self, **request: Any) -> dict[str, Any]:
        await self.socket.send_json(request)
        return await self.next()

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(30):
            answer: dict[str, Any] = json.loads(await self.socket.receive_str())
        return answer

    async def next_bytes(self) -> bytes:
        async with asyncio.timeout(30):
            return await self.socket.receive_bytes()


class Programs:
    """Clients with their servers, and applications at them; closed at the end."""

    def __init__(self, world: LocalWorld, stack: AsyncExitStack) -> None:
        self._world, self._stack = world, stack

    async def serve(self, **more: Any) -> NativeApiServer:
        client = await MixClient.connect(options_for(self._world), platform=NativePlatform())
        await self._stack.enter_async_context(client)
        return await self._stack.enter_async_context(NativeApiServer(client, port=0, **more))

    async def open(self, server: NativeApiServer, **more: Any) -> Application:
        session = await self._stack.enter_async_context(aiohttp.ClientSession())
        host, port = server.address
        return Application(await session.ws_connect(f"ws://{host}:{port}/any/path", **more))


@pytest.fixture
async def programs(world: LocalWorld) -> AsyncIterator[Programs]:
    async with AsyncExitStack() as stack:
        yield Programs(world, stack)


async def test_text_question_and_answer(programs: Programs) -> None:
    alice, bob = [await programs.open(await programs.serve()) for _ in range(2)]
    own = await alice.ask(type="selfAddress")
    his = (await bob.ask(type="selfAddress"))["address"]
    assert list(own) == ["type", "address"]
    await alice.socket.send_json({"type": "send", "message": "plain", "recipient": his})
    assert await bob.next() == {"type": "received", "message": "plain", "senderTag": None}
    lengths = await alice.ask(
        type="sendAnonymous", message="who am I?", recipient=his, replySurbs=3, connectionId=5
    )
    assert (lengths["type"], lengths["lane"]) == ("laneQueueLength", 5)
    question = await bob.next()
    assert (question["message"], len(base58.decode(question["senderTag"]))) == ("who am I?", 16)
    await bob.socket.send_json({"type": "reply", "message": "no idea", "senderTag": question["senderTag"]})
    assert await alice.next() == {"type": "received", "message": "no idea", "senderTag": None}


async def test_binary_and_errors(programs: Programs) -> None:
    alice, bob = [await programs.open(await programs.serve()) for _ in range(2)]
    await bob.socket.send_bytes(b"\3")
    his = Recipient.from_bytes((await bob.next_bytes())[1:])
    data = bytes(range(256)) * 40
    await alice.socket.send_bytes(b"\0" + his.to_bytes() + struct.pack("!QQ", 0, len(data)) + data)
    assert await bob.next_bytes() == b"\1\0" + struct.pack("!Q", len(data)) + data
    await alice.socket.send_bytes(b"")
    assert (await alice.next_bytes())[:2] == b"\0\1"
    await alice.socket.send_bytes(b"\5" + bytes(7) + b"\x09")
    assert await alice.next_bytes() == b"\3" + struct.pack("!QQ", 9, 0)
    await alice.socket.send_bytes(b"\4" + bytes(7) + b"\x09")  # closedConnection has no answer
    assert (await alice.ask(type="send", message="x", recipient="nobody"))["message"].startswith(
        "malformed request:recipient"
    )
    no_surbs = await alice.ask(type="reply", message="x", senderTag=base58.encode(bytes(16)))
    assert no_surbs == {"type": "error", "message": "other:no reply SURBs of this sender"}
    assert (await alice.ask(type="selfAddress"))["type"] == "selfAddress"  # still open


async def test_one_application_at_a_time_and_no_page(programs: Programs) -> None:
    server = await programs.serve(origins=["https://good.test"])
    first = await programs.open(server)
    with pytest.raises(aiohttp.ClientError):
        await programs.open(server)
    assert (await first.ask(type="selfAddress"))["type"] == "selfAddress"
    await first.socket.close()
    with pytest.raises(aiohttp.ClientError):
        await programs.open(server, origin="https://evil.test")
    page = await programs.open(server, origin="https://good.test")
    assert (await page.ask(type="selfAddress"))["type"] == "selfAddress"


async def test_messages_wait_for_an_application(programs: Programs) -> None:
    sender, receiver = await programs.serve(), await programs.serve()
    his = receiver._client.self_address
    alice = await programs.open(sender)
    for number in range(3):
        await alice.socket.send_json({"type": "send", "message": str(number), "recipient": his})
    await eventually(lambda: receiver._client.stats()["messages"]["held"] == 3)
    bob = await programs.open(receiver)
    got = {(await bob.next_bytes())[-1:] for _ in range(3)}  # bytes until the first request
    assert got == {b"0", b"1", b"2"}


async def test_a_closed_lane_is_not_sent(world: LocalWorld) -> None:
    """With pacing on, a long message waits in its lane, and is gone when the lane is closed."""
    async with (
        await MixClient.connect(
            options_for(world, disable_poisson_traffic=False), platform=NativePlatform()
        ) as alice,
        await MixClient.connect(options_for(world), platform=NativePlatform()) as bob,
    ):
        await alice.send(bob.address, bytes(400_000), connection_id=1)
        assert alice.queue_length(1) > 100
        alice.drop_lane(1)
        assert alice.queue_length(1) == 0
        await alice.send(bob.address, b"still here", connection_id=2)
        async with asyncio.timeout(30):
            assert (await bob.receive()).data == b"still here"
