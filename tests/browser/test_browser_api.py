"""The rest of what a page may rely on: life cycles that cross, several tabs and workers, options, logs."""

from __future__ import annotations

import re

import pytest
from browser_support import open_mix_page, tunnel_options
from mix_page import MixPage
from playwright.async_api import Browser, BrowserContext

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(240)]

QUICK = {"disablePoissonTraffic": True, "disableCoverTraffic": True}


# -- life cycles -------------------------------------------------------------------------------------------


async def test_disconnect_ends_a_set_up_at_any_point(mix: MixPage) -> None:
    """Before the worker runs, while Python starts, within the stages of the tunnel."""
    seen = await mix.run(
        """async (options) => {
          const seen = [];
          for (const stage of [null, 'boot:manifest', 'keys', 'exit']) {
            const tunnel = new window.mix.MixTunnel(options);
            const reached = new Promise((resolve) => {
              if (stage === null) resolve();
              tunnel.events.addEventListener('progress', ({ detail }) => detail.stage === stage && resolve());
            });
            const outcome = tunnel.setup().then(() => 'ready', (error) => error.code);
            const waiting = tunnel.mixFetch('http://web.test/').catch((error) => error.cause.code);
            await reached;
            await tunnel.disconnect();
            seen.push([await outcome, await waiting, (await tunnel.getState()).state]);
          }
          return seen;
        }""",
        {**mix.options, **QUICK},
    )
    for outcome, waiting, state in seen:
        assert outcome in ("ABORTED", "TUNNEL_CLOSED")
        assert waiting in ("ABORTED", "TUNNEL_CLOSED", "TUNNEL_NOT_READY")
        assert state == "shutdown"
    assert await mix.setup(**QUICK) == {"value": None}


async def test_the_last_call_wins(mix: MixPage) -> None:
    states = await mix.run(
        """async (options) => {
          const tunnel = new window.mix.MixTunnel(options);
          const calls = [tunnel.setup(), tunnel.disconnect(), tunnel.setup(), tunnel.disconnect()];
          await Promise.allSettled(calls);
          const first = (await tunnel.getState()).state;
          const more = [tunnel.setup(), tunnel.disconnect(), tunnel.setup()];
          await Promise.allSettled(more);
          const second = (await tunnel.getState()).state;
          const response = await tunnel.mixFetch('http://web.test/bytes/10');
          await tunnel.disconnect();
          return [first, second, response.status];
        }""",
        {**mix.options, **QUICK},
    )
    assert states == ["shutdown", "ready", 200]


async def test_a_worker_that_cannot_be_made_is_told_and_not_final(mix: MixPage) -> None:
    answer = await mix.run(
        """async (options) => {
          const tunnel = new window.mix.MixTunnel(options);
          const { Worker } = window;
          window.Worker = class { constructor() { throw new DOMException('not here', 'SecurityError'); } };
          const { code, message } = await tunnel.setup().catch((error) => error);
          const { state } = await tunnel.getState();
          window.Worker = Worker;
          await tunnel.setup();
          await tunnel.disconnect();
          return { code, message, state };
        }""",
        {**mix.options, **QUICK},
    )
    assert (answer["code"], answer["state"]) == ("WORKER", "failed")
    assert "not here" in answer["message"]


# -- tabs and workers --------------------------------------------------------------------------------------


async def test_each_tab_has_a_tunnel_of_its_own(
    context: BrowserContext, world: LocalWorld, site: str
) -> None:
    """With one client id: a gateway takes each set of keys once. Keys persist for every tab."""
    async with open_mix_page(context, world, site) as one:
        assert await one.setup(**QUICK) == {"value": None}
        first = (await one.call("getTunnelInfo"))["value"]["address"]
        async with open_mix_page(context, world, site) as two:
            assert await two.setup(**QUICK) == {"value": None}
            second = (await two.call("getTunnelInfo"))["value"]["address"]
            assert second.split("@")[0] != first.split("@")[0]
            for tab in (one, two):
                assert (await tab.fetch("http://web.test/bytes/100"))["size"] == 100
            await two.call("disconnectMixTunnel")
            assert await two.setup(**QUICK) == {"value": None}
            assert (await two.call("getTunnelInfo"))["value"]["address"] == second
    async with open_mix_page(context, world, site) as three:
        assert await three.setup(**QUICK) == {"value": None}
        assert (await three.call("getTunnelInfo"))["value"]["address"] == first


