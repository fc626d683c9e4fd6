"""TlsStream as a byte stream: between tasks, under back-pressure, at its ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from smolmix_web.errors import ConnectionReset, LocalProtocolError, OptionError, TunnelClosed
from smolmix_web.tls import ProtocolVersion, TlsConfig, TlsStream, TlsTruncated, wrap
from smolmix_web.tls import errors as e
from smolmix_web.tls.registry import Alert
from tls_support.certificates import Authority
from tls_support.pair import NAME, TIME, authority, issued
from tls_support.server import TamperingServer

CONFIG = TlsConfig(trust_anchors=authority().pem, bundled_roots=False)


class Pipe:
    """One direction: at most ``capacity`` bytes wait; a writer waits for room."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._data = bytearray()
        self._changed = asyncio.Condition()
        self.ended = False
        self.error: Exception | None = None

    async def write(self, data: bytes) -> None:
        for start in range(0, len(data), 1000):
            async with self._changed:
                await self._changed.wait_for(lambda: len(self._data) < self._capacity or self.error)
                if self.error:
                    raise self.error
                self._data += data[start : start + 1000]
                self._changed.notify_all()

    async def read(self, max_bytes: int) -> bytes:
        async with self._changed:
            await self._changed.wait_for(lambda: self._data or self.ended or self.error)
            if not self._data and self.error:
                raise self.error
            taken = bytes(self._data[:max_bytes])
            del self._data[:max_bytes]
            self._changed.notify_all()
            return taken

    async def end(self) -> None:
        async with self._changed:
            self.ended = True
            self._changed.notify_all()


class End:
    """One end of two pipes: a ByteStream."""

    def __init__(self, incoming: Pipe, outgoing: Pipe) -> None:
        self.incoming, self.outgoing = incoming, outgoing
        self.closed = self.aborted = False

    async def read(self, max_bytes: int = 65536) -> bytes:
        return await self.incoming.read(max_bytes)

    async def write(self, data: bytes) -> None:
        await self.outgoing.write(data)

    async def write_eof(self) -> None:
        await self.outgoing.end()

    async def close(self) -> None:
        self.closed = True
        await self.outgoing.end()

    def abort(self) -> None:
        self.aborted = True


class Peer:
    """The tampering server at the other end, with a task that answers whatever the client sends."""

    def __init__(self, end: End, server: TamperingServer) -> None:
        self.end, self.server = end, server
        self.reading = asyncio.Event()
        self.reading.set()
        self.progress = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        while True:
            await self.reading.wait()
            data = await self.end.read()
            if not data:
                return
            self.server.receive(data)
            await self.flush()
            self.progress.set()

    async def received(self, size: int) -> None:
        """Until the server has decrypted ``size`` bytes."""
        while len(self.server.received) < size:
            self.progress.clear()
            await self.progress.wait()

    async def flush(self) -> None:
        out = self.server.take()
        if out:
            await self.end.write(out)


Session = tuple[TlsStream, Peer]


@pytest.fixture
async def make() -> AsyncIterator[Callable[..., object]]:
    peers: list[Peer] = []

    async def build(
        server: TamperingServer | None = None, *, capacity: int = 1 << 20, **options: object
    ) -> Session:
        down, up = Pipe(capacity), Pipe(capacity)
        peer = Peer(End(up, down), server or TamperingServer(issued()))
        peers.append(peer)
        lower = End(down, up)
        peer.lower = lower  # type: ignore[attr-defined]
        stream = await wrap(lower, NAME, CONFIG, unix_time=lambda: TIME, **options)  # type: ignore[arg-type]
        return stream, peer

    yield build
    for peer in peers:
        peer.task.cancel()
    await asyncio.gather(*(peer.task for peer in peers), return_exceptions=True)


