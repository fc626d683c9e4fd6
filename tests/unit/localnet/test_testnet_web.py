"""The test internet's web and WebSocket servers, asked by aiohttp's own client over real sockets."""

import asyncio
import hashlib
import ssl
import time
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from leaks import nothing_left_behind
from mapped import browser, endpoint

from smolmix_web.fetch.body import decoder_for
from smolmix_web.localnet.address_map import BLACKHOLE, Protocol
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.testnet.internet import BAD_CERTIFICATE_HOSTS
from smolmix_web.localnet.testnet.tcp import MALFORMED_ANSWERS, SOURCE_BLOCK, pattern

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB = "http://web.test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def internet() -> AsyncIterator[TestInternet]:
    async with TestInternet() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def session(internet: TestInternet) -> AsyncIterator[aiohttp.ClientSession]:
    async with browser(internet) as one:
        yield one


# --- HTTP ---


@pytest.mark.parametrize("length", [0, 1, 65536, 1_000_003])
async def test_bytes_are_deterministic_and_named_by_their_hash(
    session: aiohttp.ClientSession, length: int
) -> None:
    async with session.get(f"{WEB}/bytes/{length}") as response:
        body = await response.read()
    assert body == pattern(length)
    assert hashlib.sha256(body).hexdigest() == response.headers["X-Content-SHA256"]
    async with session.get(f"{WEB}/bytes/{length}?seed=other") as response:
        assert (await response.read() == body) == (length == 0)


