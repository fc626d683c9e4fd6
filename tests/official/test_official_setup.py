"""Set-up and end of Nym's published browser client in the local network: names, options, registrations, texts
of failure."""

from __future__ import annotations

import asyncio

import pytest
from official_page import QUIET, OfficialError, OpenPage, fresh_client_id

from smolmix_web.localnet.gateway_node import GatewayNode
from smolmix_web.localnet.node_identity import NodeIdentity
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

# directory.md 1, in order; 3 to 5 are sent at the same time.
FIRST_START = [
    "v2/unstable/nym-nodes/skimmed/entry-gateways?page=0&output=bincode",
    "v1/epoch/key-rotation-info",
    "v1/nym-nodes/rewarded-set",
    "v2/unstable/nym-nodes/skimmed/mixnodes/active?page=0",
    "v2/unstable/nym-nodes/skimmed/entry-gateways?page=0",
    "v2/nym-nodes/described?page=0",
    "v2/unstable/nym-nodes/skimmed?page=0&output=bincode",
]

NOTHING_LOST = {
    "malformed_packets_received",
    "replayed_packets_received",
    "excessive_delay_packets",
    "forward_hop_packets_dropped",
    "final_hop_packets_dropped",
    "malformed_connections",
    "refused_connections",
    "refused_next_hop",
    "dropped_queue_full",
    "dropped_connect_failed",
    "dropped_connection_lost",
}


def gateway(world: LocalWorld, name: str = "entry") -> GatewayNode:
    node = world.network.nodes[name]
    assert isinstance(node, GatewayNode)
    return node


def losses(world: LocalWorld) -> dict[str, int]:
    """All counters of packets that did not go on, over all nodes and gateways."""
    found = {}
    for name, node in world.network.stats()["nodes"].items():
        for direction in ("ingress_mixing", "egress_mixing"):
            found |= {f"{name}.{key}": node[direction][key] for key in NOTHING_LOST & node[direction].keys()}
        clients = node.get("clients", {})
        for key in ("refused", "malformed_uploads", "out_of_bandwidth", "messages_dropped"):
            found |= {f"{name}.{key}": clients[key]} if clients else {}
    return {name: count for name, count in found.items() if count}


async def test_set_up_with_defaults_and_disconnect(open_page: OpenPage, world: LocalWorld):
    """The options of a page that knows nothing of us: TLS to the gateway, Poisson and cover traffic, an exit
    of the client's own choice, version 10 of its protocol."""
    before, connects = losses(world), router(world).connects
    official = await open_page()
    assert await official.state() == {"state": "connecting"}
    await official.setup()
    assert await official.state() == {"state": "ready"}
    assert await official.resolve("web.test") == world.internet.hosts["web.test"]

    assert official.directory_requests[:2] == FIRST_START[:2]
    assert sorted(official.directory_requests[2:5]) == sorted(FIRST_START[2:5])
    assert official.directory_requests[5:] == FIRST_START[5:]
    entry = gateway(world)
    assert f'Websocket to "wss://localhost:{entry.wss_port}/" is now open!' in official.console
    # A v10 connect that was not understood would have been repeated as v9.
    assert router(world).connects == connects + 1

    await official.disconnect()
    assert await official.state() == {"state": "shutdown"}
    with pytest.raises(OfficialError, match="tunnel not ready"):
        await official.resolve("web.test")
    assert losses(world) == before


def router(world: LocalWorld):
    return world.network.nodes["exit"].service.ipr.stats


async def test_pinned_nodes_over_a_plain_websocket(open_page: OpenPage, world: LocalWorld):
    """``forceTls: false`` with both ends chosen by the page: here one node is entry and exit."""
    exit_node = gateway(world, "exit")
    official = await open_page()
    await official.setup(
        clientId=fresh_client_id(),
        forceTls=False,
        preferredGateway=world.network.describe()["nodes"]["exit"]["identity"],
        preferredIpr=world.network.exit_address,
        **QUIET,
    )
    assert f'Websocket to "ws://127.0.0.1:{exit_node.ws_port}/" is now open!' in official.console
    # The exit is known: only its version is looked up (directory.md 6).
    assert official.directory_requests == FIRST_START[:-1] or sorted(official.directory_requests) == sorted(
        FIRST_START[:-1]
    )
    assert (await official.fetch("http://web.test/echo"))["status"] == 200
    await official.disconnect()


