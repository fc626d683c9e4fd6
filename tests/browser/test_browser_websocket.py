"""MixWebSocket behaves as the browser's WebSocket does, through the tunnel."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser_support import open_mix_page
from mix_page import MixPage
from playwright.async_api import Browser

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Collects everything that happens on a socket. Sends `messages` once it is open.
_TALK = """
async ([url, protocols, messages, close]) => {
  const socket = new window.mix.MixWebSocket(url, protocols);
  const events = [];
  const over = new Promise((resolve) => socket.addEventListener('close', resolve));
  for (const type of ['open', 'message', 'error', 'close']) {
    socket.addEventListener(type, (event) => {
      const { data, code, reason, wasClean } = event;
      const content = typeof data === 'string' ? data : [...new Uint8Array(data ?? 0)];
      if (type === 'message') events.push([type, content]);
      else events.push(type === 'close' ? [type, code, reason, wasClean] : [type]);
      const received = events.filter(([kind]) => kind === 'message').length;
      if (close && received === close) socket.close(3000, 'bye');
    });
  }
  const outcome = await socket.opened().then(() => 'opened', (error) => error.code ?? error.name);
  for (const message of messages) {
    await socket.send(typeof message === 'string' ? message : new Uint8Array(message));
  }
  await over;
  const { protocol, extensions, readyState } = socket;
  return { outcome, events, protocol, extensions, state: readyState };
}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ready(browser: Browser, world: LocalWorld, site: str) -> AsyncIterator[MixPage]:
    context = await browser.new_context()
    async with open_mix_page(context, world, site) as mix:
        assert await mix.setup() == {"value": None}
        yield mix
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def mix(ready: MixPage) -> AsyncIterator[MixPage]:
    yield ready
    for _ in range(100):
        if not any((await ready.held()).values()):
            break
        await ready.page.wait_for_timeout(50)
    assert not any((await ready.held()).values())


async def talk(mix: MixPage, url: str, *messages: object, protocols: object = (), close: int = 0) -> dict:
    return await mix.run(_TALK, [url, protocols, list(messages), close])


async def test_echo_of_texts_and_bytes(mix: MixPage) -> None:
    seen = await talk(mix, "ws://web.test/ws/echo", "text €", [0, 255, 7], "", close=3)
    assert seen["outcome"] == "opened"
    assert seen["events"] == [
        ["open"],
        ["message", "text €"],
        ["message", [0, 255, 7]],
        ["message", ""],
        # The code is the server's answer to our 3000, as in a browser.
        ["close", 1000, "", True],
    ]
    assert seen["state"] == 3


async def test_over_tls(mix: MixPage) -> None:
    seen = await talk(mix, "wss://web.test/ws/echo", "secret", close=1)
    assert seen["events"][1] == ["message", "secret"]


async def test_subprotocol_and_extensions(mix: MixPage) -> None:
    seen = await talk(mix, "ws://web.test/ws/echo", "x", protocols=["nothing", "echo.v1"], close=1)
    assert seen["protocol"] == "echo.v1"
    assert seen["extensions"] == "permessage-deflate"


async def test_the_servers_close_code_and_reason_arrive(mix: MixPage) -> None:
    seen = await talk(mix, "ws://web.test/ws/close?code=4001&reason=go")
    assert seen["events"][-1] == ["close", 4001, "go", True]


async def test_messages_are_complete_and_in_order(mix: MixPage) -> None:
    seen = await talk(mix, "ws://web.test/ws/count?count=200")
    texts = [event[1] for event in seen["events"] if event[0] == "message"]
    assert texts == [str(number) for number in range(200)]
    assert seen["events"][-1] == ["close", 1000, "done", True]


async def test_a_dropped_connection_is_no_error_but_not_clean(mix: MixPage) -> None:
    seen = await talk(mix, "ws://web.test/ws/echo", "drop")
    assert [event[0] for event in seen["events"]] == ["open", "close"]
    assert seen["events"][-1] == ["close", 1006, "", False]


@pytest.mark.parametrize(
    ("url", "code"),
    [("ws://web.test/ws/reject", "WS_HANDSHAKE"), ("ws://closed.test/", "REFUSED")],
)
async def test_what_cannot_be_opened_rejects_and_closes(mix: MixPage, url: str, code: str) -> None:
    seen = await talk(mix, url)
    assert seen["outcome"] == code
    assert seen["events"] == [["error"], ["close", 1006, "", False]]


