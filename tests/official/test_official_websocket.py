"""MixWebSocket of Nym's published browser client against a WebSocket server of the test internet."""

from __future__ import annotations

from typing import Any

import pytest
from official_page import OfficialPage

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# Plays a script of messages and returns all events. The last message may make the server close.
_TALK = """
async ([url, protocols, messages, close]) => {
  const socket = new window.nym.MixWebSocket(url, protocols);
  const events = [];
  let more = () => {};
  const seen = async (count) => {
    while (events.length < count) await new Promise((resolve) => { more = resolve; });
  };
  for (const kind of ['open', 'message', 'close', 'error']) {
    socket.addEventListener(kind, (event) => {
      const data = event.data instanceof ArrayBuffer ? [...new Uint8Array(event.data)] : event.data;
      events.push([kind, kind === 'message' ? data : event.message ?? null]);
      more();
    });
  }
  await socket.opened();
  if (socket.readyState === 1) {
    for (const message of messages) {
      const before = events.length;
      await socket.send(typeof message === 'string' ? message : new Uint8Array(message));
      await seen(before + 1);
    }
    if (close !== null) {
      await socket.close(...close);
      await seen(events.length + (socket.readyState === 3 ? 0 : 1));
    }
  }
  return { events, readyState: socket.readyState };
}
"""


async def talk(
    page: OfficialPage,
    path: str,
    messages: list[Any],
    *,
    protocols: list[str] | None = None,
    close: list[Any] | None = None,
) -> dict[str, Any]:
    result: dict[str, Any] = await page.run(
        _TALK, [f"ws://web.test/ws/{path}", protocols or [], messages, close]
    )
    return result


async def test_echo_of_text_and_binary(tunnel: OfficialPage):
    messages: list[Any] = ["hello", "grüße 🌍", "", list(range(256)) * 40, [0], "x" * 20_000]
    result = await talk(tunnel, "echo", messages, close=[1000, "done"])
    assert result["events"] == [
        ["open", None],
        *(["message", message] for message in messages),
        ["close", None],
    ]
    assert result["readyState"] == 3


async def test_the_server_closes(tunnel: OfficialPage):
    result = await talk(tunnel, "echo", ["hello", "close:4001:enough"])
    assert result["events"] == [["open", None], ["message", "hello"], ["close", None]]


async def test_the_connection_is_cut(tunnel: OfficialPage):
    result = await talk(tunnel, "echo", ["drop"])
    kind, _ = result["events"][-1]
    assert kind in ("close", "error")
    assert result["readyState"] == 3


async def test_a_refused_handshake(tunnel: OfficialPage):
    result = await talk(tunnel, "reject", [])
    (event,) = result["events"]
    assert event[0] == "error"
    assert "403" in event[1]
