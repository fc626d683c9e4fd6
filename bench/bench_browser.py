"""What a page can expect, measured in headless Chromium over the local network.

Per crypto provider: Sphinx packets created and processed per second (bench_sphinx.py inside a worker), time
from the call of ``setupMixTunnel`` to ready (cold: nothing cached; warm: assets in the HTTP cache, keys
stored), the median of small GETs, and a 1 MB download. The tunnel is measured three times: as it comes, with
the mix nodes' delays switched off, and with these and the client's own pacing switched off. Run it with
``python bench/bench_browser.py``.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

import smolmix_web.localnet.node
from smolmix_web.assets import ensure_assets
from smolmix_web.cli.demo import playground_of
from smolmix_web.localnet.world import LocalWorld

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.chromium import load_settings  # noqa: E402

SMALL_GETS = 10
DOWNLOAD = 1_000_000
NO_PACING = {"disablePoissonTraffic": True, "disableCoverTraffic": True}

# name -> (the mix nodes' longest delay in seconds, options)
MODES: dict[str, tuple[float, dict[str, Any]]] = {
    "defaults": (smolmix_web.localnet.node.MAXIMUM_DELAY, {}),
    "no mixing delays": (0.0, {}),
    "no delays, no pacing": (0.0, NO_PACING),
}

_SETUP = """
async (options) => {
  const start = performance.now();
  window.mix = await import('/worker/smolmix.js');
  await window.mix.setupMixTunnel(options);
  return (performance.now() - start) / 1000;
}
"""
_FETCH = """
async (url) => {
  const start = performance.now();
  const response = await window.mix.mixFetch(url);
  const body = await response.arrayBuffer();
  return [(performance.now() - start) / 1000, body.byteLength];
}
"""
_SPHINX = """
(task) => new Promise((resolve) => {
  const worker = new Worker('/bench/sphinx-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = (event) => resolve({ error: event.message });
  worker.postMessage(task);
})
"""


async def measure(seconds: float = 2.0) -> list[dict[str, Any]]:
    """One row of figures per provider in the assets. ``seconds`` is spent on each Sphinx figure."""
    settings = load_settings()
    assets = ensure_assets()
    providers = sorted(json.loads((assets / "manifest.json").read_text())["providers"])
    async with async_playwright() as playwright, LocalWorld() as world:
        network = world.describe()
        playground = playground_of(network, assets, {"/bench": ROOT / "bench"})
        site = await playground.start()
        browser = await playwright.chromium.launch(**settings.launch_options())
        rows = []
        for provider in providers:
            options = {
                "network": network["directory"],
                "forceTls": False,
                "cryptoProvider": provider,
            }
            row: dict[str, Any] = {"provider": provider, "tunnel": {}}
            print(f"{provider}: Sphinx", file=sys.stderr)
            row["sphinx"] = await _measure_sphinx(browser, site, provider, seconds)
            for mode, (longest_delay, more) in MODES.items():
                print(f"{provider}: tunnel, {mode}", file=sys.stderr)
                smolmix_web.localnet.node.MAXIMUM_DELAY = longest_delay
                row["tunnel"][mode] = await _measure_tunnel(browser, site, {**options, **more})
            rows.append(row)
        await browser.close()
        await playground.stop()
    return rows


async def _measure_sphinx(browser: Browser, site: str, provider: str, seconds: float) -> dict[str, Any]:
    context = await browser.new_context()
    page = await _open(context, site)
    answer: dict[str, Any] = await page.evaluate(_SPHINX, {"provider": provider, "seconds": seconds})
    await context.close()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


async def _measure_tunnel(browser: Browser, site: str, options: dict[str, Any]) -> dict[str, float]:
    context = await browser.new_context()
    try:
        page = await _open(context, site)
        cold = await page.evaluate(_SETUP, options)
        await page.evaluate("() => window.mix.disconnectMixTunnel()")
        await page.close()
        page = await _open(context, site)
        warm = await page.evaluate(_SETUP, options)
        times = [await page.evaluate(_FETCH, "http://web.test/bytes/1000") for _ in range(SMALL_GETS)]
        download, size = await page.evaluate(_FETCH, f"http://web.test/bytes/{DOWNLOAD}")
        if size != DOWNLOAD:
            raise RuntimeError(f"{size} of {DOWNLOAD} bytes arrived")
        return {
            "ready_cold_s": cold,
            "ready_warm_s": warm,
            "small_get_s": statistics.median(seconds for seconds, _ in times),
            "download_1mb_s": download,
        }
    finally:
        await context.close()


async def _open(context: BrowserContext, site: str) -> Page:
    context.set_default_timeout(300_000)
    page = await context.new_page()
    await page.goto(f"{site}icon.svg")
    return page


def table(rows: list[dict[str, Any]]) -> str:
    """The figures as Markdown."""
    lines = [
        f"Headless Chromium, {os.cpu_count()} cores",
        "",
        "| provider | packets created /s | processed /s |",
        "|---|---|---|",
    ]
    for row in rows:
        sphinx = row["sphinx"]
        lines.append(
            f"| {sphinx['provider']} | {sphinx['created_per_s']:.0f} | {sphinx['processed_per_s']:.0f} |"
        )
    lines += [
        "",
        "| provider | tunnel | ready, cold | ready, warm | small GET | 1 MB download |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        for mode, figures in row["tunnel"].items():
            names = ("ready_cold_s", "ready_warm_s", "small_get_s", "download_1mb_s")
            cells = " | ".join(f"{figures[name]:.2f} s" for name in names)
            lines.append(f"| {row['provider']} | {mode} | {cells} |")
    return "\n".join(lines)


def main() -> int:
    rows = asyncio.run(measure())
    print(json.dumps(rows, indent=1) if "--json" in sys.argv else table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
