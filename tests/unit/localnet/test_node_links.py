"""Links between nodes over real sockets: queueing, loss of the peer, back-off, malformed streams."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest
from eventually import eventually
from leaks import nothing_left_behind

from smolmix_web.localnet.impairment import Impairment, ImpairmentConfig
from smolmix_web.localnet.links import LinkConfig, OutgoingLinks
from smolmix_web.localnet.listener import MixListener
from smolmix_web.localnet.node_stats import EgressStats, IngressStats
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import NodeFrame, encode_frame
from smolmix_web.nym.packets import KeyRotation, PacketType, PacketVersion

HOST = "127.0.0.1"


def frame(number: int, version: int = 7) -> bytes:
    packet = number.to_bytes(4, "big") + bytes(382)
    return encode_frame(NodeFrame(packet, PacketType.MIX, KeyRotation.ODD), version)


class Receiver:
    """A listener that keeps the numbers of the frames it got."""

    def __init__(self, **options) -> None:
        self.stats = IngressStats()
        self.numbers: list[int] = []
        self.frames: list[NodeFrame] = []
        self.listener = MixListener(self._take, self.stats, **options)
        self.address = NodeAddress(HOST, 0)

    def _take(self, frames: list[NodeFrame]) -> None:
        self.frames += frames
        self.numbers += [int.from_bytes(one.packet[:4], "big") for one in frames]

    async def start(self) -> Receiver:
        self.address = NodeAddress(HOST, await self.listener.start(HOST, self.address.port))
        return self

    async def got(self, count: int) -> None:
        await eventually(lambda: len(self.numbers) >= count)


def links(stats: EgressStats, impairment: Impairment | None = None, **config) -> OutgoingLinks:
    return OutgoingLinks(
        asyncio.get_running_loop(), stats, config=LinkConfig(**config), impairment=impairment
    )


async def test_frames_arrive_in_order_over_one_connection():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats)
        for number in range(500):
            outgoing.send(receiver.address, frame(number, 7 + number % 2))
        await receiver.got(500)
        assert receiver.numbers == list(range(500))
        assert receiver.listener.connections == 1
        assert stats.forward_hop_packets_sent == 500
        assert [one.version for one in receiver.frames[:2]] == [
            PacketVersion.LEGACY,
            PacketVersion.KEY_ROTATION,
        ]
        assert receiver.frames[0].rotation is KeyRotation.UNKNOWN
        assert receiver.frames[1].rotation is KeyRotation.ODD
        await outgoing.stop()
        await receiver.listener.stop()


async def test_queue_is_bounded_while_connecting():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats, queue_packets=20)
        for number in range(50):
            outgoing.send(receiver.address, frame(number))
        assert stats.dropped_queue_full == 30
        await receiver.got(20)
        assert receiver.numbers == list(range(20))
        await outgoing.stop()
        await receiver.listener.stop()


async def test_queue_is_bounded_when_the_peer_does_not_read():
    async with nothing_left_behind():
        with socket.socket() as deaf:
            deaf.bind((HOST, 0))
            deaf.listen()
            stats = EgressStats()
            outgoing = links(stats, queue_packets=100, write_buffer=64 * 1024)
            address = NodeAddress(HOST, deaf.getsockname()[1])
            for number in range(40_000):
                outgoing.send(address, frame(number))
                if number % 100 == 0:
                    await asyncio.sleep(0)
            assert stats.dropped_queue_full > 0
            report = outgoing.as_list()[0]
            assert report["queued"] <= 100
            assert report["state"] == "connected"
            await outgoing.stop()


async def test_refused_connection_drops_the_queue_and_backs_off():
    async with nothing_left_behind():
        with socket.socket() as unused:
            unused.bind((HOST, 0))
            address = NodeAddress(HOST, unused.getsockname()[1])
            stats = EgressStats()
            outgoing = links(stats, initial_backoff=0.05, maximum_backoff=0.1)
            for number in range(3):
                outgoing.send(address, frame(number))
            await eventually(lambda: stats.dropped_connect_failed == 3)
            assert outgoing.as_list()[0]["state"] == "idle"
            outgoing.send(address, frame(3))
            await asyncio.sleep(0.02)
            assert outgoing.as_list()[0]["state"] == "waiting to reconnect"
            outgoing.send(address, frame(4))
        receiver = Receiver()
        receiver.address = address
        await receiver.start()  # now somebody listens there: what waited arrives
        await receiver.got(2)
        assert receiver.numbers == [3, 4]
        await outgoing.stop()
        await receiver.listener.stop()


async def test_restarted_peer_is_found_again():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats, initial_backoff=0.02)
        outgoing.send(receiver.address, frame(1))
        await receiver.got(1)
        await receiver.listener.stop()
        await asyncio.sleep(0.05)
        again = Receiver()
        again.address = receiver.address
        await again.start()
        async with asyncio.timeout(5):
            number = 2
            while not again.numbers:
                outgoing.send(receiver.address, frame(number))
                number += 1
                await asyncio.sleep(0.01)
        assert outgoing.as_list()[0]["connections"] == 2
        await outgoing.stop()
        await again.listener.stop()


async def test_stopping_while_connecting_leaves_nothing():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats)
        outgoing.send(receiver.address, frame(1))
        await asyncio.sleep(0)
        await outgoing.stop()
        await receiver.listener.stop()


async def test_number_of_links_is_bounded():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats, max_links=1)
        outgoing.send(receiver.address, frame(1))
        outgoing.send(NodeAddress(HOST, 9), frame(2))
        assert len(outgoing.as_list()) == 1
        assert stats.dropped_queue_full == 1
        await receiver.got(1)
        await outgoing.stop()
        await receiver.listener.stop()


async def test_impaired_links_lose_duplicate_and_reorder():
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        config = ImpairmentConfig(loss=0.2, duplicate=0.2, reorder=0.5, reorder_delay=0.02, seed=1)
        outgoing = links(stats, Impairment(config, "test"))
        for number in range(300):
            outgoing.send(receiver.address, frame(number))
            await asyncio.sleep(0)
        expected = 300 - stats.lost_by_impairment + stats.duplicated_by_impairment
        await receiver.got(expected)
        await asyncio.sleep(0.05)
        assert len(receiver.numbers) == expected
        assert 30 < stats.lost_by_impairment < 90
        assert 20 < stats.duplicated_by_impairment < 80
        assert receiver.numbers != sorted(receiver.numbers)
        await outgoing.stop()
        await receiver.listener.stop()


# -- what strangers send ------------------------------------------------------------------------------------


async def talk(address: NodeAddress, data: bytes) -> bytes:
    """Send bytes; what came back until the node closed."""
    reader, writer = await asyncio.open_connection(address.ip, address.port)
    try:
        writer.write(data)
        async with asyncio.timeout(2):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x06\x02\x00",  # older than any
        b"\x09\x02\x00",  # newer than any
        b"\x07\x00\x00",
        b"\x07\x08\x00",
        b"\x07\x02\x01",
        b"\x08\x02\x00\x03",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        bytes(100),
    ],
)
async def test_malformed_stream_is_closed_and_others_are_not_disturbed(data):
    async with nothing_left_behind():
        receiver, stats = await Receiver().start(), EgressStats()
        outgoing = links(stats)
        outgoing.send(receiver.address, frame(1))
        await receiver.got(1)
        assert await talk(receiver.address, frame(77) + data) == b""
        assert receiver.numbers == [1, 77]  # what preceded the error counts
        assert receiver.stats.malformed_connections == 1
        outgoing.send(receiver.address, frame(2))
        await receiver.got(3)
        await outgoing.stop()
        await receiver.listener.stop()


async def test_a_thousand_malformed_connections():
    async with nothing_left_behind():
        receiver = await Receiver().start()
        source = random.Random(4)
        for _ in range(20):
            await asyncio.gather(*(talk(receiver.address, b"\x00" + source.randbytes(50)) for _ in range(50)))
        assert receiver.stats.malformed_connections == 1000
        assert receiver.listener.connections == 0
        assert receiver.numbers == []
        await receiver.listener.stop()


async def test_one_byte_at_a_time():
    async with nothing_left_behind():
        receiver = await Receiver().start()
        _, writer = await asyncio.open_connection(HOST, receiver.address.port)
        for byte in frame(5) + frame(6, 8):
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await receiver.got(2)
        assert receiver.numbers == [5, 6]
        writer.close()
        await writer.wait_closed()
        await receiver.listener.stop()


async def test_number_of_connections_is_bounded():
    async with nothing_left_behind():
        receiver = await Receiver(max_connections=5).start()
        writers = [(await asyncio.open_connection(HOST, receiver.address.port))[1] for _ in range(8)]
        await eventually(lambda: receiver.stats.refused_connections == 3)
        assert receiver.listener.connections == 5
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
        await receiver.listener.stop()