async def test_a_stored_registration_is_used_again(open_page: OpenPage, world: LocalWorld, site: str):
    """A second visit of the same page authenticates with the key of the first, without asking the directory
    for gateways (gateway.md 7, 14)."""
    clients = gateway(world).registry.stats
    official = await open_page()
    options = {"clientId": fresh_client_id(), "storagePassphrase": "correct horse", **QUIET}
    registrations, authentications = clients.registrations, clients.authentications
    await official.setup(**options)
    assert (clients.registrations, clients.authentications) == (registrations + 1, authentications + 1)
    await official.disconnect()

    await official.load(site)  # the worker ends without a word, its storage stays
    official.directory_requests.clear()
    await official.setup(**options)
    assert (clients.registrations, clients.authentications) == (registrations + 1, authentications + 2)
    assert FIRST_START[0] not in official.directory_requests
    assert await official.resolve("web.test") == world.internet.hosts["web.test"]
    await official.disconnect()


async def test_the_tunnel_is_set_up_once(open_page: OpenPage):
    """Two calls at a time: one of them wins. Half of UNSURE 10 of smolmix.md; the other half, two that fail,
    is below."""
    official = await open_page()
    first, second = await asyncio.gather(
        official.setup(clientId=fresh_client_id(), **QUIET),
        official.setup(clientId=fresh_client_id(), **QUIET),
        return_exceptions=True,
    )
    lost = first or second
    assert first is None or second is None
    assert "already initialised by a concurrent setupMixTunnel call" in str(lost)
    with pytest.raises(OfficialError, match="can only be called once"):
        await official.setup(clientId=fresh_client_id())
    assert await official.state() == {"state": "ready"}
    await official.disconnect()


async def test_what_cannot_be_is_said_at_once(open_page: OpenPage, world: LocalWorld):
    official = await open_page()
    mix_node = world.network.describe()["nodes"]["mix1"]["identity"]
    for options, text in (
        ({"preferredGateway": mix_node}, "no gateway with id"),
        ({"preferredIpr": "nobody"}, "invalid IPR address"),
        ({"primaryDns": "dns.test"}, "invalid DNS resolver"),
    ):
        with pytest.raises(OfficialError, match=text):
            await official.setup(clientId=fresh_client_id(), **options)


async def test_a_failed_set_up_can_be_repeated(open_page: OpenPage, world: LocalWorld):
    """The directory is away and comes back; the page need not be reloaded (smolmix.md 3)."""
    official = await open_page()
    client_id = fresh_client_id()
    await world.network.kill("directory")
    try:
        failures = await asyncio.gather(
            official.setup(clientId=client_id),
            official.setup(clientId=fresh_client_id()),
            return_exceptions=True,
        )
    finally:
        await world.network.restart("directory")
    for failure in failures:
        assert "gateway selection error" in str(failure)
        assert "error sending request" in str(failure)
    await official.setup(clientId=client_id, **QUIET)
    assert await official.state() == {"state": "ready"}
    await official.disconnect()


async def test_an_exit_that_cannot_be_reached(open_page: OpenPage, world: LocalWorld):
    """An exit whose gateway is in no topology never answers (directory.md 13). The wait ends when the page
    said it should."""
    official = await open_page()
    router_part, _, _ = str(world.network.exit_address).partition("@")
    with pytest.raises(OfficialError, match="operation timed out"):
        await official.setup(
            clientId=fresh_client_id(),
            preferredIpr=f"{router_part}@{NodeIdentity.generate()}",
            connectTimeoutMs=1000,
            **QUIET,
        )
    assert await official.state() == {"state": "connecting"}
