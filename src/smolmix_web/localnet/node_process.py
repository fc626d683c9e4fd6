"""A process that plays some of a local network's nodes for another process (:mod:`.node_processes`).

Standard input brings a pickled :class:`LocalNetworkConfig` behind its length in four bytes, and then a line
per request to refresh. Its end is the end of this process, so that nothing survives a parent that crashed.
Standard output takes JSON lines: ``described`` or ``error`` first, then ``refreshed`` as answers, and
``stats`` once a second.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import signal
import sys
from typing import Any

from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig

STATS_INTERVAL = 1.0
"""Seconds."""


def say(**message: Any) -> None:
    print(json.dumps(message, separators=(",", ":")), flush=True)


async def play(config: LocalNetworkConfig) -> int:
    """All of it; returns the exit code."""
    try:
        async with LocalNetwork(config) as network:
            say(described=network.describe()["nodes"])
            teller = asyncio.create_task(_tell_stats(network))
            try:
                # In a thread: not every system's event loop can watch standard input.
                while await asyncio.to_thread(sys.stdin.buffer.readline):
                    for node in network.nodes.values():
                        await node.refresh()
                    say(refreshed=True)
            finally:
                teller.cancel()
                await asyncio.gather(teller, return_exceptions=True)
    except BrokenPipeError:  # the parent is gone
        return 1
    except OSError as error:
        say(error=str(error))
        return 1
    return 0


async def _tell_stats(network: LocalNetwork) -> None:
    while True:
        say(stats=network.stats()["nodes"])
        await asyncio.sleep(STATS_INTERVAL)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which says when to end
    length = int.from_bytes(sys.stdin.buffer.read(4), "big")
    pickled = sys.stdin.buffer.read(length)
    if not pickled:
        return 1
    config: LocalNetworkConfig = pickle.loads(pickled)  # written by our own parent
    return asyncio.run(play(config))


if __name__ == "__main__":
    raise SystemExit(main())
