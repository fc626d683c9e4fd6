"""Pages write to each other over the mixnet: plain, anonymously, and in answer."""

from __future__ import annotations

from typing import Any

import pytest
from browser_support import open_mix_page
from mix_page import MixPage
from playwright.async_api import BrowserContext

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

# Two workers that send cover packets all the time leave a small machine little for anything else.
QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}

# What arrived is kept on the window; `arrived(count)` waits for it.
_LISTEN = """
(client) => {
  window.messages = [];
  const waiting = [];
  window.client.addEventListener('message', (event) => {
    const { data, senderTag, sender } = event;
    if (!(event instanceof window.mix.MixMessageEvent)) throw new Error('not a MixMessageEvent');
    if (!(data instanceof ArrayBuffer)) throw new Error('not an ArrayBuffer');
    window.messages.push({ data: new TextDecoder().decode(data), size: data.byteLength, senderTag, sender });
    waiting.splice(0).forEach((wake) => wake());
  });
  window.arrived = async (count) => {
    while (window.messages.length < count) await new Promise((wake) => waiting.push(wake));
    return window.messages;
  };
}
"""


async def _shared(mix: MixPage) -> str:
    assert await mix.setup(clientId="shared", **QUIET) == {"value": None}
    return await mix.run("() => (window.client = window.mix.mixClient).selfAddress()")


async def _own(mix: MixPage) -> str:
    return await mix.run(
        """async (options) => {
          window.tunnel = new window.mix.MixTunnel(options);
          await window.tunnel.setup();
          window.client = window.tunnel.client;
          return window.client.selfAddress();
        }""",
        {**mix.options, **QUIET, "clientId": "own"},
    )


async def _failure(mix: MixPage, call: str, address: str) -> dict[str, Any]:
    return await mix.run(
        f"""async (address) => {{
          const client = window.client;
          try {{
            return {{ value: await ({call}) ?? null }};
          }} catch ({{ name, code = null, field = null, message }}) {{
            return {{ name, code, field, message }};
          }}
        }}""",
        address,
    )


async def test_two_pages_write_to_each_other(context: BrowserContext, world: LocalWorld, site: str) -> None:
    async with open_mix_page(context, world, site) as here, open_mix_page(context, world, site) as there:
        alice, bob = await _shared(here), await _own(there)
        assert (await here.call("getTunnelInfo"))["value"]["address"] == alice
        await here.run(_LISTEN)
        # Held until somebody listens.
        await here.run(
            """async (bob) => {
              await client.send(bob, 'plain text: \\u20ac');
              const bytes = new Uint8Array([0, 1, 2, 97, 98, 99, 3]);
              const sent = client.sendAnonymous(bob, bytes.subarray(3, 6), { replySurbs: 3 });
              bytes.fill(0); // too late to be sent
              await sent;
              await client.sendAnonymous(bob, new Blob(['x'.repeat(100_000)]));
            }""",
            bob,
        )
        await there.run(_LISTEN)
        got = {message["size"]: message for message in await there.run("() => window.arrived(3)")}
        assert (got[15]["data"], got[15]["senderTag"], got[15]["sender"]) == ("plain text: €", None, None)
        assert (got[3]["data"], got[3]["sender"]) == ("abc", None)
        assert got[100_000]["data"] == "x" * 100_000
        # The same sender, known by one tag to this recipient.
        assert got[3]["senderTag"] == got[100_000]["senderTag"] is not None

        await there.run(
            "async (tag) => { await client.reply(tag, new TextEncoder().encode('who are you?').buffer); }",
            got[3]["senderTag"],
        )
        answers = await here.run("() => window.arrived(1)")
        assert answers == [{"data": "who are you?", "size": 12, "senderTag": None, "sender": bob}]

        # The shared client outlives its tunnel, and so do its listeners.
        await here.call("disconnectMixTunnel")
        assert (await _failure(here, "client.send(address, 'x')", bob))["code"] == "TUNNEL_NOT_READY"
        assert await _shared(here) == alice
        await there.run("async (alice) => { await client.send(alice, 'welcome back'); }", alice)
        assert (await here.run("() => window.arrived(2)"))[1]["data"] == "welcome back"
        await there.run("() => window.tunnel.disconnect()")


async def test_what_cannot_be_sent_is_told(mix: MixPage) -> None:
    assert (await mix.call("getTunnelState"))["value"]["state"] == "idle"
    await mix.run("() => { window.client = window.mix.mixClient; }")
    assert (await _failure(mix, "client.send('a.b@c', 'x')", ""))["code"] == "TUNNEL_NOT_READY"
    assert (await _failure(mix, "client.selfAddress()", ""))["code"] == "TUNNEL_NOT_READY"
    own = await _shared(mix)
    # An address whose gateway is nobody's: our own identity key.
    nowhere = own.rpartition("@")[0] + "@" + own.partition(".")[0]
    for call, expected in {
        "client.send('nobody', 'x')": ("MixError", "BAD_OPTION", "recipient"),
        "client.send(address, 'x')": ("MixError", "UNREACHABLE", None),
        "client.send(address, new ArrayBuffer(17 << 20))": ("MixError", "BAD_OPTION", "data"),
        "client.reply('0OIl', 'x')": ("MixError", "BAD_OPTION", "senderTag"),
        "client.reply('1111111111111111', 'x')": ("MixError", "UNREACHABLE", None),
        "client.reply('1111111111111111', '')": ("MixError", "BAD_OPTION", "data"),
        "client.send(undefined, 'x')": ("TypeError", None, None),
        "client.send(address, 5)": ("TypeError", None, None),
        "client.sendAnonymous(address, 'x', { replySurbs: 501 })": ("TypeError", None, None),
        "client.send(address, 'x', { signal: AbortSignal.abort() })": ("AbortError", 20, None),
    }.items():
        failure = await _failure(mix, call, nowhere)
        assert (failure["name"], failure["code"], failure["field"]) == expected, call
    # None of them is still under way, and to ourselves it works.
    assert set((await mix.held()).values()) == {0}
    await mix.run(_LISTEN)
    await mix.run("async (own) => { await client.send(own, 'still here'); }", own)
    assert (await mix.run("() => window.arrived(1)"))[0]["data"] == "still here"
    await _an_abort_ends_the_wait_for_room(mix, own)


async def _an_abort_ends_the_wait_for_room(mix: MixPage, own: str) -> None:
    """A queue that is full lets senders wait; the signal ends the wait in the page and in the worker."""
    outcome = await mix.run(
        """async (own) => {
          const big = new ArrayBuffer(8 << 20);
          await client.send(own, big);
          const controller = new AbortController();
          const waiting = client.send(own, 'later', { signal: controller.signal });
          const first = await Promise.race([waiting, new Promise((go) => setTimeout(go, 300, 'waits'))]);
          controller.abort(new Error('enough'));
          return [first, await waiting.catch((error) => error.message)];
        }""",
        own,
    )
    assert outcome == ["waits", "enough"]
    for _ in range(200):
        if (await mix.held())["requests"] == 1:  # the wait for the next message
            return
        await mix.page.wait_for_timeout(50)
    raise AssertionError("the aborted request is still held")
