"""A large download through the local network, and what its pace is made of.

Every reply to the client travels by a reply SURB that the client sent before, so the pace of downloads is
that at which the client can supply SURBs: its packets (50 a second by default) times the SURBs in each. TCP's
part is to keep that pipe full, whatever the round trip; "of the pace" says how well it does: SURBs used, of
those supplied. The round trip is what TCP measured; "65,535 bytes / round trip" is what a stack with such a
window could do at most.

    python bench/bench_download.py [--megabytes 20] [--mix-delay 0.015]
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from bench_network import DEFAULTS, local_network
from smolmix_web.nym.config import ClientConfig
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel

EVERY = 1.0  # seconds between two looks
SETTLE = 5.0  # seconds before the steady pace is counted


@dataclass(frozen=True, slots=True)
class Look:
    """The counters at one instant."""

    at: float
    body: int
    ip_packets: int
    fragments: int
    real: int
    cover: int
    surbs_issued: int
    surbs_answered: int
    retransmitted: int


def look(tunnel: Tunnel, body: int) -> Look:
    stats = tunnel.stats()
    nym, ipr = stats["nym"], stats["driver"]
    return Look(
        time.perf_counter(),
        body,
        ipr["ipPacketsIn"],
        nym["fragmentsReceived"],
        nym["realSent"],
        nym["coverSent"],
        nym["surbsIssued"],
        nym["surbsAnswered"],
        nym["retransmissions"],
    )


async def download(network: dict[str, Any], traffic: ClientConfig, size: int) -> None:
    options = TunnelOptions(
        network=network["directory"],
        force_tls=False,
        preferred_gateway=network["nodes"]["entry"]["identity"],
    )
    async with await Tunnel.connect(options, platform=NativePlatform(), traffic=traffic) as tunnel:
        first = look(tunnel, 0)
        cpu = resource.getrusage(resource.RUSAGE_SELF)
        response = await tunnel.fetch(f"http://web.test/bytes/{size}")
        looks, body, round_trip, window = [first], 0, 0.0, 0
        async for piece in response:
            body += len(piece)
            if time.perf_counter() - looks[-1].at >= EVERY:
                looks.append(look(tunnel, body))
                driver = tunnel.mix_client.driver
                assert driver.stack is not None
                for connection in driver.stack._connections.values():
                    round_trip, window = connection._acks.rtt, connection._rx.capacity
        looks.append(look(tunnel, body))
        used = resource.getrusage(resource.RUSAGE_SELF)
    assert body == size
    report(looks, round_trip, window, used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime)


def report(looks: list[Look], round_trip: float, window: int, cpu: float) -> None:
    first, last = looks[0], looks[-1]
    start = next((one for one in looks if one.at >= first.at + SETTLE), first)
    span = last.at - start.at

    def rate(field: str) -> float:
        return float(getattr(last, field) - getattr(start, field)) / span

    seconds = last.at - first.at
    rows = [
        ("time", f"{seconds:.1f} s"),
        ("goodput overall", f"{last.body / seconds / 1e3:.0f} KB/s"),
        (f"goodput after {SETTLE:g} s", f"{rate('body') / 1e3:.0f} KB/s"),
        ("slowest and fastest five seconds", slowest_and_fastest(looks)),
        ("IP packets received", f"{rate('ip_packets'):.0f} /s"),
        ("SURBs supplied, used", f"{rate('surbs_issued'):.0f} /s, {rate('surbs_answered'):.0f} /s"),
        ("of the pace", f"{100 * rate('surbs_answered') / max(rate('surbs_issued'), 1e-9):.0f} %"),
        ("our packets: real, cover", f"{rate('real'):.1f} /s, {rate('cover'):.1f} /s"),
        ("retransmitted fragments", f"{last.retransmitted - first.retransmitted}"),
        ("round trip, as TCP sees it", f"{round_trip:.2f} s"),
        ("TCP's window at the end", f"{window / 1024:.0f} KiB"),
        ("65,535 bytes / round trip", f"{65.535 / round_trip:.0f} KB/s" if round_trip else "?"),
        ("CPU of the client", f"{100 * cpu / seconds:.0f} % of one core"),
    ]
    for name, value in rows:
        print(f"| {name} | {value} |", flush=True)


def slowest_and_fastest(looks: list[Look]) -> str:
    rates = [
        (b.body - a.body) / (b.at - a.at) / 1e3
        for index, a in enumerate(looks)
        if a.at >= looks[0].at + SETTLE
        for b in looks[index + 1 :]
        if b.at - a.at >= 5.0
        if all(c.at - a.at < 5.0 for c in looks[index + 1 : looks.index(b)])
    ]
    return f"{min(rates):.0f}, {max(rates):.0f} KB/s" if rates else "too short"


async def measure(megabytes: float, delay: float) -> None:
    shapes = {
        "official defaults": DEFAULTS,
        "no pacing, no cover, the same delays": replace(DEFAULTS, disable_poisson=True, disable_cover=True),
    }
    for name, traffic in shapes.items():
        print(f"\n| {megabytes:g} MB, {name}, {1000 * delay:g} ms at each mix | |\n|---|---|", flush=True)
        shaped = replace(traffic, average_packet_delay=delay, average_ack_delay=delay)
        async with local_network() as network:
            await download(network, shaped, int(megabytes * 1_000_000))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=20.0)
    parser.add_argument("--mix-delay", type=float, default=DEFAULTS.average_packet_delay, help="seconds")
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.megabytes, arguments.mix_delay))


if __name__ == "__main__":
    main()
