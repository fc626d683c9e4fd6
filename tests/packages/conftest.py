"""The packages as users get them: packed, installed in folders of their own, served by a plain server."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from smolmix_web.localnet.world import LocalWorld

ROOT = Path(__file__).parents[2]

module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")


def _settings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("playwright_config", ROOT / "playwright.config.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SETTINGS = _settings()


def run(*command: str, cwd: Path, **more: str) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@module_fixture
async def world() -> AsyncIterator[LocalWorld]:
    async with LocalWorld() as world:
        yield world


@module_fixture
async def browser() -> AsyncIterator[Browser]:
    if SETTINGS.chromium_path() is None:
        pytest.fail("no Chromium or Chrome was found; scripts/ensure_chromium.sh installs one")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**SETTINGS.launch_options())
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def npm() -> str:
    found = shutil.which("npm")
    if found is None or not (ROOT / "node_modules" / "pyodide").is_dir():
        pytest.skip("needs npm, and the packages of `npm ci`")
    return found
