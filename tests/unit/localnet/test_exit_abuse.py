"""A thousand malformed messages for each door of an exit: counted, forgotten, and nobody else notices."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, replace

import pytest
import pytest_asyncio
from exit_network import ExitNetwork, NetworkClient, exit_network

from smolmix_web.ipr.bundle import join_bundle
from smolmix_web.ipr.events import Connected
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame
from smolmix_web.ipr.requests import ConnectRequest, DataRequest, emit_request
from smolmix_web.ipr.timestamp import Timestamp
from smolmix_web.localnet.exit_service import ExitConfig
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.testnet.tcp import pattern
from smolmix_web.net.stack import Stack
from smolmix_web.nym.fragments import Fragment, fragment_length, split
from smolmix_web.nym.message import NymMessage, PlainData, encode_message, pad
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.payload import agree_fragment_key
from smolmix_web.nym.replies import RepliableData, ReplyData, SurbList

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

MESSAGES = 1000
ECHO = "192.0.2.40"
UNKNOWN = "10.77.66.55"
DROPS = (
    "malformed",
    "unsupported_version",
    "wrong_transport",
    "missing_sender_tag",
    "malformed_packets",
    "unknown_source",
    "foreign_source",
)
"""Every reason for which the router drops a message; each of the messages below has exactly one of them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def config() -> AsyncIterator[ExitConfig]:
    async with TestInternet() as internet:
        yield ExitConfig(address_map=internet.address_map, reach_internet=False)


def sealed(network: ExitNetwork, fragment: bytes, chance: random.Random) -> bytes:
    """As a stranger encrypts it for the exit; what the mixnet would have brought."""
    return agree_fragment_key(network.service.address.encryption, chance.randbytes).encrypt(fragment)


def delivered(network: ExitNetwork, message: NymMessage, chance: random.Random) -> list[bytes]:
    padded, size = pad(encode_message(message), PacketSize.REGULAR)
    ids = (chance.randrange(1, 1 << 31) for _ in itertools.count())
    return [sealed(network, piece.to_bytes(), chance) for piece in split(padded, size, ids)]


def bad_pushes(network: ExitNetwork, chance: random.Random) -> Iterator[bytes]:
    """What the exit's Nym client cannot make a message of."""
    length = fragment_length(PacketSize.REGULAR)
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: chance.randbytes(21),  # an ack of nothing
        lambda: chance.randbytes(chance.randrange(1, 5000)),
        lambda: bytes(chance.randrange(1, 5000)),  # an ephemeral key of small order
        lambda: sealed(network, b"", chance),
        lambda: sealed(network, chance.randbytes(chance.randrange(1, 7)), chance),
        lambda: sealed(network, bytes(length), chance),
        # One of many, of a message that never comes: kept for a while, within the bound.
        lambda: sealed(
            network, Fragment(chance.randrange(1, 1 << 31), 255, 7, bytes(length - 7)).to_bytes(), chance
        ),
        # Whole fragments of what is no message, or of one that only a SURB of the exit may bring.
        lambda: sealed(
            network, Fragment(chance.randrange(1, 1 << 31), 1, 1, bytes(length - 7)).to_bytes(), chance
        ),
        lambda: delivered(network, ReplyData(b"from nobody"), chance)[0],
    )
    for number in range(MESSAGES):
        yield makers[number % len(makers)]()


