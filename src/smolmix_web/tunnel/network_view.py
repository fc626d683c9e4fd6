"""What the directory says about the network, kept fresh (spec/directory.md 4).

``load`` once; then ``keep_fresh`` as a task. A refresh that fails leaves the old topology in place and is
repeated after a pause that doubles; only after ten failures in a row the topology is given up, and with it
all sending, because old keys and routes lead nowhere. A refresh also fails when the directory goes back in
time (an epoch before the one we know: a stale cache, or a replay), or when it no longer lists the gateway
that we stand on; if that goes on, another gateway is needed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from smolmix_web.directory import client as directory
from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.epochs import KeyRotationInfo
from smolmix_web.directory.errors import DirectoryError
from smolmix_web.directory.skimmed import SkimmedNode
from smolmix_web.errors import SmolmixError
from smolmix_web.nym.topology import Topology
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import Platform
from smolmix_web.platform.base import HttpAnswer
from smolmix_web.tunnel.timing import TunnelTiming

logger = logging.getLogger("smolmix_web.tunnel")

ANSWERS_AT_START = 4
"""Requests of :meth:`NetworkView.load`, for its progress."""


class StaleTopology(DirectoryError):
    """The directory shows an earlier epoch than before."""

    code = "DIRECTORY_STALE"


class GatewayMissing(DirectoryError):
    """The directory does not list the gateway that we stand on."""

    code = "GATEWAY_MISSING"


class NetworkView:
    """The latest answers of one directory.

    :param on_topology: called with each fresh topology, or with None when it is given up, and the reason.
    :param on_gateway_missing: called when the directory has not listed :attr:`own_gateway` for some time.
    """

    def __init__(
        self,
        options: TunnelOptions,
        platform: Platform,
        timing: TunnelTiming,
        on_topology: Callable[[Topology | None, str], None],
        on_gateway_missing: Callable[[], None],
    ) -> None:
        self.own_gateway: bytes | None = None
        """Identity of the gateway in use; set by the owner."""
        self.topology: Topology | None = None
        self.gateways: tuple[SkimmedNode, ...] = ()
        self.key_rotation: KeyRotationInfo | None = None
        self.failures = 0
        """Refreshes in a row that failed."""
        self.refreshes = 0
        self._options = options
        self._platform = platform
        self._timing = timing
        self._on_topology = on_topology
        self._on_gateway_missing = on_gateway_missing
        self._missing = 0
        self._refresh_now = asyncio.Event()
        self._on_answer: Callable[[], None] = lambda: None

    async def load(self, on_answer: Callable[[int], None], *also: Callable[[], Awaitable[None]]) -> None:
        """All that set-up needs, asked for at once, and ``also`` beside it.

        :param on_answer: called with the number of answers so far.
        :raises DirectoryError, DirectoryUnavailable, DeadlineError: the first thing that went wrong.
        """
        answers = 0

        def count() -> None:
            nonlocal answers
            answers += 1
            on_answer(answers)

        self._on_answer = count
        try:
            (self.topology, self.gateways), self.key_rotation, *_ = await directory.together(
                directory.fetch_network(self.get),
                directory.fetch_key_rotation(self.get),
                *map(_run, also),
            )
        finally:
            self._on_answer = lambda: None

    async def fetch_gateways(self) -> tuple[SkimmedNode, ...]:
        """The gateways of this moment, or else those known."""
        try:
            self.gateways = await directory.fetch_gateways(self.get)
        except (SmolmixError, TimeoutError) as error:
            logger.debug("no fresh list of gateways: %s", error)
        return self.gateways

    async def fetch_exits(self) -> tuple[tuple[SkimmedNode, ...], tuple[DescribedNode, ...]]:
        """Both lists that the choice of an exit needs. Errors as in :meth:`load`."""
        return await directory.fetch_exits(self.get)

    async def fetch_described(self) -> tuple[DescribedNode, ...]:
        """What all nodes say about themselves. Errors as in :meth:`load`."""
        return await directory.fetch_described(self.get)

    def refresh_soon(self) -> None:
        """Do not wait for the next refresh's turn: the machine slept, or a node has left."""
        self._refresh_now.set()

    async def keep_fresh(self) -> None:
        """Refresh for ever."""
        timing = self._timing
        delay = timing.topology_refresh
        while True:
            await self._pause(delay)
            try:
                topology = await directory.fetch_topology(self.get)
                self._check(topology)
            except (SmolmixError, TimeoutError) as error:
                self.failures += 1
                self._missing = self._missing + 1 if isinstance(error, GatewayMissing) else 0
                delay = min(timing.topology_retry * 2 ** min(self.failures - 1, 20), timing.topology_refresh)
                logger.debug("topology refresh %d failed: %s", self.failures, error)
                if self.failures > timing.topology_failures and self.topology is not None:
                    self.topology = None
                    self._on_topology(None, str(error))
                if self._missing == timing.missing_gateway_failures:
                    self._missing = 0
                    self._on_gateway_missing()
                continue
            delay, self.failures, self._missing = timing.topology_refresh, 0, 0
            self.refreshes += 1
            self.topology = topology
            self._on_topology(topology, "the directory answers")

    async def get(self, path: str) -> HttpAnswer:
        """GET a path below the directory's base URL."""
        url = self._options.network.rstrip("/") + "/" + path
        timeout = self._timing.directory_request
        answer = await self._platform.http_get(url, {"Accept": "application/json"}, timeout)
        self._on_answer()
        return answer

    def _check(self, topology: Topology) -> None:
        known = self.topology
        if known is not None and topology.epoch_id < known.epoch_id:
            raise StaleTopology("topology", f"epoch {topology.epoch_id} after epoch {known.epoch_id}")
        if self.own_gateway is not None and topology.node_by_identity(self.own_gateway) is None:
            raise GatewayMissing("topology", "our gateway is not in it")

    async def _pause(self, seconds: float) -> None:
        alarm = asyncio.get_running_loop().call_later(seconds, self._refresh_now.set)
        try:
            await self._refresh_now.wait()
        finally:
            alarm.cancel()
            self._refresh_now.clear()


async def _run(step: Callable[[], Awaitable[None]]) -> None:
    await step()
