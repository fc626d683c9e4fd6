"""The network as a client sees it: nodes, their places in the three layers, and random routes.

Specification: sphinx.md 20 and 26, directory.md 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from smolmix_web.errors import NetworkError
from smolmix_web.nym.addresses import PADDED_IN_HEADER, NodeAddress
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.randomness import RandomBytes, random_choice
from smolmix_web.sphinx import Hop


class NoRouteError(NetworkError):
    """The topology cannot carry the packet: a layer is empty, or the gateway wanted is not in it."""

    code = "NO_ROUTE"


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """Where clients reach a gateway by WebSocket. ``ws_port`` is plain, ``wss_port`` needs ``hostname``."""

    hostname: str | None
    ws_port: int
    wss_port: int | None = None


@dataclass(frozen=True, slots=True)
class NodeRoles:
    """What a node says it can do (``supported_roles`` in the directory)."""

    mixnode: bool = False
    entry: bool = False
    exit_nr: bool = False
    exit_ipr: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """One node of the network.

    :ivar identity: ed25519 public key, 32 bytes.
    :ivar sphinx_key: x25519 public key, 32 bytes, good for the topology's key rotation.
    :ivar performance: percent, 0 to 100, rounded down.
    :ivar hop: the node as a hop of a Sphinx route.
    :raises ValueError: the mix address is no IP address and port.
    """

    node_id: int
    identity: bytes
    sphinx_key: bytes
    mix_address: NodeAddress
    entry: EntryDetails | None = None
    performance: int = 100
    roles: NodeRoles = field(default_factory=NodeRoles)
    hop: Hop = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        hop = Hop(self.mix_address.pack_padded(PADDED_IN_HEADER), self.sphinx_key)
        object.__setattr__(self, "hop", hop)


@dataclass(frozen=True, slots=True)
class Topology:
    """A snapshot of the network.

    :ivar nodes: by node id.
    :ivar layers: ids of the nodes assigned to layers 1, 2 and 3; unknown ids are skipped.
    :ivar epoch_id: absolute epoch (u32).
    :ivar rotation_id: id of the key rotation (u32) that the Sphinx keys belong to.
    :ivar refreshed_at: seconds since 1970 when the directory made this snapshot.
    """

    nodes: Mapping[int, Node]
    layers: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    epoch_id: int = 0
    rotation_id: int = 0
    refreshed_at: float = 0.0
    _layer_nodes: tuple[tuple[Node, ...], ...] = field(init=False, repr=False, compare=False)
    _by_identity: dict[bytes, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known = tuple(tuple(self.nodes[i] for i in layer if i in self.nodes) for layer in self.layers)
        object.__setattr__(self, "_layer_nodes", known)
        object.__setattr__(self, "_by_identity", {node.identity: node for node in self.nodes.values()})

    @classmethod
    def build(
        cls,
        nodes: Iterable[Node],
        layers: Iterable[Iterable[int]],
        *,
        epoch_id: int = 0,
        rotation_id: int = 0,
        refreshed_at: float = 0.0,
    ) -> Topology:
        """From any iterables; of two nodes with one id the later wins."""
        first, second, third = (tuple(layer) for layer in layers)
        by_id = {node.node_id: node for node in nodes}
        return cls(by_id, (first, second, third), epoch_id, rotation_id, refreshed_at)

    @property
    def rotation(self) -> KeyRotation:
        return KeyRotation.from_rotation_id(self.rotation_id)

    @property
    def is_routable(self) -> bool:
        """Whether every layer has a node."""
        return all(self._layer_nodes)

    def routes_like(self, other: Topology) -> bool:
        """Whether a packet prepared with the one could have been prepared with the other."""
        return (
            self.rotation_id == other.rotation_id
            and self.layers == other.layers
            and dict(self.nodes) == dict(other.nodes)
        )

    def node_by_identity(self, identity: bytes) -> Node | None:
        return self._by_identity.get(identity)

    def random_route(
        self, egress_identity: bytes, random_bytes: RandomBytes, *, mix_hops: bool = True
    ) -> list[Node]:
        """One node of each layer, uniformly and independently, then the egress gateway.

        A node may stand in several layers; like the published client this does not avoid meeting it twice.

        :param mix_hops: False leaves the gateway alone on the route.
        :raises NoRouteError: a layer is empty or the gateway is not in this topology.
        """
        egress = self._by_identity.get(egress_identity)
        if egress is None:
            raise NoRouteError("the gateway of this route is not in the topology")
        if not mix_hops:
            return [egress]
        if not all(self._layer_nodes):
            raise NoRouteError("the topology has an empty layer")
        route = [random_choice(random_bytes, layer) for layer in self._layer_nodes]
        route.append(egress)
        return route
