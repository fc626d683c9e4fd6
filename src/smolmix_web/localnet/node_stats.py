"""Counters of a node, by the names of the official metrics where there are such (spec nodes.md 11)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class IngressStats:
    """What came in from other nodes, in packets."""

    forward_hop_packets_received: int = 0
    final_hop_packets_received: int = 0
    malformed_packets_received: int = 0  # Sphinx failures, unknown formats, expired keys
    replayed_packets_received: int = 0
    excessive_delay_packets: int = 0  # kept, with the delay cut to the maximum
    forward_hop_packets_dropped: int = 0  # this node does not forward
    final_hop_packets_dropped: int = 0  # this node serves no clients
    malformed_connections: int = 0  # closed for bytes that are no frame
    refused_connections: int = 0  # above the limit


@dataclass(slots=True)
class EgressStats:
    """What went out to other nodes, in packets."""

    forward_hop_packets_sent: int = 0
    ack_packets_sent: int = 0
    refused_next_hop: int = 0  # not a node of the network
    dropped_queue_full: int = 0
    dropped_connect_failed: int = 0
    dropped_connection_lost: int = 0
    lost_by_impairment: int = 0
    duplicated_by_impairment: int = 0


@dataclass(slots=True)
class NodeStats:
    """Everything a node counts since its start."""

    ingress_mixing: IngressStats = field(default_factory=IngressStats)
    egress_mixing: EgressStats = field(default_factory=EgressStats)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
