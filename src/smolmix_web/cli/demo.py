"""Run the local network and the playground page on loopback, and open a browser where there is a screen.
Ctrl-C ends everything."""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import threading
import webbrowser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from smolmix_web.assets import demo_folder, ensure_assets
from smolmix_web.cli.assets import add_distribution_argument
from smolmix_web.cli.network import until_interrupted
from smolmix_web.cli.playground import Playground, origin_of
from smolmix_web.cli.progress import ProgressLine
from smolmix_web.errors import OptionError
from smolmix_web.localnet.loopback import spread_over_loopback
from smolmix_web.localnet.network import MAX_PROCESSES, STATUS_PATH, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld

DEFAULT_PORT = 9001

SITES = (
    "https://web.test/whoami",
    "http://web.test/",
    "https://web.test/image",
    "https://web.test/chunked?chunks=20&size=5000&pause=0.2",
    "https://web.test/bytes/100000",
    "https://web.test/gzip",
    "http://web.test/redirect-chain/3",
    "http://web.test/status/404",
)
SOCKETS = ("wss://web.test/ws/echo", "ws://web.test/ws/echo")
NAMES = ("web.test", "v4only.test", "v6only.test", "missing.test")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help=f"of the page ({DEFAULT_PORT}); 0 or taken: a free one",
    )
    parser.add_argument("--no-open", action="store_true", help="open no browser")
    parser.add_argument(
        "--network", metavar="URL", help="directory of another network; no local one is started then"
    )
    parser.add_argument(
        "--processes",
        type=int,
        choices=range(1, MAX_PROCESSES + 1),
        default=default_processes(os.cpu_count()),
        metavar="N",
        help=f"share the local network's work among N processes, up to {MAX_PROCESSES} (default with this "
        "machine's cores: %(default)s)",
    )
    add_distribution_argument(parser)


def default_processes(cores: int | None) -> int:
    """Of the local network: half of the cores, for the browser wants some too."""
    return min(max((cores or 1) // 2, 1), MAX_PROCESSES)


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number < 65536:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 65535")
    return number


def demo_network(processes: int = 1) -> LocalNetworkConfig:
    """A network of which the page can show who sees what: a node has its own address, where it can."""
    return spread_over_loopback(LocalNetworkConfig(show_connections=True, processes=processes))


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    if chosen.network is not None and not re.match(r"https?://[^/?#\s]+", chosen.network):
        raise OptionError("--network", f"{chosen.network!r} is not an http or https URL")
    line = ProgressLine(enabled=sys.stderr.isatty())
    assets = _build(chosen.pyodide_dist, line)
    async with contextlib.AsyncExitStack() as stack:
        if chosen.network is None:
            line.show(None, "starting the local network")
            world = await stack.enter_async_context(LocalWorld(demo_network(chosen.processes)))
            playground = playground_of(world.describe(), assets)
        else:
            playground = playground_for(chosen.network, assets)
        url = await playground.start(port=chosen.port)
        stack.push_async_callback(playground.stop)
        line.clear()
        print(f"playground  {url}\nCtrl-C ends it.", flush=True)
        if not chosen.no_open and has_screen(sys.platform, os.environ):
            # Some systems run the browser in the foreground; the end of the demo does not wait for it.
            threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
        await until_interrupted()
        _say("stopping")
    return 0


def _build(distribution: str | None, line: ProgressLine) -> Path:
    """The assets; each step of a build is told, on a terminal on one line that moves."""

    def tell(step: str) -> None:
        line.clear()
        _say(step)
        line.show(None, step)

    try:
        return ensure_assets(distribution=distribution, log=tell)
    finally:
        line.clear()


def playground_of(
    network: Mapping[str, Any], assets: Path, folders: Mapping[str, Path] | None = None
) -> Playground:
    """The playground for a local network.

    :param network: what :meth:`~smolmix_web.localnet.world.LocalWorld.describe` gives.
    :param folders: see :class:`~smolmix_web.cli.playground.Playground`.
    """
    clear = network.get("clear", {})
    config = {
        "options": {
            "network": network["directory"],
            # Exits are gateways too; one that is both would see too much for a picture of who sees what.
            "preferredGateway": network["nodes"].get("entry", {}).get("identity"),
            "clientId": "playground",
            "forceTls": False,
            "trustAnchors": network["trustAnchors"],
        },
        "sites": list(SITES),
        "sockets": list(SOCKETS),
        "names": list(NAMES),
        # What the map and the comparison need: the nodes' own counters, and the way around the mixnet.
        "status": urljoin(network["directory"], STATUS_PATH),
        "clear": clear,
    }
    sockets = [node["websocket"] for node in network["nodes"].values() if "websocket" in node]
    connect = [origin_of(url) for url in (network["directory"], *sockets, *clear.values())]
    return make_playground(assets, config, list(dict.fromkeys(connect)), folders)


def playground_for(directory: str, assets: Path) -> Playground:
    """The playground for a network of which only the directory is known.

    :param directory: its URL; of an ``https`` one only gateways with TLS are used.
    """
    tls = directory.startswith("https:")
    config = {"options": {"network": directory, "forceTls": tls}}
    return make_playground(assets, config, [origin_of(directory), "wss:" if tls else "ws:"])


def make_playground(
    assets: Path,
    config: dict[str, Any],
    connect: Iterable[str],
    folders: Mapping[str, Path] | None = None,
) -> Playground:
    """The playground of this checkout."""
    demo = demo_folder()
    return Playground(assets=assets, demo=demo, config=config, connect=connect, folders=folders)


def has_screen(platform: str, environment: Mapping[str, str]) -> bool:
    """Whether a browser window could be seen."""
    if not platform.startswith(("linux", "freebsd", "openbsd")):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
