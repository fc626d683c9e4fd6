"""A native platform with troubles on demand: the clock jumps, WebSockets die, the directory misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from smolmix_web.platform.base import HttpAnswer, Storage, WebSocketLink
from smolmix_web.platform.native import NativePlatform

Get = Callable[[str], Awaitable[HttpAnswer]]


class FaultyLink:
    """A WebSocket that can be muted: a network that vanished without a word."""

    def __init__(self, inner: WebSocketLink) -> None:
        self.inner = inner
        self.muted = asyncio.Event()

    async def receive(self) -> str | bytes | None:
        message = await self.inner.receive()
        if self.muted.is_set():
            await asyncio.Event().wait()
        return message

    def send(self, message: str | bytes) -> None:
        if not self.muted.is_set():
            self.inner.send(message)

    def buffered(self) -> int:
        return self.inner.buffered()

    async def close(self) -> None:
        await self.inner.close()


class HangingStorage:
    async def load(self, _name: str) -> bytes | None:
        await asyncio.Event().wait()
        return None

    async def save(self, _name: str, _value: bytes) -> None:
        await asyncio.Event().wait()

    async def delete(self, _name: str) -> None:
        await asyncio.Event().wait()


class FaultyPlatform(NativePlatform):
    """
    :ivar on_get: stands in for every GET; it is given the path below ``/api/`` and the true GET.
    :ivar redirect: where WebSockets go instead.
    :ivar born_mute: new WebSockets open and carry nothing.
    :ivar storage_hangs: storage never answers.
    """

    def __init__(self, storage_folder: Path | None = None) -> None:
        super().__init__(storage_folder)
        self.links: list[FaultyLink] = []
        self.on_get: Callable[[str, Callable[[], Awaitable[HttpAnswer]]], Awaitable[HttpAnswer]] | None = None
        self.gets: list[str] = []
        self.redirect: str | None = None
        self.born_mute = False
        self.storage_hangs = False
        self._jumped = 0.0

    def jump(self, seconds: float) -> None:
        """The machine slept. (The wall clock stays that of the servers, which did not.)"""
        self._jumped += seconds

    def mute(self) -> None:
        """What is open now carries nothing any more; new connections work."""
        for link in self.links:
            link.muted.set()

    def monotonic(self) -> float:
        return super().monotonic() + self._jumped

    async def open_websocket(self, url: str, timeout: float) -> FaultyLink:  # type: ignore[override]
        link = FaultyLink(await super().open_websocket(self.redirect or url, timeout))
        if self.born_mute:
            link.muted.set()
        self.links.append(link)
        return link

    def storage(self, client_id: str) -> Storage:
        return HangingStorage() if self.storage_hangs else super().storage(client_id)

    async def http_get(self, url: str, headers: dict[str, str], timeout: float) -> HttpAnswer:
        path = url.partition("/api/")[2]
        self.gets.append(path)

        async def get() -> HttpAnswer:
            return await NativePlatform.http_get(self, url, headers, timeout)

        return await (self.on_get(path, get) if self.on_get is not None else get())
