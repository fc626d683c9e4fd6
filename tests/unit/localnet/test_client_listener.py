"""A gateway's WebSocket listener over real sockets: what clients, broken clients and attackers get."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
from eventually import eventually
from leaks import nothing_left_behind
from localnet_client import BareClient

from smolmix_web.crypto import provider
from smolmix_web.gateway import (
    GatewayConfig,
    GatewayRegistry,
    MemoryStorage,
    RegistrationLost,
    SessionBusy,
    error_texts,
)
from smolmix_web.gateway.events import Failed
from smolmix_web.localnet import admission
from smolmix_web.localnet.client_listener import MAX_MESSAGE, ClientListener, ClientListenerConfig
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.mixpacket import MixPacket

HOST = "127.0.0.1"
SEED = b"\x22" * 32
GATEWAY = provider().ed25519_public(SEED)
PACKET = MixPacket(NodeAddress(HOST, 1789), bytes(2413))


class Gateway:
    def __init__(self, **config) -> None:
        self.registry = GatewayRegistry(MemoryStorage())
        self.uploads: list[MixPacket] = []
        self.listener = ClientListener(
            self.registry, SEED, self.uploads.append, ClientListenerConfig(**config)
        )
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://{HOST}:{self.port}/"

    def client(self, **options) -> BareClient:
        return BareClient(self.url, GATEWAY, **options)


@contextlib.asynccontextmanager
async def running(**config) -> AsyncIterator[Gateway]:
    async with nothing_left_behind():
        gateway = Gateway(**config)
        gateway.port = await gateway.listener.start(HOST, 0)
        try:
            yield gateway
        finally:
            await gateway.listener.stop()


async def websocket_texts(url: str, *frames: str | bytes) -> list[str]:
    """Send frames; the texts that came until the gateway closed (or had nothing to say for a second)."""
    texts = []
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as websocket:
        with contextlib.suppress(ConnectionError):
            for frame in frames:
                if isinstance(frame, str):
                    await websocket.send_str(frame)
                else:
                    await websocket.send_bytes(frame)
        with contextlib.suppress(TimeoutError):
            while True:
                message = await websocket.receive(1.0)
                if message.type is not aiohttp.WSMsgType.TEXT:
                    break
                texts.append(message.data)
    return texts


async def test_register_upload_push_and_come_back():
    async with running() as gateway:
        async with gateway.client() as client:
            await client.send(PACKET)
            await eventually(lambda: len(gateway.uploads) == 1)
            assert gateway.uploads[0].packet == PACKET.packet
            gateway.registry.deliver(client.keys.identity, b"pushed", time.time())
            assert await client.next_push() == b"pushed"
        await eventually(lambda: not gateway.registry.active)
        gateway.registry.deliver(client.keys.identity, b"while away", time.time())
        await client.connect()
        assert await client.next_push() == b"while away"
        await client.close()
    assert gateway.registry.stats.registrations == 1
    assert gateway.registry.stats.authentications == 1


async def test_any_path_is_fine_and_plain_http_is_told_so():
    async with running() as gateway, aiohttp.ClientSession() as http:
        async with http.ws_connect(gateway.url + "some/path?x=y") as websocket:
            await websocket.send_str('{"type":"supportedProtocol"}')
            assert await websocket.receive_json() == {"type": "supportedProtocol", "version": 6}
        async with http.get(gateway.url) as response:
            assert response.status == 426


async def test_refused_session_ends_without_a_close_frame():
    async with running() as gateway:
        reader, writer = await asyncio.open_connection(HOST, gateway.port)
        key = "dGhlIHNhbXBsZSBub25jZQ=="
        writer.write(
            f"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"101" in head
        assert b"permessage-deflate" not in head
        writer.write(b"\x82\x80" + bytes(4))  # an empty masked binary frame
        rest = await reader.read()
        text = error_texts.UNAUTHENTICATED_PACKET
        body = json.dumps({"type": "error", "message": text}, separators=(",", ":")).encode()
        assert rest == bytes([0x81, len(body)]) + body  # and no Close frame
        writer.close()
        await writer.wait_closed()


async def test_ping_before_authentication_is_refused_and_after_it_answered():
    async with running() as gateway:
        async with aiohttp.ClientSession() as http, http.ws_connect(gateway.url, autoping=False) as websocket:
            await websocket.ping(b"hello")
            assert "type ping" in (await websocket.receive_json())["message"]
        async with gateway.client() as client:
            await client._websocket.ping(b"hello")  # aiohttp handles the pong
            await client.send(PACKET)
            await eventually(lambda: gateway.uploads)


async def test_second_connection_is_refused_while_the_first_answers_pings():
    async with running() as gateway, gateway.client() as first:
        second = gateway.client(keys=first.keys)
        second.engine._key = first.engine._key
        await asyncio.sleep(1.0)  # a later second than the registration's
        await second.connect(wait=False)
        await asyncio.wait_for(second.ended.wait(), 5)
        failure = next(event for event in second.events if isinstance(event, Failed))
        assert isinstance(failure.error, SessionBusy)
        await first.send(PACKET)
        await eventually(lambda: gateway.uploads)
        await second.close()


async def test_dead_first_connection_is_evicted():
    async with running() as gateway, aiohttp.ClientSession() as http:
        first = gateway.client()
        await first.connect()
        # Take the first one's reader away: nobody answers Pings any more.
        first._task.cancel()
        await asyncio.sleep(1.0)
        second = gateway.client(keys=first.keys)
        second.engine._key = first.engine._key
        started = time.monotonic()
        await second.connect()
        assert 0.9 < time.monotonic() - started < 2.5
        assert gateway.registry.stats.evicted == 1
        await second.send(PACKET)
        await eventually(lambda: gateway.uploads)
        await second.close()
        await first.close()
        assert not http.closed


async def test_vanished_client_is_noticed_at_once():
    async with running() as gateway:
        client = gateway.client()
        await client.connect()
        client._websocket.get_extra_info("socket")
        client._task.cancel()
        client._websocket._response.connection.transport.abort()
        await eventually(lambda: not gateway.registry.active)
        await client.close()


# -- abuse --------------------------------------------------------------------------------------------------


async def test_silent_tcp_connections_are_dropped():
    async with running(upgrade_timeout=0.2) as gateway:
        started = time.monotonic()
        pairs = [await asyncio.open_connection(HOST, gateway.port) for _ in range(20)]
        for _, writer in pairs[10:]:
            writer.write(b"GET / HTT")  # a request that never ends
        for reader, _ in pairs:
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert 0.15 < time.monotonic() - started < 1.5
        for _, writer in pairs:
            writer.close()


async def test_request_dripping_in_is_dropped():
    async with running(upgrade_timeout=0.3) as gateway:
        reader, writer = await asyncio.open_connection(HOST, gateway.port)
        started = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while not reader.at_eof() and time.monotonic() - started < 3:
                writer.write(b"X: y\r\n" if time.monotonic() - started > 0.1 else b"GET / HTTP/1.1\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        assert time.monotonic() - started < 1.5
        writer.close()


async def test_handshake_that_stalls_is_dropped():
    async with running(session=GatewayConfig(initial_timeout=0.2, handshake_timeout=0.3)) as gateway:
        opening = json.dumps({"type": "handshakePayload", "protocol_version": 6, "data": [9] * 80})
        started = time.monotonic()
        texts = await websocket_texts(gateway.url, opening)
        assert 0.2 < time.monotonic() - started < 1.5
        assert error_texts.HANDSHAKE_TIMED_OUT in texts[-1]
        started = time.monotonic()
        texts = await websocket_texts(gateway.url)
        assert texts == [
            json.dumps({"type": "error", "message": error_texts.TIMED_OUT}, separators=(",", ":"))
        ]


async def test_oversized_messages_are_refused_and_others_are_served():
    async with running() as gateway, gateway.client() as honest:
        for size in (MAX_MESSAGE + 1, 5 * MAX_MESSAGE):
            for frame in (bytes(size), "x" * size):
                await websocket_texts(gateway.url, frame)
        await honest.send(PACKET)
        await eventually(lambda: gateway.uploads)
        assert list(gateway.registry.active) == [honest.keys.identity]


async def test_hundreds_of_connections_and_a_thousand_bad_frames():
    async with running() as gateway, gateway.client() as honest:
        for _ in range(5):
            batches = await asyncio.gather(
                *(websocket_texts(gateway.url, os.urandom(50), "{" * 50) for _ in range(40))
            )
            assert all(len(texts) == 1 for texts in batches)
        for _ in range(1000):
            await honest._websocket.send_bytes(os.urandom(100))
        await eventually(lambda: gateway.registry.stats.malformed_uploads == 1000)
        await honest.send(PACKET)
        await eventually(lambda: gateway.uploads)
        assert gateway.registry.stats.refused == 200
        await eventually(lambda: gateway.listener.connections == 1)


async def test_number_of_connections_is_bounded():
    async with running(max_connections=3) as gateway, aiohttp.ClientSession() as http:
        open_ones = [await http.ws_connect(gateway.url) for _ in range(3)]
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await http.ws_connect(gateway.url)
        await open_ones[0].close()
        await eventually(lambda: gateway.listener.connections == 2)
        open_ones[0] = await http.ws_connect(gateway.url)
        for websocket in open_ones:
            await websocket.close()


async def test_client_that_uploads_without_reading_is_slowed_down_not_stored():
    async with running() as gateway:
        client = gateway.client()
        await client.connect()
        client._task.cancel()  # from now on it reads nothing
        await asyncio.gather(client._task, return_exceptions=True)
        websocket = client._websocket
        transport = websocket._response.connection.transport
        transport.pause_reading()
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                while sent < 100_000:
                    await websocket.send_str('{"type":"supportedProtocol"}' + " " * 3000)
                    sent += 1
        session = gateway.registry.active[client.keys.identity]
        assert session.unsent() <= 300
        transport.abort()
        await client.close()


async def test_replayed_authentication_of_a_listener():
    """What an eavesdropper recorded on an unencrypted link is worth nothing."""
    async with running() as gateway:
        client = gateway.client()
        await client.connect()
        await client.close()
        await asyncio.sleep(1.0)
        recorded: list[str] = []
        original = client.engine.frames_to_send

        def recording() -> list[str | bytes]:
            frames = original()
            recorded.extend(frame for frame in frames if isinstance(frame, str))
            return frames

        client.engine.frames_to_send = recording
        await client.connect()
        await client.close()
        replayed = next(text for text in recorded if "authenticateV2" in text)
        texts = await websocket_texts(gateway.url, replayed)
        assert [json.loads(text)["message"] for text in texts] == [error_texts.TIMESTAMP_NOT_INCREASING] * 2


async def test_forgotten_client_registers_again():
    async with running() as gateway:
        client = gateway.client()
        await client.connect()
        client.engine.forget_me()
        await client.flush()
        await eventually(lambda: gateway.registry.storage.load_client(client.keys.identity) is None)
        await client.close()
        await asyncio.sleep(1.0)
        await client.connect(wait=False)
        await asyncio.wait_for(client.ended.wait(), 5)
        failure = [event for event in client.events if isinstance(event, Failed)][-1]
        assert isinstance(failure.error, RegistrationLost)
        await client.close()
        await client.connect()
        await client.close()


async def test_a_gateway_with_too_much_to_do_lets_less_in_per_turn(monkeypatch):
    """A process that runs every node would need seconds for a turn, and a packet needs many turns."""
    monkeypatch.setattr(admission, "LONG_TURN", 0.01)
    async with running() as gateway:
        turns: list[int] = []

        async def count_turns() -> None:
            while True:
                before = len(gateway.uploads)
                await asyncio.sleep(0)
                turns.append(len(gateway.uploads) - before)

        def laborious(packet: MixPacket) -> None:
            until = time.thread_time() + 0.004
            while time.thread_time() < until:
                pass
            gateway.uploads.append(packet)

        monkeypatch.setattr(gateway.listener, "_upload", laborious)
        async with gateway.client() as client:
            counting = asyncio.create_task(count_turns())
            for _ in range(150):
                await client.send(PACKET)
            await eventually(lambda: len(gateway.uploads) == 150)
            counting.cancel()
        busy = [count for count in turns if count]
        assert max(busy) <= admission.MAX_PER_TURN
        assert max(busy[-8:]) <= 4
