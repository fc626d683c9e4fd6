"""One round: a client goes through all tasks in a fresh browser profile, and every figure is noted.

A task that fails, or is not done within its limit, leaves its reason instead of a figure; the page is then
opened anew, so that the next task starts from a healthy tunnel.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from bench.compare.clients import Client, Weight, weigh
from bench.compare.meters import cpu_seconds, packets, peak_memory, renderers
from playwright.async_api import Browser, BrowserContext, Page

from smolmix_web.localnet.world import LocalWorld

MB = 1_000_000
SMALL = 1_000
GETS = 8
NAMES = 5
ECHOES = 8
PARALLEL = 20
STREAM_MESSAGES = 64
STREAM = 64 * 16_000
IDLE_MS = 3_000
TRANSFERS = ("down 1 MB", "down 10 MB", "up 1 MB")

Figure = float | str
"""Seconds, bytes or a count; a text is the reason why there is none."""


@dataclass(slots=True)
class Plan:
    """What a round does. ``limit``: seconds that any one task may take."""

    options: dict[str, Any]
    limit: float
    tasks: frozenset[str] | None = None
    """None: all."""

    def wants(self, name: str) -> bool:
        return self.tasks is None or name in self.tasks


class TaskFailed(Exception):
    """The page's reason."""


@dataclass(slots=True)
class Round:
    """Calling order: :meth:`run`, then look at :attr:`figures` and :attr:`weight`.

    :ivar marker: part of the command line of the browser's processes, which no other browser has.
    :ivar number: of the round; names are looked up once each.
    """

    client: Client
    world: LocalWorld
    browser: Browser
    marker: str
    site: str
    plan: Plan
    number: int
    figures: dict[str, Figure] = field(default_factory=dict)
    weight: Weight | None = None
    _page: Page | None = None
    _others: set[int] = field(default_factory=set)
    _peak: int = 0

    async def run(self) -> dict[str, Figure]:
        self._others = renderers(self.marker)
        context = await self.browser.new_context()
        context.set_default_timeout((self.plan.limit + 60) * 1000)
        try:
            await self._run(context)
        finally:
            await context.close()
        return self.figures

    async def _run(self, context: BrowserContext) -> None:
        loaded: list[str] = []
        context.on("request", lambda request: loaded.append(request.url))
        if not await self._open(context, "ready, cold"):
            return
        self.weight = await _weigh(loaded, self.client.url({}))
        await self._close()
        if not await self._open(context, "ready, warm"):
            return
        for name, call in self._tasks():
            if not self.plan.wants(name):
                continue
            if self._page is None and not await self._open(context, None):
                self.figures[name] = "no tunnel"
                continue
            await self._measure(name, *call)
        if self._page is not None:
            self._note_peak()
            await self._close()
        self.figures["peak memory"] = float(self._peak)

    def _tasks(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        site = self.site
        yield "first https GET", ("get", f"https://{site}/bytes/{SMALL}", SMALL)
        yield "repeated GET", ("gets", f"https://{site}/bytes/{SMALL}", SMALL, GETS)
        first = 100 + self.number * NAMES
        yield "DNS look-up", ("dns", [f"ttl-{first + index}.test" for index in range(NAMES)])
        yield "WebSocket echo", ("echo", f"wss://{site}/ws/echo", ECHOES)
        yield f"{PARALLEL} parallel GETs", ("parallel", f"https://{site}/bytes/10000", 10_000, PARALLEL)
        yield "idle", ("idle", IDLE_MS)
        yield "down 1 MB", ("get", f"https://{site}/bytes/{MB}", MB)
        yield "up 1 MB", ("upload", f"https://{site}/echo", MB)
        yield "WebSocket 1 MB", ("stream", f"wss://{site}/ws/echo", STREAM, STREAM_MESSAGES)
        yield "down 10 MB", ("get", f"https://{site}/bytes/{10 * MB}", 10 * MB)

    async def _open(self, context: BrowserContext, name: str | None) -> bool:
        page = await context.new_page()
        await page.goto(self.client.url(self.plan.options))
        answer = await page.evaluate("() => window.compare.ready")
        if "error" in answer:
            if name is not None:
                self.figures[name] = answer["error"]
            await page.close()
            return False
        if name is not None:
            self.figures[name] = answer["value"] / 1000
        self._page = page
        return True

    async def _close(self) -> None:
        if self._page is not None:
            await self._page.evaluate(_RUN, ["disconnect", [], 10_000])
            await self._page.close()
            self._page = None

    async def _measure(self, name: str, task: str, *arguments: Any) -> None:
        processes = renderers(self.marker) - self._others
        cpu, before = cpu_seconds(processes), packets(self.world)
        try:
            value = await self._call(task, arguments)
        except TaskFailed as error:
            self.figures[name] = str(error)
            self._note_peak()
            if self._page is not None:
                await self._page.close()  # whatever state it is in
                self._page = None
            return
        seconds = value / 1000
        used, cost = cpu_seconds(processes) - cpu, packets(self.world) - before
        if name == "idle":
            self.figures["CPU, idle"] = used / (IDLE_MS / 1000)
            return
        self.figures[name] = seconds
        if name in TRANSFERS:
            size = 10 if "10" in name else 1
            self.figures[f"CPU s a MB, {name}"] = used / size
            self.figures[f"packets sent a MB, {name}"] = cost.sent / size

    async def _call(self, task: str, arguments: tuple[Any, ...]) -> float:
        """Milliseconds; the median where the task gives several.

        :raises TaskFailed: it did
        """
        assert self._page is not None
        answer = await self._page.evaluate(_RUN, [task, list(arguments), self.plan.limit * 1000])
        if "error" in answer:
            raise TaskFailed(answer["error"])
        value = answer["value"]
        return float(statistics.median(value) if isinstance(value, list) else value)

    def _note_peak(self) -> None:
        self._peak = max(self._peak, peak_memory(renderers(self.marker) - self._others))


_RUN = "([name, args, limit]) => window.compare.run(name, args, limit)"


async def _weigh(urls: list[str], page: str) -> Weight:
    """What these files weigh; those of the page's own server only, each once."""
    base = page.split("//")[1].split("/")[0]
    total = Weight(0, 0, 0)
    async with aiohttp.ClientSession() as session:
        for url in sorted({url.split("#")[0] for url in urls if url.startswith(f"http://{base}/")}):
            if "/compare/" in url or url.endswith("/"):
                continue  # the bench's own
            headers = {"Accept-Encoding": "identity"}
            async with session.get(url, headers=headers) as response:
                total += weigh(await response.read())
    return total
