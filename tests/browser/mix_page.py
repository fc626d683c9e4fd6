"""A page with smolmix.js, driven from a test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from playwright.async_api import Page

# Runs in the page: what a test needs to know of a response, without carrying megabytes to Python.
_FETCH = """
async ([input, init, bodySize]) => {
  const { mixFetch } = window.mix;
  const digest = async (data) => {
    const bytes = [...new Uint8Array(await crypto.subtle.digest('SHA-256', data))];
    return bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  };
  if (bodySize !== null) {
    init.body = new Uint8Array(bodySize).map((_, index) => (index * 31 + (index >> 8) * 7) & 255);
  }
  try {
    const response = await mixFetch(input, init);
    const body = await response.arrayBuffer();
    return {
      status: response.status, statusText: response.statusText, url: response.url,
      redirected: response.redirected, headers: [...response.headers], size: body.byteLength,
      sha256: await digest(body), text: body.byteLength < 100000 ? new TextDecoder().decode(body) : null,
    };
  } catch (error) {
    return { error: error.name, message: error.message, code: error.cause?.code ?? error.code ?? null,
             retriable: error.cause?.retriable ?? null };
  }
}
"""

_CALL = """
async ([name, args]) => {
  try {
    return { value: await window.mix[name](...args) ?? null };
  } catch (error) {
    const { name: kind, message, code = null, field = null } = error;
    return { error: kind, message, code, field };
  }
}
"""

# The module is kept on the window, and its events are collected from the start.
_LOAD = """
async () => {
  window.mix = await import('/worker/smolmix.js');
  window.seen = [];
  for (const name of ['statechange', 'progress', 'stats', 'log']) {
    window.mix.tunnelEvents.addEventListener(name, (event) => window.seen.push([name, event.detail]));
  }
}
"""


@dataclass
class MixPage:
    """``options`` are those of a set-up in the network at hand."""

    page: Page
    options: dict[str, Any]

    async def load(self) -> None:
        await self.page.evaluate(_LOAD)

    async def call(self, name: str, *arguments: Any) -> dict[str, Any]:
        """``{value}`` or ``{error, message, code, field}`` of one exported function."""
        answer: dict[str, Any] = await self.page.evaluate(_CALL, [name, list(arguments)])
        return answer

    async def setup(self, **more: Any) -> dict[str, Any]:
        return await self.call("setupMixTunnel", {**self.options, **more})

    async def fetch(self, url: str, *, body_size: int | None = None, **init: Any) -> dict[str, Any]:
        """A response in short, or ``{error, message, code, retriable}``.

        ``body_size`` sends :func:`pattern`.
        """
        answer: dict[str, Any] = await self.page.evaluate(_FETCH, [url, init, body_size])
        return answer

    async def run(self, script: str, argument: Any = None) -> Any:
        """Runs an async function of one argument; the module's exports are in ``window.mix``."""
        return await self.page.evaluate(script, argument)

    async def events(self, name: str) -> list[Any]:
        """Details of the events of one name so far, in order."""
        seen: list[Any] = await self.page.evaluate(
            "(name) => window.seen.filter(([kind]) => kind === name).map(([, detail]) => detail)", name
        )
        return seen

    async def held(self) -> dict[str, int]:
        """What the worker holds for the page, the asking itself left out."""
        counters: dict[str, int] = (await self.call("getTunnelStats"))["value"]["bridge"]
        return {**counters, "requests": counters["requests"] - 1}


def pattern(size: int) -> bytes:
    """The bytes that ``body_size`` sends."""
    return bytes((index * 31 + (index >> 8) * 7) & 255 for index in range(size))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
