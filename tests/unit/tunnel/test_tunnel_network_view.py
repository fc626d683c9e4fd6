"""The directory may fail, be slow, lie or go back in time: the last good topology stays, but not for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from smolmix_web.directory.errors import DirectoryError, DirectoryUnavailable
from smolmix_web.errors import DeadlineError, NetworkError
from smolmix_web.nym import base58
from smolmix_web.nym.topology import Topology
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.base import HttpAnswer
from smolmix_web.tunnel.network_view import NetworkView
from smolmix_web.tunnel.timing import TunnelTiming

SAMPLES = Path(__file__).parents[2] / "vectors" / "nym" / "directory"
FILES = {
    "v1/nym-nodes/rewarded-set": "rewarded",
    "v1/epoch/key-rotation-info": "keyrotation",
    "v2/unstable/nym-nodes/skimmed/mixnodes/active": "mixnodes",
    "v2/unstable/nym-nodes/skimmed/entry-gateways": "gateways",
}
ENTRY = base58.decode("Bincuik5v411CXzJaptVZu2xsMwQrcfc4D5epovrRa3R", 32)
QUICK = TunnelTiming(
    directory_request=0.2, topology_refresh=0.04, topology_retry=0.005, missing_gateway_failures=3
)


class Directory:
    """Stands in for a platform: answers with the samples, changed by ``trouble``."""

    name = "scripted"

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {
            name: json.loads((SAMPLES / f"{name}.json").read_text()) for name in FILES.values()
        }
        self.trouble: Callable[[str], BaseException | bytes | None] = lambda _name: None
        self.requests = 0

    def set_epoch(self, epoch: int) -> None:
        self.documents["rewarded"]["epoch_id"] = epoch
        for name in ("mixnodes", "gateways"):
            self.documents[name]["metadata"]["absolute_epoch_id"] = epoch

    async def http_get(self, url: str, _headers: dict[str, str], _timeout: float) -> HttpAnswer:
        self.requests += 1
        await asyncio.sleep(0)
        name = FILES[url.partition("/api/")[2].partition("?")[0]]
        trouble = self.trouble(name)
        if isinstance(trouble, BaseException):
            raise trouble
        body = trouble if trouble is not None else json.dumps(self.documents[name]).encode()
        return HttpAnswer(200, "application/json", body)


class Watched:
    """A view of a scripted directory, and what it told."""

    def __init__(self, directory: Directory, timing: TunnelTiming = QUICK) -> None:
        self.told: list[int | str] = []
        self.missing = 0
        self.view = NetworkView(
            TunnelOptions(network="http://directory.test/api"),
            directory,  # type: ignore[arg-type]
            timing,
            self._topology,
            self._gateway_missing,
        )
        self.view.own_gateway = ENTRY

    def _topology(self, topology: Topology | None, reason: str) -> None:
        self.told.append(reason if topology is None else topology.epoch_id)

    def _gateway_missing(self) -> None:
        self.missing += 1

    async def load(self) -> None:
        await self.view.load(lambda _answers: None)


@contextlib.asynccontextmanager
async def refreshing(watched: Watched) -> AsyncIterator[NetworkView]:
    await watched.load()
    task = asyncio.create_task(watched.view.keep_fresh())
    try:
        yield watched.view
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_load_counts_answers_and_runs_what_goes_along() -> None:
    directory, also = Directory(), []
    watched, counted = Watched(directory), []

    async def more() -> None:
        also.append(await watched.view.fetch_gateways())

    await watched.view.load(counted.append, more)
    assert counted == [1, 2, 3, 4, 5]
    assert directory.requests == 5  # nothing is asked for twice
    assert watched.view.topology is not None
    assert watched.view.key_rotation is not None
    assert len(also[0]) == 2


@pytest.mark.parametrize(
    ("trouble", "expected"),
    [
        (NetworkError("refused"), DirectoryUnavailable),
        (DeadlineError("GET", 0.2), DeadlineError),
        (b"<html>", DirectoryError),
        (b"{}", DirectoryError),
    ],
)
async def test_load_fails_with_the_stage(trouble: BaseException | bytes, expected: type[Exception]) -> None:
    directory = Directory()
    directory.trouble = lambda name: trouble if name == "mixnodes" else None
    with pytest.raises(expected, match="list of mix nodes"):
        await Watched(directory).load()


async def test_new_epochs_are_told() -> None:
    directory = Directory()
    watched = Watched(directory)
    async with refreshing(watched) as view:
        await eventually(lambda: view.refreshes == 1)
        directory.set_epoch(101)
        await eventually(lambda: 101 in watched.told)
    assert view.failures == 0


async def test_a_failing_directory_costs_the_topology_only_after_ten_failures_in_a_row() -> None:
    directory = Directory()
    watched = Watched(directory)
    async with refreshing(watched) as view:
        directory.trouble = lambda _name: NetworkError("refused")
        await eventually(lambda: view.failures == 10)
        assert view.topology is not None
        assert not [reason for reason in watched.told if isinstance(reason, str)]
        await eventually(lambda: view.failures == 14)
        assert view.topology is None
        assert len([reason for reason in watched.told if isinstance(reason, str)]) == 1
        directory.trouble = lambda _name: None
        await eventually(lambda: view.topology is not None)
        assert (view.failures, watched.told[-1]) == (0, 100)


async def test_retries_are_bounded() -> None:
    """A failing directory is asked at a pace that falls to that of the usual refreshes."""
    directory = Directory()
    watched = Watched(directory, TunnelTiming(topology_refresh=0.08, topology_retry=0.005))
    async with refreshing(watched) as view:
        directory.trouble = lambda _name: NetworkError("refused")
        view.refresh_soon()
        await eventually(lambda: view.failures > 0)
        before = view.failures
        await asyncio.sleep(0.6)
        # 5, 10, 20, 40, then 80 ms each: about ten tries in 600 ms, not a hundred.
        assert 4 <= view.failures - before <= 12


async def test_a_directory_that_goes_back_in_time_is_not_believed() -> None:
    directory = Directory()
    directory.set_epoch(105)
    watched = Watched(directory)
    async with refreshing(watched) as view:
        directory.set_epoch(104)
        await eventually(lambda: view.failures >= 2)
        assert view.topology is not None
        assert view.topology.epoch_id == 105
        assert 104 not in watched.told
        directory.set_epoch(105)
        await eventually(lambda: view.failures == 0)


@pytest.mark.parametrize("lie", [b"[]", b'{"metadata":{}}', b'{"nodes":1}', b"\xff\xfe", b""])
async def test_nonsense_leaves_the_topology_alone(lie: bytes) -> None:
    directory = Directory()
    watched = Watched(directory)
    async with refreshing(watched) as view:
        known = view.topology
        directory.trouble = lambda name: lie if name == "mixnodes" else None
        view.refresh_soon()
        await eventually(lambda: view.failures >= 2)
        assert view.topology == known


async def test_a_gateway_that_left_the_directory_is_reported_after_three_refreshes() -> None:
    directory = Directory()
    watched = Watched(directory)
    async with refreshing(watched) as view:
        nodes = directory.documents["gateways"]["nodes"]["data"]
        listed = list(nodes)
        nodes[:] = [n for n in nodes if base58.decode(n["ed25519_identity_pubkey"], 32) != ENTRY]
        directory.documents["gateways"]["nodes"]["pagination"]["total"] = len(nodes)
        await eventually(lambda: view.failures == 2)
        assert watched.missing == 0
        await eventually(lambda: watched.missing == 1)
        assert view.topology is not None
        assert view.topology.node_by_identity(ENTRY) is not None
        nodes[:] = listed
        directory.documents["gateways"]["nodes"]["pagination"]["total"] = len(nodes)
        await eventually(lambda: view.failures == 0)


async def test_refresh_soon_does_not_wait() -> None:
    watched = Watched(Directory(), TunnelTiming(topology_refresh=3600))
    async with refreshing(watched) as view:
        await asyncio.sleep(0.01)
        view.refresh_soon()
        await eventually(lambda: view.refreshes == 1)
