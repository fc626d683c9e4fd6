"""TLS in a page: bench_tls_replay.py in a worker of headless Chromium, with each crypto provider.

Run it with ``python bench/bench_tls_browser.py [seconds per figure]``.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

from smolmix_web.assets import ensure_assets
from smolmix_web.cli.demo import make_playground

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.chromium import load_settings  # noqa: E402

_RUN = """
(task) => new Promise((resolve) => {
  const worker = new Worker('/bench/tls-worker.js', { type: 'module' });
  worker.onmessage = ({ data }) => { worker.terminate(); resolve(data); };
  worker.onerror = (event) => resolve({ error: event.message });
  worker.postMessage(task);
})
"""


async def measure(seconds: float = 1.0) -> list[dict[str, Any]]:
    """One row of figures per provider in the assets."""
    assets = ensure_assets()
    providers = sorted(json.loads((assets / "manifest.json").read_text())["providers"])
    folders = {
        "/bench": ROOT / "bench",
        "/vectors_runner": ROOT / "tests" / "vectors_runner",
        "/vectors": ROOT / "tests" / "vectors" / "tls",
    }
    playground = make_playground(assets, {"options": {}, "sites": []}, [], folders)
    rows = []
    async with async_playwright() as playwright:
        site = await playground.start()
        browser = await playwright.chromium.launch(**load_settings().launch_options())
        for provider in providers:
            page = await browser.new_page()
            page.set_default_timeout(120_000)
            await page.goto(f"{site}icon.svg")
            answer = await page.evaluate(_RUN, {"provider": provider, "seconds": seconds})
            await page.close()
            if "error" in answer:
                raise RuntimeError(answer["error"])
            rows.append(answer)
        await browser.close()
        await playground.stop()
    return rows


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(*map(float, sys.argv[1:]))), indent=2))
