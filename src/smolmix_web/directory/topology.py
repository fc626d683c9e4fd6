"""From the directory's answers to a topology (spec directory.md 4)."""

from __future__ import annotations

from collections.abc import Iterable

from smolmix_web.directory.epochs import RewardedSet
from smolmix_web.directory.errors import DirectoryError, InsufficientTopology
from smolmix_web.directory.skimmed import Metadata, SkimmedNode
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.topology import Node, Topology

MINIMUM_PERFORMANCE = 50
"""Percent below which the published client ignores mix nodes and gateways."""

_STAGE = "topology"


class InconsistentAnswers(DirectoryError):
    """The lists show different states of the network; asking once more usually helps (epoch change)."""

    code = "DIRECTORY_INCONSISTENT"


def build_topology(
    metadata: Metadata,
    gateways_metadata: Metadata,
    mixnodes: Iterable[SkimmedNode],
    gateways: Iterable[SkimmedNode],
    rewarded: RewardedSet,
    *,
    minimum_performance: int = MINIMUM_PERFORMANCE,
) -> Topology:
    """The topology for routing.

    :raises InconsistentAnswers: the three answers are of different epochs or rotations.
    :raises InsufficientTopology: a layer has no usable node, or there is no gateway in the rewarded set.
    """
    if metadata != gateways_metadata:
        raise InconsistentAnswers(_STAGE, "mix nodes and gateways are of different epochs")
    if rewarded.epoch_id != metadata.absolute_epoch_id:
        raise InconsistentAnswers(_STAGE, "rewarded set and node lists are of different epochs")
    nodes = {
        node.node_id: to_node(node)
        for node in (*mixnodes, *gateways)
        if node.ip_addresses and node.percent >= minimum_performance
    }
    layers = (rewarded.layer1, rewarded.layer2, rewarded.layer3)
    for number, layer in enumerate(layers, start=1):
        if not any(node_id in nodes for node_id in layer):
            raise InsufficientTopology(_STAGE, f"layer {number} has no usable node")
    # Like the published client: the ids of this set need not name known nodes.
    if not rewarded.entry_gateways and not rewarded.exit_gateways:
        raise InsufficientTopology(_STAGE, "the rewarded set has no gateway")
    return Topology(nodes, layers, metadata.absolute_epoch_id, metadata.rotation_id, metadata.refreshed_at)


def to_node(node: SkimmedNode) -> Node:
    """For routing; the node must have an address."""
    return Node(
        node_id=node.node_id,
        identity=node.identity,
        sphinx_key=node.sphinx_key,
        mix_address=NodeAddress(node.ip_addresses[0], node.mix_port),
        entry=node.entry,
        performance=node.percent,
        roles=node.supported_roles,
    )
