"""Packets per second through one mix node, and through a whole local network in one process.

The mix node runs in a process of its own behind a real socket; regular packets come in over one connection
and leave over another, without delay. Its processor time per packet depends less on what else the machine
does than its pace. The whole network (three mix nodes, one gateway, a client that sends to
itself) shares one process and one core with the client: every packet is unwrapped four times and so is its
acknowledgement. Run with ``python bench/bench_localnet.py``.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import secrets
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "unit" / "localnet"))

from eventually import eventually
from localnet_client import BareClient, make_packet

from smolmix_web.localnet.directory_link import DirectoryLink
from smolmix_web.localnet.mixnode import MixNode
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig
from smolmix_web.localnet.node import NodeConfig
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import NodeFrame, encode_frame
from smolmix_web.nym.packets import PacketSize
from smolmix_web.sphinx.packet import Hop, build_packet

PACKETS = 4000


def serve_mix_node(pipe: Connection) -> None:
    """One mix node in this process; tells its port and key, and ends when told."""

    async def serve() -> None:
        node = MixNode(NodeConfig())
        await node.start()
        pipe.send((node.address.port, node.keyring.primary.public))
        before = time.process_time()
        await asyncio.to_thread(pipe.recv)
        pipe.send(time.process_time() - before)
        await node.stop()

    asyncio.run(serve())


class Sink(asyncio.Protocol):
    """Counts bytes."""

    def __init__(self) -> None:
        self.received = 0
        self.target = 0
        self.done = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received >= self.target:
            self.done.set()


async def through_one_mix_node() -> tuple[float, float]:
    """Packets per second, and seconds of the node's processor time per packet."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve_mix_node, args=(theirs,))
    process.start()
    port, key = ours.recv()
    loop = asyncio.get_running_loop()
    sink = Sink()
    server = await loop.create_server(lambda: sink, "127.0.0.1", 0)
    onward = NodeAddress("127.0.0.1", server.sockets[0].getsockname()[1]).pack_padded(32)
    route = [Hop(bytes(32), key), Hop(onward, MixNode(NodeConfig()).keyring.primary.public)]
    frames = [
        encode_frame(NodeFrame(build_packet(route, [0, 0], bytes(32), b"", PacketSize.REGULAR.payload)), 7)
        for _ in range(PACKETS)
    ]
    sink.target = sum(map(len, frames))
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.perf_counter()
    for frame in frames:
        writer.write(frame)
        if writer.transport.get_write_buffer_size() > 1 << 20:
            await writer.drain()
    async with asyncio.timeout(60):
        await sink.done.wait()
    rate = PACKETS / (time.perf_counter() - started)
    writer.close()
    server.close()
    ours.send("end")
    processor_time = ours.recv()
    process.join()
    return rate, processor_time / PACKETS


async def through_the_network(packets: int = 1000) -> float:
    config = LocalNetworkConfig(roles=("directory", "mix1", "mix2", "mix3", "entry"))
    async with LocalNetwork(config) as net:
        link = DirectoryLink(net.directory_url)
        topology = await link.topology()
        await link.close()
        entry = net.nodes["entry"]
        async with BareClient(
            net.describe()["nodes"]["entry"]["websocket"], entry.identity.identity
        ) as client:
            me = (client.keys.identity, client.gateway_identity)
            ready = [make_packet(topology, *me, secrets.token_bytes(8), ack_to=me) for _ in range(packets)]
            started = time.perf_counter()
            for packet in ready:
                await client.send(packet)
            for _ in range(packets):
                await client.next_push(30)
            await eventually(lambda: client.acks == packets, 30)
            return packets / (time.perf_counter() - started)


def measure() -> dict[str, float]:
    """Rates by name."""
    rate, processor_time = asyncio.run(through_one_mix_node())
    return {
        "regular packets through one mix node process": round(rate),
        "the same per second of its processor time": round(1 / processor_time),
        "messages with acknowledgement through a network in one process, its client included": round(
            asyncio.run(through_the_network())
        ),
    }


def main() -> None:
    print("| CPython, local network | per second |\n|---|---|")
    for name, rate in measure().items():
        print(f"| {name} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