async def test_close_while_connecting(mix: MixPage) -> None:
    seen = await mix.run(
        """async () => {
          const socket = window.mix.mixSocket('ws://web.test/ws/silent');
          const events = [];
          for (const type of ['open', 'error', 'close']) socket[`on${type}`] = () => events.push(type);
          const outcome = socket.opened().catch((error) => error.code);
          await socket.close();
          return [await outcome, events, socket.readyState];
        }"""
    )
    assert seen == ["ABORTED", ["error", "close"], 3]


async def test_arguments_are_checked_as_the_standard_says(mix: MixPage) -> None:
    names = await mix.run(
        """async () => {
          const { MixWebSocket } = window.mix;
          const attempt = async (action) => {
            try {
              await action();
              return 'accepted';
            } catch (error) {
              return error.name;
            }
          };
          const results = [];
          for (const url of ['ws://', 'ftp://web.test/', 'ws://web.test/#part']) {
            results.push(await attempt(() => new MixWebSocket(url)));
          }
          for (const protocols of ['a b', ['x', 'X'], ['']]) {
            results.push(await attempt(() => new MixWebSocket('ws://web.test/', protocols)));
          }
          const socket = new MixWebSocket('ws://web.test/ws/silent');
          results.push(await attempt(() => socket.send('too early')));
          results.push(await attempt(() => socket.close(1001)));
          results.push(await attempt(() => socket.close(3000, 'é'.repeat(62))));
          results.push(await attempt(() => { socket.binaryType = 'blob'; }));
          results.push(socket.binaryType, 'bufferedAmount' in socket);
          results.push(socket.url, socket instanceof EventTarget);
          await socket.close();
          return results;
        }"""
    )
    assert names == [
        *["SyntaxError"] * 6,
        "InvalidStateError",
        "InvalidAccessError",
        "SyntaxError",
        "NotSupportedError",
        "arraybuffer",
        False,
        "ws://web.test/ws/silent",
        True,
    ]


async def test_blobs_views_and_order(mix: MixPage) -> None:
    seen = await mix.run(
        """async () => {
          const socket = window.mix.mixSocket('ws://web.test/ws/echo');
          await socket.opened();
          const received = [];
          const four = new Promise((resolve) => {
            socket.onmessage = ({ data }) => {
              received.push(typeof data === 'string' ? data : [...new Uint8Array(data)]);
              if (received.length === 4) resolve();
            };
          });
          const bytes = new Uint8Array([9, 1, 2, 3]);
          const sending = [
            socket.send(new Blob([new Uint8Array([5])])),
            socket.send(bytes.subarray(1)),
            socket.send(bytes.buffer),
            socket.send('last'),
          ];
          bytes.fill(0);  // what was sent has been copied
          await Promise.all(sending);
          await four;
          await socket.close();
          return received;
        }"""
    )
    assert seen == [[5], [1, 2, 3], [9, 1, 2, 3], "last"]


async def test_many_sockets_at_once(mix: MixPage) -> None:
    answers = await mix.run(
        """async () => Promise.all(Array.from({ length: 20 }, async (_, index) => {
          const socket = window.mix.mixSocket('ws://web.test/ws/echo');
          const answer = new Promise((resolve) => { socket.onmessage = (event) => resolve(event.data); });
          await socket.opened();
          await socket.send(`number ${index}`);
          const text = await answer;
          await socket.close();
          return text;
        }))"""
    )
    assert answers == [f"number {index}" for index in range(20)]


async def test_disconnecting_the_tunnel_closes_its_sockets(
    browser: Browser, world: LocalWorld, site: str
) -> None:
    context = await browser.new_context()
    async with open_mix_page(context, world, site) as other:
        await other.setup()
        events = await other.run(
            """async () => {
              const socket = window.mix.mixSocket('ws://web.test/ws/silent');
              await socket.opened();
              const events = [];
              for (const type of ['error', 'close']) socket.addEventListener(type, () => events.push(type));
              const over = new Promise((resolve) => { socket.onclose = resolve; });
              await window.mix.disconnectMixTunnel();
              const { code, wasClean } = await over;
              return [events, code, wasClean];
            }"""
        )
        assert events == [["error", "close"], 1006, False]
    await context.close()
