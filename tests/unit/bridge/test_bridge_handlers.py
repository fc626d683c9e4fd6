"""What a page relies on: each request has exactly one answer, aborts take effect, nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from smolmix_web.bridge.handlers import UPLOAD_CHUNK, Handlers
from smolmix_web.bridge.messages import (
    STREAM,
    Abort,
    DemandMessage,
    Disconnect,
    EventMessage,
    FailureMessage,
    Fetch,
    Info,
    Pull,
    Resolve,
    ResultMessage,
    Setup,
    Stats,
    ToPage,
    ToWorker,
    Upload,
)
from smolmix_web.errors import ConnectionReset
from smolmix_web.fetch import FetchTimeouts
from smolmix_web.options import TunnelOptions
from smolmix_web.resolve import Address

NOTHING_LEFT = {"requests": 0, "exchanges": 0, "sockets": 0, "closing": 0}


class ScriptedResponse:
    reason = "OK"
    url = "http://site.test/"
    redirected = False

    def __init__(self, body: bytes = b"", status: int = 200) -> None:
        self.status = status
        self.has_body = status not in (204, 205, 304)
        self.timings = {"connect": 0.25, "response": 0.0123456}
        self.headers = [("content-type", "text/plain"), ("x", "1"), ("x", "2")]
        self.rest = body
        self.closed = 0
        self.reads = 0
        self.stuck = asyncio.Event()  # cleared by a test to let reading hang
        self.stuck.set()
        self.error: Exception | None = None

    async def read_chunk(self, max_bytes: int) -> bytes:
        self.reads += 1
        await self.stuck.wait()
        if self.error:
            raise self.error
        chunk, self.rest = self.rest[:max_bytes], self.rest[max_bytes:]
        return chunk

    async def aclose(self) -> None:
        self.closed += 1


class ScriptedTunnel:
    """Answers fetches with the responses a test prepared; collects streamed bodies."""

    def __init__(self) -> None:
        self.responses: dict[str, ScriptedResponse | Exception] = {}
        self.hanging: list[str] = []
        self.cancelled: list[str] = []
        self.bodies: list[bytes] = []
        self.timeouts: list[FetchTimeouts] = []
        self.closed = False

    def info(self) -> dict[str, Any]:
        return {"gateway": "G"}

    def stats(self) -> dict[str, Any]:
        return {"sent": 3}

    async def fetch(
        self, url: str, *, body: bytes | AsyncIterator[bytes] | None, timeouts: FetchTimeouts, **_: Any
    ) -> ScriptedResponse:
        self.timeouts.append(timeouts)
        try:
            if isinstance(body, AsyncIterator):
                received = b""
                async for part in body:
                    received += part
                self.bodies.append(received)
            if url not in self.responses:
                self.hanging.append(url)
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(url)
            raise
        answer = self.responses[url]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def resolve(self, host: str, *, family: int, timeout: float | None) -> str:
        return f"IPv{family} address of {host} within {timeout}"

    async def resolve_all(self, host: str, *, family: int, timeout: float | None) -> tuple[Address, ...]:
        return (Address("192.0.2.1", 4, 59.2), Address("2001:db8::1", 6, None))

    async def aclose(self) -> None:
        self.closed = True


class Page:
    """The page's end: sends messages, collects answers."""

    def __init__(self) -> None:
        self.posted: list[ToPage] = []
        self.tunnel = ScriptedTunnel()
        self.options: TunnelOptions | None = None
        self.on_event: Callable[[Any], None] = lambda event: None
        self.handlers = Handlers(self.posted.append, self.connect)

    async def connect(self, options: TunnelOptions, on_event: Callable[[Any], None]) -> ScriptedTunnel:
        self.options, self.on_event = options, on_event
        return self.tunnel

    async def ask(self, message: ToWorker) -> ToPage:
        self.handlers.receive(message)
        return await self.answer(message.id)  # type: ignore[union-attr]

    async def answer(self, identifier: int) -> ToPage:
        for _ in range(1000):
            found = [item for item in self.posted if getattr(item, "id", None) == identifier]
            if found:
                await settle()
                assert len(found) == 1
                return found[0]
            await asyncio.sleep(0)
        raise AssertionError(f"no answer to {identifier}")

    def demands(self) -> int:
        return len([item for item in self.posted if isinstance(item, DemandMessage)])


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def fetch(identifier: int, url: str, *, body: Any = None, timeout: int | None = None, **timeouts: Any):
    return Fetch(identifier, url, "GET", [], body, "follow", None, timeout, timeouts or None, True)


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    page = Page()
    assert await page.ask(Setup(1, {"clientId": "abc"})) == ResultMessage(1)
    yield page
    await page.ask(Disconnect(-1))


