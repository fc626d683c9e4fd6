"""Nym's published browser client in a network that was started from the command line."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
from official_page import LaunchBrowser, OpenPage, fresh_client_id

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


async def test_network_command(open_page: OpenPage, launch_browser: LaunchBrowser, tmp_path: Path):
    """The flags that the command prints are all that Chromium needs."""
    description = tmp_path / "network.json"
    command = [sys.executable, "-m", "smolmix_web", "network", "--tls", "--json", str(description)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(30):
            while not description.exists() or not description.read_text().endswith("}\n"):
                assert process.returncode is None
                await asyncio.sleep(0.1)
        network = json.loads(description.read_text())
        browser = await launch_browser(network["chromiumFlags"])
        official = await open_page(within=browser)
        await official.setup(clientId=fresh_client_id())
        assert await official.resolve("web.test") == network["hosts"]["web.test"]
        assert (await official.fetch("http://web.test/echo"))["status"] == 200
        await official.disconnect()
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
