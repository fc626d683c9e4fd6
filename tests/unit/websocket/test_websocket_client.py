"""The WebSocket client against a real server (aiohttp) and one that says exactly what a test wants."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from smolmix_web.errors import DeadlineError, NetworkError, OptionError
from smolmix_web.websocket import (
    HandshakeRefused,
    WebSocketClient,
    WebSocketClosed,
    WebSocketRequest,
    WebSocketSettings,
)
from support.raw_server import raw_tcp_server
from support.streams import LoopbackStream

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


async def connect(port: int, path: str = "/", protocols: object = (), **settings: object) -> WebSocketClient:
    async def open_stream(_request: WebSocketRequest, _settings: WebSocketSettings) -> LoopbackStream:
        return await LoopbackStream.connect("127.0.0.1", port)

    request = WebSocketRequest.create(f"ws://site.test{path}", protocols)  # type: ignore[arg-type]
    quick = {"handshake_timeout": 3.0, "close_timeout": 1.0, **settings}
    return await WebSocketClient.connect(request, open_stream, WebSocketSettings(**quick))  # type: ignore[arg-type]


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat.v2", "chat.v1"), max_msg_size=32 << 20)
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT and message.data.startswith("close "):
                _, code, reason = message.data.split(" ", 2)
                await socket.close(code=int(code), message=reason.encode())
            elif message.type is WSMsgType.TEXT and message.data == "ping me":
                await socket.ping(b"are you there")
            elif message.type is WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    async def no(_request: web.Request) -> web.Response:
        return web.Response(status=403, text="no")

    app = web.Application()
    app.router.add_get("/", echo)
    app.router.add_get("/no", no)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield runner.addresses[0][1]
    await runner.cleanup()


@pytest.mark.parametrize("compression", [True, False])
async def test_text_and_binary_come_back_exactly(port: int, compression: bool) -> None:
    socket = await connect(port, compression=compression)
    assert socket.extensions == ("permessage-deflate" if compression else "")
    for message in ("", "häl\U0001f600o", "x" * 200_000, b"", bytes(range(256)) * 5000):
        await socket.send(message)
        assert await socket.receive() == message
    await socket.close()
    assert (socket.close_code, socket.was_clean) == (1000, True)
    assert await socket.receive() is None
    assert await socket.receive() is None


async def test_a_16_mb_message(port: int) -> None:
    socket = await connect(port, compression=False)
    message = hashlib.shake_128(b"m").digest(16 << 20)
    sending = asyncio.ensure_future(socket.send(message))
    assert await socket.receive() == message
    await sending
    await socket.close()


async def test_the_server_chooses_among_the_subprotocols(port: int) -> None:
    socket = await connect(port, protocols=["chat.v1", "chat.v2"])
    assert socket.protocol in ("chat.v1", "chat.v2")
    await socket.close(4001, "bye")
    assert socket.was_clean


async def test_the_servers_close_is_told_with_code_and_reason(port: int) -> None:
    socket = await connect(port)
    await socket.send("close 4242 enough of this")
    assert await socket.receive() is None
    assert (socket.close_code, socket.close_reason, socket.was_clean) == (4242, "enough of this", True)
    with pytest.raises(WebSocketClosed):
        await socket.send("too late")
    await socket.close()


async def test_a_ping_is_answered_and_not_shown(port: int) -> None:
    socket = await connect(port)
    await socket.send("ping me")
    await socket.send("next")
    assert await socket.receive() == "next"
    await socket.close()


async def test_a_refused_upgrade_tells_the_status(port: int) -> None:
    with pytest.raises(HandshakeRefused) as caught:
        await connect(port, "/no")
    assert caught.value.status == 403


@pytest.mark.parametrize(("code", "reason"), [(1001, ""), (999, ""), (5000, ""), (1000, "é" * 62)])
async def test_close_codes_and_reasons_follow_the_browsers_rules(port: int, code: int, reason: str) -> None:
    socket = await connect(port)
    with pytest.raises(OptionError):
        await socket.close(code, reason)
    await socket.close()


async def test_abort_ends_receivers(port: int) -> None:
    socket = await connect(port)
    receiving = asyncio.ensure_future(socket.receive())
    await asyncio.sleep(0.01)
    socket.abort()
    assert await receiving is None
    assert (socket.close_code, socket.was_clean) == (1006, False)


@contextlib.asynccontextmanager
async def raw_server(answer: Answer) -> AsyncIterator[int]:
    """Reads the upgrade request and leaves the rest to ``answer``, which gets the key's proof."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        position = next(n for n, line in enumerate(lines) if line.startswith(b"sec-websocket-key"))
        key = head.split(b"\r\n")[position].split(b":")[1].strip()
        guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        await answer(reader, writer, base64.b64encode(hashlib.sha1(key + guid).digest()))

    async with raw_tcp_server(handle) as port:
        yield port


