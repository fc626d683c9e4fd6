"""Run a local Nym network: directory, three mix nodes, entry gateway and exit, with a small test internet
behind the exit. Everything listens on loopback unless told otherwise, and ends with Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import shlex
import signal
import sys
from pathlib import Path

from smolmix_web.errors import OptionError
from smolmix_web.localnet.browser_access import chromium_flags, with_tls
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.network import ALL_ROLES, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the addresses as JSON to FILE (standard output without FILE)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument(
        "--port",
        metavar="NAME=PORT",
        action="append",
        default=[],
        help="fix a port; names: directory, mix1, mix2, mix3, entry, exit, entry.ws, exit.ws, and with "
        "--tls also directory.tls, entry.wss",
    )
    parser.add_argument(
        "--tls",
        action="store_true",
        help="serve the directory and the entry gateway under TLS too, which Nym's own browser packages "
        "insist on, and print the flags that lead Chromium there",
    )
    parser.add_argument(
        "--role",
        action="append",
        choices=ALL_ROLES,
        metavar="ROLE",
        help=f"play only this part (may be repeated): {', '.join(ALL_ROLES)}",
    )
    parser.add_argument("--directory", metavar="URL", help="directory of the other parts, with --role")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="keep keys and clients there")
    faults = parser.add_argument_group("faults of the links between nodes, for tests")
    for name, help_text in (
        ("loss", "probability that a packet is lost"),
        ("duplicate", "probability that a packet is doubled"),
        ("reorder", "probability that a packet is held back by up to 50 ms"),
    ):
        faults.add_argument(f"--{name}", type=_probability, default=0.0, metavar="P", help=help_text)
    faults.add_argument("--delay", type=float, default=0.0, metavar="SECONDS", help="extra delay of a link")
    faults.add_argument("--jitter", type=float, default=0.0, metavar="SECONDS", help="random part on top")
    faults.add_argument("--seed", type=int, default=0, help="of the faults' random numbers")


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def network_config(chosen: argparse.Namespace) -> LocalNetworkConfig:
    """:raises OptionError: a port or a combination that cannot be used."""
    if chosen.role and "directory" not in chosen.role and chosen.directory is None:
        raise OptionError("--role", "parts without the directory need --directory URL")
    if chosen.tls and chosen.role and "directory" not in chosen.role:
        raise OptionError("--tls", "the directory must be among the parts")
    config = LocalNetworkConfig(
        host=chosen.host,
        ports=dict(map(_port, chosen.port)),
        roles=tuple(role for role in ALL_ROLES if not chosen.role or role in chosen.role),
        directory_url=chosen.directory,
        impairment=ImpairmentConfig(
            delay=chosen.delay,
            jitter=chosen.jitter,
            loss=chosen.loss,
            duplicate=chosen.duplicate,
            reorder=chosen.reorder,
            seed=chosen.seed,
        ),
        state_dir=chosen.state,
    )
    return with_tls(config) if chosen.tls else config


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit() or not int(number) < 65536:
        raise OptionError("--port", f"{text!r} is not of the form NAME=PORT")
    return name, int(number)


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
