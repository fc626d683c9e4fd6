"""The local network over real sockets on loopback: packets, faults, epochs, several processes."""

from __future__ import annotations

import asyncio
import io
import json
import ssl
import time
from dataclasses import replace

import aiohttp
import pytest
import trustme
from eventually import eventually
from leaks import nothing_left_behind
from localnet_client import BareClient, make_packet

from smolmix_web.directory import choose_exit, choose_gateway, fetch_exits, fetch_gateways, gateway_url
from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.errors import LocalProtocolError, SmolmixError
from smolmix_web.localnet.directory_link import DirectoryLink
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.links import LinkConfig
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig, wait_until_routable
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketVersion
from smolmix_web.nym.topology import Topology

NO_EXIT = ("directory", "mix1", "mix2", "mix3", "entry")
QUICK = LocalNetworkConfig(
    roles=NO_EXIT, announce_interval=0.6, links=LinkConfig(initial_backoff=0.02, maximum_backoff=0.1)
)


async def topology_of(net: LocalNetwork) -> Topology:
    link = DirectoryLink(net.directory_url)
    try:
        return await link.topology()
    finally:
        await link.close()


def entry_client(net: LocalNetwork, name: str = "entry") -> BareClient:
    node = net.nodes[name]
    return BareClient(net.describe()["nodes"][name]["websocket"], node.identity.identity)


async def loop_message(
    client: BareClient, topology: Topology, text: bytes = b"hello", *, delay: float = 0.0, ack: bool = True
) -> None:
    """Send a message to oneself through the mixnet."""
    me = (client.keys.identity, client.gateway_identity)
    await client.send(make_packet(topology, *me, text, ack_to=me if ack else None, delay=delay))


