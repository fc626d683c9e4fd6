"""The fetch client against real servers on loopback."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import pytest
from aiohttp import web

from smolmix_web.errors import ConnectionRefused, DeadlineError, OptionError
from smolmix_web.fetch import (
    BadResponse,
    FetchClient,
    FetchRequest,
    FetchTimeouts,
    RedirectError,
    ResponseCutOff,
)
from smolmix_web.fetch.request import Origin
from support.raw_server import raw_tcp_server
from support.streams import LoopbackStream

BODY = bytes(range(256)) * 300


class Site:
    """An HTTP server, and a client whose every host name leads to it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.dials: list[Origin] = []
        self.streams: list[LoopbackStream] = []
        self.client = FetchClient(
            self._open, time.monotonic, timeouts=FetchTimeouts(first_byte=5, idle=5, queue=5)
        )

    async def _open(self, origin: Origin, _timeouts: FetchTimeouts) -> LoopbackStream:
        self.dials.append(origin)
        try:
            stream = await LoopbackStream.connect("127.0.0.1", self.port)
        except OSError as error:
            raise ConnectionRefused("refused") from error
        self.streams.append(stream)
        return stream

    async def get(self, path: str, host: str = "site.test", **options: object) -> tuple[int, bytes]:
        request = FetchRequest.create(f"http://{host}{path}")
        response = await self.client.fetch(request, **options)  # type: ignore[arg-type]
        return response.status, await response.read()


@contextlib.asynccontextmanager
async def serve_raw(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Site]:
    """A server that says exactly what ``answer`` writes."""

    async with raw_tcp_server(answer) as port:
        site = Site(port)
        try:
            yield site
        finally:
            await site.client.aclose()


def raw(response: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)
        await writer.drain()

    return answer


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async def echo(request: web.Request) -> web.Response:
        body = await request.read()
        return web.json_response(
            {
                "method": request.method,
                "path": request.raw_path,
                "headers": [[name.decode(), value.decode()] for name, value in request.raw_headers],
                "sha256": hashlib.sha256(body).hexdigest(),
                "length": len(body),
            }
        )

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(
            status=int(request.match_info["status"]), headers={"Location": request.query["to"]}
        )

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(BODY), 1000):
            await response.write(BODY[start : start + 1000])
        return response

    async def encoded(request: web.Request) -> web.Response:
        coding = request.match_info["coding"]
        body = {
            "gzip": gzip.compress(BODY),
            "members": gzip.compress(BODY[:1000]) + gzip.compress(BODY[1000:]),
            "deflate": zlib.compress(BODY),
            "rawdeflate": zlib.compress(BODY)[2:-4],
            "truncated": gzip.compress(BODY)[:-20],
            "damaged": gzip.compress(BODY)[:200] + b"\xff" * 200,
        }[coding]
        name = "deflate" if "deflate" in coding else "gzip"
        return web.Response(body=body, headers={"Content-Encoding": name})

    async def body(_request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(float(request.query["seconds"]))
        return web.Response(text="late")

    async def empty(request: web.Request) -> web.Response:
        return web.Response(status=int(request.match_info["status"]))

    app = web.Application()
    app.router.add_route("*", "/echo", echo)
    app.router.add_route("*", "/redirect/{status}", redirect)
    app.router.add_get("/body", body)
    app.router.add_get("/chunked", chunked)
    app.router.add_get("/encoded/{coding}", encoded)
    app.router.add_get("/slow", slow)
    app.router.add_get("/status/{status}", empty)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    tcp = web.TCPSite(runner, "127.0.0.1", 0)
    await tcp.start()
    result = Site(runner.addresses[0][1])
    try:
        yield result
    finally:
        await result.client.aclose()
        await runner.cleanup()


async def echo_json(
    site: Site, method: str = "GET", body: object = None, headers: list[tuple[str, str]] | None = None
) -> dict[str, object]:
    request = FetchRequest.create(
        "http://site.test/echo?a=b", method=method, headers=headers or [], body=body
    )  # type: ignore[arg-type]
    result: dict[str, object] = json.loads(await (await site.client.fetch(request)).read())
    return result


async def test_get_delivers_status_headers_and_the_exact_body(site: Site) -> None:
    response = await site.client.fetch(FetchRequest.create("http://site.test/body#fragment"))
    assert (response.status, response.reason, response.redirected) == (200, "OK", False)
    assert response.url == "http://site.test/body"
    assert response.header_values("Content-Length") == [str(len(BODY))]
    assert await response.read() == BODY


async def test_chunked_bodies_arrive_without_their_framing(site: Site) -> None:
    assert await site.get("/chunked") == (200, BODY)


async def test_a_browser_like_request_is_sent_and_the_caller_wins(site: Site) -> None:
    seen = await echo_json(site, headers=[("Accept", "text/x-mine"), ("X-Two", "1"), ("x-two", "2")])
    headers = seen["headers"]
    assert isinstance(headers, list)
    assert headers[0] == ["host", "site.test"]
    assert [value for name, value in headers if name == "accept"] == ["text/x-mine"]
    assert [value for name, value in headers if name == "x-two"] == ["1", "2"]
    assert any(name == "user-agent" and "Mozilla/5.0" in value for name, value in headers)
    assert seen["path"] == "/echo?a=b"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_bodies_are_uploaded_exactly(site: Site, method: str) -> None:
    seen = await echo_json(site, method, BODY)
    assert (seen["method"], seen["sha256"]) == (method, hashlib.sha256(BODY).hexdigest())


async def test_a_streamed_upload_goes_out_in_chunks(site: Site) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(BODY), 7000):
            yield BODY[start : start + 7000]
            await asyncio.sleep(0)

    seen = await echo_json(site, "POST", pieces())
    assert (seen["length"], seen["sha256"]) == (len(BODY), hashlib.sha256(BODY).hexdigest())


