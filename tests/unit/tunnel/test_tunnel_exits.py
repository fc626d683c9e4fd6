"""Which exits a tunnel tries, and for how long: only those that packets can reach."""

from __future__ import annotations

import dataclasses
import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from smolmix_web.directory.described import parse_described
from smolmix_web.directory.epochs import parse_rewarded_set
from smolmix_web.directory.errors import NoExitError
from smolmix_web.directory.skimmed import SkimmedNode, parse_skimmed
from smolmix_web.directory.topology import build_topology
from smolmix_web.errors import DeadlineError
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import current_platform
from smolmix_web.tunnel import Tunnel
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


class Silent:
    """A finder of exits that none of answers."""

    def __init__(self, exits: int) -> None:
        self.exits = [SimpleNamespace(address=SimpleNamespace(gateway=bytes([n]) * 32)) for n in range(exits)]

    def choose(self, excluded: set[bytes]) -> Any:
        return next(one for one in self.exits if one.address.gateway not in excluded)

    def has_other(self, excluded: set[bytes]) -> bool:
        return any(one.address.gateway not in excluded for one in self.exits)


@pytest.mark.parametrize(
    ("exits", "patience"),
    [
        (1, [60.0]),
        (3, [20.0, 20.0, 60.0]),
        (9, [20.0, 20.0, 20.0, 20.0, 60.0]),
    ],
)
async def test_only_the_last_exit_of_a_round_has_all_the_time(exits: int, patience: list[float]) -> None:
    tunnel = Tunnel(TunnelOptions(), current_platform(), None)
    waited: list[float] = []

    async def no_answer(_driver: object, _choice: object, timeout: float) -> Any:
        waited.append(timeout)
        raise DeadlineError("exit", timeout)

    tunnel.mix_client = SimpleNamespace(driver=SimpleNamespace(failure=None))  # type: ignore[assignment]
    tunnel._finder = Silent(exits)  # type: ignore[assignment]
    tunnel._try_exit = no_answer  # type: ignore[method-assign]
    with pytest.raises(DeadlineError):
        await tunnel._connect_exit(set(), 60.0)
    assert waited == patience
