"""A network that shares its nodes out to several processes is the same network, and leaves none behind."""

from __future__ import annotations

import os
import signal
import socket
from dataclasses import replace

import pytest
from eventually import eventually
from leaks import nothing_left_behind
from localnet_client import BareClient, make_packet

from smolmix_web.errors import LocalProtocolError, NetworkError
from smolmix_web.localnet.directory_link import DirectoryLink
from smolmix_web.localnet.network import MIX_NODES, LocalNetwork, LocalNetworkConfig
from smolmix_web.localnet.node_processes import share_out

ROLES = ("directory", *MIX_NODES, "entry")
SHARED = LocalNetworkConfig(roles=ROLES, processes=3, announce_interval=0.5)

pytestmark = pytest.mark.timeout(120)


def test_work_is_dealt_out_evenly() -> None:
    assert share_out(ROLES, MIX_NODES, 1) == []
    assert share_out(ROLES, MIX_NODES, 2) == [("mix1", "mix2", "mix3")]
    assert share_out(ROLES, MIX_NODES, 3) == [("mix1", "mix3"), ("mix2",)]
    assert share_out(ROLES, MIX_NODES, 4) == [("mix1",), ("mix2",), ("mix3",)]
    assert share_out(("directory", "mix2"), MIX_NODES, 4) == [("mix2",)]


@pytest.mark.parametrize("processes", [0, 5])
def test_no_more_processes_than_there_is_work_for(processes: int) -> None:
    with pytest.raises(LocalProtocolError, match="processes"):
        LocalNetworkConfig(processes=processes)


async def test_a_packet_travels_through_three_processes_and_one_that_dies_is_seen() -> None:
    async with nothing_left_behind():
        async with LocalNetwork(SHARED) as net:
            ids = {process.process_id for process in net.processes}
            assert len(ids | {os.getpid()}) == 3
            description = net.describe()["nodes"]
            assert list(description) == [*MIX_NODES, "entry"]
            link = DirectoryLink(net.directory_url)
            topology = await link.topology()
            await link.close()
            identity = net.nodes["entry"].identity.identity
            async with BareClient(description["entry"]["websocket"], identity) as client:
                me = (client.keys.identity, client.gateway_identity)
                # The nodes know each other from the first packet on.
                await client.send(make_packet(topology, *me, b"hello processes", ack_to=me))
                assert await client.next_push(30) == b"hello processes"
                await eventually(lambda: client.acks == 1, 30)

            def forwarded() -> list[int]:
                nodes = net.stats()["nodes"]
                return [nodes[name]["ingress_mixing"]["forward_hop_packets_received"] for name in MIX_NODES]

            await eventually(lambda: forwarded() == [2, 2, 2], 30)
            assert list(net.stats()["nodes"]) == [*MIX_NODES, "entry"]
            with pytest.raises(LocalProtocolError, match="mix2"):
                await net.kill("mix2")

            # One that dies is shown, and the rest ends as always.
            victim = next(process for process in net.processes if "mix2" in process.described)
            assert victim.process_id is not None
            os.kill(victim.process_id, signal.SIGKILL)
            await eventually(lambda: not net.stats()["nodes"]["mix2"]["running"], 30)
            assert forwarded()[1] == 2  # its last numbers stay
            assert net.stats()["nodes"]["mix1"]["running"]
            with pytest.raises(NetworkError):
                await victim.refresh()
        assert not [one for one in ids if one is not None and _runs(one)]


async def test_a_port_that_another_process_cannot_have_is_told() -> None:
    async with nothing_left_behind():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            net = LocalNetwork(replace(SHARED, processes=2, ports={"mix2": port}))
            with pytest.raises(NetworkError, match="mix2"):
                await net.start()
        assert [process.process_id for process in net.processes] == [None]


def _runs(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True
