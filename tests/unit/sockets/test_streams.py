"""Sockets over real TCP: cancellation, back-pressure, ends, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random

import pytest

from smolmix_web.errors import (
    ConnectionRefused,
    ConnectionReset,
    DeadlineError,
    LocalProtocolError,
    NetworkError,
    TunnelClosed,
)
from smolmix_web.net import State
from smolmix_web.sockets.streams import TcpStream
from support.netsim import SERVER, Path
from support.stack_net import StackNet

SOON = 20.0


async def echo(stream: TcpStream) -> None:
    async with stream:
        while data := await stream.read():
            await stream.write(data)


async def silent(stream: TcpStream) -> None:
    try:
        await asyncio.sleep(3_600)
    finally:
        stream.abort()


async def read_all(stream: TcpStream) -> bytes:
    got = bytearray()
    while data := await stream.read():
        got += data
    return bytes(got)


async def test_what_is_written_comes_back_and_ends() -> None:
    data = random.Random(1).randbytes(700_000)
    async with StackNet(Path(delay=0.003, jitter=0.002, loss=0.01)) as net, asyncio.timeout(SOON):
        net.serve(7, echo)
        async with await net.client.connect(7) as stream:
            reading = asyncio.create_task(read_all(stream))
            await stream.write(data)
            await stream.write_eof()
            assert await reading == data


async def test_a_cancelled_read_loses_no_byte() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, echo)
        stream = await net.client.connect(7)
        expected, got = bytearray(), bytearray()
        rnd = random.Random(2)
        for _ in range(60):
            piece = rnd.randbytes(rnd.randint(1, 3_000))
            expected += piece
            await stream.write(piece)
            reading = asyncio.create_task(stream.read())
            await asyncio.sleep(rnd.choice((0.0, 0.001, 0.004, 0.006)))
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                got += await reading
        while len(got) < len(expected):
            got += await stream.read()
        assert got == expected
        stream.abort()


async def test_a_cancelled_write_has_handed_over_a_prefix_and_the_stream_goes_on() -> None:
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def slow(stream: TcpStream) -> None:
        await asyncio.sleep(0.2)
        got.set_result(await read_all(stream))
        await stream.close()

    data = random.Random(3).randbytes(8_000_000)
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, slow)
        stream = await net.client.connect(7)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await stream.write(data)
        await stream.write(b"the end")
        await stream.write_eof()
        received = await got
        assert received.endswith(b"the end")
        assert data.startswith(received[:-7])
        await stream.close()


async def test_a_reader_that_stops_holds_the_writer_back() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, silent)
        stream = await net.client.connect(7)
        written = 0

        async def write() -> None:
            nonlocal written
            while True:
                await stream.write(bytes(50_000))
                written += 50_000

        writing = asyncio.create_task(write())
        await asyncio.sleep(0.5)
        before = written
        await asyncio.sleep(0.3)
        assert written == before < 10_000_000
        writing.cancel()
        stream.abort()


@pytest.mark.parametrize("end", ["close", "abort"])
async def test_closing_wakes_a_task_that_reads_and_one_that_writes(end: str) -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, silent)
        stream = await net.client.connect(7)
        reading = asyncio.create_task(stream.read())
        writing = asyncio.create_task(stream.write(bytes(20_000_000)))
        await asyncio.sleep(0.2)
        assert not reading.done()
        assert not writing.done()
        if end == "close":
            await stream.close()
        else:
            stream.abort()
        with pytest.raises(ConnectionReset):
            await reading
        with pytest.raises(LocalProtocolError):
            await writing
        with pytest.raises(LocalProtocolError):
            await stream.write(b"more")


async def test_refused_and_timed_out_connects_leave_nothing() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        with pytest.raises(ConnectionRefused):
            await net.client.connect(7)
        with pytest.raises(DeadlineError):
            await net.client.connect(7, address="10.0.0.77", timeout=0.2)
        connecting = asyncio.create_task(net.client.connect(7, address="10.0.0.77"))
        await asyncio.sleep(0.05)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        assert net.client.live.counts()["connections"] == 0
        assert net.client.waiters == {} or all(
            future.done() for futures in net.client.waiters.values() for future in futures
        )


async def test_a_reset_reaches_reader_and_writer_after_what_came_before() -> None:
    async def rude(stream: TcpStream) -> None:
        await stream.write(b"before")
        await asyncio.sleep(0.1)
        stream.abort()

    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, rude)
        stream = await net.client.connect(7)
        await asyncio.sleep(0.3)
        assert await stream.read() == b"before"
        with pytest.raises(ConnectionReset):
            await stream.read()
        with pytest.raises(ConnectionReset):
            await stream.write(b"x")


async def test_a_lost_exit_ends_what_waits() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, silent)
        stream, udp = await net.client.connect(7), net.client.udp()
        waiting = [asyncio.create_task(stream.read()), asyncio.create_task(udp.recv_from())]
        await asyncio.sleep(0.05)
        net.client.lose_exit()
        for task in waiting:
            with pytest.raises(TunnelClosed):
                await task
        with pytest.raises(TunnelClosed):
            await stream.write(b"x")
        with pytest.raises(TunnelClosed):
            udp.send_to(b"x", (SERVER, 53))
        assert not udp.usable


async def test_a_forgotten_stream_is_reset_with_a_warning() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, silent)
        stream = await net.client.connect(7)
        stream.cycle = stream  # type: ignore[attr-defined]  # for the collector to find
        assert net.client.live.counts()["connections"] == 1
        del stream
        with pytest.warns(ResourceWarning, match="unclosed stream"):
            gc.collect()
        assert net.client.live.counts()["connections"] == 0


async def test_nagle_can_be_switched_on_for_one_socket() -> None:
    async with StackNet(Path(delay=0.05)) as net, asyncio.timeout(SOON):
        net.serve(7, silent)
        stream = await net.client.connect(7)
        stream.set_no_delay(False)
        await asyncio.sleep(0.05)
        sent = net.client.live.stats.packets_sent
        for _ in range(20):
            await stream.write(b"x")
            await asyncio.sleep(0.001)
        held = net.client.live.stats.packets_sent - sent
        assert held == 1  # the others wait for its acknowledgement
        stream.set_no_delay(True)
        for _ in range(3):
            await stream.write(b"x")
            await asyncio.sleep(0.001)
        assert net.client.live.stats.packets_sent - sent > held
        stream.abort()


async def test_datagrams_both_ways_errors_and_closing() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        ours, theirs = net.client.udp(), net.server.udp()
        ours.send_to(b"ping", (SERVER, theirs.local[1]))
        data, source = await theirs.recv_from()
        assert (data, source) == (b"ping", ours.local)
        theirs.send_to(b"pong", source)
        assert await ours.recv_from() == (b"pong", theirs.local)
        ours.send_to(b"nobody there", (SERVER, 9))
        with pytest.raises(NetworkError, match="port unreachable"):
            await ours.recv_from()
        assert ours.usable
        waiting = asyncio.create_task(ours.recv_from())
        await asyncio.sleep(0.01)
        ours.close()
        with pytest.raises(LocalProtocolError):
            await waiting
        with pytest.raises(LocalProtocolError):
            ours.send_to(b"x", (SERVER, 9))
        theirs.close()


async def test_many_connections_leave_nothing_behind() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, echo)

        async def one(index: int) -> None:
            async with await net.client.connect(7) as stream:
                await stream.write(str(index).encode())
                await stream.write_eof()
                assert await read_all(stream) == str(index).encode()

        await asyncio.gather(*(one(index) for index in range(60)))
        await asyncio.sleep(0.1)
        assert net.client.live.counts()["connections"] == 0
        assert all(one.state is State.TIME_WAIT for one in net.client.live._connections.values())
        assert net.client.live.memory.used == 0
