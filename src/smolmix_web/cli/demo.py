"""Run the local network and the playground page on loopback, and open a browser where there is a screen."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import webbrowser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from smolmix_web.assets import Sources, ensure_assets
from smolmix_web.cli.assets import add_distribution_argument
from smolmix_web.cli.network import until_interrupted
from smolmix_web.cli.playground import Playground, origin_of
from smolmix_web.errors import OptionError
from smolmix_web.localnet.world import LocalWorld

DEFAULT_PORT = 9001

SITES = (
    "http://web.test/",
    "https://web.test/",
    "http://web.test/echo",
    "http://web.test/bytes/100000",
    "http://web.test/redirect-chain/3",
    "http://web.test/drip",
    "http://web.test/status/404",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port", type=int, default=DEFAULT_PORT, help=f"of the page; 0 or taken: a free one ({DEFAULT_PORT})"
    )
    parser.add_argument("--no-open", action="store_true", help="open no browser")
    parser.add_argument(
        "--network", metavar="URL", help="directory of another network; no local one is started then"
    )
    add_distribution_argument(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    if chosen.network is not None and not re.match(r"https?://[^/?#\s]+", chosen.network):
        raise OptionError("--network", f"{chosen.network!r} is not an http or https URL")
    assets = ensure_assets(distribution=chosen.pyodide_dist, log=_say)
    async with contextlib.AsyncExitStack() as stack:
        if chosen.network is None:
            _say("starting the local network")
            world = await stack.enter_async_context(LocalWorld())
            playground = playground_of(world.describe(), assets)
        else:
            options = {"network": chosen.network, "forceTls": chosen.network.startswith("https:")}
            connect = [origin_of(chosen.network), "wss:" if options["forceTls"] else "ws:"]
            playground = make_playground(assets, {"options": options, "sites": []}, connect)
        url = await playground.start(port=chosen.port)
        stack.push_async_callback(playground.stop)
        print(f"playground  {url}\nCtrl-C ends it.", flush=True)
        if not chosen.no_open and has_screen(sys.platform, os.environ):
            webbrowser.open(url)
        await until_interrupted()
    return 0


def playground_of(
    network: Mapping[str, Any], assets: Path, folders: Mapping[str, Path] | None = None
) -> Playground:
    """The playground for a local network.

    :param network: what :meth:`~smolmix_web.localnet.world.LocalWorld.describe` gives.
    :param folders: see :class:`~smolmix_web.cli.playground.Playground`.
    """
    config = {
        "options": {
            "network": network["directory"],
            "clientId": "playground",
            "forceTls": False,
            "trustAnchors": network["trustAnchors"],
        },
        "sites": list(SITES),
    }
    sockets = [node["websocket"] for node in network["nodes"].values() if "websocket" in node]
    connect = [origin_of(url) for url in (network["directory"], *sockets)]
    return make_playground(assets, config, connect, folders)


def make_playground(
    assets: Path,
    config: dict[str, Any],
    connect: Iterable[str],
    folders: Mapping[str, Path] | None = None,
) -> Playground:
    """The playground of this checkout."""
    demo = Sources.of_checkout().root / "demo"
    return Playground(assets=assets, demo=demo, config=config, connect=connect, folders=folders)


def has_screen(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser window could be seen."""
    if not platform.startswith(("linux", "freebsd", "openbsd")):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
