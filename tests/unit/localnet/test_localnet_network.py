"""The local network over real sockets on loopback."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from localnet_client import BareClient, make_packet

from smolmix_web.localnet.directory_link import DirectoryLink
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig

NO_EXIT = ("directory", "mix1", "mix2", "mix3", "entry")


async def topology_of(net: LocalNetwork):
    link = DirectoryLink(net.directory_url)
    try:
        return await link.topology()
    finally:
        await link.close()


def entry_client(net: LocalNetwork) -> BareClient:
    entry = net.nodes["entry"]
    return BareClient(net.describe()["nodes"]["entry"]["websocket"], entry.identity.identity)


async def test_packet_and_ack_travel_the_whole_network():
    async with LocalNetwork(LocalNetworkConfig(roles=NO_EXIT)) as net:
        topology = await topology_of(net)
        async with entry_client(net) as client:
            me = client.keys.identity
            gateway = client.gateway_identity
            await client.send(make_packet(topology, me, gateway, b"hello mixnet", ack_to=(me, gateway)))
            pushed = {await client.next_push(), await client.next_push()}
        assert pushed == {b"hello mixnet", b"\xac" * 21}
        for name in ("mix1", "mix2", "mix3"):
            assert net.nodes[name].stats.ingress_mixing.forward_hop_packets_received == 2
        assert net.nodes["entry"].stats.egress_mixing.ack_packets_sent == 1