def bad_requests(connected: Connected, tag: bytes, chance: random.Random) -> Iterator[tuple[NymMessage, str]]:
    """Messages that the router drops, each with the counter of its reason."""

    def from_tag(data: bytes) -> NymMessage:
        return RepliableData(tag, SurbList(), data)

    def framed(payload: bytes) -> bytes:
        return emit_stream_frame(
            StreamFrame(chance.getrandbits(64), StreamMessageType.DATA, chance.getrandbits(32), payload)
        )

    def connect(version: int) -> bytes:
        stamp = Timestamp.from_unix(time.time() + chance.choice((-1e6, 0, 1e6)))
        return emit_request(ConnectRequest(version, chance.getrandbits(32), stamp))

    def data(packet: bytes) -> bytes:
        return emit_request(DataRequest(chance.choice((9, 10)), join_bundle([packet])))

    def syn(source: str) -> bytes:
        stack = Stack(ipv4=source, ipv6="fc00::77", mtu=1400, random_bytes=chance.randbytes)
        stack.connect_tcp(ECHO, chance.randrange(1, 65536), 0.0)
        return stack.packets_to_send(0.0)[0]

    def cut(whole: bytes) -> bytes:
        return whole[: chance.randrange(1, len(whole))]

    makers: tuple[Callable[[], tuple[NymMessage, str]], ...] = (
        lambda: (from_tag(b""), "malformed"),
        lambda: (from_tag(b"\x05\0" + chance.randbytes(60)), "unsupported_version"),  # unknown LP kind
        lambda: (from_tag(b"\x03\0" + bytes(8) + b"\x07" + bytes(30)), "malformed"),  # no such stream message
        lambda: (from_tag(framed(cut(connect(chance.choice((9, 10)))))), "malformed"),
        lambda: (from_tag(framed(connect(9) + b"and more")), "malformed"),
        lambda: (from_tag(cut(connect(8))), "malformed"),
        lambda: (
            from_tag(framed(bytes([chance.choice((0, 5, 11))]) + connect(9)[1:])),
            "unsupported_version",
        ),
        lambda: (from_tag(framed(connect(8))), "wrong_transport"),
        lambda: (from_tag(connect(chance.choice((9, 10)))), "wrong_transport"),
        lambda: (PlainData(framed(connect(10))), "missing_sender_tag"),
        lambda: (from_tag(framed(data(b""))), "malformed_packets"),
        lambda: (from_tag(framed(data(b"\x55" + chance.randbytes(300)))), "malformed_packets"),
        lambda: (from_tag(framed(data(cut(syn(UNKNOWN))))), "malformed_packets"),
        lambda: (from_tag(framed(data(b"\x60" + bytes(3) + b"\xff\xff" + bytes(60)))), "malformed_packets"),
        lambda: (from_tag(framed(data(syn(UNKNOWN)))), "unknown_source"),
        lambda: (from_tag(framed(data(syn(str(connected.ipv4))))), "foreign_source"),
    )
    for number in range(MESSAGES):
        yield makers[number % len(makers)]()


async def echoed(client: NetworkClient, data: bytes, meanwhile: Callable[[], None]) -> bytes:
    """``data`` over a new connection to the echo server and back, with something else going on."""
    connection = await client.connect_tcp(ECHO, 7)
    view, received = memoryview(data), bytearray()

    def exchange() -> bool:
        nonlocal view
        meanwhile()
        if view:
            view = view[connection.send(view, client.now) :]
        received.extend(connection.recv(1 << 16, client.now))
        return len(received) == len(data)

    await client.until(exchange, 60)
    connection.shutdown_write(client.now)
    return bytes(received)


async def test_malformed_pushes_for_the_exits_nym_client(config: ExitConfig) -> None:
    chance = random.Random(1)
    tight = replace(config, client=replace(config.client, max_reassembly_bytes=100_000))
    async with exit_network(tight) as network:
        client = network.add_client()
        await client.connect_exit()
        nym = network.service.nym
        assert nym is not None
        stats = nym.stats
        attack = bad_pushes(network, chance)

        def a_few() -> None:
            for push in itertools.islice(attack, 25):
                network.service.receive_push(push)

        def refused() -> int:
            return sum(asdict(stats.malformed).values()) + stats.acks_unmatched + stats.acks_cover

        assert await echoed(client, pattern(40_000), a_few) == pattern(40_000)
        for push in attack:  # what is left, all at once
            network.service.receive_push(push)
        pieces = MESSAGES // 9
        # One random message in a thousand looks like a piece of a larger one.
        await client.until(lambda: refused() >= MESSAGES - pieces - 5, 60)
        assert all(asdict(stats.malformed)[what] for what in ("ack", "ciphertext", "fragment", "message"))
        assert stats.malformed.reply_without_surb == pieces
        assert stats.reassembly.buffered <= 100_000
        assert stats.reassembly.evicted > pieces / 2
        assert network.service.pushes_dropped == 0
        router = network.service.ipr.stats
        assert [getattr(router, name) for name in DROPS] == [0] * len(DROPS)  # none became a message
        assert await echoed(client, b"still there?", lambda: None) == b"still there?"


async def test_malformed_requests_for_the_router(config: ExitConfig) -> None:
    chance = random.Random(2)
    async with exit_network(config) as network:
        client = network.add_client()
        connected = await client.connect_exit()
        router = network.service.ipr
        attack = bad_requests(connected, chance.randbytes(16), chance)
        wanted = dict.fromkeys(DROPS, 0)

        def send(messages: Iterator[tuple[NymMessage, str]]) -> None:
            for message, reason in messages:
                wanted[reason] += 1
                for push in delivered(network, message, chance):
                    network.service.receive_push(push)

        assert await echoed(client, pattern(40_000), lambda: send(itertools.islice(attack, 25))) == pattern(
            40_000
        )
        send(attack)

        def dropped() -> dict[str, int]:
            return {name: getattr(router.stats, name) for name in DROPS}

        await client.until(lambda: sum(dropped().values()) >= MESSAGES, 60)
        assert dropped() == wanted
        assert len(router) == 1  # no session was made of any of it
        assert network.service.way_out.snapshot()["clients"] == 1
        assert await echoed(client, b"still there?", lambda: None) == b"still there?"
