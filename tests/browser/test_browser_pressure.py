"""Large bodies and messages, and pages and servers that are slow: nothing piles up on the way."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import pytest
import pytest_asyncio
from browser_support import open_mix_page
from mix_page import MixPage
from playwright.async_api import Browser

from smolmix_web.localnet.exit_node import ExitNode
from smolmix_web.localnet.testnet.web import content
from smolmix_web.localnet.userspace_exit import UserspaceExit
from smolmix_web.localnet.world import LocalWorld
from support.case_table import BULK

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

MB = 1024 * 1024
WINDOW = 256 * 1024
"""The option ``tcpBufferSize`` here, so that a limit is reached soon."""

_LOAD = """
() => {
  const table = new Uint32Array(256).map((_, index) => {
    for (let bit = 0; bit < 8; bit += 1) index = index & 1 ? (index >>> 1) ^ 0xedb88320 : index >>> 1;
    return index;
  });
  window.crc = (bytes, sum) => {
    sum = ~sum;
    for (const byte of bytes) sum = table[(sum ^ byte) & 255] ^ (sum >>> 8);
    return ~sum >>> 0;
  };
  window.pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  window.stats = () => window.mix.getTunnelStats();
}
"""

_SUM = "function () { return this.reduce((sum, one) => sum + one.byteLength, 0); }"

Answer = TypeVar("Answer")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def mix(browser: Browser, world: LocalWorld, site: str) -> AsyncIterator[MixPage]:
    """One tunnel with small TCP buffers."""
    context = await browser.new_context()
    context.set_default_timeout(500_000)
    async with open_mix_page(context, world, site) as mix:
        quick = {"disablePoissonTraffic": True, "disableCoverTraffic": True, "tcpBufferSize": WINDOW}
        assert await mix.setup(**quick, clientId="pressure") == {"value": None}
        await mix.run(_LOAD)
        yield mix
    await context.close()


@pytest.fixture
def exit_(world: LocalWorld) -> UserspaceExit:
    node = world.network.nodes["exit"]
    assert isinstance(node, ExitNode)
    assert isinstance(node.service.way_out, UserspaceExit)
    return node.service.way_out


async def live_buffers(mix: MixPage) -> int:
    """Bytes of all ArrayBuffers that the page can still reach."""
    session = await mix.page.context.new_cdp_session(mix.page)
    prototype = await session.send("Runtime.evaluate", {"expression": "ArrayBuffer.prototype"})
    found = await session.send("Runtime.queryObjects", {"prototypeObjectId": prototype["result"]["objectId"]})
    total = await session.send(
        "Runtime.callFunctionOn",
        {
            "objectId": found["objects"]["objectId"],
            "functionDeclaration": _SUM,
            "returnByValue": True,
        },
    )
    await session.detach()
    size: int = total["result"]["value"]
    return size


async def worker_memory(mix: MixPage) -> int:
    memory: int = await mix.run("async () => (await stats()).worker.memory")
    return memory


async def watched(
    mix: MixPage, action: Awaitable[Answer], exit_: UserspaceExit
) -> tuple[Answer, dict[str, int]]:
    """The outcome of ``action``, and the most that page, worker and exit held meanwhile."""
    most = {"page": 0, "unread": 0, "unsent": 0, "exit": 0}
    task = asyncio.ensure_future(action)
    while not task.done():
        await asyncio.wait({task}, timeout=1)
        stack: dict[str, Any] = await mix.run("async () => (await stats()).stack")
        seen = {
            "page": await live_buffers(mix),
            "unread": stack["unread"],
            "unsent": stack["unsent"],
            "exit": exit_.held(),
        }
        most = {name: max(most[name], seen[name]) for name in most}
    return task.result(), most


async def test_20_mb_down(mix: MixPage, exit_: UserspaceExit) -> None:
    size = 20_000_000
    before = await worker_memory(mix)
    action = mix.run(
        """async (url) => {
          const response = await window.mix.mixFetch(url);
          let [size, sum] = [0, 0];
          for await (const part of response.body) {
            size += part.byteLength;
            sum = crc(part, sum);
          }
          return [size, sum];
        }""",
        f"http://web.test/bytes/{size}",
    )
    (received, checksum), most = await watched(mix, action, exit_)
    assert received == size
    assert checksum == zlib.crc32(content(size)[0])
    assert most["page"] < 4 * MB
    assert most["unread"] <= WINDOW
    assert await worker_memory(mix) - before < 8 * MB


async def test_10_mb_up(mix: MixPage, exit_: UserspaceExit) -> None:
    size, part = 10_000_000, 100_000
    before = await worker_memory(mix)
    action = mix.run(
        """async ([size, part]) => {
          let [made, sum] = [0, 0];
          const body = new ReadableStream({
            pull(controller) {
              if (made === size) return controller.close();
              const bytes = new Uint8Array(part).map((_, index) => (index * 31 + made / part) & 255);
              made += part;
              sum = crc(bytes, sum);
              controller.enqueue(bytes);
            },
          });
          const response = await window.mix.mixFetch('http://web.test/echo', { method: 'POST', body });
          return await response.json();
        }""",
        [size, part],
    )
    answer, most = await watched(mix, action, exit_)
    assert answer["length"] == size
    assert most["page"] < 4 * MB
    assert most["unsent"] <= WINDOW + 64 * 1024
    assert most["exit"] < 4 * MB
    assert await worker_memory(mix) - before < 8 * MB


async def test_a_page_that_does_not_read_stops_the_server(mix: MixPage, exit_: UserspaceExit) -> None:
    size = 6_000_000
    await mix.run(
        "async (url) => { window.slow = (await window.mix.mixFetch(url)).body.getReader(); }",
        f"http://web.test/bytes/{size}",
    )
    held = 0
    for _ in range(60):
        await asyncio.sleep(0.5)
        last, held = held, exit_.held()
        stack = await mix.run("async () => (await stats()).stack")
        if held == last and stack["unread"]:
            break
    else:
        pytest.fail("the exit keeps taking more from the server")
    assert 0 < stack["unread"] <= WINDOW
    assert held < 5 * MB
    assert await live_buffers(mix) < 2 * MB
    # A few reads, and everything moves on by as much.
    taken, checksum = await mix.run(
        """async () => {
          let [size, sum] = [0, 0];
          for (let count = 0; count < 20; count += 1) {
            const { value } = await slow.read();
            size += value.byteLength;
            sum = crc(value, sum);
            await pause(50);
          }
          return [size, sum];
        }"""
    )
    assert (await mix.run("async () => (await stats()).stack"))["unread"] <= WINDOW
    rest, checksum = await mix.run(
        """async (sum) => {
          let size = 0;
          for (;;) {
            const { done, value } = await slow.read();
            if (done) return [size, sum];
            size += value.byteLength;
            sum = crc(value, sum);
          }
        }""",
        checksum,
    )
    assert taken + rest == size
    assert checksum == zlib.crc32(content(size)[0])


async def test_a_large_message_there_and_back(mix: MixPage) -> None:
    """16 MB with SMOLMIX_BULK=1: these take minutes, and 4 MB show the same."""
    answer = await mix.run(
        """async (size) => {
          const socket = new window.mix.MixWebSocket('ws://web.test/ws/echo?compress=0');
          await socket.opened();
          const message = new Uint8Array(size).map((_, index) => (index * 31 + (index >> 8) * 7) & 255);
          const echo = new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); });
          await socket.send(message);
          const same = crc(new Uint8Array(await echo), 0) === crc(message, 0);
          await socket.close(1000);
          return same;
        }""",
        (16 if BULK else 4) * MB,
    )
    assert answer is True


async def test_sends_wait_for_a_server_that_does_not_read(mix: MixPage, exit_: UserspaceExit) -> None:
    """``send`` resolves no sooner than the message has left; one that takes nothing at all is given up."""
    count = 40
    before = await worker_memory(mix)
    sent = await mix.run(
        """async ([url, count]) => {
          window.socket = new window.mix.MixWebSocket(url, [], { timeouts: { idle: 4000 } });
          await socket.opened();
          window.sent = 0;
          window.failures = new Set();
          window.sends = Array.from({ length: count }, () => socket.send(new Uint8Array(1 << 20)).then(
            () => { sent += 1; },
            (error) => { failures.add(error.code); },
          ));
          let last = -1;
          while (last !== sent) {
            last = sent;
            await pause(2500);
          }
          return sent;
        }""",
        ["ws://frames.test/?then=close&linger=600", count],
    )
    assert sent < count / 2
    assert await worker_memory(mix) - before < 8 * MB
    closed = await mix.run(
        """async () => {
          const over = new Promise((resolve) => { socket.onclose = resolve; });
          socket.close();
          const { code, wasClean } = await over;
          await Promise.all(sends);
          return { code, wasClean, failures: [...failures] };
        }"""
    )
    assert (closed["code"], closed["wasClean"]) == (1006, False)
    assert "TIMEOUT" in closed["failures"]
    assert exit_.held() < 6 * MB
