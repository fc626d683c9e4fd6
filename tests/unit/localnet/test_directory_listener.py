"""The directory's listener over real sockets: slow, silent and malformed visitors."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import aiohttp
import pytest
from leaks import nothing_left_behind

from smolmix_web.localnet import directory_node
from smolmix_web.localnet.directory_node import DirectoryNode

HOST = "127.0.0.1"
PATH = "/api/v1/nym-nodes/rewarded-set"


@contextlib.asynccontextmanager
async def running():
    async with nothing_left_behind():
        node = DirectoryNode()
        await node.start(HOST, 0)
        try:
            yield node
        finally:
            await node.stop()


async def answer_to(port: int, data: bytes) -> bytes:
    """What comes back until the directory closes."""
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        writer.write(data)
        async with asyncio.timeout(3):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def status_of(port: int) -> int:
    async with aiohttp.ClientSession() as http, http.get(f"http://{HOST}:{port}{PATH}") as response:
        return response.status


async def test_silent_and_slow_connections_are_dropped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(directory_node, "REQUEST_TIMEOUT", 0.3)
    async with running() as node:
        started = time.monotonic()
        heads = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"]
        assert await asyncio.gather(*(answer_to(node.port, head) for head in heads)) == [b"", b"", b""]
        body = b"POST /api/v1/local/announce HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf"
        assert b" 408 " in await answer_to(node.port, body)
        assert 0.2 < time.monotonic() - started < 2.5
        assert await status_of(node.port) == 200


async def test_a_thousand_malformed_requests():
    async with running() as node:
        for _ in range(20):
            answers = await asyncio.gather(
                *(answer_to(node.port, os.urandom(40) + b"\r\n\r\n") for _ in range(50))
            )
            assert all(answer == b"" or b" 400 " in answer for answer in answers)
        assert await status_of(node.port) == 200


async def test_number_of_connections_is_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(directory_node, "MAX_CONNECTIONS", 3)
    async with running() as node:
        held = [await asyncio.open_connection(HOST, node.port) for _ in range(3)]
        await asyncio.sleep(0.05)
        assert await answer_to(node.port, b"GET / HTTP/1.1\r\n\r\n") == b""
        held[0][1].close()
        await held[0][1].wait_closed()
        await asyncio.sleep(0.05)
        assert await status_of(node.port) == 200
        for _, writer in held[1:]:
            writer.close()


async def test_stopping_does_not_wait_for_idle_connections():
    async with running() as node, aiohttp.ClientSession() as http:
        async with http.get(f"http://{HOST}:{node.port}{PATH}") as response:
            assert response.status == 200
        started = time.monotonic()
        await node.stop()
        assert time.monotonic() - started < 1.0
        assert not node.is_running
