"""asyncio's transports over the tunnel's sockets, used by asyncio's own parts and by aiohttp's protocols."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncIterator
from pathlib import Path as File
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from smolmix_web.errors import ConnectionReset, RemoteProtocolError
from smolmix_web.sockets.streams import TcpStream
from smolmix_web.sockets.transports import (
    HIGH_WATER,
    StreamTransport,
    create_connection,
    create_datagram_endpoint,
    open_streams,
)
from support.netsim import SERVER, Path
from support.stack_net import StackNet
from tls_support.certificates import Authority

SOON = 20.0


class Recorder(asyncio.Protocol):
    """Writes down every callback."""

    def __init__(self, keep_open: bool = False) -> None:
        self.calls: list[str] = []
        self.data = bytearray()
        self.keep_open = keep_open
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: StreamTransport
        self.happened = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, StreamTransport)
        self.transport = transport
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.calls.append("data")
        self.happened.set()

    def eof_received(self) -> bool:
        self.calls.append("eof")
        self.happened.set()
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)

    async def wait_for(self, size: int) -> None:
        while len(self.data) < size:
            self.happened.clear()
            await self.happened.wait()


async def echo(stream: TcpStream) -> None:
    async with stream:
        while data := await stream.read():
            await stream.write(data)


async def silent(stream: TcpStream) -> None:
    try:
        await asyncio.sleep(3_600)
    finally:
        stream.abort()


async def joined(net: StackNet, handler: Any = echo, *, keep_open: bool = False) -> Recorder:
    net.serve(7, handler)
    stream = await net.client.connect(7)
    _transport, protocol = create_connection(stream, lambda: Recorder(keep_open))
    return protocol


async def test_an_echo_with_half_close() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net)
        transport = protocol.transport
        assert transport.get_extra_info("peername") == (SERVER, 7)
        assert transport.get_extra_info("socket") is None
        data = random.Random(1).randbytes(300_000)
        transport.writelines([data[:10], bytearray(data[10:1_000]), memoryview(data)[1_000:]])
        transport.write_eof()
        with pytest.raises(RuntimeError):
            transport.write(b"x")
        assert await protocol.lost is None
        assert protocol.data == data
        assert protocol.calls[0] == "made"
        assert protocol.calls[-2:] == ["eof", "lost"]
        transport.write_eof()
        transport.abort()
        await asyncio.sleep(0)
        assert protocol.calls.count("lost") == 1


async def test_a_protocol_may_keep_its_side_open_after_the_peers_end() -> None:
    async def answer_then_read(stream: TcpStream) -> None:
        await stream.write_eof()
        assert await stream.read() == b"late"
        await stream.close()

    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net, answer_then_read, keep_open=True)
        await protocol.happened.wait()
        assert protocol.calls == ["made", "eof"]
        assert not protocol.transport.is_closing()
        protocol.transport.write(b"late")
        protocol.transport.close()
        assert await protocol.lost is None


async def test_nothing_is_delivered_while_reading_is_paused_and_tcp_holds_the_peer_back() -> None:
    written = 0

    async def pour(stream: TcpStream) -> None:
        nonlocal written
        while True:
            await stream.write(bytes(50_000))
            written += 50_000

    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net, pour)
        protocol.transport.pause_reading()
        assert not protocol.transport.is_reading()
        await asyncio.sleep(0.4)
        assert protocol.data == b""
        before = written
        await asyncio.sleep(0.2)
        assert written == before
        protocol.transport.resume_reading()
        await protocol.wait_for(before)
        protocol.transport.abort()
        assert await protocol.lost is None


async def test_water_marks_pause_and_resume_the_writer() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net)
        transport = protocol.transport
        assert transport.get_write_buffer_limits() == (HIGH_WATER // 4, HIGH_WATER)
        transport.set_write_buffer_limits(high=1_000)
        assert transport.get_write_buffer_limits() == (250, 1_000)
        with pytest.raises(ValueError, match="high"):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.write(bytes(1_000))
        assert protocol.calls == ["made"]
        transport.write(bytes(1_000_000))
        assert protocol.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() == 1_001_000
        await protocol.wait_for(1_001_000)
        assert transport.get_write_buffer_size() == 0
        assert [call for call in protocol.calls if call in ("pause", "resume")] == ["pause", "resume"]
        transport.close()
        assert await protocol.lost is None


async def test_close_sends_what_is_buffered_and_abort_does_not_wait() -> None:
    got: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def count(stream: TcpStream) -> None:
        size = 0
        while data := await stream.read():
            size += len(data)
        got.set_result(size)
        await stream.close()

    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net, count)
        protocol.transport.write(bytes(2_000_000))
        protocol.transport.close()
        assert protocol.transport.is_closing()
        protocol.transport.write(b"dropped")
        assert await protocol.lost is None
        assert await got == 2_000_000
        stream = await net.client.connect(7)
        _transport, second = create_connection(stream, Recorder)
        second.transport.write(bytes(2_000_000))
        second.transport.abort()
        assert await second.lost is None


async def test_a_reset_is_told_once() -> None:
    async def rude(stream: TcpStream) -> None:
        await stream.read()
        stream.abort()

    async with StackNet() as net, asyncio.timeout(SOON):
        protocol = await joined(net, rude)
        protocol.transport.write(b"x")
        assert isinstance(await protocol.lost, ConnectionReset)
        assert protocol.calls == ["made", "lost"]


async def test_errors_of_the_layer_below_come_as_what_asyncios_users_catch() -> None:
    class Broken:
        async def read(self, max_bytes: int = 1) -> bytes:
            raise RemoteProtocolError("record of nonsense")

        async def write(self, data: bytes) -> None: ...

        async def write_eof(self) -> None: ...

        async def close(self) -> None: ...

        def abort(self) -> None: ...

    _transport, protocol = create_connection(Broken(), Recorder)
    error = await protocol.lost
    assert isinstance(error, ConnectionError)
    assert isinstance(error.__cause__, RemoteProtocolError)


async def test_a_protocol_that_raises_is_reported_and_its_connection_ended() -> None:
    class Faulty(Recorder):
        def data_received(self, data: bytes) -> None:
            raise KeyError("a bug")

    reports: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, echo)
        _transport, protocol = create_connection(await net.client.connect(7), Faulty)
        protocol.transport.write(b"x")
        assert isinstance(await protocol.lost, KeyError)
    assert isinstance(reports[0]["exception"], KeyError)
    loop.set_exception_handler(None)


async def test_a_buffered_protocol_is_filled_piece_by_piece() -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.space = bytearray(777)
            self.got = bytearray()
            self.ended = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            return self.space

        def buffer_updated(self, nbytes: int) -> None:
            self.got += self.space[:nbytes]

        def connection_lost(self, exc: Exception | None) -> None:
            self.ended.set_result(exc)

    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(7, echo)
        transport, protocol = create_connection(await net.client.connect(7), Buffered)
        data = random.Random(5).randbytes(100_000)
        transport.write(data)
        transport.write_eof()
        assert await protocol.ended is None
        assert protocol.got == data


async def test_the_stream_pair() -> None:
    async with StackNet(Path(delay=0.003, loss=0.01)) as net, asyncio.timeout(SOON):
        net.serve(7, echo)
        reader, writer = open_streams(await net.client.connect(7))
        writer.write(b"first line\n")
        assert await reader.readline() == b"first line\n"
        data = random.Random(6).randbytes(2_000_000)

        async def write() -> None:
            for start in range(0, len(data), 40_000):
                writer.write(data[start : start + 40_000])
                await writer.drain()

        writing = asyncio.create_task(write())
        assert await reader.readexactly(len(data)) == data
        await writing
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()


async def test_asyncios_own_tls_on_both_ends(tmp_path: File) -> None:
    """``loop.start_tls`` takes the transport, as libraries with STARTTLS do."""
    authority = Authority()
    chain, key = authority.issue("server.test").write(tmp_path)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(chain, key)
    asking = ssl.create_default_context(cadata=authority.pem)
    loop = asyncio.get_running_loop()

    class Shout(asyncio.Protocol):
        transport: asyncio.Transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data.upper())

    async def serve(stream: TcpStream) -> None:
        transport, protocol = create_connection(stream, Shout)
        secured = await loop.start_tls(transport, protocol, serving, server_side=True)
        assert secured is not None
        protocol.transport = secured
        secured.write(b"ready ")

    async with StackNet() as net, asyncio.timeout(SOON):
        net.serve(443, serve)
        transport, protocol = create_connection(await net.client.connect(443), lambda: Recorder(True))
        secured = await loop.start_tls(transport, protocol, asking, server_hostname="server.test")
        assert secured is not None
        await protocol.wait_for(6)
        secured.write(b"quiet words")
        await protocol.wait_for(17)
        assert protocol.data == b"ready QUIET WORDS"
        secured.abort()
        assert await protocol.lost is None


class TunnelConnector(aiohttp.BaseConnector):
    """aiohttp's client over our transports: its own ``ResponseHandler`` is the protocol."""

    def __init__(self, net: StackNet) -> None:
        super().__init__()
        self._net = net

    async def _create_connection(
        self, req: aiohttp.ClientRequest, traces: Any, timeout: aiohttp.ClientTimeout
    ) -> ResponseHandler:
        stream = await self._net.client.connect(req.url.port or 80, address=str(req.url.host))
        _transport, protocol = create_connection(stream, lambda: ResponseHandler(self._loop))
        return protocol