def upgraded(then: bytes, *, linger: float = 0.0) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        writer.write(handshake(accept) + then)
        await writer.drain()
        await asyncio.sleep(linger)

    return answer


def handshake(accept: bytes, more: bytes = b"") -> bytes:
    """A server's consent, with ``more`` header lines."""
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n" + more + b"\r\n"
    )


async def test_fragments_are_joined_and_frames_behind_the_handshake_are_not_lost() -> None:
    frames = b"\x01\x03Hel" + b"\x89\x00" + b"\x80\x02lo" + b"\x88\x02\x03\xe8"
    async with raw_server(upgraded(frames)) as port:
        socket = await connect(port)
        assert await socket.receive() == "Hello"
        assert await socket.receive() is None
        assert (socket.close_code, socket.was_clean) == (1000, True)


@pytest.mark.parametrize(
    "frames",
    [
        b"\x83\x00",  # reserved opcode
        b"\xf1\x00",  # reserved bits
        b"\x80\x02lo",  # continuation of nothing
        b"\x81\x83abcdefg",  # masked by a server
        b"\x81\x02\xff\xfe",  # not UTF-8
        b"\x89\x7e\x00\x80" + bytes(128),  # ping too long
        b"\x88\x01\x03",  # close with half a code
        b"\x88\x02\x03\xed",  # close with a code that must not be sent (1005)
    ],
)
async def test_frames_that_break_the_rules_end_the_connection(frames: bytes) -> None:
    async with raw_server(upgraded(frames, linger=0.3)) as port:
        socket = await connect(port)
        assert await socket.receive() is None
        assert (socket.close_code, socket.was_clean) == (1006, False)
        assert socket.failure is not None


async def test_a_connection_that_just_ends_is_1006() -> None:
    async with raw_server(upgraded(b"\x81\x05Hel")) as port:
        socket = await connect(port)
        assert await socket.receive() is None
        assert (socket.close_code, socket.close_reason, socket.was_clean) == (1006, "", False)


async def test_a_message_beyond_the_limit_is_refused_with_1009() -> None:
    async with raw_server(
        upgraded(b"\x82\x7f" + (1 << 20).to_bytes(8, "big") + bytes(1 << 20), linger=0.3)
    ) as port:
        socket = await connect(port, max_message_size=100_000)
        assert await socket.receive() is None
        assert (socket.close_code, socket.was_clean) == (1009, False)


async def test_a_server_that_never_answers_our_close_is_cut_off() -> None:
    async with raw_server(upgraded(b"", linger=5)) as port:
        socket = await connect(port, close_timeout=0.1)
        await socket.close()
        assert (socket.close_code, socket.was_clean) == (1006, False)
        assert isinstance(socket.failure, DeadlineError)


async def test_a_silent_server_is_found_out_by_pings() -> None:
    async with raw_server(upgraded(b"", linger=5)) as port:
        socket = await connect(port, ping_interval=0.05, ping_timeout=0.05)
        assert await socket.receive() is None
        assert isinstance(socket.failure, DeadlineError)


async def test_a_server_that_never_upgrades_runs_into_the_deadline() -> None:
    async def silent(*_arguments: object) -> None:
        await asyncio.sleep(1)

    async with raw_server(silent) as port:
        with pytest.raises(DeadlineError, match="handshake"):
            await connect(port, handshake_timeout=0.1)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 301 Moved\r\nLocation: /\r\n\r\n",
        b"garbage\r\n\r\n",
        b"",
    ],
)
async def test_anything_but_a_proper_upgrade_is_refused(response: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _accept: bytes) -> None:
        writer.write(response)
        await writer.drain()

    async with raw_server(answer) as port:
        with pytest.raises(HandshakeRefused):
            await connect(port)


async def test_a_subprotocol_nobody_offered_is_refused() -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        writer.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Protocol: surprise\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        await writer.drain()

    async with raw_server(answer) as port:
        with pytest.raises(HandshakeRefused):
            await connect(port, protocols="chat")


async def test_an_unread_message_stops_the_reading() -> None:
    frames = b"".join(b"\x82\x7e\xff\xff" + bytes(65535) for _ in range(200))
    async with raw_server(upgraded(frames, linger=2)) as port:
        socket = await connect(port)
        await asyncio.sleep(0.2)
        assert socket._inbox.is_blocked
        for _ in range(200):
            assert await socket.receive() == bytes(65535)
        socket.abort()