async def test_a_failing_upload_source_fails_the_fetch_with_its_own_error(site: Site) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        await echo_json(site, "POST", pieces())
    assert site.client.pool.counts()["busy"] == 0


async def test_connections_are_reused(site: Site) -> None:
    for _ in range(4):
        assert await site.get("/body") == (200, BODY)
    assert len(site.dials) == 1


async def test_a_response_tells_how_long_each_phase_took(site: Site) -> None:
    request = FetchRequest.create("http://site.test/slow?seconds=0.2")
    async with await site.client.fetch(request) as response:
        assert set(response.timings) == {"response"}
        assert response.timings["response"] >= 0.2
    # Seven at a time: the last one waits for a connection as long as another one takes.
    responses = await asyncio.gather(*(site.client.fetch(request) for _ in range(6)))
    waiting = asyncio.ensure_future(site.client.fetch(request))
    await asyncio.sleep(0.2)
    for response in responses:
        await response.read()
    async with await waiting as response:
        assert response.timings["queue"] >= 0.15
        assert response.timings["response"] >= 0.2


async def test_at_most_six_connections_per_origin_and_the_queue_is_served(site: Site) -> None:
    results = await asyncio.gather(*(site.get("/slow?seconds=0.05") for _ in range(20)))
    assert results == [(200, b"late")] * 20
    assert len(site.dials) == 6
    assert site.client.pool.counts() == {"idle": 6, "busy": 0, "dialling": 0, "queued": 0}


async def test_origins_do_not_share_connections(site: Site) -> None:
    await site.get("/body", host="one.test")
    await site.get("/body", host="two.test")
    assert [origin.host for origin in site.dials] == ["one.test", "two.test"]


@pytest.mark.parametrize(
    ("status", "method", "kept"),
    [(301, "GET", False), (302, "GET", False), (303, "GET", False), (307, "POST", True), (308, "POST", True)],
)
async def test_a_redirected_post(site: Site, status: int, method: str, kept: bool) -> None:
    request = FetchRequest.create(
        f"http://site.test/redirect/{status}?to=/echo",
        method="POST",
        headers=[("content-type", "text/plain"), ("authorization", "secret")],
        body=b"hello",
    )
    response = await site.client.fetch(request)
    assert response.redirected
    assert response.url == "http://site.test/echo"
    seen = json.loads(await response.read())
    names = [name for name, _ in seen["headers"]]
    assert (seen["method"], seen["length"] == 5, "content-type" in names) == (method, kept, kept)
    assert "authorization" in names  # same origin


