"""``python -m bench.compare``: smolmix-web beside Nym's official browser packages, in the same Chromium, on
the same local network, in turns.

Modes: mixing delays none or the official average, each with the client's own traffic (Poisson, cover) on or
off. ``--rounds``, ``--modes`` and ``--tasks`` choose; ``--json FILE`` keeps every figure of every round.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web
from bench.compare.clients import Client, Ours, Theirs, Weight, load_settings
from bench.compare.report import failures, mode_table, weight_table
from bench.compare.rounds import Figure, Plan, Round
from playwright.async_api import async_playwright

import smolmix_web.localnet.node
from smolmix_web.localnet.address_map import Endpoint, Protocol
from smolmix_web.localnet.browser_access import chromium_flags, with_tls
from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.localnet.testnet.certificates import Authority, server_context
from smolmix_web.localnet.world import LocalWorld

QUIET = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
DELAYS = smolmix_web.localnet.node.MAXIMUM_DELAY
MODES: dict[str, tuple[float, dict[str, Any]]] = {
    "default delays, own traffic on": (DELAYS, {}),
    "default delays, own traffic off": (DELAYS, QUIET),
    "no delays, own traffic on": (0.0, {}),
    "no delays, own traffic off": (0.0, QUIET),
}
HOST = "web.test"
MARKER = "--smolmix-compare"


async def compare(
    modes: list[str], rounds: int, limit: float, tasks: frozenset[str] | None
) -> dict[str, Any]:
    """All figures: ``weights`` by client, ``modes`` -> client -> figures of each round."""
    theirs = Theirs()
    ours = Ours(Authority("comparison root", datetime.datetime.now(datetime.UTC)))
    clients: tuple[Client, ...] = (ours, theirs)
    results: dict[str, Any] = {"weights": {}, "modes": {}}
    async with async_playwright() as playwright, LocalWorld(with_tls(LocalNetworkConfig())) as world:
        options = load_settings().launch_options()
        options["args"] = [*options["args"], *chromium_flags(world.network), MARKER]
        browser = await playwright.chromium.launch(**options)
        sites = {}
        for port, client in enumerate(clients, 7001):
            await client.start()
            sites[client.name] = await _serve(world, client, port)
        for mode in modes:
            smolmix_web.localnet.node.MAXIMUM_DELAY, traffic = MODES[mode]
            found: dict[str, list[dict[str, Figure]]] = {client.name: [] for client in clients}
            results["modes"][mode] = found
            for number in range(rounds):
                for client in clients:
                    print(f"{mode}, round {number + 1}, {client.name}", file=sys.stderr, flush=True)
                    name = f"compare-{len(results['modes'])}-{number}"
                    plan = Plan({"clientId": name, **traffic}, limit, tasks)
                    turn = Round(client, world, browser, MARKER, sites[client.name], plan, number)
                    found[client.name].append(await turn.run())
                    print(json.dumps(turn.figures), file=sys.stderr, flush=True)
                    if turn.weight is not None:
                        results["weights"][client.name] = asdict(turn.weight)
        await browser.close()
        for client in clients:
            await client.stop()
    return results


async def _serve(world: LocalWorld, client: Client, port: int) -> str:
    """The web server of the test internet under TLS, with a certificate that the client accepts.

    :returns: host and port
    """
    runner = web.AppRunner(world.internet.site.application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    context = server_context(client.authority.issue([HOST]))
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    target = Endpoint("127.0.0.1", runner.addresses[0][1])
    world.internet.address_map.add(world.internet.hosts[HOST], port, Protocol.TCP, target)
    return f"{HOST}:{port}"


def report(results: dict[str, Any]) -> str:
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{os.cpu_count()} cores, {platform.machine()}"
    parts = [f"{today}, {machine}, headless Chromium; medians (lowest to highest)"]
    weights = {name: Weight(**weight) for name, weight in results["weights"].items()}
    if len(weights) == 2:
        parts.append(weight_table(weights["ours"], weights["official"]))
    for mode, found in results["modes"].items():
        parts += [f"### {mode}", mode_table(found["ours"], found["official"])]
        if reasons := failures(found["ours"], found["official"]):
            parts.append(reasons)
    return "\n\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="of each client in each mode (3)")
    parser.add_argument(
        "--modes",
        type=int,
        nargs="+",
        default=[1, 2, 3, 4],
        metavar="N",
        help="; ".join(f"{number}: {mode}" for number, mode in enumerate(MODES, 1)),
    )
    parser.add_argument("--tasks", nargs="+", metavar="NAME", help="as in the table; default all")
    parser.add_argument("--limit", type=float, default=180, help="seconds for any one task (180)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    chosen = parser.parse_args()
    names = list(MODES)
    if not all(1 <= number <= len(names) for number in chosen.modes) or chosen.rounds < 1:
        parser.error("no such mode, or no round")
    modes = [names[number - 1] for number in chosen.modes]
    tasks = frozenset(chosen.tasks) if chosen.tasks else None
    results = asyncio.run(compare(modes, chosen.rounds, chosen.limit, tasks))
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1))
    print(report(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