@pytest.mark.parametrize(
    "path", ["/bytes/-1", "/bytes/abc", "/bytes/999999999999", "/slow?seconds=nan", "/slow?seconds=1e9"]
)
async def test_unreasonable_wishes_are_refused(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(WEB + path) as response:
        assert response.status == 400


@pytest.mark.parametrize(
    "path",
    [
        "/chunked?chunks=7&size=321",
        "/chunked?chunks=0",
        "/until-close?bytes=70000",
        "/drip?bytes=20&seconds=0.2",
        "/stall?bytes=100&seconds=0.1",
    ],
)
async def test_bodies_in_other_framings_are_whole(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(WEB + path) as response:
        body = await response.read()
    assert hashlib.sha256(body).hexdigest() == response.headers["X-Content-SHA256"]
    assert ("Transfer-Encoding" in response.headers) == path.startswith("/chunked")
    assert ("Content-Length" in response.headers) == path.startswith(("/drip", "/stall"))


@pytest.mark.parametrize(
    "path", ["/cut?bytes=1000&sent=10", "/cut?bytes=1000&chunked=1", "/cut?bytes=1000&reset=1"]
)
async def test_cut_bodies_end_early(session: aiohttp.ClientSession, path: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        async with session.get(WEB + path) as response:
            await response.read()


async def test_slow_waits_before_answering(session: aiohttp.ClientSession) -> None:
    started = time.monotonic()
    async with session.get(f"{WEB}/slow?seconds=0.3") as response:
        assert response.status == 200
    assert time.monotonic() - started >= 0.3


async def test_echo_tells_what_came(session: aiohttp.ClientSession) -> None:
    body = pattern(300_000)
    async with session.post(f"{WEB}/echo?a=b", data=body, headers={"X-Mixed-Case": "yes"}) as response:
        seen = await response.json()
    assert (seen["method"], seen["path"], seen["length"]) == ("POST", "/echo?a=b", len(body))
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    assert ["X-Mixed-Case", "yes"] in seen["headers"]
    async with session.put(f"{WEB}/echo?raw=1", data=body) as response:
        assert await response.read() == body


async def test_the_site_remembers_what_it_was_asked(
    session: aiohttp.ClientSession, internet: TestInternet
) -> None:
    async with session.get(f"{WEB}/headers", headers={"X-One": "1"}) as response:
        assert ["X-One", "1"] in await response.json()
    seen = internet.site.requests[-1]
    assert (seen.method, seen.scheme, seen.host, seen.path_qs) == ("GET", "http", "web.test", "/headers")
    assert ("X-One", "1") in seen.headers


@pytest.mark.parametrize("code", [300, 301, 302, 303, 304, 305, 307, 308])
async def test_redirects_carry_their_target(session: aiohttp.ClientSession, code: int) -> None:
    async with session.get(f"{WEB}/redirect/{code}?to=/status/200", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (code, "/status/200")
    async with session.get(f"{WEB}/redirect/{code}?to=", allow_redirects=False) as response:
        assert "Location" not in response.headers


async def test_chains_end_and_loops_do_not(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{WEB}/redirect-chain/4") as response:
        assert (len(response.history), response.url.path) == (4, "/echo")
    with pytest.raises(aiohttp.TooManyRedirects):
        await session.get(f"{WEB}/redirect-loop")


@pytest.mark.parametrize("code", [200, 204, 205, 304, 404, 418, 500, 599])
async def test_every_status_can_be_had(session: aiohttp.ClientSession, code: int) -> None:
    async with session.get(f"{WEB}/status/{code}") as response:
        assert response.status == code


@pytest.mark.parametrize("path", ["/gzip", "/deflate", "/raw-deflate"])
async def test_coded_bodies_decode_to_their_hash(session: aiohttp.ClientSession, path: str) -> None:
    async with session.get(f"{WEB}{path}?bytes=5000") as response:
        body = await response.read()
    assert len(body) == 5000
    assert hashlib.sha256(body).hexdigest() == response.headers["X-Content-SHA256"]


async def test_cookies_headers_and_authentication(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{WEB}/cookies/set?a=1&b=2") as response:
        assert len(response.headers.getall("Set-Cookie")) == 2
    async with session.get(f"{WEB}/cookies") as response:
        assert await response.json() == {"a": "1", "b": "2"}
    async with session.get(f"{WEB}/response-headers?X-A=1&X-A=2") as response:
        assert response.headers.getall("X-A") == ["1", "2"]
    async with session.get(f"{WEB}/basic-auth") as response:
        assert response.status == 401
    async with session.get(f"{WEB}/basic-auth", headers={"Authorization": "Basic dXNlcjpwYXNz"}) as response:
        assert response.status == 200


async def test_events_and_connections_that_close(session: aiohttp.ClientSession) -> None:
    async with session.get(f"{WEB}/events?count=3&pause=0.01") as response:
        assert (await response.text()).count("data: event") == 3
    async with session.get(f"{WEB}/close") as response:
        assert response.headers["Connection"] == "close"
    async with session.get(f"{WEB}/close-later?seconds=0.01") as response:
        assert "Connection" not in response.headers
    async with session.get(f"{WEB}/") as response:
        assert "/redirect-chain/{count}" in await response.text()


@pytest.mark.parametrize("path", sorted(MALFORMED_ANSWERS.keys() - {"/bare-lf"}))
async def test_malformed_answers_are_malformed(session: aiohttp.ClientSession, path: str) -> None:
    with pytest.raises(aiohttp.ClientError):
        async with session.get("http://malformed.test" + path) as response:
            await response.read()


# --- TLS ---


@pytest.mark.parametrize(
    "host",
    "web www.web other v4only v6only rsa intermediate tls12 tls13 p384".split(),  # noqa: SIM905
)
async def test_good_hosts_are_trusted(session: aiohttp.ClientSession, host: str) -> None:
    async with session.get(f"https://{host}.test/bytes/10") as response:
        assert await response.read() == pattern(10)


@pytest.mark.parametrize("host", sorted(BAD_CERTIFICATE_HOSTS))
async def test_bad_hosts_are_refused(session: aiohttp.ClientSession, host: str) -> None:
    with pytest.raises((aiohttp.ClientConnectorCertificateError, aiohttp.ClientConnectorSSLError)):
        await session.get(f"https://{host}/")


@pytest.mark.parametrize("host", sorted(BAD_CERTIFICATE_HOSTS))
async def test_bad_hosts_are_bad_for_their_certificate_alone(internet: TestInternet, host: str) -> None:
    context = ssl.create_default_context()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(*endpoint(internet, host, 443), ssl=context)
    writer.write(b"GET /status/200 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(("host", "version"), [("tls12.test", "TLSv1.2"), ("tls13.test", "TLSv1.3")])
async def test_tls_versions(internet: TestInternet, host: str, version: str) -> None:
    context = ssl.create_default_context(cadata=internet.trust_anchor_pem)
    context.set_alpn_protocols(["h2", "http/1.1"])
    _, writer = await asyncio.open_connection(
        *endpoint(internet, host, 443), ssl=context, server_hostname=host
    )
    connection = writer.get_extra_info("ssl_object")
    assert (connection.version(), connection.selected_alpn_protocol()) == (version, "http/1.1")
    writer.close()
    await writer.wait_closed()


# --- WebSocket ---


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_websocket_echo(session: aiohttp.ClientSession, scheme: str) -> None:
    async with session.ws_connect(f"{scheme}://web.test/ws/echo", protocols=["nope", "chat"]) as socket:
        assert socket.protocol == "chat"
        await socket.send_str("grüße")
        assert await socket.receive_str() == "grüße"
        await socket.send_bytes(pattern(200_000))
        assert await socket.receive_bytes() == pattern(200_000)
        await socket.send_str("close:4001:why not")
        message = await socket.receive()
        assert (message.type, message.data, message.extra) == (aiohttp.WSMsgType.CLOSE, 4001, "why not")


async def test_websocket_endings(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{WEB}/ws/close?code=1013&reason=later") as socket:
        message = await socket.receive()
        assert (message.data, message.extra) == (1013, "later")
    async with session.ws_connect(f"{WEB}/ws/count?count=3&size=10") as socket:
        assert [await socket.receive_bytes() for _ in range(3)] == [pattern(10, b"%d" % n) for n in range(3)]
        assert (await socket.receive()).data == 1000
    async with session.ws_connect(f"{WEB}/ws/echo") as socket:
        await socket.send_str("drop")
        assert (await socket.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await session.ws_connect(f"{WEB}/ws/reject?status=401")


# --- TCP and UDP services ---


async def test_tcp_services(internet: TestInternet) -> None:
    async def ask(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(*endpoint(internet, "echo.test", port))
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer

    data = pattern(300_000)
    assert await ask(7, data) == data
    assert await ask(9, data) == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode()
    assert await ask(19, b"100000\n") == (SOURCE_BLOCK * 2)[:100_000]
    assert await ask(19, b"nonsense\n") == b""
    with pytest.raises(ConnectionResetError):
        await ask(20, b"x")


async def test_closed_refuses_and_the_black_hole_is_named(internet: TestInternet) -> None:
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*endpoint(internet, "closed.test", 80))
    targets = {
        target
        for address, port, how, target in internet.address_map
        if str(address) == internet.hosts["blackhole.test"]
    }
    assert targets == {BLACKHOLE}


async def test_udp_echo(internet: TestInternet) -> None:
    loop = asyncio.get_running_loop()
    received: asyncio.Future[bytes] = loop.create_future()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.set_result(data)

    transport, _ = await loop.create_datagram_endpoint(
        Client, remote_addr=endpoint(internet, "echo.test", 7, Protocol.UDP)
    )
    transport.sendto(b"hello")
    assert await asyncio.wait_for(received, 5) == b"hello"
    transport.close()
    await asyncio.sleep(0)


async def test_description_names_every_host_and_its_ports(internet: TestInternet) -> None:
    text = internet.describe()
    for name, address in internet.hosts.items():
        (line,) = (line for line in text.splitlines() if line.startswith(name + " "))
        assert address in line
    assert "443/tcp" in text
    assert "53/udp" in text


async def test_nothing_is_left_behind_not_even_with_open_connections() -> None:
    async with nothing_left_behind():
        async with TestInternet() as internet, browser(internet) as session:
            reader, writer = await asyncio.open_connection(*endpoint(internet, "echo.test", 7))
            stalled = asyncio.create_task(session.get(f"{WEB}/slow?seconds=60"))
            socket = await session.ws_connect(f"{WEB}/ws/silent")
            await asyncio.sleep(0.05)
            stalled.cancel()
            await asyncio.gather(stalled, return_exceptions=True)
            await socket.close()
            await internet.stop()
            assert await reader.read() == b""
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await asyncio.sleep(0.05)


# --- what a client has to cope with ---


@pytest.mark.parametrize("path", ["gzip", "gzip-members", "br", "zstd", "br-zstd"])
async def test_codings_hold_what_their_hash_says(internet: TestInternet, path: str) -> None:
    to = endpoint(internet, "web.test", 80)
    async with (
        aiohttp.ClientSession(auto_decompress=False) as plain,
        plain.get(f"http://{to.host}:{to.port}/{path}?bytes=5000") as answer,
    ):
        body = await answer.read()
        names = answer.headers["Content-Encoding"].split(", ")
    decoder = await decoder_for(names)
    assert decoder is not None
    decoder.feed(body)
    text = b"".join(iter(lambda: decoder.read(65536), b""))
    decoder.finish()
    assert hashlib.sha256(text).hexdigest() == answer.headers["X-Content-SHA256"]


async def test_pages_of_every_origin_may_read(session: aiohttp.ClientSession) -> None:
    page = {"Origin": "http://page.example"}
    async with session.get(f"{WEB}/status/404", headers=page) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    asked = {**page, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
    async with session.options(f"{WEB}/echo", headers=asked) as response:
        assert response.headers["Access-Control-Allow-Headers"] == "x-a"
    async with session.get(f"{WEB}/status/404") as response:
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_frames_are_sent_as_told(session: aiohttp.ClientSession) -> None:
    async with session.ws_connect("ws://frames.test/?send=81026869880203e8&then=close") as socket:
        assert await socket.receive_str() == "hi"
        assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
    for bad in ("accept=wrong", "status=403", "cut=1"):
        with pytest.raises(aiohttp.ClientError):
            await session.ws_connect(f"ws://frames.test/?{bad}")