async def test_setup_passes_the_options_on(page):
    assert page.options.client_id == "abc"


async def test_a_wrong_option_names_its_field():
    answer = await Page().ask(Setup(1, {"maxRedirects": 256}))
    assert isinstance(answer, FailureMessage)
    assert (answer.error.code, answer.error.field) == ("BAD_OPTION", "maxRedirects")


async def test_before_setup_nothing_goes_out():
    for message in (fetch(1, "http://site.test/"), Info(2), Stats(3), Resolve(4, "a.test", 0, False, None)):
        answer = await Page().ask(message)
        assert isinstance(answer, FailureMessage)
        assert answer.error.code == "TUNNEL_NOT_READY"


async def test_a_second_setup_is_refused(page):
    answer = await page.ask(Setup(2, {}))
    assert isinstance(answer, FailureMessage)


async def test_info_is_the_tunnels(page):
    assert await page.ask(Info(2)) == ResultMessage(2, {"gateway": "G"})


async def test_counters_come_by_themselves_until_disconnect():
    page = Page()
    enough = asyncio.Event()

    def post(message: ToPage) -> None:
        page.posted.append(message)
        if len(page.posted) == 4:
            enough.set()

    page.handlers = Handlers(post, page.connect, stats_interval=0.001)
    await page.ask(Setup(1, {}))
    async with asyncio.timeout(10):
        await enough.wait()
    await page.ask(Disconnect(2))
    reports = [item for item in page.posted if isinstance(item, EventMessage) and item.event == "stats"]
    assert len(reports) > 2
    assert reports[0].detail.pop("worker")["tasks"] > 0
    assert reports[0].detail == {"sent": 3, "bridge": NOTHING_LEFT}
    await asyncio.sleep(0.02)
    assert [item for item in page.posted if isinstance(item, EventMessage)] == reports


async def test_requests_and_answers_are_activity_and_looking_on_is_not():
    page, seen = Page(), []
    page.handlers = Handlers(page.posted.append, page.connect, on_activity=lambda: seen.append(1))
    await page.ask(Setup(1, {}))
    assert len(seen) == 2
    for message in (Info(2), Stats(3)):
        await page.ask(message)
    assert len(seen) == 2
    await page.ask(Resolve(4, "a.test", 0, False, None))
    assert len(seen) == 4
    await page.ask(Disconnect(-1))


async def test_stats_count_what_is_held(page):
    answer = await page.ask(Stats(2))
    assert answer.value["sent"] == 3
    assert answer.value["bridge"]["exchanges"] == 0


async def test_resolve_gives_the_address(page):
    answer = await page.ask(Resolve(2, "a.test", 6, False, 1500))
    assert answer == ResultMessage(2, "IPv6 address of a.test within 1.5")
    found = await page.ask(Resolve(3, "a.test", 0, True, None))
    assert found.value == [
        {"address": "192.0.2.1", "family": 4, "ttl": 60},
        {"address": "2001:db8::1", "family": 6, "ttl": None},
    ]


