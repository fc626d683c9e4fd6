"""Routes use one node per layer, all of them alike, and end where they should (spec/sphinx.md 20.1)."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from smolmix_web.errors import NetworkError
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.topology import Node, NoRouteError, Topology


def node(node_id: int) -> Node:
    return Node(node_id, bytes([node_id]) * 32, bytes([node_id + 100]) * 32, NodeAddress("10.0.0.1", node_id))


NODES = [node(i) for i in range(1, 9)]
LAYERS = ([1, 2, 99], [3, 4], [5, 6])


def topology(**changes: int) -> Topology:
    return Topology.build(NODES, LAYERS, **{"epoch_id": 100, "rotation_id": 1, **changes})


def test_route_passes_each_layer_and_ends_at_the_gateway() -> None:
    randbytes = random.Random(7).randbytes
    seen: list[Counter[int]] = [Counter() for _ in range(4)]
    for _ in range(600):
        route = topology().random_route(NODES[7].identity, randbytes)
        for counter, hop in zip(seen, route, strict=True):
            counter[hop.node_id] += 1
    assert [set(counter) for counter in seen] == [{1, 2}, {3, 4}, {5, 6}, {8}]
    # Uniform: 300 expected, five standard deviations are 61. Unknown id 99 does not count.
    assert all(239 < count < 361 for counter in seen[:3] for count in counter.values())


def test_route_without_mix_hops_is_the_gateway_alone() -> None:
    route = topology().random_route(NODES[6].identity, random.Random(1).randbytes, mix_hops=False)
    assert [hop.node_id for hop in route] == [7]


def test_no_route() -> None:
    randbytes = random.Random(1).randbytes
    with pytest.raises(NoRouteError):
        topology().random_route(bytes(32), randbytes)
    empty_layer = Topology.build(NODES, [[1], [99], [5]])
    assert not empty_layer.is_routable
    with pytest.raises(NetworkError):
        empty_layer.random_route(NODES[7].identity, randbytes)


def test_hop_carries_padded_address_and_key() -> None:
    hop = node(3).hop
    assert hop.address == NodeAddress("10.0.0.1", 3).pack_padded(32)
    assert hop.public_key == bytes([103]) * 32


def test_lookup_and_rotation() -> None:
    assert topology().node_by_identity(bytes([4]) * 32) == node(4)
    assert topology().node_by_identity(bytes(32)) is None
    assert topology().rotation is KeyRotation.ODD
    assert topology(rotation_id=2).rotation is KeyRotation.EVEN


def test_same_routes() -> None:
    assert topology().routes_like(topology(epoch_id=101))
    assert not topology().routes_like(topology(rotation_id=2))
    assert not topology().routes_like(Topology.build(NODES[:-1], LAYERS, rotation_id=1))