async def test_credentials_do_not_follow_to_another_origin(site: Site) -> None:
    request = FetchRequest.create(
        "http://site.test/redirect/302?to=http://other.test/echo",
        headers=[("authorization", "a"), ("cookie", "b"), ("proxy-authorization", "c"), ("x-kept", "d")],
    )
    seen = json.loads(await (await site.client.fetch(request)).read())
    headers = dict(seen["headers"])
    assert headers["host"] == "other.test"
    assert headers["x-kept"] == "d"
    assert not {"authorization", "cookie", "proxy-authorization"} & set(headers)


async def test_redirect_modes(site: Site) -> None:
    request = FetchRequest.create("http://site.test/redirect/302?to=/body")
    response = await site.client.fetch(request, redirect="manual")
    assert (response.status, response.header_values("location")) == (302, ["/body"])
    await response.aclose()
    with pytest.raises(RedirectError, match="'error'"):
        await site.client.fetch(request, redirect="error")
    with pytest.raises(OptionError, match="redirect"):
        await site.client.fetch(request, redirect="sideways")  # type: ignore[arg-type]


async def test_redirect_loops_end(site: Site) -> None:
    request = FetchRequest.create("http://site.test/redirect/302?to=/redirect/302?to=/redirect/302")
    with pytest.raises(RedirectError, match="too many redirects"):
        await site.client.fetch(request, max_redirects=1)


@pytest.mark.parametrize(
    "target", ["ftp://site.test/x", "http://", "http://user:pw@site.test/", "http://a b/"]
)
async def test_redirects_to_what_cannot_be_fetched_are_errors(site: Site, target: str) -> None:
    with pytest.raises(RedirectError):
        await site.get(f"/redirect/302?to={quote(target, safe='')}")


async def test_https_to_http_is_refused() -> None:
    request = FetchRequest.create("https://site.test/a")
    with pytest.raises(RedirectError, match="https to http"):
        request.redirected(302, "http://site.test/b")


@pytest.mark.parametrize("coding", ["gzip", "members", "deflate", "rawdeflate"])
async def test_compressed_bodies_are_decoded(site: Site, coding: str) -> None:
    assert await site.get(f"/encoded/{coding}") == (200, BODY)


@pytest.mark.parametrize("coding", ["truncated", "damaged"])
async def test_broken_compression_is_an_error(site: Site, coding: str) -> None:
    with pytest.raises(BadResponse):
        await site.get(f"/encoded/{coding}")


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body_end_at_once(site: Site, status: int) -> None:
    assert await site.get(f"/status/{status}") == (status, b"")
    assert site.client.pool.counts()["idle"] == 1


async def test_head_has_no_body(site: Site) -> None:
    response = await site.client.fetch(FetchRequest.create("http://site.test/body", method="head"))
    assert response.header_values("content-length") == [str(len(BODY))]
    assert await response.read() == b""


async def test_first_byte_and_total_deadlines_name_their_phase(site: Site) -> None:
    request = FetchRequest.create("http://site.test/slow?seconds=1")
    with pytest.raises(DeadlineError, match="head of the response") as caught:
        await site.client.fetch(request, timeouts=FetchTimeouts(first_byte=0.05))
    assert caught.value.phase == "firstByte"
    with pytest.raises(DeadlineError, match="whole fetch") as caught:
        await site.client.fetch(request, timeouts=FetchTimeouts(total=0.05))
    assert caught.value.phase == "total"
    assert site.client.pool.counts() == {"idle": 0, "busy": 0, "dialling": 0, "queued": 0}


async def test_a_head_that_drips_in_does_not_escape_the_limit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in HEAD + b"X-Filler: " + b"y" * 1000:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serve_raw(answer) as site:
        request = FetchRequest.create("http://site.test/")
        with pytest.raises(DeadlineError) as caught:
            await site.client.fetch(request, timeouts=FetchTimeouts(first_byte=0.2))
        assert caught.value.phase == "firstByte"


