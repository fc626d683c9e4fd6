"""Mixnet packets per megabyte, both directions, as the published client sends and as ours does.

"sent" are real packets that left the client (data, reply SURBs, retransmissions; no cover), "received" are
fragments that arrived; each of both also causes an acknowledgement. The published client sends every IP
packet in a message of its own with two reply SURBs, and pads with zeros; ours puts several into one message,
leaves SURBs out where they would cost a packet, fills padding with SURBs, and drops ACKs that a newer one has
made superfluous while they wait. Both use our TCP, whose sparse ACKs are the same in both; "both ways" is an
upload with sixteen downloads beside it. The network runs in a process of its own. Run it with
``python bench/bench_packets.py [KB]``.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bench_network import local_network
from smolmix_web.nym.config import ClientConfig
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel
from smolmix_web.tunnel.uplink import UplinkConfig

PACED = ClientConfig()
UNPACED = ClientConfig(disable_poisson=True, disable_cover=True)
PUBLISHED = UplinkConfig(bundling=False, thrifty_surbs=False, drop_superseded=False)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of sending."""

    name: str
    traffic: ClientConfig
    uplink: UplinkConfig


WAYS = (
    Way("published, paced", PACED, PUBLISHED),
    Way("ours, paced", replace(PACED, fill_surbs=True), UplinkConfig()),
    Way("published, unpaced", UNPACED, PUBLISHED),
    Way("ours, unpaced", replace(UNPACED, fill_surbs=True), UplinkConfig()),
)


async def measure_way(network: dict[str, Any], way: Way, size: int) -> dict[str, float]:
    """Packets per MB and seconds."""
    options = TunnelOptions(
        network=network["directory"],
        force_tls=False,
        preferred_gateway=network["nodes"]["entry"]["identity"],
    )
    async with await Tunnel.connect(
        options, platform=NativePlatform(), traffic=way.traffic, uplink=way.uplink
    ) as tunnel:
        loop = asyncio.get_running_loop()
        await (await tunnel.fetch("http://web.test/bytes/1000")).read()
        result: dict[str, float] = {}
        for name, transfer in TRANSFERS.items():
            before, started = counts(tunnel), loop.time()
            await transfer(tunnel, size)
            seconds = loop.time() - started
            await asyncio.sleep(0.5)
            for what, count in counts(tunnel).items():
                result[f"{name}: {what} per MB"] = (count - before[what]) * 1e6 / size
            result[f"{name}: KB/s"] = size / 1000 / seconds
        return result


async def download(tunnel: Tunnel, size: int) -> None:
    response = await tunnel.fetch(f"http://web.test/bytes/{size}")
    assert len(await response.read()) == size


async def upload(tunnel: Tunnel, size: int) -> None:
    payload = hashlib.shake_128(b"upload").digest(size)
    answer = await tunnel.fetch("http://web.test/echo", method="POST", body=payload)
    assert json.loads(await answer.read())["sha256"] == hashlib.sha256(payload).hexdigest()


async def both_ways(tunnel: Tunnel, size: int) -> None:
    await asyncio.gather(upload(tunnel, size // 2), *(download(tunnel, size // 32) for _ in range(16)))


TRANSFERS = {"down": download, "up": upload, "both ways": both_ways}


def counts(tunnel: Tunnel) -> dict[str, int]:
    """Totals so far."""
    stats = tunnel.stats()
    return {
        "packets sent": stats["nym"]["realSent"],
        "packets received": stats["nym"]["fragmentsReceived"],
        "IP packets sent": stats["driver"]["ipPacketsOut"],
        "IP packets received": stats["driver"]["ipPacketsIn"],
        "messages sent": stats["ipr"]["messagesSent"],
        "ACKs dropped": stats["ipr"]["packetsSuperseded"],
    }


async def measure(size: int) -> dict[str, dict[str, float]]:
    """All ways by name."""
    async with local_network() as network:
        return {way.name: await measure_way(network, way, size) for way in WAYS}


def main() -> None:
    size = 1000 * int(sys.argv[1] if len(sys.argv) > 1 else "1000")
    rows = asyncio.run(measure(size))
    print("| CPython, local network | " + " | ".join(rows) + " |")
    print("|---|" + "---|" * len(rows))
    for name in next(iter(rows.values())):
        print(f"| {name} | " + " | ".join(f"{row[name]:,.0f}" for row in rows.values()) + " |")


if __name__ == "__main__":
    main()