async def test_request_and_answer(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    assert stream.info.version == ProtocolVersion.TLS_1_3
    await stream.write(b"GET /")
    await asyncio.sleep(0.01)
    assert peer.server.received == b"GET /"
    peer.server.send(b"200 " + b"x" * 50_000)
    peer.server.send_close()
    await peer.flush()
    parts = []
    while part := await stream.read(1000):
        assert len(part) <= 1000
        parts.append(part)
    assert b"".join(parts) == b"200 " + b"x" * 50_000
    assert await stream.read() == b""
    await stream.close()
    assert peer.lower.closed


async def test_both_directions_blocked_at_once_do_not_halt(make: Callable[..., object]) -> None:
    """The server reads nothing until we have read all it has to say, and asks for new keys in between."""
    stream, peer = await make(capacity=4096)  # type: ignore[misc]
    peer.reading.clear()
    await asyncio.sleep(0)
    big = bytes(300_000)
    writer = asyncio.create_task(stream.write(big))
    await asyncio.sleep(0.01)
    assert not writer.done(), "back-pressure reaches the writer"

    async def talk() -> None:
        for _ in range(20):
            peer.server.send(b"y" * 10_000)
            peer.server.send_key_update(request=True)
            await peer.flush()

    talker = asyncio.create_task(talk())
    received = 0
    async with asyncio.timeout(20):
        while received < 200_000:
            received += len(await stream.read())
        await talker
        peer.reading.set()
        await writer
        await peer.received(len(big))
    assert peer.server.received == big
    assert peer.server.key_updates, "the requests were answered"


async def test_key_update_is_answered_though_nobody_writes(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    peer.server.send_key_update(request=True)
    peer.server.send(b"data")
    await peer.flush()
    assert await stream.read() == b"data"
    await asyncio.sleep(0.01)
    assert peer.server.key_updates == [0]


async def test_half_close(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    await stream.write(b"all")
    await stream.write_eof()
    await asyncio.sleep(0.01)
    assert peer.server.alerts == [Alert.CLOSE_NOTIFY]
    with pytest.raises(LocalProtocolError):
        await stream.write(b"more")
    peer.server.send(b"answer")
    await peer.flush()
    assert await stream.read() == b"answer"


async def test_truncation_is_an_error_after_the_data(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    peer.server.send(b"half")
    await peer.flush()
    await peer.end.write_eof()
    assert await stream.read() == b"half"
    for _ in range(2):
        with pytest.raises(TlsTruncated):
            await stream.read()


async def test_damage_is_an_error_after_the_data_and_the_alert_leaves(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    peer.server.send(b"good")
    await peer.end.write(peer.server.take() + b"\x17\x03\x03\x00\x14" + bytes(20))
    assert await stream.read() == b"good"
    with pytest.raises(e.BadRecordMac):
        await stream.read()
    await asyncio.sleep(0.01)
    assert peer.server.alerts == [Alert.BAD_RECORD_MAC]
    with pytest.raises(LocalProtocolError):
        await stream.write(b"x")


async def test_failed_handshake_sends_the_alert_and_drops_the_connection() -> None:
    down, up = Pipe(1 << 20), Pipe(1 << 20)
    server = TamperingServer(Authority("Stranger").issue(NAME))
    peer = Peer(End(up, down), server)
    lower = End(down, up)
    with pytest.raises(e.UnknownCa) as caught:
        await wrap(lower, NAME, CONFIG, unix_time=lambda: TIME)
    assert caught.value.host == NAME
    assert lower.aborted
    await asyncio.sleep(0.01)
    assert server.alerts == [Alert.UNKNOWN_CA]
    peer.task.cancel()


async def test_failed_handshake_does_not_wait_for_a_server_that_takes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smolmix_web.tls.stream._LINGER", 0.05)
    down, up = Pipe(1 << 20), Pipe(1)
    server = TamperingServer(Authority("Stranger").issue(NAME))
    lower = End(down, up)
    task = asyncio.create_task(wrap(lower, NAME, CONFIG, unix_time=lambda: TIME))
    hello = b""
    while len(hello) < 1500:
        hello += await up.read(65536)
        if len(hello) > 5 and len(hello) >= 5 + (hello[3] << 8 | hello[4]):
            break
    server.receive(hello)
    up._data += b"full"
    await down.write(server.take())
    async with asyncio.timeout(5):
        with pytest.raises(e.UnknownCa):
            await task
    assert lower.aborted


async def test_cancelled_handshake_drops_the_connection() -> None:
    lower = End(Pipe(100), Pipe(1 << 20))
    task = asyncio.create_task(wrap(lower, NAME, CONFIG))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lower.aborted


async def test_lost_connection_passes_through(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    peer.end.outgoing.error = ConnectionReset("reset")
    async with peer.end.outgoing._changed:
        peer.end.outgoing._changed.notify_all()
    with pytest.raises(ConnectionReset):
        await stream.read()


async def test_cancelled_write_leaves_no_broken_stream_in_use(make: Callable[..., object]) -> None:
    stream, peer = await make(capacity=2000)  # type: ignore[misc]
    peer.reading.clear()
    await asyncio.sleep(0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.write(bytes(500_000)), 0.02)
    assert peer.lower.aborted


async def test_cancelled_read_loses_nothing(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(stream.read(), 0.01)
    peer.server.send(b"late")
    await peer.flush()
    assert await stream.read() == b"late"


async def test_close_ends_a_pending_read_s_stream(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    await stream.close()
    await stream.close()
    with pytest.raises(TunnelClosed):
        await stream.read()
    await asyncio.sleep(0.01)
    assert peer.server.alerts == [Alert.CLOSE_NOTIFY]
    stream.abort()
    assert "www.example.com" in repr(stream)


async def test_impossible_name_leaves_the_stream_alone() -> None:
    lower = End(Pipe(1), Pipe(1))
    with pytest.raises(OptionError):
        await wrap(lower, "not a name", CONFIG)
    assert not lower.aborted


async def test_server_alert_during_the_handshake() -> None:
    down, up = Pipe(1 << 20), Pipe(1 << 20)
    await down.write(b"\x15\x03\x03\x00\x02\x02\x70")
    with pytest.raises(e.UnrecognizedName) as caught:
        await wrap(End(down, up), NAME, CONFIG)
    assert caught.value.received


async def test_empty_write_sends_nothing(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    await stream.write(b"")
    await asyncio.sleep(0.01)
    assert peer.server.received == b""


async def test_many_concurrent_writers_keep_records_in_order(make: Callable[..., object]) -> None:
    """The contract has one writer at a time; more than one must at least not break the record sequence."""
    stream, peer = await make(capacity=3000)  # type: ignore[misc]
    await asyncio.gather(*(stream.write(bytes((n,)) * 5000) for n in range(20)))
    await peer.received(100_000)
    assert sorted(peer.server.received) == sorted(b"".join(bytes((n,)) * 5000 for n in range(20)))


async def test_finished_leaves_with_the_first_request(make: Callable[..., object]) -> None:
    stream, peer = await make()  # type: ignore[misc]
    writes: list[int] = []
    write = peer.lower.write

    async def counted(data: bytes) -> None:
        writes.append(len(data))
        await write(data)

    peer.lower.write = counted
    await stream.write(b"GET /")
    await peer.received(5)
    assert len(writes) == 1


async def test_finished_leaves_though_nothing_is_written(make: Callable[..., object]) -> None:
    _, peer = await make()  # type: ignore[misc]
    await asyncio.sleep(0.01)
    assert peer.server.connected


async def test_write_after_close(make: Callable[..., object]) -> None:
    stream, _ = await make()  # type: ignore[misc]
    await stream.close()
    with pytest.raises(TunnelClosed):
        await stream.write(b"x")
