"""Assets of some features in a page: what is there works, what is not says so, at once and ever after."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browser_support import open_mix_page
from mix_page import MixPage
from playwright.async_api import BrowserContext

from smolmix_web.assets import ensure_assets
from smolmix_web.cli.demo import playground_of
from smolmix_web.features import FEATURES, Feature
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]

# What becomes of one call of each feature: its result, or the code of its error.
_TRY_ALL = """
async () => {
  const { mixFetch, mixResolve, MixWebSocket } = window.mix;
  const outcome = (promise) => promise.then(
    (value) => ({ value }),
    (error) => ({ name: error.name, code: (error.cause ?? error).code, message: error.message }),
  );
  const echo = async () => {
    const socket = new MixWebSocket('wss://web.test/ws/echo');
    const events = [];
    socket.onerror = () => events.push('error');
    const over = new Promise((resolve) => { socket.onclose = ({ code }) => resolve(code); });
    try {
      await socket.opened();
    } catch (error) {
      events.push(await over);
      if (events.join() !== 'error,1006') throw new Error(`events: ${events.join()}`);
      throw error;
    }
    const answer = new Promise((resolve) => { socket.onmessage = ({ data }) => resolve(data); });
    await socket.send('hello');
    const text = await answer;
    await socket.close();
    return text;
  };
  const [dns, fetch, socket] = await Promise.all([
    outcome(mixResolve('web.test')),
    outcome(mixFetch('https://web.test/bytes/3000').then((response) => response.arrayBuffer())
      .then((body) => body.byteLength)),
    outcome(echo()),
  ]);
  return { dns, fetch, socket };
}
"""

WORKS: dict[Feature, Any] = {"dns": "192.0.2.10", "fetch": 3000, "socket": "hello"}
NAMES: dict[Feature, str] = {"dns": "MixError", "fetch": "TypeError", "socket": "MixError"}


async def built(feature: Feature) -> Path:
    out = ROOT / "build" / f"assets-{feature}"
    return await asyncio.to_thread(ensure_assets, out, distribution="none", features=[feature], log=print)


@pytest_asyncio.fixture(loop_scope="session", params=FEATURES)
async def one(
    request: pytest.FixtureRequest, context: BrowserContext, world: LocalWorld
) -> AsyncIterator[tuple[Feature, MixPage]]:
    """A page on assets of one feature only."""
    playground = playground_of(world.describe(), await built(request.param))
    async with open_mix_page(context, world, await playground.start()) as mix:
        yield request.param, mix
    await playground.stop()


def check_missing(outcomes: dict[str, dict[str, Any]], present: Feature) -> None:
    for feature in FEATURES:
        if feature != present:
            outcome = outcomes[feature]
            assert (outcome["name"], outcome["code"]) == (NAMES[feature], "FEATURE_MISSING")
            assert f"without '{feature}'" in outcome["message"]
            assert f"--features {','.join(sorted([feature, present]))}" in outcome["message"]


async def test_what_is_there_works_and_what_is_not_says_so(one: tuple[Feature, MixPage]) -> None:
    feature, mix = one
    said: list[str] = []
    mix.page.on("console", lambda message: said.append(message.text))
    before = await mix.run(_TRY_ALL)
    assert before[feature]["code"] == "TUNNEL_NOT_READY"
    check_missing(before, feature)
    assert await mix.setup(cookies=True, tlsResumption=True) == {"value": None}
    after = await mix.run(_TRY_ALL)
    assert after[feature] == {"value": WORKS[feature]}
    check_missing(after, feature)
    assert (await mix.call("getTunnelInfo"))["value"]["features"] == [feature]
    assert ("fetch" in (await mix.call("getTunnelStats"))["value"]) == (feature == "fetch")
    # Raw messages need none of them.
    text = await mix.run(
        """async () => {
          const { mixClient } = window.mix;
          const arrived = new Promise((resolve) => { mixClient.onmessage = resolve; });
          await mixClient.send(await mixClient.selfAddress(), 'to myself');
          return new TextDecoder().decode((await arrived).data);
        }"""
    )
    assert text == "to myself"
    assert await mix.call("disconnectMixTunnel") == {"value": None}
    assert not [text for text in said if "image cannot be used" in text]


async def test_a_bundled_page_learns_it_from_the_worker(
    context: BrowserContext, world: LocalWorld, assets: Path
) -> None:
    """Its modules came with another build than the folder that the option ``assets`` names."""
    folders = {"/few": await built("dns")}
    playground = playground_of(world.describe(), assets, folders)
    async with open_mix_page(context, world, await playground.start()) as mix:
        assert (await mix.run(_TRY_ALL))["fetch"]["code"] == "TUNNEL_NOT_READY"
        assert await mix.setup(assets="/few/") == {"value": None}
        after = await mix.run(_TRY_ALL)
        assert after["dns"] == {"value": WORKS["dns"]}
        check_missing(after, "dns")
    await playground.stop()