async def test_the_total_limit_covers_the_body_too() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with serve_raw(answer) as site:
        request = FetchRequest.create("http://site.test/")
        response = await site.client.fetch(request, timeouts=FetchTimeouts(total=0.3))
        with pytest.raises(DeadlineError) as caught:
            await response.read()
        assert caught.value.phase == "total"
        assert site.client.stats.open_bodies == 0


async def test_a_silent_body_and_a_server_that_does_not_read_run_into_the_idle_limit() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            writer.write(HEAD + b"Content-Length: 1000\r\n\r\nsome")
        await asyncio.sleep(2)

    async with serve_raw(answer) as site:
        quick = FetchTimeouts(idle=0.1)
        response = await site.client.fetch(FetchRequest.create("http://site.test/"), timeouts=quick)
        with pytest.raises(DeadlineError) as caught:
            await response.read()
        assert caught.value.phase == "idle"
        upload = FetchRequest.create("http://site.test/", method="POST", body=bytes(32 << 20))
        with pytest.raises(DeadlineError) as caught:
            await site.client.fetch(upload, timeouts=quick)
        assert caught.value.phase == "idle"


async def test_failures_say_what_was_going_on() -> None:
    async def refuse(_origin: Origin, _timeouts: FetchTimeouts) -> LoopbackStream:
        error = ConnectionRefused("refused")
        error.phase = "connect"
        raise error

    client = FetchClient(refuse, time.monotonic)
    with pytest.raises(ConnectionRefused) as refused:
        await client.fetch(FetchRequest.create("http://site.test/"))
    assert refused.value.phase == "connect"
    for sent, phase in ((b"SSH-2.0\r\n\r\n", "response"), (HEAD + b"Content-Length: 5\r\n\r\nhi", "body")):
        async with serve_raw(raw(sent)) as site:
            with pytest.raises(ResponseCutOff if phase == "body" else BadResponse) as caught:
                await site.get("/")
            assert caught.value.phase == phase

    async def broken() -> AsyncIterator[bytes]:
        yield b"part"
        raise ConnectionRefused("the disk is gone")

    async with serve_raw(raw(b"")) as site:
        request = FetchRequest.create("http://site.test/", method="POST", body=broken())
        with pytest.raises(ConnectionRefused) as gone:
            await site.client.fetch(request)
        assert gone.value.phase == "upload"


async def test_bytes_after_a_response_are_not_taken_for_the_next_one() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nok" + HEAD + b"Content-Length: 6\r\n\r\nforged")
        await reader.read()

    async with serve_raw(answer) as site:
        assert await site.get("/a") == (200, b"ok")
        assert site.client.pool.counts()["idle"] == 0
        assert await site.get("/b") == (200, b"ok")
        assert len(site.dials) == 2


async def test_requests_that_wait_are_served_in_order() -> None:
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            seen.append(head.split(b" ")[1].decode())
            await asyncio.sleep(0.02)
            writer.write(HEAD + b"Content-Length: 2\r\n\r\nok")

    async with serve_raw(answer) as site:

        async def late(number: int) -> None:
            await asyncio.sleep(0.001 * number)
            await site.get(f"/{number}")

        await asyncio.gather(*(late(number) for number in range(40)))
        order = [int(path[1:]) for path in seen]
        # Six run at once, so neighbours may change places; nobody is overtaken by a whole round.
        assert all(abs(number - place) < 6 for place, number in enumerate(order))
        assert len(site.dials) == 6


async def test_more_requests_than_connections_in_total_all_end() -> None:
    async with serve_raw(_answers_for_ever) as site:
        site.client.pool._max_total = 4
        answers = await asyncio.gather(*(site.get("/", host=f"host{n % 9}.test") for n in range(60)))
        assert answers == [(200, b"ok")] * 60
        assert sum(site.client.pool.counts().values()) <= 4


async def _answers_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nok")


async def test_cancelling_frees_the_connection(site: Site) -> None:
    task = asyncio.ensure_future(site.get("/slow?seconds=1"))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert site.client.pool.counts() == {"idle": 0, "busy": 0, "dialling": 0, "queued": 0}
    assert await site.get("/body") == (200, BODY)


