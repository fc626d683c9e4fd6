"""The SOCKS5 server, met by curl and by bare sockets."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from e2e.conftest import options_for
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.platform.native import NativePlatform
from smolmix_web.socks import SocksServer
from smolmix_web.socks.messages import Destination, emit_datagram, parse_datagram
from smolmix_web.tunnel import Tunnel

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def local() -> AsyncIterator[LocalWorld]:
    async with LocalWorld() as world:
        yield world


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(local: LocalWorld) -> AsyncIterator[SocksServer]:
    async with (
        await Tunnel.connect(options_for(local), platform=NativePlatform()) as tunnel,
        SocksServer(tunnel, port=0, timeout=20) as server,
    ):
        yield server


async def curl(server: SocksServer, *arguments: str) -> tuple[int, bytes]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    host, port = server.address
    process = await asyncio.create_subprocess_exec(
        *("curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", ""),
        *("--socks5-hostname", f"{host}:{port}", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output


async def test_curl(server: SocksServer, local: LocalWorld, tmp_path: Path) -> None:
    code, body = await curl(server, "http://web.test/bytes/300000")
    assert (code, len(body)) == (0, 300_000)
    code, body = await curl(server, "--data-binary", "hello", "http://web.test/echo?raw=1")
    assert (code, body) == (0, b"hello")
    pem = tmp_path / "root.pem"
    pem.write_text(local.internet.trust_anchor_pem)
    code, body = await curl(server, "--cacert", str(pem), "https://web.test/echo")
    assert code == 0
    assert b'"GET"' in body


async def test_curl_is_told_what_failed(server: SocksServer) -> None:
    code, output = await curl(server, "http://closed.test/")
    assert (code, b"(5)" in output or b"refused" in output.lower()) == (97, True)
    assert (await curl(server, "http://missing.test/"))[0] == 97


async def greeted(
    server: SocksServer, methods: bytes = b"\x00"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(bytes([5, len(methods)]) + methods)
    return reader, writer


async def test_half_closed_connections(server: SocksServer) -> None:
    reader, writer = await greeted(server)
    assert await reader.readexactly(2) == b"\x05\x00"
    writer.write(b"\x05\x01\x00\x03\x09echo.test\x00\x07")
    assert (await reader.readexactly(10))[:2] == b"\x05\x00"
    sent = bytes(range(256)) * 500
    writer.write(sent)
    writer.write_eof()
    assert await reader.read(-1) == sent
    writer.close()


async def test_addresses_and_refusals(server: SocksServer) -> None:
    reader, writer = await greeted(server, b"\x02\x01")
    assert await reader.read(-1) == b"\x05\xff"
    writer.close()
    for request, reply in (
        (b"\x05\x02\x00\x01\xc0\x00\x02\x0a\x00\x50", 7),  # BIND
        (b"\x05\x01\x00\x02\xc0\x00\x02\x0a\x00\x50", 8),  # no such type of address
        (b"\x05\x01\x00\x01\xc0\x00\x02\x2a\x00\x50", 5),  # closed.test
        (b"\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50", 4),  # the exit's policy: a private address
        (b"\x04\x01\x00\x50\x00\x00\x00\x01x\x00", 1),  # SOCKS4
    ):
        reader, writer = await greeted(server)
        await reader.readexactly(2)
        writer.write(request)
        answer = await reader.read(-1)
        assert (answer[0], answer[1]) == (5, reply), request
        writer.close()


async def test_udp(server: SocksServer) -> None:
    reader, writer = await greeted(server)
    await reader.readexactly(2)
    writer.write(b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
    answer = await reader.readexactly(10)
    assert answer[:4] == b"\x05\x00\x00\x01"
    host, port = ".".join(map(str, answer[4:8])), int.from_bytes(answer[8:])
    arrived: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            arrived.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Client, remote_addr=(host, port))
    transport.sendto(b"\0\0\1\1")  # a fragment: dropped
    for wire in (b"\0\0\0\3\x09echo.test\0\7by name", emit_datagram("192.0.2.40", 7, b"by address")):
        async with asyncio.timeout(60):
            while arrived.empty():
                transport.sendto(wire)  # datagrams may be lost
                await asyncio.sleep(1)
        assert parse_datagram(await arrived.get()) == (Destination("192.0.2.40", 7), wire.split(b"\7")[-1])
        while not arrived.empty():
            arrived.get_nowait()
    writer.close()
    await writer.wait_closed()
    transport.close()


async def test_an_association_ends_with_its_exit(local: LocalWorld) -> None:
    async with (
        await Tunnel.connect(options_for(local), platform=NativePlatform()) as tunnel,
        SocksServer(tunnel, port=0) as server,
    ):
        reader, writer = await greeted(server)
        await reader.readexactly(2)
        writer.write(b"\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00")
        assert (await reader.readexactly(10))[1] == 0
        await tunnel.aclose()
        async with asyncio.timeout(20):
            assert await reader.read(-1) == b""
        writer.close()
        reader, writer = await greeted(server)
        await reader.readexactly(2)
        writer.write(b"\x05\x01\x00\x03\x09echo.test\x00\x07")
        assert (await reader.readexactly(10))[1] == 3  # network unreachable
        writer.close()


async def test_a_client_that_says_nothing_or_leaves_is_forgotten(server: SocksServer) -> None:
    before = len(server._clients)
    for start in (b"", b"\x05", b"\x05\x01\x00\x05\x01"):
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(start)
        writer.close()
        await writer.wait_closed()
        await reader.read(-1)
    async with asyncio.timeout(20):
        while len(server._clients) > before:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_server_that_stops_lets_nobody_wait(local: LocalWorld) -> None:
    async with await Tunnel.connect(options_for(local), platform=NativePlatform()) as tunnel:
        stopping = SocksServer(tunnel, port=0)
        await stopping.start()
        reader, writer = await greeted(stopping)
        await reader.readexactly(2)
        writer.write(b"\x05\x01\x00\x03\x09echo.test\x00\x07")
        assert (await reader.readexactly(10))[1] == 0
        silent, silent_writer = await asyncio.open_connection(*stopping.address)
        address = stopping.address
        async with asyncio.timeout(20):
            await stopping.stop()
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read(-1) == b""
            with contextlib.suppress(ConnectionResetError):
                assert await silent.read(-1) == b""
        for one in (writer, silent_writer):
            one.close()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*address)
        assert (await tunnel.fetch("http://web.test/status/204")).status == 204