async def test_nobody_has_to_read_what_arrives_before_the_end() -> None:
    """Neither a close nor a server's end waits for a reader, and no task is left."""
    before = asyncio.all_tasks()
    frames = b"\x81\x01a" * 5
    async with raw_server(upgraded(frames, linger=5)) as port:
        closed, aborted = await connect(port, close_timeout=0.2), await connect(port)
        await asyncio.sleep(0.1)
        await closed.close()
        aborted.abort()
        await asyncio.sleep(0)
        assert [
            task for task in asyncio.all_tasks() - before if task.get_name().startswith("websocket")
        ] == []
        for socket in (closed, aborted):
            while (message := await socket.receive()) is not None:
                assert message == "a"


async def test_a_slow_reader_is_not_taken_for_a_dead_server() -> None:
    async with raw_server(upgraded(b"\x81\x01a" * 3, linger=5)) as port:
        socket = await connect(port, ping_interval=0.05, ping_timeout=0.05)
        await asyncio.sleep(0.5)
        assert socket.failure is None
        assert await socket.receive() == "a"
        socket.abort()


async def deaf(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
    """Pings, says something, and reads nothing."""
    writer.write(handshake(accept) + b"\x89\x01p" * 3 + b"\x81\x05hello")
    await writer.drain()
    await asyncio.sleep(20)


async def test_a_server_that_does_not_read_is_still_heard() -> None:
    """Reading does not wait for pongs that cannot leave, or both sides would wait for each other."""
    async with raw_server(deaf) as port:
        socket = await connect(port, idle_timeout=30.0)
        sending = asyncio.ensure_future(socket.send(bytes(64 << 20)))
        await asyncio.sleep(0.2)
        assert await socket.receive() == "hello"
        assert not sending.done()
        socket.abort()
        with pytest.raises((NetworkError, WebSocketClosed)):
            await sending


async def test_a_server_that_takes_nothing_is_given_up() -> None:
    async with raw_server(deaf) as port:
        socket = await connect(port, idle_timeout=0.3)
        sends = [asyncio.ensure_future(socket.send(bytes(16 << 20))) for _ in range(2)]
        await asyncio.sleep(0.1)
        closing = asyncio.ensure_future(socket.close())
        for outcome in await asyncio.gather(*sends, return_exceptions=True):
            assert isinstance(outcome, DeadlineError)
            assert outcome.phase == "idle"
        await closing
        assert (socket.close_code, socket.was_clean) == (1006, False)
        assert isinstance(socket.failure, DeadlineError)


@pytest.mark.parametrize(
    ("url", "protocols"),
    [
        ("ftp://a.test/", ()),
        ("a.test", ()),
        ("ws://a.test/#fragment", ()),
        ("ws://", ()),
        ("ws://a.test/", "two words"),
        ("ws://a.test/", ["a", "A"]),
        ("ws://a.test/", [""]),
        (None, ()),
    ],
)
def test_bad_urls_and_protocols_are_refused_by_name(url: str, protocols: object) -> None:
    with pytest.raises(OptionError, match=r"url|protocols"):
        WebSocketRequest.create(url, protocols)  # type: ignore[arg-type]


async def test_a_close_without_code_reaches_the_server_without_one() -> None:
    frames: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        writer.write(handshake(accept))
        head = await reader.readexactly(2)
        frames.append(head)
        await reader.readexactly(4 + (head[1] & 0x7F))
        writer.write(b"\x88\x00")

    async with raw_server(answer) as port:
        socket = await connect(port)
        await socket.close(None)
        assert frames == [b"\x88\x80"]
        assert (socket.close_code, socket.close_reason, socket.was_clean) == (1005, "", True)


async def test_a_compressed_bomb_is_stopped_before_it_fills_the_memory() -> None:
    compressor = zlib.compressobj(9, wbits=-15)
    bomb = compressor.compress(bytes(256 << 20)) + compressor.flush(zlib.Z_SYNC_FLUSH)
    bomb = bomb[:-4]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, accept: bytes) -> None:
        writer.write(handshake(accept, b"Sec-WebSocket-Extensions: permessage-deflate\r\n"))
        writer.write(b"\xc2\x7f" + len(bomb).to_bytes(8, "big") + bomb)
        await reader.read(1)

    async with raw_server(answer) as port:
        tracemalloc.start()
        socket = await connect(port, max_message_size=1 << 20)
        assert await socket.receive() is None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (socket.close_code, socket.was_clean) == (1009, False)
        assert peak < 40 << 20


@pytest.mark.parametrize("name", ["close_timeout", "ping_interval", "max_message_size", "resolve_timeout"])
def test_settings_name_what_is_wrong(name: str) -> None:
    with pytest.raises(OptionError, match=r"^(timeouts\.|pingInterval|maxMessageSize)"):
        WebSocketSettings(**{name: 0})
