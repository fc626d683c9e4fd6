"""What a user waits for, over the local network: time to ready by stage, a small GET, a megabyte both ways.

The network runs in a process of its own, as on a user's machine; every hop is real. Two rows: mixing delays
of 0 without pacing (what the software costs), and the official defaults (what the anonymity costs: 15 ms mean
delay at each mix, one packet every 20 ms, cover traffic). Run it with ``python bench/bench_network.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from smolmix_web.nym.config import ClientConfig
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Progress, Tunnel, TunnelEvent

NO_DELAYS = ClientConfig(
    average_packet_delay=0.0, average_ack_delay=0.0, disable_poisson=True, disable_cover=True, fill_surbs=True
)
DEFAULTS = ClientConfig(fill_surbs=True)
ROWS = {"no delays, no pacing": NO_DELAYS, "official defaults": DEFAULTS}


@contextlib.asynccontextmanager
async def local_network() -> AsyncIterator[dict[str, Any]]:
    """A local network in another process; yields its description, and ``processId``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "smolmix_web",
        "network",
        "--json",
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    assert process.stdout is not None
    try:
        lines = []
        async with asyncio.timeout(30):
            while not lines or lines[-1] != b"}\n":
                lines.append(await process.stdout.readline())
        yield {**json.loads(b"".join(lines)), "processId": process.pid}
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def measure_row(network: dict[str, Any], traffic: ClientConfig, megabytes: int) -> dict[str, float]:
    """Seconds and rates of one traffic shape."""
    options = TunnelOptions(
        network=network["directory"],
        force_tls=False,
        preferred_gateway=network["nodes"]["entry"]["identity"],
        trust_anchors=network["trustAnchors"],
    )
    begun: dict[str, float] = {}

    def note(event: TunnelEvent) -> None:
        if isinstance(event, Progress):
            begun.setdefault(event.stage, time.perf_counter())

    started = time.perf_counter()
    async with await Tunnel.connect(
        options, platform=NativePlatform(), traffic=traffic, on_event=note
    ) as tunnel:
        ready = time.perf_counter() - started
        gets = [await timed_get(tunnel, "http://web.test/bytes/1000") for _ in range(11)]
        secure = await timed_get(tunnel, "https://web.test/bytes/1000")
        before, used = packets(tunnel), processor_time(network["processId"])
        download = await timed_get(tunnel, f"http://web.test/bytes/{megabytes * 1_000_000}")
        between, used = packets(tunnel), processor_time(network["processId"]) - used
        upload = await timed_post(tunnel, bytes(megabytes * 1_000_000))
        after = packets(tunnel)
    stages = list(begun)
    return {
        "time to ready, s": ready,
        **{
            f"of it: {stage}, s": begun[following] - begun[stage]
            for stage, following in itertools.pairwise(stages)
        },
        "first GET (DNS, TCP, HTTP), s": gets[0],
        "GET on a warm connection, s (median of 10)": statistics.median(gets[1:]),
        "first HTTPS GET (DNS, TCP, TLS 1.3, HTTP), s": secure,
        f"{megabytes} MB download, s": download,
        "download, KB/s": megabytes * 1000 / download,
        "processor time of the network per MB downloaded, s": used / megabytes,
        "packets sent per MB downloaded": (between[0] - before[0]) / megabytes,
        "packets received per MB downloaded": (between[1] - before[1]) / megabytes,
        f"{megabytes} MB upload, s": upload,
        "upload, KB/s": megabytes * 1000 / upload,
        "packets sent per MB uploaded": (after[0] - between[0]) / megabytes,
        "packets received per MB uploaded": (after[1] - between[1]) / megabytes,
    }


def packets(tunnel: Tunnel) -> tuple[int, int]:
    """Mixnet packets with data of ours so far: sent (retransmissions included), received."""
    stats = tunnel.stats()["nym"]
    return stats["realSent"], stats["fragmentsReceived"]


def processor_time(process_id: int) -> float:
    """Seconds used by another process so far, its kernel's share included; NaN where there is no /proc."""
    try:
        fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def timed_get(tunnel: Tunnel, url: str) -> float:
    started = time.perf_counter()
    response = await tunnel.fetch(url)
    await response.read()
    return time.perf_counter() - started


async def timed_post(tunnel: Tunnel, body: bytes) -> float:
    started = time.perf_counter()
    response = await tunnel.fetch("http://web.test/echo", method="POST", body=body)
    await response.read()
    return time.perf_counter() - started


async def measure(megabytes: int = 1) -> dict[str, dict[str, float]]:
    """All rows by name."""
    async with local_network() as network:
        return {name: await measure_row(network, traffic, megabytes) for name, traffic in ROWS.items()}


def main() -> None:
    rows = asyncio.run(measure())
    names = list(next(iter(rows.values())))
    print("| CPython, local network | " + " | ".join(rows) + " |")
    print("|---|" + "---|" * len(rows))
    for name in names:
        print(f"| {name} | " + " | ".join(f"{row[name]:,.2f}" for row in rows.values()) + " |")


if __name__ == "__main__":
    main()
