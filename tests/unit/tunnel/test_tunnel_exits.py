"""Which exit a tunnel tries: only one that packets can reach."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from typing import Any

import pytest

from smolmix_web.directory.described import parse_described
from smolmix_web.directory.epochs import parse_rewarded_set
from smolmix_web.directory.errors import NoExitError
from smolmix_web.directory.skimmed import SkimmedNode, parse_skimmed
from smolmix_web.directory.topology import build_topology
from smolmix_web.options import TunnelOptions
from smolmix_web.tunnel.exits import ExitFinder

SAMPLES = Path(__file__).parents[2] / "vectors" / "nym" / "directory"


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


class View:
    """A network of which the directory lists more exits than are gateways."""

    def __init__(self, gateways: list[SkimmedNode]) -> None:
        mixnodes = parse_skimmed(sample("mixnodes"))
        self.topology = build_topology(
            mixnodes.metadata,
            mixnodes.metadata,
            mixnodes.nodes,
            gateways,
            parse_rewarded_set(sample("rewarded")),
        )
        listed = parse_skimmed(sample("gateways")).nodes
        described = parse_described(sample("described")).nodes[0]
        stranger = dataclasses.replace(listed[1], node_id=99, identity=bytes(31) + b"\x01")
        self.nodes = (*listed, stranger)
        self.described = (described, dataclasses.replace(described, identity=stranger.identity))

    async def fetch_exits(self) -> tuple[Any, Any]:
        return self.nodes, self.described


class Platform:
    random_bytes = staticmethod(random.Random(3).randbytes)


async def finder(view: View) -> ExitFinder:
    made = ExitFinder(TunnelOptions(), Platform(), view)  # type: ignore[arg-type]
    await made.load()
    return made


async def test_an_exit_that_is_no_gateway_of_the_topology_is_never_tried() -> None:
    gateways = list(parse_skimmed(sample("gateways")).nodes)
    found = await finder(View(gateways))
    assert {found.choose(()).address.gateway for _ in range(30)} == {gateways[1].identity}
    assert not found.has_other({gateways[1].identity})


async def test_an_exit_that_performs_too_badly_for_the_topology_is_never_tried() -> None:
    entry, exit_node = parse_skimmed(sample("gateways")).nodes
    found = await finder(View([entry, dataclasses.replace(exit_node, performance="0.49")]))
    with pytest.raises(NoExitError):
        found.choose(())