async def test_a_tunnel_in_a_worker_of_the_page(browser: Browser, world: LocalWorld, site: str) -> None:
    context = await browser.new_context(bypass_csp=True)
    async with open_mix_page(context, world, site) as mix:
        answer = await mix.run(
            """async (options) => {
              const source = `
                import * as mix from '${location.origin}/worker/smolmix.js';
                self.onmessage = async ({ data }) => {
                  await mix.setupMixTunnel(data);
                  const response = await mix.mixFetch('http://web.test/bytes/3000');
                  const { byteLength } = await response.arrayBuffer();
                  const socket = mix.mixSocket('ws://web.test/ws/echo');
                  await socket.opened();
                  const echo = new Promise((resolve) => { socket.onmessage = resolve; });
                  await socket.send('hello');
                  const { data: text } = await echo;
                  await mix.disconnectMixTunnel();
                  const late = await mix.mixResolve('192.0.2.1').catch(({ code }) => code);
                  self.postMessage({ byteLength, text, late });
                };
              `;
              const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
              const worker = new Worker(url, { type: 'module' });
              const answer = new Promise((resolve, reject) => {
                worker.onmessage = ({ data }) => resolve(data);
                worker.onerror = ({ message }) => reject(new Error(message));
              });
              worker.postMessage(options);
              return answer;
            }""",
            {**tunnel_options(world), **QUICK},
        )
        assert answer == {"byteLength": 3000, "text": "hello", "late": "TUNNEL_NOT_READY"}
    await context.close()


# -- options -----------------------------------------------------------------------------------------------


async def test_options_of_a_wrong_kind_are_named(mix: MixPage) -> None:
    answers = await mix.run(
        """async () => {
          const bad = {
            network: () => {}, clientId: {}, cookies: Symbol('x'),
            maxRedirects: 5n, assets: 'http://', debug: [],
          };
          const seen = {};
          for (const [name, value] of Object.entries(bad)) {
            const error = await window.mix.setupMixTunnel({ [name]: value }).catch((caught) => caught);
            seen[name] = [error.name, error.message];
          }
          seen.options = await window.mix.setupMixTunnel(7).catch((error) => [error.name, error.message]);
          return seen;
        }"""
    )
    assert len(answers) == 7
    for option, (name, message) in answers.items():
        assert name == "TypeError"
        assert message.startswith(f"{option}:")
    assert (await mix.call("getTunnelState"))["value"]["state"] == "idle"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("network", "not a URL"),
        ("clientId", "no spaces"),
        ("openReplySurbs", 256),
        ("primaryDns", "8.8.8.8"),
        ("dnsTimeoutMs", 0),
        ("tcpBufferSize", 1.5),
        ("cookies", 1),
        ("tlsResumption", "yes"),
        ("storagePassphrase", ""),
        ("preferredIpr", "nobody"),
        ("preferredGateway", "nobody"),
        ("trustAnchors", "no certificate"),
    ],
)
async def test_what_an_option_cannot_be_is_said_with_its_name(
    mix: MixPage, option: str, value: object
) -> None:
    answer = await mix.setup(**QUICK, **{option: value})
    assert (answer["error"], answer["code"], answer["field"]) == ("MixError", "BAD_OPTION", option)
    assert answer["message"].startswith(f"{option}:")


async def test_sessions_are_resumed_where_the_option_says_so(mix: MixPage) -> None:
    assert await mix.setup(**QUICK, tlsResumption=True) == {"value": None}
    for _ in range(2):
        assert (await mix.fetch("https://tls13.test/close"))["text"] == "goodbye\n"
    tls = (await mix.call("getTunnelStats"))["value"]["tls"]
    assert tls == {"handshakes": 2, "resumed": 1}


async def test_names_that_people_bring_along(mix: MixPage) -> None:
    assert await mix.run("async () => window.mix.mixDNS === window.mix.mixResolve")
    await mix.setup(**QUICK)
    assert (await mix.call("mixDNS", "web.test"))["value"] == "192.0.2.10"
    kinds = await mix.run(
        """async () => {
          const { mixSocket, MixWebSocket } = window.mix;
          const socket = mixSocket('ws://web.test/ws/echo');
          await socket.close();
          return [socket instanceof MixWebSocket, socket instanceof EventTarget, socket.readyState];
        }"""
    )
    assert kinds == [True, True, 3]


