"""The tables of cases (tests/cases) with Python's own tunnel; after each case nothing of it is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from e2e.conftest import options_for
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.config import ClientConfig
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel
from support.case_native import repeat, run_dns, run_fetch, run_socket
from support.case_table import (
    BULK,
    COOKIES,
    DEAD_RESOLVER,
    MAIN,
    Case,
    check_dns,
    check_fetch,
    check_socket,
    load,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(900 if BULK else 120)]

UNDELAYED = ClientConfig(
    disable_poisson=True, disable_cover=True, average_packet_delay=0.0, average_ack_delay=0.0
)
"""No node holds a packet back; in a page (test_browser_cases.py) they do."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tunnels() -> AsyncIterator[dict[str, Tunnel]]:
    async with LocalWorld() as world:
        main = await Tunnel.connect(options_for(world), platform=NativePlatform(), traffic=UNDELAYED)
        cookies = await Tunnel.connect(
            options_for(world, client_id="cookies", cookies=True, primary_dns=DEAD_RESOLVER),
            platform=NativePlatform(),
            traffic=UNDELAYED,
        )
        async with main, cookies:
            yield {MAIN: main, COOKIES: cookies}


def held(tunnel: Tunnel) -> dict[str, int]:
    """What a case could leave behind."""
    stats = tunnel.stats()
    fetch = stats["fetch"]
    return {
        "busy connections": fetch["busy"] + fetch["dialling"] + fetch["queued"],
        "open bodies": fetch["openBodies"],
        "open TCP connections beside idle ones": stats["stack"]["connections"] - fetch["idle"],
        "UDP sockets": stats["stack"]["udpSockets"],
        "bytes in buffers": stats["stack"]["unread"] + stats["stack"]["unsent"],
        "WebSockets": stats["websocket"]["open"],
        "tasks": len([one for one in asyncio.all_tasks() if _of_a_case(one)]),
    }


def _of_a_case(task: asyncio.Task[object]) -> bool:
    """Every other task of the modules whose work a case is."""
    name = getattr(task.get_coro(), "__qualname__", "")
    return name.startswith(("HttpConnection._send", "WebSocketClient.", "Servers.", "Resolver.", "Pool."))


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def nothing_left(tunnels: dict[str, Tunnel]) -> AsyncIterator[None]:
    yield
    left: dict[str, int] = {}
    for _ in range(250):
        left = {key: count for one in tunnels.values() for key, count in held(one).items() if count}
        if not left:
            return
        await asyncio.sleep(0.02)
    pytest.fail(f"left behind: {left}")


def cases(name: str) -> pytest.MarkDecorator:
    """Every case of a table that does not need a page."""
    table = [case for case in load(name) if not case.get("page") and case.get("native", True)]
    return pytest.mark.parametrize("case", table, ids=[case["name"] for case in table])


@cases("fetch")
async def test_fetch(tunnels: dict[str, Tunnel], case: Case) -> None:
    tunnel = tunnels[case.get("tunnel", MAIN)]
    for seen in await repeat(case, lambda: run_fetch(tunnel, case)):
        assert check_fetch(case, seen) == []


@cases("websocket")
async def test_websocket(tunnels: dict[str, Tunnel], case: Case) -> None:
    tunnel = tunnels[case.get("tunnel", MAIN)]
    for seen in await repeat(case, lambda: run_socket(tunnel, case)):
        assert check_socket(case, seen) == []


@cases("dns")
async def test_dns(tunnels: dict[str, Tunnel], case: Case) -> None:
    tunnel = tunnels[case.get("tunnel", MAIN)]
    for seen in await repeat(case, lambda: run_dns(tunnel, case)):
        assert check_dns(case, seen) == []