async def test_limits_of_phases_reach_the_fetch_in_seconds(page):
    page.tunnel.responses["/a"] = ScriptedResponse(status=204)
    await page.ask(fetch(2, "/a", timeout=9000, connect=1500, firstByte=250, idle=None))
    assert page.tunnel.timeouts == [FetchTimeouts(connect=1.5, first_byte=0.25, total=9)]
    for number, bad in enumerate(({"conect": 5}, {"connect": 0}, {"tls": "5"}, {"idle": True}), 3):
        answer = await page.ask(fetch(number, "/a", **bad))
        assert answer.error.code == "BAD_OPTION"
        assert answer.error.field == f"timeouts.{next(iter(bad))}"


async def test_a_body_arrives_in_parts_and_ends_once(page):
    response = page.tunnel.responses["/a"] = ScriptedResponse(b"0123456789")
    head = await page.ask(fetch(2, "/a", timeout=1500))
    assert head.value == {
        "status": 200,
        "statusText": "OK",
        "headers": [("content-type", "text/plain"), ("x", "1"), ("x", "2")],
        "url": "http://site.test/",
        "timings": {"connect": 250.0, "response": 12.3},
        "redirected": False,
        "body": True,
    }
    assert page.tunnel.timeouts == [FetchTimeouts(total=1.5)]
    parts = [(await page.ask(Pull(3 + n, 2, 4))).data for n in range(4)]
    assert parts == [b"0123", b"4567", b"89", None]
    assert response.closed == 1
    assert page.handlers.counters() == NOTHING_LEFT


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_a_response_that_cannot_have_a_body_is_closed_at_once(page, status):
    response = page.tunnel.responses["/a"] = ScriptedResponse(b"", status)
    head = await page.ask(fetch(2, "/a"))
    assert head.value["body"] is False
    # Its end was read: the connection can serve the next request.
    assert (response.reads, response.closed) == (1, 1)
    assert page.handlers.counters() == NOTHING_LEFT


async def test_a_failing_fetch_rejects_with_its_code(page):
    page.tunnel.responses["/a"] = ConnectionReset("reset by peer")
    answer = await page.ask(fetch(2, "/a"))
    assert answer.error.code == "RESET"
    assert page.handlers.counters() == NOTHING_LEFT


async def test_an_unexpected_error_rejects_without_its_text(page, caplog):
    page.tunnel.responses["/a"] = RuntimeError("cookie=secret")
    answer = await page.ask(fetch(2, "/a"))
    assert answer.error.code == "INTERNAL"
    assert "secret" not in answer.error.message
    assert "fetch failed" in caplog.text


async def test_a_body_that_breaks_off_rejects_the_pull_and_frees_the_response(page):
    response = page.tunnel.responses["/a"] = ScriptedResponse(b"abc")
    await page.ask(fetch(2, "/a"))
    response.error = ConnectionReset("reset by peer")
    answer = await page.ask(Pull(3, 2, 100))
    assert answer.error.code == "RESET"
    assert response.closed == 1
    assert page.handlers.counters() == NOTHING_LEFT


async def test_pulling_from_what_is_not_open_is_refused(page):
    answer = await page.ask(Pull(3, 99, 100))
    assert answer.error.code == "MISUSE"


async def test_abort_before_the_head_cancels_the_fetch(page):
    page.handlers.receive(fetch(2, "/hanging"))
    await settle()
    page.handlers.receive(Abort(2))
    answer = await page.answer(2)
    assert answer.error.code == "ABORTED"
    assert page.tunnel.cancelled == ["/hanging"]
    assert page.handlers.counters() == NOTHING_LEFT


async def test_abort_in_the_same_turn_is_answered_too(page):
    page.handlers.receive(fetch(2, "/hanging"))
    page.handlers.receive(Abort(2))
    answer = await page.answer(2)
    assert answer.error.code == "ABORTED"
    assert page.handlers.counters() == NOTHING_LEFT


