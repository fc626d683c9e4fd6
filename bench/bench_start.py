"""From page load to a ready tunnel in headless Chromium, stage by stage; and what has to be downloaded.

Over the local network without mixing delays: cold (nothing cached), and warm (files in the HTTP cache, keys
stored; the median of several). With and without the memory image. ``python bench/bench_start.py`` runs it;
``--compressed`` prints the size of the compressed downloads as well, which takes a minute the first time.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, async_playwright

import smolmix_web.localnet.node
from bench_browser import load_settings
from smolmix_web.assets import build_assets, ensure_assets, first_download
from smolmix_web.cli.demo import playground_of
from smolmix_web.localnet.world import LocalWorld

WARM_RUNS = 5
STAGES = (
    "boot:manifest",
    "boot:files",
    "boot:python",
    "boot:packages",
    "boot:bridge",
    "gateway",
    "exit",
    "ready",
)

# Times count from the navigation. A stage that is told several times counts when it is told last.
_SETUP = """
async (options) => {
  const marks = {};
  const mix = await import('/worker/smolmix.js');
  mix.tunnelEvents.addEventListener('progress', ({ detail: { stage } }) => {
    marks[stage] = performance.now() / 1000;
  });
  await mix.setupMixTunnel(options);
  marks.ready = performance.now() / 1000;
  await mix.disconnectMixTunnel();
  return marks;
}
"""


async def measure() -> dict[str, Any]:
    """Seconds since the navigation by provider, way and stage."""
    settings = load_settings()
    assets = ensure_assets()
    providers = sorted(json.loads((assets / "manifest.json").read_text())["providers"])
    smolmix_web.localnet.node.MAXIMUM_DELAY = 0.0
    rows: dict[str, Any] = {}
    async with async_playwright() as playwright, LocalWorld() as world:
        network = world.describe()
        playground = playground_of(network, assets)
        site = await playground.start()
        browser = await playwright.chromium.launch(**settings.launch_options())
        for provider in providers:
            options = {"network": network["directory"], "forceTls": False, "cryptoProvider": provider}
            for image in (True, False):
                context = await browser.new_context()
                if not image:
                    await leave_out_image(context, assets)
                runs = [await start(context, site, options) for _ in range(1 + WARM_RUNS)]
                name = f"{provider}, {'memory image' if image else 'without image'}"
                rows[name] = {"cold": runs[0], "warm": median(runs[1:])}
                await context.close()
        await browser.close()
        await playground.stop()
    return rows


async def leave_out_image(context: BrowserContext, assets: Path) -> None:
    """As if the assets had been built without one."""
    manifest = json.loads((assets / "manifest.json").read_text()) | {"image": None}
    await context.route("**/manifest.json", lambda route: route.fulfill(json=manifest))


async def start(context: BrowserContext, site: str, options: dict[str, Any]) -> dict[str, float]:
    page = await context.new_page()
    page.set_default_timeout(120_000)
    await page.goto(f"{site}icon.svg")
    marks: dict[str, float] = await page.evaluate(_SETUP, options)
    await page.close()
    return marks


def median(runs: list[dict[str, float]]) -> dict[str, float]:
    return {stage: statistics.median(run[stage] for run in runs) for stage in STAGES}


def download_sizes() -> dict[str, int]:
    """Compressed bytes that a first start asks for, by provider."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "assets"
        return first_download(out, build_assets(out, compress=True))


def table(rows: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines = [
        f"Headless Chromium, {os.cpu_count()} cores; seconds since the navigation",
        "",
        f"| | {' | '.join(STAGES)} |",
        f"|---|{'---|' * len(STAGES)}",
    ]
    for name, ways in rows.items():
        for way, marks in ways.items():
            lines.append(f"| {name}, {way} | {' | '.join(f'{marks[stage]:.2f}' for stage in STAGES)} |")
    return "\n".join(lines)


def main() -> int:
    rows = asyncio.run(measure())
    print(json.dumps(rows, indent=1) if "--json" in sys.argv else table(rows))
    if "--compressed" in sys.argv:
        for provider, size in download_sizes().items():
            print(f"\nDownload of a first start, {provider}: {size / 1e6:.2f} MB compressed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