async def test_aiohttps_client_and_server_speak_over_it() -> None:
    """Keep-alive, chunked bodies, a large upload with back-pressure, a WebSocket, and a clean end."""

    async def pieces(size: int) -> AsyncIterator[bytes]:
        for start in range(0, size, 100_000):
            yield bytes(min(100_000, size - start))

    async def upload(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/ws":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(message.data[::-1])
            return socket
        size = 0
        async for piece in request.content.iter_chunked(10_000):
            size += len(piece)
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(3):
            await response.write(str(size).encode() + b" ")
        return response

    async with StackNet(Path(delay=0.003, jitter=0.002)) as net, asyncio.timeout(SOON):
        server = web.Server(upload)

        async def serve(stream: TcpStream) -> None:
            create_connection(stream, server)

        net.serve(80, serve)
        async with aiohttp.ClientSession(connector=TunnelConnector(net)) as session:
            url = f"http://{SERVER}"
            for size in (0, 10, 3_000_000):
                async with session.post(url, data=pieces(size)) as response:
                    assert response.status == 200
                    assert (await response.read()).split() == [str(size).encode()] * 3
            assert net.client.live.counts()["connections"] == 1  # kept alive
            async with session.ws_connect(f"ws://{SERVER}/ws") as socket:
                await socket.send_str("stressed")
                assert (await socket.receive_str()) == "desserts"
        await server.shutdown(1.0)


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.events.put_nowait(("datagram", (data, addr)))

    def error_received(self, exc: Exception) -> None:
        self.events.put_nowait(("error", exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.put_nowait(("lost", exc))


async def test_datagram_endpoints() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        theirs = net.server.udp()
        transport, protocol = create_datagram_endpoint(net.client.udp(), Datagrams, (SERVER, theirs.local[1]))
        transport.sendto(b"ping")
        data, source = await theirs.recv_from()
        assert data == b"ping"
        assert source == transport.get_extra_info("sockname")
        theirs.send_to(b"pong", source)
        assert await protocol.events.get() == ("datagram", (b"pong", theirs.local))
        with pytest.raises(ValueError, match="Invalid address"):
            transport.sendto(b"x", (SERVER, 1))
        theirs.close()
        transport.sendto(b"to nobody")
        kind, error = await protocol.events.get()
        assert (kind, isinstance(error, OSError)) == ("error", True)
        transport.close()
        assert await protocol.events.get() == ("lost", None)
        assert transport.is_closing()


async def test_a_datagram_endpoint_learns_that_the_exit_is_lost() -> None:
    async with StackNet() as net, asyncio.timeout(SOON):
        _transport, protocol = create_datagram_endpoint(net.client.udp(), Datagrams)
        await asyncio.sleep(0.01)
        net.client.lose_exit()
        kind, error = await protocol.events.get()
        assert kind == "lost"
        assert isinstance(error, OSError)