# -- logs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
async def test_logs(mix: MixPage, debug: bool) -> None:
    lines: list[str] = []
    mix.page.on("console", lambda message: lines.append(message.text))
    await mix.setup(**QUICK, debug=debug)
    assert (await mix.fetch("https://web.test/bytes/1000"))["status"] == 200
    assert (await mix.fetch("http://nowhere.test/"))["code"] == "DNS_NOT_FOUND"
    await mix.call("disconnectMixTunnel")
    ours = [line for line in lines if line.startswith("[smolmix]")]
    layers = {re.match(r"\[smolmix\] (\w+): ", line)[1] for line in ours}  # type: ignore[index]
    if debug:
        assert len(ours) == len(lines)
        assert {"tunnel", "net", "tls", "fetch", "resolve"} <= layers
        assert len(ours) > 6
    else:
        assert lines == ours
        assert layers == {"tunnel"}
        said = [re.sub(r"[A-Za-z0-9]{30,}\S*|http\S+", "…", line) for line in ours]
        assert said == [
            "[smolmix] tunnel: setting up (directory …",
            "[smolmix] tunnel: exit handshake with …",
            "[smolmix] tunnel: shut down",
        ]
    events = await mix.events("log")
    assert [f"[smolmix] {one['layer']}: {one['message']}" for one in events] == ours


# -- sockets and bodies ------------------------------------------------------------------------------------


async def test_a_socket_is_closed_before_the_tunnel_is_up(mix: MixPage) -> None:
    answer = await mix.run(
        """async (options) => {
          const tunnel = new window.mix.MixTunnel(options);
          const setup = tunnel.setup();
          const socket = tunnel.mixSocket('ws://web.test/ws/echo');
          const seen = [];
          for (const type of ['open', 'error', 'close']) socket.addEventListener(type, () => seen.push(type));
          const opened = socket.opened().catch((error) => error.code);
          await socket.close();
          const { state } = await tunnel.getState();
          seen.push(await opened, state);
          await setup;
          const { bridge } = await tunnel.getStats();
          await tunnel.disconnect();
          return [seen, bridge.sockets];
        }""",
        {**mix.options, **QUICK},
    )
    assert answer == [["error", "close", "ABORTED", "connecting"], 0]


async def test_handlers_behave_as_in_a_browser(mix: MixPage) -> None:
    """A handler keeps its place among the listeners; events come late enough to be listened for."""
    seen = await mix.run(
        """async () => {
          const seen = [];
          const socket = new window.mix.MixWebSocket('ws://web.test/');
          await null;
          socket.onclose = () => seen.push('never');
          socket.addEventListener('close', () => seen.push('listener'));
          socket.onclose = () => seen.push('handler');
          socket.onerror = () => seen.push('error');
          socket.onerror = null;
          await new Promise((resolve) => socket.addEventListener('close', resolve));
          return [...seen, socket.onerror, typeof socket.onclose];
        }"""
    )
    assert seen == ["handler", "listener", None, "function"]


async def test_a_page_may_use_its_buffers_again(mix: MixPage) -> None:
    await mix.setup(**QUICK)
    text = await mix.run(
        """async () => {
          const buffer = new Uint8Array(3);
          let number = 0;
          const body = new ReadableStream({
            pull(controller) {
              if (number === 4) return controller.close();
              controller.enqueue(buffer.fill(97 + number++));
            },
          }, { highWaterMark: 0 });
          const response = await window.mix.mixFetch('http://web.test/echo?raw=1', { method: 'POST', body });
          return [await response.text(), buffer.byteLength];
        }"""
    )
    assert text == ["aaabbbcccddd", 3]


async def test_a_stream_belongs_to_its_fetch(mix: MixPage) -> None:
    """It is locked at once, and cancelled with the reason when the fetch does not come about."""
    seen = await mix.run(
        """async (options) => {
          const tunnel = new window.mix.MixTunnel(options);
          const setup = tunnel.setup();
          const url = 'http://web.test/echo';
          const make = (seen) => new ReadableStream({
            cancel(reason) { seen.reason = String(reason); },
          });
          const results = [];
          for (const early of [true, false]) {
            const seen = {};
            const body = make(seen);
            const controller = new AbortController();
            if (early) controller.abort('enough');
            const call = tunnel.mixFetch(url, { method: 'POST', body, signal: controller.signal });
            seen.locked = body.locked;
            controller.abort('enough');
            seen.outcome = await call.catch(String);
            results.push(seen);
          }
          const locked = new ReadableStream();
          locked.getReader();
          results.push(await tunnel.mixFetch(url, { method: 'PUT', body: locked }).catch(String));
          await setup;
          const { bridge } = await tunnel.getStats();
          await tunnel.disconnect();
          return [...results, bridge.exchanges];
        }""",
        {**mix.options, **QUICK},
    )
    given_up = {"reason": "enough", "locked": True, "outcome": "enough"}
    assert seen == [given_up, given_up, "TypeError: body: the stream is locked", 0]