async def test_abort_while_the_body_is_read_closes_the_response(page):
    response = page.tunnel.responses["/a"] = ScriptedResponse(b"abc")
    await page.ask(fetch(2, "/a"))
    response.stuck.clear()
    page.handlers.receive(Pull(3, 2, 100))
    await settle()
    page.handlers.receive(Abort(2))
    answer = await page.answer(3)
    assert answer.error.code == "ABORTED"
    assert response.closed == 1
    assert page.handlers.counters() == NOTHING_LEFT


async def test_abort_between_reads_closes_the_response(page):
    response = page.tunnel.responses["/a"] = ScriptedResponse(b"abc")
    await page.ask(fetch(2, "/a"))
    page.handlers.receive(Abort(2))
    await settle()
    assert response.closed == 1
    assert page.handlers.counters() == NOTHING_LEFT


async def test_abort_of_what_is_over_changes_nothing(page):
    page.handlers.receive(Abort(77))
    assert page.handlers.counters() == NOTHING_LEFT


async def test_a_streamed_body_is_asked_for_part_by_part(page):
    page.tunnel.responses["/a"] = ScriptedResponse(b"thanks")
    page.handlers.receive(fetch(2, "/a", body=STREAM))
    for count, part in enumerate([b"one,", b"", b"two"], start=1):
        await settle()
        assert page.demands() == count
        page.handlers.receive(Upload(2, part, None))
    await settle()
    page.handlers.receive(Upload(2, None, None))
    assert isinstance(await page.answer(2), ResultMessage)
    assert page.tunnel.bodies == [b"one,two"]
    assert DemandMessage(2, UPLOAD_CHUNK) in page.posted


async def test_a_page_stream_that_breaks_fails_the_fetch(page):
    page.handlers.receive(fetch(2, "/a", body=STREAM))
    await settle()
    page.handlers.receive(Upload(2, None, "the file is gone"))
    answer = await page.answer(2)
    assert answer.error.code == "NETWORK"
    assert "the file is gone" in answer.error.message
    assert page.handlers.counters() == NOTHING_LEFT


async def test_uploads_that_nobody_asked_for_are_ignored(page):
    page.handlers.receive(Upload(50, b"x", None))
    page.handlers.receive(fetch(2, "/a", body=STREAM))
    await settle()
    page.handlers.receive(Upload(2, b"a", None))
    page.handlers.receive(Upload(2, b"not asked for", None))
    await settle()
    page.handlers.receive(Upload(2, None, None))
    await settle()
    assert page.tunnel.bodies == [b"a"]


async def test_disconnect_ends_everything(page):
    page.tunnel.responses["/open"] = response = ScriptedResponse(b"abc")
    await page.ask(fetch(2, "/open"))
    page.handlers.receive(fetch(3, "/hanging"))
    page.handlers.receive(fetch(4, "/upload", body=STREAM))
    await settle()
    assert await page.ask(Disconnect(5)) == ResultMessage(5)
    assert page.tunnel.closed
    assert response.closed == 1
    assert {(await page.answer(n)).error.code for n in (3, 4)} == {"ABORTED"}
    assert page.handlers.counters() == NOTHING_LEFT
    assert (await page.ask(Info(6))).error.code == "TUNNEL_NOT_READY"


async def test_disconnect_ends_a_setup_under_way():
    page = Page()
    started = asyncio.Event()

    async def connect(options, on_event):
        started.set()
        await asyncio.Event().wait()

    page.handlers = Handlers(page.posted.append, connect)
    page.handlers.receive(Setup(1, {}))
    await started.wait()
    assert await page.ask(Disconnect(2)) == ResultMessage(2)
    assert (await page.answer(1)).error.code == "ABORTED"


async def test_events_of_the_tunnel_reach_the_page(page):
    @dataclass
    class Progress:
        kind: ClassVar[str] = "progress"
        stage: str
        part_done: float

    page.on_event(Progress("gateway", 0.5))
    assert page.posted[-1] == EventMessage("progress", {"stage": "gateway", "partDone": 0.5})
