"""A node's dealings with the directory: announce itself, and learn about the others (spec nodes.md 9)."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from smolmix_web import json_fields as fields
from smolmix_web.directory.announcement import PATH_ANNOUNCE, Announcement, emit_announcement
from smolmix_web.directory.client import fetch_key_rotation, fetch_topology
from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.skimmed import parse_key, parse_node
from smolmix_web.errors import NetworkError, SmolmixError
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.topology import Topology
from smolmix_web.platform import HttpAnswer
from smolmix_web.sockets.tasks import end_tasks

log = logging.getLogger(__name__)

PATH_SEMI_SKIMMED = "v2/unstable/nym-nodes/semi-skimmed"

_MAX_PAGES = 100


@dataclass(frozen=True, slots=True)
class KnownNode:
    """Another node as nodes see it.

    :ivar noise_key: x25519 public key, 32 bytes; None for plain links.
    """

    address: NodeAddress
    ip_addresses: tuple[str, ...]
    noise_key: bytes | None = field(default=None)


class DirectoryLink:
    """HTTP to one directory.

    :param base_url: as for clients, with or without trailing slash.
    """

    def __init__(self, base_url: str, *, timeout: float = 5.0) -> None:
        self._base = base_url.rstrip("/") + "/"
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=timeout))

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str) -> HttpAnswer:
        """:raises NetworkError: no answer."""
        return await self._request("GET", path)

    async def announce(self, announcement: Announcement, identity_seed: bytes) -> int:
        """The node's id. :raises NetworkError: no answer, or refused."""
        answer = await self._request("POST", PATH_ANNOUNCE, emit_announcement(announcement, identity_seed))
        if answer.status != 200:
            raise NetworkError(f"the directory refused the announcement: {answer.body[:200]!r}")
        return fields.uint(fields.parse_object(answer.body), "node_id", 32)

    async def key_rotation(self) -> KeyRotationInfo:
        return (await fetch_key_rotation(self.get)).clock

    async def topology(self) -> Topology:
        return await fetch_topology(self.get)

    async def known_nodes(self) -> list[KnownNode]:
        """All nodes of the network. :raises SmolmixError: no usable answer."""
        known: list[KnownNode] = []
        for page in range(_MAX_PAGES):
            answer = await self.get(f"{PATH_SEMI_SKIMMED}?page={page}")
            if answer.status != 200:
                raise NetworkError(f"the directory answered with status {answer.status}")
            nodes = fields.child(fields.parse_object(answer.body), "nodes")
            elements = fields.objects(nodes, "data")
            for element in elements:
                basic = parse_node(fields.child(element, "basic"))
                noise = fields.optional_child(element, "x25519_noise_versioned_key")
                if basic.ip_addresses:
                    known.append(
                        KnownNode(
                            NodeAddress(basic.ip_addresses[0], basic.mix_port),
                            basic.ip_addresses,
                            parse_key(noise, "x25519_pubkey") if noise is not None else None,
                        )
                    )
            total = fields.uint(fields.child(nodes, "pagination"), "total", 64)
            if len(known) >= total or not elements:
                break
        return known

    async def _request(self, method: str, path: str, body: bytes | None = None) -> HttpAnswer:
        try:
            async with self._session.request(method, self._base + path, data=body) as response:
                return HttpAnswer(response.status, response.content_type, await response.read())
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NetworkError(f"the directory does not answer: {type(error).__name__}") from error


Describe = Callable[[], DescribedNode]


class Announcer:
    """Keeps a node on the directory's lists, and keeps the node informed.

    :param describe: the node as it is now; asked before every announcement.
    :param refreshed: called after each round, to fetch what the node wants to know.
    :param unix_time: seconds since 1970.
    :param interval: seconds between two rounds; well below the directory's lifetime of nodes.
    """

    def __init__(
        self,
        link: DirectoryLink,
        identity_seed: bytes,
        describe: Describe,
        refreshed: Callable[[], Awaitable[None]],
        *,
        layer: int | None = None,
        performance: str = "1",
        interval: float = 5.0,
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._unix_time = unix_time
        self._link = link
        self._seed = identity_seed
        self._describe = describe
        self._refreshed = refreshed
        self._layer = layer
        self._performance = performance
        self._interval = interval
        self._last_time = 0.0
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.node_id: int | None = None

    def start(self) -> None:
        """Do rounds in the background, the first one after the interval."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def refresh_soon(self) -> None:
        """Do the next round now (at most twice a second)."""
        self._wanted.set()

    async def stop(self) -> None:
        """Take the node off the lists, if the directory still answers."""
        if self._task is not None:
            await end_tasks(self._task)
            self._task = None
        with contextlib.suppress(SmolmixError, TimeoutError):
            async with asyncio.timeout(1.0):
                await self._announce(leaving=True)

    async def abandon(self) -> None:
        """Stop without a word, as a crash would."""
        if self._task is not None:
            await end_tasks(self._task)
            self._task = None

    async def round(self) -> bool:
        """Announce the node and refresh what it knows, once. False when the directory did not answer well."""
        try:
            await self._announce(leaving=False)
            await self._refreshed()
        except SmolmixError as error:
            log.debug("directory round failed: %s", error)
            return False
        return True

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, self._interval - 0.5)):
                    await self._wanted.wait()
            self._wanted.clear()
            await self.round()

    async def _announce(self, *, leaving: bool) -> None:
        # Milliseconds that grow, even when the clock stands still or goes back a little.
        self._last_time = max(self._unix_time(), self._last_time + 0.001)
        announcement = Announcement(
            self._describe(), self._last_time, self._layer, self._performance, leaving
        )
        self.node_id = await self._link.announce(announcement, self._seed)
