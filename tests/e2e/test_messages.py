"""Raw mixnet messages: plain, anonymous, replies; with a tunnel beside them and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import MakeTunnel, eventually, options_for
from smolmix_web.errors import OptionError, TunnelClosed, TunnelStateError, Unreachable
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.addresses import Recipient
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import MixClient, MixMessage, StateChange, TunnelState, TunnelTiming


class Clients:
    """Clients into one world, closed at the end."""

    def __init__(self, world: LocalWorld, stack: AsyncExitStack) -> None:
        self._world = world
        self._stack = stack

    async def add(self, **more: Any) -> MixClient:
        options = options_for(self._world, **more.pop("options", {}))
        client = await MixClient.connect(options, platform=NativePlatform(), **more)
        self._stack.push_async_callback(client.aclose)
        return client


@pytest.fixture
async def clients(world: LocalWorld) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        yield Clients(world, stack)


async def next_of(client: MixClient) -> MixMessage:
    async with asyncio.timeout(20):
        return await client.receive()


async def test_plain_anonymous_and_reply(clients: Clients) -> None:
    alice, bob = await clients.add(), await clients.add()
    await alice.send(bob.self_address, b"plain")
    assert await next_of(bob) == MixMessage(b"plain")
    await alice.send_anonymous(bob.address, b"who am I?", reply_surbs=3)
    question = await next_of(bob)
    assert (question.data, question.sender) == (b"who am I?", None)
    assert question.sender_tag is not None
    await bob.reply(question.sender_tag, b"no idea")
    assert await next_of(alice) == MixMessage(b"no idea", None, bob.address)


async def test_a_long_message_and_a_long_reply(clients: Clients) -> None:
    alice, bob = await clients.add(), await clients.add()
    long = bytes(range(256)) * 800
    await alice.send_anonymous(bob.address, long, reply_surbs=10)
    question = await next_of(bob)
    assert question.data == long
    assert question.sender_tag is not None
    await bob.reply(question.sender_tag, long[::-1])  # needs more reply SURBs than came along
    assert (await next_of(alice)).data == long[::-1]


async def test_events_instead_of_receive_and_iteration(clients: Clients) -> None:
    alice, bob = await clients.add(), await clients.add()
    got: list[bytes] = []
    await alice.send(bob.address, b"held until somebody listens")
    await eventually(lambda: bob.stats()["messages"]["held"] == 1)
    bob.on_message = lambda message: got.append(message.data)
    assert got == [b"held until somebody listens"]
    await alice.send(bob.address, b"at once")
    await eventually(lambda: len(got) == 2)
    bob.on_message = None
    for number in range(3):
        await alice.send(bob.address, b"%d" % number)

    async def collect() -> list[bytes]:
        return [message.data async for message in bob]

    collecting = asyncio.create_task(collect())
    await eventually(lambda: bob.stats()["messages"]["received"] == 5)
    await bob.aclose()
    assert sorted(await collecting) == [b"0", b"1", b"2"]
    with pytest.raises(TunnelClosed):
        await bob.receive()


async def test_beside_a_tunnel(world: LocalWorld, make_tunnel: MakeTunnel, clients: Clients) -> None:
    bob, tunnel = await clients.add(), await make_tunnel(world)
    response = await tunnel.fetch("http://web.test/bytes/300000")
    await tunnel.mix_client.send_anonymous(bob.address, b"from a page", reply_surbs=2)
    tag = (await next_of(bob)).sender_tag
    assert tag is not None
    await bob.reply(tag, b"to a page")
    assert (await next_of(tunnel.mix_client)).data == b"to a page"
    assert len(await response.read()) == 300_000


async def test_wrong_arguments_and_states(clients: Clients) -> None:
    alice = await clients.add()
    to_nowhere = Recipient(alice.address.identity, alice.address.encryption, alice.address.identity)
    with pytest.raises(Unreachable, match="gateway"):
        await alice.send(to_nowhere, b"x")
    with pytest.raises(Unreachable, match="SURBs"):
        await alice.reply(bytes(16), b"x")
    wrong_arguments: list[tuple[str, Any]] = [
        ("recipient", lambda: alice.send("nobody", b"x")),
        ("recipient", lambda: alice.send(None, b"x")),  # type: ignore[arg-type]
        ("data", lambda: alice.send(alice.address, "text")),  # type: ignore[arg-type]
        ("data", lambda: alice.send(alice.address, bytes(17 << 20))),
        ("replySurbs", lambda: alice.send_anonymous(alice.address, b"x", reply_surbs=501)),
        ("senderTag", lambda: alice.reply(b"short", b"x")),
        ("senderTag", lambda: alice.reply("0OIl", b"x")),
        ("data", lambda: alice.reply(bytes(16), b"")),
    ]
    for field, call in wrong_arguments:
        with pytest.raises(OptionError, match=field):
            await call()
    await alice.aclose()
    with pytest.raises(TunnelStateError, match="shutdown"):
        await alice.send(to_nowhere, b"x")
    await alice.aclose()


async def test_a_client_tells_its_states_and_leaves_nothing(world: LocalWorld) -> None:
    before = asyncio.all_tasks()
    states: list[TunnelState] = []

    def note(event: object) -> None:
        if isinstance(event, StateChange):
            states.append(event.state)

    async with await MixClient.connect(
        options_for(world), platform=NativePlatform(), on_event=note, timing=TunnelTiming()
    ) as client:
        assert client.info()["address"] == client.self_address
    assert states == ["connecting", "ready", "shutting_down", "shutdown"]
    await asyncio.sleep(0.05)
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not left & {"gateway-link", "tunnel-driver", "topology-refresh", "gateway-websocket-writer"}


async def test_keys_under_a_passphrase(world: LocalWorld, tmp_path: Path) -> None:
    async def address(passphrase: str | None) -> str:
        options = options_for(world, client_id="sealed", storage_passphrase=passphrase)
        async with await MixClient.connect(options, platform=NativePlatform(tmp_path)) as client:
            return client.self_address

    first = await address("correct horse")
    assert await address("correct horse") == first
    for wrong in ("battery staple", None):
        with pytest.raises(Exception, match="storagePassphrase") as caught:
            await address(wrong)
        assert getattr(caught.value, "code", "") == "STORAGE"
    assert await address("correct horse") == first
    assert first.split(".")[0] not in (tmp_path / "sealed" / "client").read_text()
