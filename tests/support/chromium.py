"""How tests and benchmarks come by the settings of ``playwright.config.py``, whose name no import can say."""

from __future__ import annotations

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import pytest
from playwright.async_api import Browser, async_playwright


def load_settings() -> ModuleType:
    """``playwright.config.py`` of the checkout: ``launch_options``, ``chromium_path``, limits."""
    path = Path(__file__).parents[2] / "playwright.config.py"
    spec = importlib.util.spec_from_file_location("playwright_config", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@asynccontextmanager
async def launched() -> AsyncIterator[Browser]:
    """A browser by these settings; a test without one fails."""
    settings = load_settings()
    if settings.chromium_path() is None:
        pytest.fail("no Chromium or Chrome was found; scripts/ensure_chromium.sh installs one")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**settings.launch_options())
        yield browser
        await browser.close()
