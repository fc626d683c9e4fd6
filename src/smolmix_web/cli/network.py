"""Run a local Nym network: directory, three mix nodes, entry gateway and exit, with a small test internet
behind the exit. Whoever speaks Nym's protocols can use it. Everything listens on loopback unless told
otherwise, and ends with Ctrl-C. Its status page is JSON: nodes, links, packets per second, drops."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import signal
import sys
from pathlib import Path

from smolmix_web.cli.network_options import add_network_arguments, network_config
from smolmix_web.localnet.browser_access import chromium_flags
from smolmix_web.localnet.world import LocalWorld


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the addresses as JSON to FILE (standard output without FILE)",
    )
    add_network_arguments(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    async with LocalWorld(network_config(chosen)) as world:
        description = world.describe()
        flags = chromium_flags(world.network) if chosen.tls else []
        if flags:
            description["chromiumFlags"] = flags
        if chosen.json is not None:
            text = json.dumps(description, indent=2) + "\n"
            if chosen.json == "-":
                print(text, end="", flush=True)
            else:
                Path(chosen.json).write_text(text)
        if chosen.json != "-":
            print(f"directory  {description['directory']}")
            if description["status"] is not None:
                print(f"status     {description['status']}")
            for name, node in description["nodes"].items():
                print(f"{name:10} {node['mix_address']}  {node.get('websocket', '')}")
            print(f"exit       {description['exit']}")
            if flags:
                print("Chromium for Nym's own browser packages:", shlex.join(flags))
            print("test internet:")
            print(world.internet.describe(), end="")
            print("Ctrl-C ends it.", flush=True)
        await until_interrupted()
        print("stopping", file=sys.stderr)
    return 0


async def until_interrupted() -> None:
    """Wait for Ctrl-C or a request to terminate."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: KeyboardInterrupt ends it instead
            loop.add_signal_handler(number, over.set)
    await over.wait()