class SteppedClock:
    """A network whose epochs pass when the test says so."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("version", list(PacketVersion))
async def test_packet_and_ack_travel_the_whole_network(version):
    async with nothing_left_behind(), LocalNetwork(replace(QUICK, frame_version=version)) as net:
        topology = await topology_of(net)
        assert topology.rotation is KeyRotation.ODD
        async with entry_client(net) as client:
            await loop_message(client, topology, b"hello mixnet")
            assert await client.next_push() == b"hello mixnet"
            await eventually(lambda: client.acks == 1)
        for name in ("mix1", "mix2", "mix3"):
            assert net.nodes[name].stats.ingress_mixing.forward_hop_packets_received == 2
        assert net.nodes["entry"].stats.egress_mixing.ack_packets_sent == 1


async def test_packets_wait_the_delays_they_ask_for():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        started = time.monotonic()
        await loop_message(client, topology, delay=0.1)
        await client.next_push()
        assert 0.3 <= time.monotonic() - started < 0.8  # three mix nodes delay, the gateway does not


async def test_order_is_not_kept_between_packets_of_different_delays():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        await loop_message(client, topology, b"slow", delay=0.05)
        await loop_message(client, topology, b"fast")
        assert [await client.next_push(), await client.next_push()] == [b"fast", b"slow"]


async def test_replayed_packet_stops_at_the_first_mix_node():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        me = (client.keys.identity, client.gateway_identity)
        packet = make_packet(topology, *me, b"once", ack_to=me)
        for _ in range(3):
            await client.send(packet)
        assert await client.next_push() == b"once"
        ingress = net.nodes["mix1"].stats.ingress_mixing
        await eventually(lambda: ingress.replayed_packets_received == 2)
        await eventually(lambda: client.acks == 1)
        assert client.pushed.empty()


async def test_mix_node_refuses_to_forward_to_strangers():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        packet = make_packet(topology, client.keys.identity, client.gateway_identity, b"x")
        strange = replace(packet.first_hop, port=net.directory.port)  # a local service that is no node
        before = net.directory.requests
        await client.send(MixPacket(strange, packet.packet))
        await eventually(lambda: net.nodes["entry"].stats.egress_mixing.refused_next_hop == 1)
        await loop_message(client, topology, b"fine")
        assert await client.next_push() == b"fine"
        assert net.directory.requests >= before


async def test_message_for_an_absent_client_waits_for_it():
    async with LocalNetwork(QUICK) as net, entry_client(net) as sender:
        topology = await topology_of(net)
        receiver = entry_client(net)
        packet = make_packet(
            topology,
            receiver.keys.identity,
            receiver.gateway_identity,
            b"for later",
            ack_to=(sender.keys.identity, sender.gateway_identity),
        )
        await sender.send(packet)
        await eventually(lambda: sender.acks == 1)  # acknowledged although only stored
        await receiver.connect()
        assert await receiver.next_push() == b"for later"
        await receiver.close()


async def test_malformed_final_hops_are_dropped_without_an_ack():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        ingress = net.nodes["entry"].stats.ingress_mixing
        await loop_message(client, topology, ack=False)  # its 405 bytes of ack are zeros: no address
        await eventually(lambda: ingress.malformed_packets_received == 1)
        assert client.pushed.empty()


async def test_killed_mix_node_comes_back_under_its_address():
    async with nothing_left_behind(), LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        address, identity = net.nodes["mix2"].address, net.nodes["mix2"].identity
        await net.kill("mix2")
        assert net.stats()["nodes"]["mix2"]["running"] is False
        await loop_message(client, topology, b"lost")
        drops = net.nodes["mix1"].stats.egress_mixing
        await eventually(lambda: drops.dropped_connect_failed + drops.dropped_connection_lost >= 1)
        await net.restart("mix2")
        assert (net.nodes["mix2"].address, net.nodes["mix2"].identity) == (address, identity)
        topology = await topology_of(net)
        await eventually(lambda: net.nodes["mix1"].as_dict()["links"][0]["state"] != "waiting to reconnect")
        await loop_message(client, topology, b"found")
        assert await client.next_push() == b"found"
        await eventually(lambda: client.acks == 1)
        with pytest.raises(LocalProtocolError):
            await net.restart("mix2")
        with pytest.raises(LocalProtocolError):
            await net.kill("exit")


@pytest.mark.parametrize("persistent", [False, True])
async def test_killed_gateway_knows_its_clients_after_the_restart(persistent, tmp_path):
    config = replace(QUICK, state_dir=tmp_path if persistent else None)
    async with nothing_left_behind(), LocalNetwork(config) as net:
        client = entry_client(net)
        await client.connect()
        balance = client.engine.balance
        await net.kill("entry")
        await asyncio.wait_for(client.ended.wait(), 5)
        await client.close()
        await net.restart("entry")
        await client.connect()  # authenticates: a lost registration would raise
        assert client.engine.balance == balance
        assert net.nodes["entry"].registry.stats.authentications == 1
        await client.close()


async def test_state_survives_the_process(tmp_path):
    config = replace(QUICK, state_dir=tmp_path)
    async with LocalNetwork(config) as net:
        ports = {"entry": net.nodes["entry"].address.port, "entry.ws": net.nodes["entry"].ws_port}
        client = entry_client(net)
        await client.connect()
        await client.close()
        identity = net.nodes["entry"].identity
        sphinx_key = net.nodes["mix2"].keyring.primary.public
    async with LocalNetwork(replace(config, ports=ports)) as net:
        assert net.nodes["entry"].identity == identity
        assert net.nodes["mix2"].keyring.primary.public == sphinx_key
        await client.connect()
        assert net.nodes["entry"].registry.stats.authentications == 1
        await client.close()


async def test_killed_node_leaves_the_topology_and_a_stopped_one_at_once():
    clock = SteppedClock()
    config = replace(QUICK, directory=DirectoryConfig(node_lifetime=30), unix_time=clock)
    async with LocalNetwork(config) as net:
        assert (await topology_of(net)).layers == ((1,), (2,), (3,))
        await net.nodes["mix3"].stop()
        with pytest.raises(SmolmixError, match="layer 3"):
            await topology_of(net)
        clock.now += 1
        await net.restart("mix3")
        assert (await topology_of(net)).is_routable
        await net.kill("mix3")
        clock.now += 20
        for name in ("mix1", "mix2", "entry"):
            assert await net.nodes[name].refresh()
        assert (await topology_of(net)).is_routable  # nobody knows yet
        clock.now += 20
        with pytest.raises(SmolmixError, match="layer 3"):
            await topology_of(net)


async def test_network_goes_on_while_the_directory_is_away():
    async with nothing_left_behind(), LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        await net.kill("directory")
        await loop_message(client, topology)
        assert await client.next_push() == b"hello"
        with pytest.raises(SmolmixError):
            await topology_of(net)
        url = net.directory_url
        await net.restart("directory")
        assert net.directory_url == url
        assert (await topology_of(net)).nodes.keys() == topology.nodes.keys()


async def test_empty_directory_learns_its_nodes_again():
    async with LocalNetwork(QUICK) as net:
        await net.kill("directory")
        net.directory.state = None  # as in another process
        await net.restart("directory")
        await wait_until_routable(net, 5.0)


async def test_key_rotation_loses_nothing():
    """Packets with keys of all ages at every moment of six epochs, while the nodes learn of each in turn."""
    clock, epoch = SteppedClock(), 1000.0
    epochs = DirectoryConfig(
        epoch_duration=epoch,
        validity_epochs=2,
        first_epoch_id=4,
        initial_epoch_id=2,
        node_lifetime=3 * epoch,
        announcement_skew=2 * epoch,
    )
    config = replace(
        QUICK,
        directory=epochs,
        frame_version=PacketVersion.KEY_ROTATION,
        announce_interval=3600.0,
        unix_time=clock,
    )
    async with LocalNetwork(config) as net, entry_client(net) as client:
        rotations, sent = [], []

        async def send(*topologies: Topology) -> None:
            for topology in topologies:
                sent.append(b"%d" % len(sent))
                await loop_message(client, topology, sent[-1])
                assert await client.next_push(30) == sent[-1], rotations

        for _ in range(6):
            old = await topology_of(net)
            rotations.append(old.rotation_id)
            clock.now += epoch
            await send(old)
            new = await topology_of(net)
            await send(old, new)
            for node in net.nodes.values():
                assert await node.refresh()
                await send(old, new)
                assert await node.refresh()  # announces the key that the first round made
        assert rotations == [1, 1, 2, 2, 3, 3]
        await eventually(lambda: client.acks == len(sent), 30)
        for name in ("mix1", "mix2", "mix3", "entry"):
            assert net.nodes[name].stats.ingress_mixing.malformed_packets_received == 0


async def test_impaired_network_counts_what_it_does():
    bad = ImpairmentConfig(loss=0.3, duplicate=0.3, reorder=0.5, reorder_delay=0.01, seed=5)
    async with LocalNetwork(replace(QUICK, impairment=bad)) as net, entry_client(net) as client:
        topology = await topology_of(net)
        packets = 60
        for number in range(packets):
            await loop_message(client, topology, b"%d" % number)
        await asyncio.sleep(0.5)
        arrived = set()
        while not client.pushed.empty():
            arrived.add(client.pushed.get_nowait())
        assert 0 < len(arrived) < packets
        egress = net.nodes["entry"].stats.egress_mixing
        assert egress.lost_by_impairment > 5
        assert egress.duplicated_by_impairment > 5
        # Duplicates end at the next node's replay filter.
        assert net.nodes["mix1"].stats.ingress_mixing.replayed_packets_received > 3


async def test_status_and_description_are_json():
    async with LocalNetwork(QUICK) as net, entry_client(net) as client:
        topology = await topology_of(net)
        for _ in range(5):
            await loop_message(client, topology, ack=False)
        await asyncio.sleep(1.2)
        async with aiohttp.ClientSession() as http, http.get(f"{net.directory_url}local/status") as response:
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            status = json.loads(await response.read())
        assert status["network"] == json.loads(json.dumps(net.describe()))
        mix1 = status["nodes"]["mix1"]
        assert mix1["running"] is True
        assert mix1["ingress_mixing"]["forward_hop_packets_received"] == 5
        assert mix1["packets_per_second"]["sent"] > 0
        assert mix1["links"][0]["to"] == str(net.nodes["mix2"].address)
        assert mix1["links"][0]["sent"] == 5
        assert status["nodes"]["entry"]["clients_connected"] == 1
        assert status["nodes"]["entry"]["clients"]["packets_uploaded"] == 5
        assert status["directory"]["running"] is True


async def test_directory_speaks_http_with_cors():
    async with LocalNetwork(replace(QUICK, roles=("directory",))) as net, aiohttp.ClientSession() as http:
        path = "v2/unstable/nym-nodes/skimmed/entry-gateways?page=0&output=bincode"
        async with http.options(net.directory_url + path) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "*"
        async with http.get(net.directory_url + path) as response:
            assert response.content_type == "application/bincode"
        async with http.post(
            net.directory_url + "v1/local/announce", data=io.BytesIO(bytes(2_000_000))
        ) as response:
            assert response.status == 413
        async with http.get(net.directory_url + "nothing") as response:
            assert response.status == 404


async def test_port_that_is_taken_fails_cleanly():
    async with nothing_left_behind(), LocalNetwork(replace(QUICK, roles=("directory",))) as net:
        taken = replace(QUICK, ports={"mix3": net.directory.port})
        with pytest.raises(OSError, match="in use"):
            async with LocalNetwork(taken):
                pass


def test_configurations_that_make_no_sense():
    with pytest.raises(LocalProtocolError, match="unknown roles"):
        LocalNetworkConfig(roles=("mix9",))
    with pytest.raises(LocalProtocolError, match="directory_url"):
        LocalNetworkConfig(roles=("mix1",))
    with pytest.raises(LocalProtocolError, match="hostname"):
        LocalNetworkConfig(hostname="gw.test")


async def test_roles_can_live_in_networks_of_their_own():
    """What one process per node does, except for the processes."""
    async with nothing_left_behind(), LocalNetwork(replace(QUICK, roles=("directory", "mix1"))) as first:
        url = first.directory_url
        others = [
            LocalNetwork(replace(QUICK, roles=(role,), directory_url=url))
            for role in ("mix2", "mix3", "entry")
        ]
        for other in others:
            await other.start()
        await wait_until_routable(others[0], 5.0)
        await asyncio.gather(*(node.refresh() for net in (first, *others) for node in net.nodes.values()))
        async with entry_client(others[2]) as client:
            topology = await topology_of(others[2])
            await loop_message(client, topology, b"across")
            assert await client.next_push() == b"across"
        for other in others:
            await other.stop()


async def test_exit_is_found_through_the_directory():
    config = replace(QUICK, roles=(*NO_EXIT, "exit"))
    async with nothing_left_behind(), LocalNetwork(config) as net:
        link = DirectoryLink(net.directory_url)
        nodes, described = await fetch_exits(link.get)
        await link.close()
        choice = choose_exit(nodes, described, random_bytes=lambda count: bytes(count))
        assert str(choice.address) == net.exit_address
        assert choice.build_version == "1.40.0"
        topology = await topology_of(net)
        assert topology.node_by_identity(choice.address.gateway) is not None


async def test_gateway_with_a_certificate_serves_wss():
    authority = trustme.CA()
    server, client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client_side)
    config = replace(QUICK, tls=server, hostname="localhost")
    async with nothing_left_behind(), LocalNetwork(config) as net:
        link = DirectoryLink(net.directory_url)
        gateways = await fetch_gateways(link.get)
        await link.close()
        chosen = choose_gateway(gateways, force_tls=True, random_bytes=lambda count: bytes(count))
        url = gateway_url(chosen, force_tls=True)
        assert url == net.describe()["nodes"]["entry"]["secure_websocket"]
        client = BareClient(url, chosen.identity)
        await client.connect(ssl=client_side)
        await loop_message(client, await topology_of(net), b"over TLS")
        assert await client.next_push() == b"over TLS"
        await client.close()
        with pytest.raises(aiohttp.ClientError):  # without trust in the authority there is no session
            async with aiohttp.ClientSession() as http:
                await http.ws_connect(url)
        # The plain port stays open beside it.
        async with entry_client(net) as plain:
            assert plain.engine.protocol_version == 6


async def test_network_on_ipv6():
    async with nothing_left_behind(), LocalNetwork(replace(QUICK, host="::1")) as net:
        assert net.directory_url.startswith("http://[::1]:")
        async with entry_client(net) as client:
            await loop_message(client, await topology_of(net), b"six")
            assert await client.next_push() == b"six"
