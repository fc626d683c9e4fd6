"""The packages as users get them: packed, installed in folders of their own, served by a plain server."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

sys.path.insert(0, str(Path(__file__).parent))

from package_support import ROOT

from smolmix_web.localnet.world import LocalWorld
from support.chromium import launched
from support.patience import patient

module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="module")


@module_fixture
async def world() -> AsyncIterator[LocalWorld]:
    async with LocalWorld(patient()) as world:
        yield world


@module_fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def npm() -> str:
    found = shutil.which("npm")
    if found is None or not (ROOT / "node_modules" / "pyodide").is_dir():
        pytest.skip("needs npm, and the packages of `npm ci`")
    return found
