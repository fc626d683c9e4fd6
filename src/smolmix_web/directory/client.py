"""Asking a directory (spec directory.md 1, 2, 4). The HTTP GET itself is injected.

Every function takes ``get(path)``: an awaitable answer for a path relative to the base URL, without leading
slash. Answers are always asked for in JSON, which every server gives; bincode is understood where a server
sends it. A failure names its stage: nothing here retries except the one repeat of section 4, because the
caller knows what else to do in the meantime.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from smolmix_web import json_fields
from smolmix_web.directory import bincode
from smolmix_web.directory.described import DescribedList, DescribedNode, parse_described
from smolmix_web.directory.epochs import (
    KeyRotationInfo,
    RewardedSet,
    parse_key_rotation,
    parse_rewarded_set,
)
from smolmix_web.directory.errors import DirectoryError, DirectoryUnavailable
from smolmix_web.directory.skimmed import Metadata, SkimmedList, SkimmedNode, parse_skimmed
from smolmix_web.directory.topology import InconsistentAnswers, build_topology
from smolmix_web.errors import DeadlineError, MalformedError, NetworkError
from smolmix_web.nym.topology import Topology

REFRESH_INTERVAL = 300.0
"""Seconds between two refreshes of the topology."""

MAX_ANSWER = 32 * 1024**2
"""Bytes of one answer; the whole mainnet takes about one megabyte."""

_MAX_PAGES = 1000

PATH_GATEWAYS = "v2/unstable/nym-nodes/skimmed/entry-gateways"
PATH_MIXNODES = "v2/unstable/nym-nodes/skimmed/mixnodes/active"
PATH_ALL_NODES = "v2/unstable/nym-nodes/skimmed"
PATH_REWARDED_SET = "v1/nym-nodes/rewarded-set"
PATH_KEY_ROTATION = "v1/epoch/key-rotation-info"
PATH_DESCRIBED = "v2/nym-nodes/described"


class Answer(Protocol):
    """An HTTP answer; :class:`smolmix_web.platform.HttpAnswer` is one."""

    @property
    def status(self) -> int: ...
    @property
    def content_type(self) -> str: ...
    @property
    def body(self) -> bytes: ...


Get = Callable[[str], Awaitable[Answer]]
_T = TypeVar("_T")


async def fetch_topology(get: Get) -> Topology:
    """Rewarded set, mix nodes and gateways, asked for concurrently, as one topology.

    :raises DirectoryUnavailable, DirectoryError, DeadlineError: see :mod:`.errors`.
    :raises InsufficientTopology: the network cannot carry packets.
    """
    topology, _ = await fetch_network(get)
    return topology


async def fetch_network(get: Get) -> tuple[Topology, tuple[SkimmedNode, ...]]:
    """The same, and the list of gateways that it was made of (as of :func:`fetch_gateways`)."""
    try:
        return await _fetch_network_once(get)
    except InconsistentAnswers:  # an epoch changed between the answers: once more, at once
        return await _fetch_network_once(get)


async def fetch_gateways(get: Get) -> tuple[SkimmedNode, ...]:
    """All nodes that clients may connect to (exits among them)."""
    _, nodes = await _fetch_skimmed(get, PATH_GATEWAYS, "list of gateways")
    return nodes


async def fetch_key_rotation(get: Get) -> KeyRotationInfo:
    """Where the network stands in its key rotations."""
    stage = "key rotation"
    return _parse(await _get_json(get, PATH_KEY_ROTATION, stage), parse_key_rotation, stage)


async def fetch_rewarded_set(get: Get) -> RewardedSet:
    """The layer assignment."""
    stage = "rewarded set"
    return _parse(await _get_json(get, PATH_REWARDED_SET, stage), parse_rewarded_set, stage)


async def fetch_described(get: Get) -> tuple[DescribedNode, ...]:
    """What all nodes say about themselves."""
    stage = "described nodes"
    nodes: list[DescribedNode] = []
    unreadable = 0
    for page in range(_MAX_PAGES):
        answer = _parse(await _get_json(get, f"{PATH_DESCRIBED}?page={page}", stage), parse_described, stage)
        nodes += answer.nodes
        unreadable += answer.unreadable
        if _is_last(answer, len(nodes) + unreadable, stage):
            return tuple(nodes)
    raise DirectoryError(stage, "too many pages")


async def fetch_exits(get: Get) -> tuple[tuple[SkimmedNode, ...], tuple[DescribedNode, ...]]:
    """Both lists that the choice of an exit needs: all skimmed nodes, and all descriptions."""
    described, (_, nodes) = await together(
        fetch_described(get), _fetch_skimmed(get, PATH_ALL_NODES, "list of nodes")
    )
    return nodes, described


async def _fetch_network_once(get: Get) -> tuple[Topology, tuple[SkimmedNode, ...]]:
    rewarded, (mix_metadata, mixnodes), (gateway_metadata, gateways) = await together(
        fetch_rewarded_set(get),
        _fetch_skimmed(get, PATH_MIXNODES, "list of mix nodes"),
        _fetch_skimmed(get, PATH_GATEWAYS, "list of gateways"),
    )
    return build_topology(mix_metadata, gateway_metadata, mixnodes, gateways, rewarded), gateways


async def _fetch_skimmed(get: Get, path: str, stage: str) -> tuple[Metadata, tuple[SkimmedNode, ...]]:
    nodes: list[SkimmedNode] = []
    metadata: Metadata | None = None
    unreadable = 0
    for page in range(_MAX_PAGES):
        answer = await _get_skimmed(get, f"{path}?page={page}", stage)
        if metadata is not None and answer.metadata != metadata:
            raise InconsistentAnswers(stage, "pages of different epochs")
        metadata = answer.metadata
        nodes += answer.nodes
        unreadable += answer.unreadable
        if _is_last(answer, len(nodes) + unreadable, stage):
            return metadata, tuple(nodes)
    raise DirectoryError(stage, "too many pages")


def _is_last(answer: SkimmedList | DescribedList, collected: int, stage: str) -> bool:
    """:param collected: nodes on all pages so far, unreadable ones included."""
    total = answer.pagination.total
    if collected >= total:
        return True
    if not answer.nodes and not answer.unreadable:  # the published client would ask for ever
        raise DirectoryError(stage, f"{total} nodes announced, {collected} given")
    return False


async def _get_skimmed(get: Get, path: str, stage: str) -> SkimmedList:
    answer = await _get(get, path, stage)
    if answer.content_type.partition(";")[0].strip().lower() == "application/bincode":
        return _parse(answer.body, bincode.decode_skimmed, stage)
    return _parse(_parse(answer.body, json_fields.parse_object, stage), parse_skimmed, stage)


async def _get_json(get: Get, path: str, stage: str) -> json_fields.JsonObject:
    return _parse((await _get(get, path, stage)).body, json_fields.parse_object, stage)


async def _get(get: Get, path: str, stage: str) -> Answer:
    try:
        answer = await get(path)
    except DeadlineError as error:
        raise DeadlineError(f"directory, {stage}", error.seconds) from error
    except NetworkError as error:
        raise DirectoryUnavailable(stage, str(error)) from error
    if not 200 <= answer.status < 300:
        raise DirectoryUnavailable(stage, f"HTTP status {answer.status}")
    if len(answer.body) > MAX_ANSWER:
        raise DirectoryError(stage, f"an answer of {len(answer.body)} bytes")
    return answer


def _parse(data: Any, parse: Callable[[Any], _T], stage: str) -> _T:
    try:
        return parse(data)
    except MalformedError as error:
        raise DirectoryError(stage, str(error)) from error


async def together(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """Results in order; at the first failure the others are cancelled and awaited, then it is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
