"""Described nodes: what a node says about itself (spec directory.md 3.4). IPRs are found here.

Everything that the published client requires is emitted; parsed is what anything here uses, so that a change
in a field nobody looks at breaks nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web import json_fields as fields
from smolmix_web.directory import timestamps
from smolmix_web.directory.skimmed import (
    Pagination,
    emit_pagination,
    emit_roles,
    parse_each,
    parse_ips,
    parse_key,
    parse_pagination,
    parse_roles,
)
from smolmix_web.json_fields import JsonObject
from smolmix_web.nym import base58
from smolmix_web.nym.topology import NodeRoles

NOISE_VERSION = 1


@dataclass(frozen=True, slots=True)
class SphinxKey:
    """A node's x25519 Sphinx key and the rotation that it belongs to."""

    rotation_id: int
    public_key: bytes  # 32 bytes


@dataclass(frozen=True, slots=True)
class DescribedNode:
    """A node's own description.

    :ivar identity: ed25519 public key, 32 bytes.
    :ivar noise_key: x25519 public key for Noise links, 32 bytes, or None for plain links.
    :ivar ip_packet_router: address of the exit's IPR, ``client.encryption@gateway``.
    :ivar network_requester: address of the exit's network requester.
    :ivar mix_port: announced mix port; None stands for 1789.
    :ivar last_polled: unix seconds.
    """

    node_id: int
    identity: bytes
    ip_addresses: tuple[str, ...]
    current_sphinx_key: SphinxKey
    build_version: str
    ws_port: int
    hostname: str | None = None
    pre_announced_sphinx_key: SphinxKey | None = None
    noise_key: bytes | None = None
    declared_role: NodeRoles = field(default_factory=NodeRoles)
    mix_port: int | None = None
    wss_port: int | None = None
    ip_packet_router: str | None = None
    network_requester: str | None = None
    binary_name: str = "nym-node"
    last_polled: float = 0.0


@dataclass(frozen=True, slots=True)
class DescribedList:
    """One page of described nodes.

    :ivar unreadable: further nodes on it that could not be read.
    """

    pagination: Pagination
    nodes: tuple[DescribedNode, ...]
    unreadable: int = 0


def parse_described(message: JsonObject) -> DescribedList:
    """:raises MalformedError: names the field that does not fit, of the envelope or of every node."""
    return DescribedList(
        parse_pagination(fields.child(message, "pagination")),
        *parse_each(fields.array(message, "data"), parse_described_node),
    )


def emit_described(answer: DescribedList) -> JsonObject:
    return {
        "pagination": emit_pagination(answer.pagination),
        "data": [emit_described_node(node) for node in answer.nodes],
    }


def parse_described_node(message: JsonObject) -> DescribedNode:
    description = fields.child(message, "description")
    host = fields.child(description, "host_information")
    keys = fields.child(host, "keys")
    build = fields.child(description, "build_information")
    websockets = fields.child(description, "mixnet_websockets")
    next_key = fields.optional_child(keys, "pre_announced_x25519_sphinx_key")
    noise = fields.optional_child(keys, "x25519_versioned_noise")
    roles = fields.optional_child(description, "declared_role")
    auxiliary = fields.optional_child(description, "auxiliary_details") or {}
    ports = fields.optional_child(auxiliary, "announce_ports") or {}
    return DescribedNode(
        node_id=fields.uint(message, "node_id", 32),
        identity=parse_key(keys, "ed25519"),
        ip_addresses=parse_ips(host, "ip_address"),
        hostname=fields.optional_string(host, "hostname"),
        current_sphinx_key=_parse_sphinx_key(fields.child(keys, "current_x25519_sphinx_key")),
        pre_announced_sphinx_key=_parse_sphinx_key(next_key) if next_key is not None else None,
        noise_key=parse_key(noise, "x25519_pubkey") if noise is not None else None,
        declared_role=parse_roles(roles) if roles is not None else NodeRoles(),
        mix_port=fields.optional_uint(ports, "mix_port", 16),
        build_version=fields.string(build, "build_version"),
        binary_name=fields.string(build, "binary_name"),
        ws_port=fields.uint(websockets, "ws_port", 16),
        wss_port=fields.optional_uint(websockets, "wss_port", 16),
        ip_packet_router=_parse_address(description, "ip_packet_router"),
        network_requester=_parse_address(description, "network_requester"),
        last_polled=timestamps.parse_lenient(fields.optional_string(description, "last_polled") or ""),
    )


def emit_described_node(node: DescribedNode) -> JsonObject:
    # Builds of this project have no commit or compiler to tell; the client wants the strings all the same.
    build = {
        "binary_name": node.binary_name,
        "build_timestamp": "1970-01-01T00:00:00Z",
        "build_version": node.build_version,
        "commit_sha": "0" * 40,
        "commit_timestamp": "1970-01-01T00:00:00Z",
        "commit_branch": "local",
        "rustc_version": "none",
        "rustc_channel": "none",
        "cargo_profile": "none",
        "cargo_triple": "none",
    }
    description = {
        "last_polled": timestamps.emit_offset_date_time(node.last_polled),
        "host_information": {
            "ip_address": list(node.ip_addresses),
            "hostname": node.hostname,
            "keys": {
                "ed25519": base58.encode(node.identity),
                "x25519": base58.encode(node.current_sphinx_key.public_key),
                "current_x25519_sphinx_key": _emit_sphinx_key(node.current_sphinx_key),
                "pre_announced_x25519_sphinx_key": (
                    _emit_sphinx_key(node.pre_announced_sphinx_key) if node.pre_announced_sphinx_key else None
                ),
                "x25519_versioned_noise": emit_noise_key(node.noise_key),
            },
        },
        "declared_role": emit_roles(node.declared_role),
        "auxiliary_details": {
            "location": None,
            "announce_ports": {"verloc_port": None, "mix_port": node.mix_port},
            "accepted_operator_terms_and_conditions": True,
        },
        "build_information": build,
        "network_requester": (
            {"address": node.network_requester, "uses_exit_policy": True} if node.network_requester else None
        ),
        "ip_packet_router": {"address": node.ip_packet_router} if node.ip_packet_router else None,
        "authenticator": None,
        "wireguard": None,
        "mixnet_websockets": {"ws_port": node.ws_port, "wss_port": node.wss_port},
        "lewes_protocol": None,
    }
    return {"node_id": node.node_id, "contract_node_type": "nym_node", "description": description}


def emit_noise_key(key: bytes | None) -> JsonObject | None:
    """The versioned form of a Noise key; None for a node without one."""
    if key is None:
        return None
    return {"supported_version": NOISE_VERSION, "x25519_pubkey": base58.encode(key)}


def _parse_sphinx_key(message: JsonObject) -> SphinxKey:
    return SphinxKey(fields.uint(message, "rotation_id", 32), parse_key(message, "public_key"))


def _emit_sphinx_key(key: SphinxKey) -> JsonObject:
    return {"rotation_id": key.rotation_id, "public_key": base58.encode(key.public_key)}


def _parse_address(description: JsonObject, name: str) -> str | None:
    service = fields.optional_child(description, name)
    return fields.string(service, "address") if service is not None else None
