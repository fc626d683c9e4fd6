"""httpx, requests and asyncio's streams through the tunnel, each as its own users would use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import pytest_asyncio
import requests

from e2e.conftest import options_for
from smolmix_web.adapters.blocking import BlockingTunnel, LoopThread
from smolmix_web.adapters.httpx import async_client, client
from smolmix_web.adapters.requests import session
from smolmix_web.adapters.streams import create_connection, create_datagram_endpoint, open_connection
from smolmix_web.errors import ConnectionRefused, OptionError, TunnelClosed
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel

one_loop = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def local() -> Iterator[LocalWorld]:
    """A local world in a thread: blocking code leaves no turn to the test's own loop."""
    thread, world = LoopThread("local-world"), LocalWorld()
    thread.run(world.start())
    yield world
    thread.run(world.stop())
    thread.stop()


@pytest.fixture(scope="module")
def blocking(local: LocalWorld) -> Iterator[BlockingTunnel]:
    with BlockingTunnel.connect(options_for(local), platform=NativePlatform()) as tunnel:
        yield tunnel


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def tunnel(local: LocalWorld) -> AsyncIterator[Tunnel]:
    async with await Tunnel.connect(options_for(local), platform=NativePlatform()) as tunnel:
        yield tunnel


def upload() -> Iterator[bytes]:
    yield from (b"one ", b"", b"two ", b"three")


# -- httpx -------------------------------------------------------------------------------------------------


@one_loop
async def test_httpx_async(tunnel: Tunnel) -> None:
    async with async_client(tunnel) as web:
        response = await web.get("https://web.test/bytes/300000")
        assert (response.status_code, len(response.content)) == (200, 300_000)
        posted = await web.post("https://web.test/echo?raw=1", json={"a": 1})
        assert posted.json() == {"a": 1}
        assert (await web.get("https://web.test/gzip?length=5000")).headers.get("content-encoding") is None
        redirected = await web.get("http://web.test/redirect-chain/3", follow_redirects=True)
        assert (redirected.status_code, len(redirected.history)) == (200, 3)


@one_loop
async def test_httpx_async_streams_both_ways(tunnel: Tunnel) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in upload():
            yield piece

    async with async_client(tunnel) as web:
        assert (await web.post("http://web.test/echo?raw=1", content=pieces())).content == b"one two three"
        received = 0
        async with web.stream("GET", "http://web.test/bytes/200000") as response:
            async for piece in response.aiter_bytes():
                received += len(piece)
        assert received == 200_000
        async with web.stream("GET", "http://web.test/bytes/5000000") as response:
            await anext(response.aiter_bytes())
        assert (await web.get("http://web.test/")).status_code == 200


@one_loop
async def test_httpx_names_what_went_wrong(tunnel: Tunnel) -> None:
    async with async_client(tunnel) as web:
        with pytest.raises(httpx.ConnectError) as refused:
            await web.get("http://closed.test/")
        assert isinstance(refused.value.__cause__, ConnectionRefused)
        assert refused.value.request.url == "http://closed.test/"
        with pytest.raises(httpx.ConnectError, match="expired"):
            await web.get("https://expired.test/")
        with pytest.raises(httpx.ConnectTimeout):
            await web.get("http://blackhole.test/", timeout=0.5)
        with pytest.raises(httpx.ReadTimeout):
            await web.get("http://web.test/slow?seconds=30", timeout=httpx.Timeout(20, read=0.5))
        with pytest.raises(httpx.UnsupportedProtocol):
            await web.get("ftp://web.test/")
        with pytest.raises(httpx.LocalProtocolError):
            await web.request("GET", "http://web.test/", content=b"a body")
        with pytest.raises(httpx.RemoteProtocolError):
            await web.get("http://malformed.test/garbage")


@one_loop
async def test_programs_look_like_every_other_user(tunnel: Tunnel, local: LocalWorld) -> None:
    async with async_client(tunnel) as web:
        await web.get("http://web.test/status/204")
        plain = dict(local.internet.site.requests[-1].headers)
        await web.get("http://web.test/status/204", headers={"user-agent": "mine", "accept": "text/css"})
        chosen = dict(local.internet.site.requests[-1].headers)
    assert not [value for value in plain.values() if "httpx" in value]
    assert plain["user-agent"].startswith("Mozilla/")
    assert (chosen["user-agent"], chosen["accept"]) == ("mine", "text/css")


def test_httpx_sync(blocking: BlockingTunnel) -> None:
    with client(blocking) as web:
        assert len(web.get("https://web.test/bytes/100000").content) == 100_000
        assert web.post("http://web.test/echo?raw=1", content=upload()).content == b"one two three"
        web.get("http://web.test/cookies/set?flavour=oat")
        assert web.get("http://web.test/cookies").json() == {"flavour": "oat"}
        assert web.head("http://web.test/bytes/1000").headers["content-length"] == "1000"
        assert web.get("http://web.test/basic-auth", auth=("user", "pass")).text == "welcome\n"
        with pytest.raises(httpx.ConnectError):
            web.get("http://closed.test/")


# -- requests ----------------------------------------------------------------------------------------------


