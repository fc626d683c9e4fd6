"""The IP stack's speed and cost a segment in headless Chromium: tcp_memory.py in a worker, under Pyodide.

Wall time, as a worker has no other clock; the figures of CPython are bench_net.py's. Run it with
``python bench/bench_net_browser.py``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from smolmix_web.assets import ensure_assets
from smolmix_web.cli.demo import playground_of
from smolmix_web.localnet.world import LocalWorld

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "bench")]

from support.chromium import load_settings  # noqa: E402
from tcp_memory import table  # noqa: E402

_RUN = """
(task) => new Promise((resolve) => {
  const worker = new Worker('/bench/net-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = (event) => resolve({ error: event.message });
  worker.postMessage(task);
})
"""


async def measure(size: int = 10_000_000, segments: int = 8_000, rounds: int = 3) -> dict[str, Any]:
    """The figures of :func:`tcp_memory.measure`."""
    assets = ensure_assets()
    provider = sorted(json.loads((assets / "manifest.json").read_text())["providers"])[0]
    async with async_playwright() as playwright, LocalWorld() as world:
        playground = playground_of(world.describe(), assets, {"/bench": ROOT / "bench"})
        site = await playground.start()
        browser = await playwright.chromium.launch(**load_settings().launch_options())
        page = await browser.new_page()
        page.set_default_timeout(600_000)
        await page.goto(f"{site}icon.svg")
        task = {"provider": provider, "size": size, "segments": segments, "rounds": rounds}
        answer: dict[str, Any] = await page.evaluate(_RUN, task)
        await browser.close()
        await playground.stop()
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


if __name__ == "__main__":
    print("Headless Chromium, wall time.\n")
    print(table(asyncio.run(measure())))
