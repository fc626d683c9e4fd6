"""A page sets a tunnel up: states and progress it can show, options it can trust, and a way back."""

from __future__ import annotations

import itertools

import pytest
from mix_page import MixPage

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

STAGES = [
    "boot:manifest",
    "boot:files",
    "boot:python",
    "boot:packages",
    "boot:bridge",
    "keys",
    "directory",
    "gateway",
    "exit",
    "ready",
]


async def test_setup_with_each_provider(mix: MixPage, world: LocalWorld, provider: str) -> None:
    assert await mix.setup(cryptoProvider=provider) == {"value": None}
    states = [event["state"] for event in await mix.events("statechange")]
    assert states == ["connecting", "ready"]
    stages = [event["stage"] for event in await mix.events("progress")]
    assert [stage for stage, _ in itertools.groupby(stages)] == STAGES
    events = await mix.events("progress")
    boot = [event["fraction"] for event in events if event["stage"].startswith("boot:")]
    tunnel = [event["fraction"] for event in events if not event["stage"].startswith("boot:")]
    assert boot == sorted(boot)
    assert tunnel == sorted(tunnel)
    assert (boot[-1], tunnel[-1]) == (1, 1)
    info = (await mix.call("getTunnelInfo"))["value"]
    assert info["provider"].startswith(provider)
    assert info["platform"] == "browser"
    assert info["exit"] == world.network.exit_address
    assert info["gatewayUrl"] in [node.get("websocket") for node in world.describe()["nodes"].values()]
    assert info["ipv4"].startswith("10.")
    answer = await mix.fetch("http://web.test/bytes/5000")
    assert (answer["status"], answer["size"]) == (200, 5000)


async def test_concurrent_setups_share_one(mix: MixPage) -> None:
    answer = await mix.run(
        """async (options) => {
          const { setupMixTunnel } = window.mix;
          const both = await Promise.allSettled([setupMixTunnel(options), setupMixTunnel({...options})]);
          return both.map((outcome) => outcome.status);
        }""",
        mix.options,
    )
    assert answer == ["fulfilled", "fulfilled"]
    assert [event["state"] for event in await mix.events("statechange")] == ["connecting", "ready"]
    assert await mix.setup() == {"value": None}
    other = await mix.setup(maxRedirects=3)
    assert (other["error"], other["code"]) == ("MixError", "MISUSE")
    assert (await mix.call("getTunnelState"))["value"]["state"] == "ready"


async def test_disconnect_and_setup_again_without_reload(mix: MixPage) -> None:
    await mix.setup()
    first = (await mix.call("getTunnelInfo"))["value"]
    assert await mix.call("disconnectMixTunnel") == {"value": None}
    assert (await mix.call("getTunnelState"))["value"]["state"] == "shutdown"
    refused = await mix.fetch("http://web.test/")
    assert (refused["error"], refused["code"]) == ("TypeError", "TUNNEL_NOT_READY")
    assert await mix.setup(maxRedirects=3) == {"value": None}
    second = (await mix.call("getTunnelInfo"))["value"]
    # The keys of the client id and its registration were kept in this browser.
    assert second["address"] == first["address"]
    assert (await mix.fetch("http://web.test/bytes/10"))["status"] == 200


async def test_other_client_ids_have_other_keys(mix: MixPage) -> None:
    await mix.setup(clientId="first")
    first = (await mix.call("getTunnelInfo"))["value"]["address"]
    await mix.call("disconnectMixTunnel")
    await mix.setup(clientId="second")
    assert (await mix.call("getTunnelInfo"))["value"]["address"].split("@")[0] != first.split("@")[0]


async def test_several_tunnels_in_one_page(mix: MixPage) -> None:
    addresses = await mix.run(
        """async (options) => {
          const tunnels = ['a', 'b'].map((clientId) => new window.mix.MixTunnel({ ...options, clientId }));
          await Promise.all(tunnels.map((tunnel) => tunnel.setup()));
          const infos = await Promise.all(tunnels.map((tunnel) => tunnel.getInfo()));
          const sizes = await Promise.all(tunnels.map(async (tunnel) => {
            const response = await tunnel.mixFetch('http://web.test/bytes/3000');
            return (await response.arrayBuffer()).byteLength;
          }));
          await Promise.all(tunnels.map((tunnel) => tunnel.disconnect()));
          return { ipv4: infos.map((info) => info.ipv4), sizes };
        }""",
        mix.options,
    )
    assert addresses["sizes"] == [3000, 3000]
    assert len(set(addresses["ipv4"])) == 2


@pytest.mark.parametrize(
    ("option", "value"),
    [("nonsense", 1), ("maxRedirects", 256), ("cryptoProvider", "homemade")],
)
async def test_bad_options_name_themselves(mix: MixPage, option: str, value: object) -> None:
    answer = await mix.setup(**{option: value})
    assert answer["error"] in ("MixError", "TypeError")
    assert option in answer["message"]
    assert (await mix.call("getTunnelState"))["value"]["state"] in ("idle", "failed")


async def test_after_a_failed_setup_another_one_works(mix: MixPage) -> None:
    failed = await mix.setup(network="http://127.0.0.1:9/api/")
    assert failed["error"] == "MixError"
    state = (await mix.call("getTunnelState"))["value"]
    assert state["state"] == "failed"
    assert state["code"] == failed["code"]
    assert await mix.setup() == {"value": None}


async def test_nothing_goes_out_before_setup(mix: MixPage) -> None:
    assert (await mix.call("getTunnelState"))["value"]["state"] == "idle"
    answer = await mix.fetch("http://web.test/")
    assert (answer["error"], answer["code"]) == ("TypeError", "TUNNEL_NOT_READY")
    assert (await mix.call("mixResolve", "web.test"))["code"] == "TUNNEL_NOT_READY"
    assert await mix.call("disconnectMixTunnel") == {"value": None}


async def test_a_database_that_lacks_its_store_is_mended(mix: MixPage) -> None:
    """What a browser keeps of an opening that was given up half way."""
    await mix.page.evaluate(
        """() => new Promise((resolve, reject) => {
          const opening = indexedDB.open('smolmix-web.half-made', 1);
          opening.onerror = () => reject(opening.error);
          opening.onsuccess = () => { opening.result.close(); resolve(); };
        })"""
    )
    assert await mix.setup(clientId="half-made") == {"value": None}
    assert await mix.call("disconnectMixTunnel") == {"value": None}
    kept = await mix.page.evaluate(
        """() => new Promise((resolve) => {
          const opening = indexedDB.open('smolmix-web.half-made');
          opening.onsuccess = () => {
            resolve([...opening.result.objectStoreNames]);
            opening.result.close();
          };
        })"""
    )
    assert kept == ["blobs"]


async def test_missing_assets_are_named(mix: MixPage) -> None:
    answer = await mix.setup(assets="/nowhere/")
    assert answer["code"] == "ASSETS"
    assert "/nowhere/" in answer["message"]


async def test_a_provider_that_was_not_built_in_is_named(mix: MixPage, providers: set[str]) -> None:
    if "cryptography" in providers:
        # As if it had been built without.
        await mix.page.route(
            "**/manifest.json",
            lambda route: route.fulfill(
                json={"protocol": 2, "wheels": [], "files": {}, "providers": {"npm": {}}}
            ),
        )
    answer = await mix.setup(cryptoProvider="cryptography")
    assert (answer["code"], answer["field"]) == ("BAD_OPTION", "cryptoProvider")
