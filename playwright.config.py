"""How the browser tests and benchmarks run Chromium: which one, with what flags, limits and traces.

tests/browser/conftest.py and bench/bench_browser.py load this file. Environment: ``CHROMIUM`` (path of the
browser), ``SMOLMIX_TRACE`` (``on``: keep a Playwright trace of every test, default: of failed ones only).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

# Milliseconds. Two busy cores and a cold worker make generous limits; each wait in a test has its own reason.
DEFAULT_TIMEOUT = 30_000
SETUP_TIMEOUT = 90_000

VIEWPORT = {"width": 1280, "height": 900}

RESULTS = Path(__file__).parent / "test-results"
TRACE = os.environ.get("SMOLMIX_TRACE", "failed")

FLAGS = [
    # Containers give neither a user namespace for the sandbox nor a GPU.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    # The browser's own traffic must not mix with the page's: a test looks at every request.
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-quic",
    "--disable-sync",
    "--no-pings",
    "--no-proxy-server",
    # Tests of what becomes of forgotten responses collect garbage when they want to.
    "--js-flags=--expose-gc",
    # A hidden page's timers must not be slowed down.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
]

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLACES = (
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)


def chromium_path() -> str | None:
    """The browser to drive: ``$CHROMIUM``, else the first one found; None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    return found or next((place for place in _PLACES if Path(place).is_file()), None)


def launch_options(*, proxy: str | None = None) -> dict[str, object]:
    """Arguments of Playwright's ``chromium.launch``.

    :param proxy: address of an HTTP proxy that every connection is to go through, loopback included.
    """
    flags = [flag for flag in FLAGS if not (proxy and flag == "--no-proxy-server")]
    options: dict[str, object] = {"executable_path": chromium_path(), "headless": True, "args": flags}
    if proxy:
        options["proxy"] = {"server": proxy, "bypass": "<-loopback>"}
    return options
