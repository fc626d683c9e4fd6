"""The tables of cases in headless Chromium, beside the browser's own ``fetch`` and ``WebSocket``.

The browser is told where the hosts of the test internet really listen, so that both get the same URLs. Every
case runs once, in batches side by side; after each batch the workers must hold nothing of it. The tests look
at what was seen.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from browser_support import SETTINGS, open_mix_page
from mix_page import MixPage
from playwright.async_api import Page, async_playwright

from smolmix_web.localnet.address_map import Endpoint, Protocol
from smolmix_web.localnet.world import LocalWorld
from support.case_table import (
    BULK,
    DEAD_RESOLVER,
    Case,
    Seen,
    check_dns,
    check_fetch,
    check_socket,
    load,
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(1800 if BULK else 600),
]

CHECKS = {"fetch": check_fetch, "websocket": check_socket, "dns": check_dns}
TABLES = {name: [case for case in load(name) if not case.get("native")] for name in CHECKS}
BATCH = 16
DIFFERENCES = Path(__file__).parents[2] / "docs" / "differences.md"


@dataclass
class Results:
    """What was seen in one table, by name of the case; and what the workers held after a batch."""

    mix: dict[str, list[Seen]] = field(default_factory=dict)
    direct: dict[str, list[Seen]] = field(default_factory=dict)
    left: list[tuple[list[str], dict[str, str]]] = field(default_factory=list)


def host_rules(world: LocalWorld) -> str:
    """``--host-resolver-rules``: each host and port of the test internet to its listener."""
    internet, rules = world.internet, []
    for host, address in internet.hosts.items():
        for port in (80, 443, 8080):
            target = internet.address_map.lookup(ipaddress.ip_address(address), port, Protocol.TCP)
            if isinstance(target, Endpoint):
                rules.append(f"MAP {host}:{port} {target.host}:{target.port}")
    return ", ".join(rules)


class Tables:
    """Runs each table when its first result is asked for."""

    def __init__(self, page: Page, idle: dict[str, dict[str, int]]) -> None:
        self._page, self._idle = page, idle
        self._results: dict[str, Results] = {}

    async def of(self, table: str) -> Results:
        if table not in self._results:
            self._results[table] = await self._run(table)
        return self._results[table]

    async def _run(self, table: str) -> Results:
        results = Results()
        for batch in batches(TABLES[table]):
            started = time.monotonic()
            seen = await run(self._page, table, batch, "mix")
            results.mix.update({case["name"]: one for case, one in zip(batch, seen, strict=True)})
            if left := await settled(self._page, self._idle):
                results.left.append(([case["name"] for case in batch], left))
            print(
                f"{table}: {len(batch)} cases from {batch[0]['name']!r}, {time.monotonic() - started:.1f} s"
            )
            compared = [case for case in batch if table != "dns" and case.get("direct", True)]
            seen = await run(self._page, table, compared, "direct")
            results.direct.update({case["name"]: one for case, one in zip(compared, seen, strict=True)})
        return results


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tables(world: LocalWorld, site: str) -> AsyncIterator[Tables]:
    """One page with two tunnels for the module."""
    options = SETTINGS.launch_options()
    options["args"] = [
        *options["args"],
        f"--host-resolver-rules={host_rules(world)}",
        # The browser's own fetch is to show its results, not what it may tell a page of another origin.
        "--disable-web-security",
        "--ignore-certificate-errors",
    ]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(**options)
        context = await browser.new_context(bypass_csp=True)
        async with open_mix_page(context, world, site) as mix:
            yield await set_up(mix)
        await browser.close()


async def set_up(mix: MixPage) -> Tables:
    quick = {"disablePoissonTraffic": True, "disableCoverTraffic": True}
    assert await mix.setup(**quick, clientId="cases") == {"value": None}
    cookies = {**mix.options, **quick, "clientId": "cases-2", "cookies": True, "primaryDns": DEAD_RESOLVER}
    await mix.page.evaluate((Path(__file__).parent / "case_runner.js").read_text(), cookies)
    # What is loaded once only is no leak.
    await run(mix.page, "fetch", [{"url": "/br"}, {"url": "/br", "tunnel": "cookies"}], "mix")
    return Tables(mix.page, await held(mix.page))


def batches(cases: list[Case]) -> list[list[Case]]:
    """Cases that run side by side; heavy ones alone."""
    light = [case for case in cases if not case.get("heavy")]
    made = [light[start : start + BATCH] for start in range(0, len(light), BATCH)]
    return [*made, *([case] for case in cases if case.get("heavy"))]


async def run(page: Page, table: str, cases: list[Case], how: str) -> list[list[Seen]]:
    script = "([table, cases, how]) => window.runCases(table, cases, how)"
    seen: list[list[Seen]] = await page.evaluate(script, [table, cases, how])
    return seen


async def held(page: Page) -> dict[str, dict[str, int]]:
    counters: dict[str, dict[str, int]] = await page.evaluate("() => window.heldByWorkers()")
    return counters


async def settled(page: Page, idle: dict[str, dict[str, int]]) -> dict[str, str]:
    """What the workers hold beyond what an idle one does, once they had the time to let go."""
    left: dict[str, str] = {}
    for _ in range(400):
        now = await held(page)
        left = {
            f"{worker} {name}": f"{count}, idle {idle[worker][name]}"
            for worker, counters in now.items()
            for name, count in counters.items()
            if count > idle[worker][name]
        }
        if not left:
            break
        await page.wait_for_timeout(100)
    return left


def every_case() -> list[Any]:
    return [
        pytest.param(table, case, id=f"{table}: {case['name']}")
        for table, cases in TABLES.items()
        for case in cases
    ]


@pytest.mark.parametrize(("table", "least"), [("fetch", 120), ("websocket", 60), ("dns", 30)])
async def test_the_tables_are_long_enough(table: str, least: int) -> None:
    assert len(TABLES[table]) >= least


@pytest.mark.parametrize(("table", "case"), every_case())
async def test_case(tables: Tables, table: str, case: Case) -> None:
    for seen in (await tables.of(table)).mix[case["name"]]:
        assert CHECKS[table](case, seen) == []


@pytest.mark.parametrize("table", TABLES)
async def test_nothing_is_left_after_any_batch(tables: Tables, table: str) -> None:
    assert (await tables.of(table)).left == []


# -- beside the browser's own ------------------------------------------------------------------------------

_OWN_HEADERS = re.compile(r"date|server|access-control-.*|set-cookie")
_RESPONSE_FIELDS = ("status", "statusText", "url", "redirected", "nullBody", "setCookie")
_SOCKET_FIELDS = ("throws", "opened", "messages", "close", "error", "protocol", "extensions")
_SOCKET_ERRORS = ("closeThrows", "sendThrows", "lateThrows")


def compared_cases() -> list[Any]:
    return [
        param
        for param in every_case()
        if param.values[0] != "dns" and param.values[1].get("direct", True)  # type: ignore[union-attr]
    ]


def differences(table: str, case: Case, mix: Seen, direct: Seen) -> dict[str, tuple[object, object]]:
    """What a page sees differently: what ours shows, what the browser's does. ``error`` stands alone."""
    if table == "websocket":
        keys: tuple[str, ...] = (*_SOCKET_FIELDS, *_SOCKET_ERRORS)
        mine, theirs = mix, direct
    else:
        mine, theirs = observable(mix, case), observable(direct, case)
        keys = ("error",) if "error" in mine or "error" in theirs else tuple(mine | theirs)
    return {key: (mine.get(key), theirs.get(key)) for key in keys if mine.get(key) != theirs.get(key)}