def test_requests(blocking: BlockingTunnel, local: LocalWorld) -> None:
    with session(blocking) as web:
        response = web.get("https://web.test/bytes/300000")
        assert (response.status_code, response.reason, len(response.content)) == (200, "OK", 300_000)
        assert web.post("https://web.test/echo?raw=1", json={"a": 1}).json() == {"a": 1}
        assert web.post("http://web.test/echo?raw=1", data=upload()).content == b"one two three"
        redirected = web.get("http://web.test/redirect-chain/3")
        assert (redirected.status_code, len(redirected.history)) == (200, 3)
        assert web.get("https://web.test/gzip?length=5000").ok
        assert not [v for _, v in local.internet.site.requests[-1].headers if "requests" in v]
        web.get("http://web.test/cookies/set?flavour=oat")
        assert web.get("http://web.test/cookies").json() == {"flavour": "oat"}
        assert web.head("http://web.test/bytes/1000").headers["content-length"] == "1000"
        assert web.get("http://web.test/basic-auth", auth=("user", "pass")).text == "welcome\n"
        assert web.delete("http://web.test/status/204").content == b""
        with web.get("http://web.test/bytes/5000000", stream=True) as unread:
            assert unread.raw.read(10)
        with web.get("http://web.test/bytes/200000", stream=True) as streamed:
            assert sum(map(len, streamed.iter_content(5000))) == 200_000


def test_requests_names_what_went_wrong(blocking: BlockingTunnel) -> None:
    with session(blocking) as web:
        with pytest.raises(requests.exceptions.ConnectionError) as refused:
            web.get("http://closed.test/")
        assert isinstance(refused.value.__cause__, ConnectionRefused)
        with pytest.raises(requests.exceptions.SSLError, match="expired"):
            web.get("https://expired.test/")
        with pytest.raises(requests.exceptions.ReadTimeout):
            web.get("http://web.test/slow?seconds=30", timeout=(20, 0.5))
        with pytest.raises(OptionError, match="verify"):
            web.get("https://web.test/", verify=False)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            web.get("http://web.test/cut")


# -- blocking, streams -------------------------------------------------------------------------------------


def test_blocking(blocking: BlockingTunnel) -> None:
    with blocking.fetch("https://web.test/echo?raw=1", method="POST", body=upload()) as response:
        assert b"".join(response) == b"one two three"
    assert blocking.resolve("web.test") == "192.0.2.10"
    assert {one.family for one in blocking.resolve_all("web.test")} == {4, 6}
    assert blocking.run(blocking.tunnel.resolve("other.test")) == "192.0.2.11"


def test_blocking_from_many_threads(blocking: BlockingTunnel) -> None:
    with ThreadPoolExecutor(8) as threads:
        bodies = list(
            threads.map(lambda n: blocking.fetch(f"http://web.test/bytes/{n}").read(), range(1000, 1016))
        )
    assert [len(body) for body in bodies] == list(range(1000, 1016))


def test_an_upload_that_breaks(blocking: BlockingTunnel) -> None:
    """The caller's own error reaches the caller, and the tunnel goes on."""

    def broken() -> Iterator[bytes]:
        yield b"some"
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        blocking.fetch("http://web.test/echo", method="POST", body=broken())
    assert blocking.fetch("http://web.test/status/204").status == 204


async def test_the_tunnels_own_thread_does_not_wait_for_itself() -> None:
    thread = LoopThread("test")

    async def within() -> None:
        thread.run(asyncio.sleep(0))

    with pytest.raises(TunnelClosed, match="own thread"):
        thread.run(within())
    thread.stop()
    thread.stop()
    with pytest.raises(TunnelClosed):
        thread.run(asyncio.sleep(0))


def test_blocking_after_its_end(local: LocalWorld) -> None:
    tunnel = BlockingTunnel.connect(options_for(local), platform=NativePlatform())
    tunnel.close()
    tunnel.close()
    with pytest.raises(TunnelClosed):
        tunnel.fetch("http://web.test/")


@one_loop
async def test_asyncio_streams(tunnel: Tunnel) -> None:
    reader, writer = await open_connection(tunnel, "echo.test", 7)
    sent = bytes(range(256)) * 2000
    writer.write(sent)
    await writer.drain()
    assert await reader.readexactly(len(sent)) == sent
    writer.write(b"line\n")
    assert await reader.readline() == b"line\n"
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


@one_loop
async def test_asyncio_streams_over_tls_and_lost(tunnel: Tunnel) -> None:
    reader, writer = await open_connection(tunnel, "web.test", 443, tls=True)
    writer.write(b"GET /status/204 HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 204")
    await reader.read()
    writer.close()
    await writer.wait_closed()
    reader, writer = await open_connection(tunnel, "echo.test", 20)  # this service resets
    writer.write(b"anything")
    with pytest.raises(OSError, match=r"reset|lost|closed|ended"):
        async with asyncio.timeout(20):
            await reader.readexactly(1_000_000)
    with pytest.raises(OSError, match=r"reset|lost|closed|ended"):
        await writer.wait_closed()


class Collector(asyncio.Protocol):
    """Gathers what arrives; ``done`` has it at the end."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set_result(bytes(self.data))


@one_loop
async def test_asyncio_protocols(tunnel: Tunnel) -> None:
    transport, protocol = await create_connection(tunnel, Collector, "echo.test", 7)
    assert transport.get_extra_info("peername") == ("echo.test", 7)
    transport.write(b"over and out" * 1_000)
    transport.write_eof()
    async with asyncio.timeout(30):
        assert await protocol.done == b"over and out" * 1_000


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.arrived: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.arrived.put_nowait(data)


@one_loop
async def test_asyncio_datagrams(tunnel: Tunnel) -> None:
    address = await tunnel.resolve("echo.test", family=4)
    transport, protocol = await create_datagram_endpoint(tunnel, Datagrams, (address, 7))
    async with asyncio.timeout(30):
        while protocol.arrived.empty():  # a datagram may be lost
            transport.sendto(b"anybody there?")
            await asyncio.sleep(1.0)
    assert protocol.arrived.get_nowait() == b"anybody there?"
    transport.close()