async def test_an_unread_body_is_given_up_without_harm(site: Site) -> None:
    response = await site.client.fetch(FetchRequest.create("http://site.test/body"))
    assert await response.read_chunk(10) == BODY[:10]
    await response.aclose()
    assert site.client.stats.open_bodies == 0
    assert await site.get("/body") == (200, BODY)


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "response",
    [
        HEAD + b"Content-Length: 10\r\n\r\nhalf",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhal",
        HEAD + b"Content-Le",
        b"",
    ],
)
async def test_a_response_that_ends_early_is_cut_off(response: bytes) -> None:
    async with serve_raw(raw(response)) as site:
        with pytest.raises(ResponseCutOff):
            await site.get("/")
        assert site.client.pool.counts() == {"idle": 0, "busy": 0, "dialling": 0, "queued": 0}


@pytest.mark.parametrize(
    "response",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 99999 Odd\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"X: " + b"y" * 400_000 + b"\r\n\r\n",
        bytes(range(256)) * 4,
    ],
)
async def test_what_is_not_http_is_a_bad_response(response: bytes) -> None:
    async with serve_raw(raw(response)) as site:
        with pytest.raises(BadResponse):
            await site.get("/")


async def test_informational_responses_are_passed_over() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + HEAD + b"Content-Length: 2\r\n\r\nok"
    async with serve_raw(raw(answer)) as site:
        assert await site.get("/") == (200, b"ok")


async def test_a_body_without_length_ends_with_the_connection() -> None:
    async with serve_raw(raw(HEAD + b"\r\nall of it")) as site:
        assert await site.get("/") == (200, b"all of it")


def _one_answer_per_connection(count: list[int]) -> Callable[..., Awaitable[None]]:
    """Answers once, promises to keep the connection, then hangs up on the second request."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nok")
        await reader.readuntil(b"\r\n\r\n")
        count.append(1)

    return answer


async def test_an_idempotent_request_on_a_stale_connection_is_repeated_once() -> None:
    seen: list[int] = []
    async with serve_raw(_one_answer_per_connection(seen)) as site:
        assert await site.get("/") == (200, b"ok")
        assert await site.get("/") == (200, b"ok")
        assert (len(seen), len(site.dials), site.client.stats.retries) == (1, 2, 1)


async def test_a_post_on_a_stale_connection_is_not_repeated() -> None:
    seen: list[int] = []
    async with serve_raw(_one_answer_per_connection(seen)) as site:
        await site.get("/")
        with pytest.raises(ResponseCutOff):
            await site.client.fetch(FetchRequest.create("http://site.test/", method="POST", body=b"x"))
        assert site.client.stats.retries == 0


async def test_a_connection_closed_while_idle_is_not_used_again() -> None:
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 2\r\n\r\nok")
        await writer.drain()
        writer.close()
        closed.set()

    async with serve_raw(answer) as site:
        await site.get("/")
        await closed.wait()
        await asyncio.sleep(0.05)
        request = FetchRequest.create("http://site.test/", method="POST", body=b"x")
        assert await (await site.client.fetch(request)).read() == b"ok"
        assert len(site.dials) == 2


async def test_an_early_answer_to_a_long_upload_is_delivered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")
        await writer.drain()
        await asyncio.sleep(1)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(65536)

    async with serve_raw(answer) as site:
        request = FetchRequest.create("http://site.test/", method="POST", body=endless())
        response = await site.client.fetch(request)
        assert (response.status, await response.read()) == (413, b"no")
        assert site.client.pool.counts()["idle"] == 0


async def test_a_closed_client_fails_calls_and_open_bodies() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"Content-Length: 100\r\n\r\nsome")
        await reader.read()

    async with serve_raw(answer) as site:
        response = await site.client.fetch(FetchRequest.create("http://site.test/"))
        assert await response.read_chunk() == b"some"
        await site.client.aclose()
        with pytest.raises(OSError, match=r"."):
            await response.read_chunk()
        with pytest.raises(OSError, match="closed"):
            await site.get("/")