def observable(seen: Seen, case: Case) -> dict[str, Any]:
    if seen.get("error") is not None:
        return {"error": seen["error"]["name"]}
    found = {key: seen.get(key) for key in _RESPONSE_FIELDS}
    found["headers"] = sorted(pair for pair in seen["headers"] if not _OWN_HEADERS.fullmatch(pair[0]))
    if seen["url"].split("?")[0].endswith("/echo") and "raw" not in seen["url"]:
        # What the server saw tells the two apart on purpose; the length of the telling does as well.
        found["headers"] = [pair for pair in found["headers"] if pair[0] != "content-length"]
    else:
        found |= {"size": seen.get("size"), "sha256": seen.get("sha256")}
    return found


@pytest.mark.parametrize(("table", "case"), compared_cases())
async def test_beside_the_browsers_own(tables: Tables, table: str, case: Case) -> None:
    """A page sees the same, except where docs/differences.md says otherwise."""
    results = await tables.of(table)
    mix, direct = results.mix[case["name"]][0], results.direct[case["name"]][0]
    found = differences(table, case, mix, direct)
    assert set(found) == set(case.get("differs", ())), found


async def test_every_difference_has_its_reason() -> None:
    text = DIFFERENCES.read_text()
    reasons = {
        reason for cases in TABLES.values() for case in cases for reason in case.get("differs", {}).values()
    }
    assert reasons == set(re.findall(r"^- \*\*`([a-z0-9.-]+)`\*\*", text, re.MULTILINE))
