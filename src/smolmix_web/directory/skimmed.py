"""Skimmed node lists: what routing needs of each node (spec directory.md 3.1).

``parse_*`` take decoded JSON and ``emit_*`` give it back; they are mirror images. Unknown fields are ignored.
A known one of a wrong type makes its node unreadable, and an unreadable node is left out: among hundreds of
nodes of many operators and versions one must not keep everybody from the network (the published client gives
up).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

from smolmix_web import json_fields as fields
from smolmix_web.directory import timestamps
from smolmix_web.errors import MalformedError
from smolmix_web.json_fields import JsonObject
from smolmix_web.nym import base58
from smolmix_web.nym.topology import EntryDetails, NodeRoles

_T = TypeVar("_T")

_PERFORMANCE = re.compile(r"(\d{1,9})(?:\.(\d{1,18}))?", re.ASCII)


class RoleKind(Enum):
    """What a node does in this epoch; the value is the name on the wire."""

    MIXNODE = "Mixnode"
    ENTRY_GATEWAY = "EntryGateway"
    EXIT_GATEWAY = "ExitGateway"
    STANDBY = "Standby"
    INACTIVE = "Inactive"


_ROLE_ALIASES = {
    "entry": RoleKind.ENTRY_GATEWAY,
    "gateway": RoleKind.ENTRY_GATEWAY,
    "exit": RoleKind.EXIT_GATEWAY,
    **{kind.value: kind for kind in RoleKind if kind is not RoleKind.MIXNODE},
}


@dataclass(frozen=True, slots=True)
class EpochRole:
    """Role and, for mix nodes, layer (1 to 3). Informational: routes follow the rewarded set."""

    kind: RoleKind
    layer: int = 0


@dataclass(frozen=True, slots=True)
class SkimmedNode:
    """One node of a list.

    :ivar identity: ed25519 public key, 32 bytes.
    :ivar sphinx_key: x25519 public key, 32 bytes, of the rotation named by the list's metadata.
    :ivar ip_addresses: may be empty; the first one is where packets go.
    :ivar performance: decimal text in [0, 1], exactly as on the wire.
    """

    node_id: int
    identity: bytes
    ip_addresses: tuple[str, ...]
    mix_port: int
    sphinx_key: bytes
    role: EpochRole
    supported_roles: NodeRoles = field(default_factory=NodeRoles)
    entry: EntryDetails | None = None
    performance: str = "1"

    @property
    def percent(self) -> int:
        """Performance in whole percent, rounded down, 0 to 100."""
        return performance_percent(self.performance)


@dataclass(frozen=True, slots=True)
class Interval:
    """The reward interval inside ``{"fresh": ...}``."""

    interval_id: int
    epochs_in_interval: int
    current_epoch_start: str
    current_epoch_id: int
    epoch_length_secs: int
    epoch_length_nanos: int
    total_elapsed_epochs: int


NO_UPDATES = "no-updates"


@dataclass(frozen=True, slots=True)
class Metadata:
    """Which state of the network a list shows. Two lists fit if these are equal (``refreshed_at`` apart)."""

    absolute_epoch_id: int
    rotation_id: int
    refreshed_at: float = field(compare=False)  # unix seconds
    status: Interval | str | None = None  # NO_UPDATES, fresh, or nothing


@dataclass(frozen=True, slots=True)
class Pagination:
    total: int
    page: int
    size: int


@dataclass(frozen=True, slots=True)
class SkimmedList:
    """One page of skimmed nodes.

    :ivar unreadable: further nodes on it that could not be read.
    """

    metadata: Metadata
    pagination: Pagination
    nodes: tuple[SkimmedNode, ...]
    unreadable: int = 0


def performance_percent(performance: str) -> int:
    """floor(100 x). :raises MalformedError: not a decimal in [0, 1]."""
    matched = _PERFORMANCE.fullmatch(performance)
    if matched is None:
        raise MalformedError("performance: a decimal is wanted")
    whole, fraction = int(matched[1]), (matched[2] or "").ljust(2, "0")
    if whole > 1 or (whole == 1 and fraction.strip("0")):
        raise MalformedError("performance: above 1")
    return whole * 100 + int(fraction[:2])


def parse_skimmed(message: JsonObject) -> SkimmedList:
    """:raises MalformedError: names the field that does not fit, of the envelope or of every node."""
    nodes = fields.child(message, "nodes")
    return SkimmedList(
        parse_metadata(fields.child(message, "metadata")),
        parse_pagination(fields.child(nodes, "pagination")),
        *parse_each(fields.array(nodes, "data"), parse_node),
    )


def emit_skimmed(answer: SkimmedList) -> JsonObject:
    return {
        "metadata": emit_metadata(answer.metadata),
        "nodes": {
            "pagination": emit_pagination(answer.pagination),
            "data": [emit_node(node) for node in answer.nodes],
        },
    }


def parse_metadata(message: JsonObject) -> Metadata:
    status = message.get("status")
    if isinstance(status, dict):
        status = _parse_interval(fields.child(status, "fresh"))
    elif status is not None and status != NO_UPDATES:
        raise MalformedError("status: unknown")
    return Metadata(
        absolute_epoch_id=fields.uint(message, "absolute_epoch_id", 32),
        rotation_id=fields.uint(message, "rotation_id", 32),
        refreshed_at=timestamps.parse_lenient(fields.string(message, "refreshed_at")),
        status=status,
    )


def emit_metadata(metadata: Metadata) -> JsonObject:
    status: Any = metadata.status
    if isinstance(status, Interval):
        status = {"fresh": _emit_interval(status)}
    return {
        "status": status,
        "absolute_epoch_id": metadata.absolute_epoch_id,
        "rotation_id": metadata.rotation_id,
        "refreshed_at": timestamps.emit_offset_date_time(metadata.refreshed_at),
    }


def _parse_interval(message: JsonObject) -> Interval:
    length = fields.child(message, "epoch_length")
    return Interval(
        interval_id=fields.uint(message, "id", 32),
        epochs_in_interval=fields.uint(message, "epochs_in_interval", 32),
        current_epoch_start=fields.string(message, "current_epoch_start"),
        current_epoch_id=fields.uint(message, "current_epoch_id", 32),
        epoch_length_secs=fields.uint(length, "secs", 64),
        epoch_length_nanos=fields.uint(length, "nanos", 32),
        total_elapsed_epochs=fields.uint(message, "total_elapsed_epochs", 32),
    )


def _emit_interval(interval: Interval) -> JsonObject:
    return {
        "id": interval.interval_id,
        "epochs_in_interval": interval.epochs_in_interval,
        "current_epoch_start": interval.current_epoch_start,
        "current_epoch_id": interval.current_epoch_id,
        "epoch_length": {"secs": interval.epoch_length_secs, "nanos": interval.epoch_length_nanos},
        "total_elapsed_epochs": interval.total_elapsed_epochs,
    }


def parse_pagination(message: JsonObject) -> Pagination:
    return Pagination(*(fields.uint(message, name, 64) for name in ("total", "page", "size")))


def emit_pagination(pagination: Pagination) -> JsonObject:
    return {"total": pagination.total, "page": pagination.page, "size": pagination.size}


def parse_node(message: JsonObject) -> SkimmedNode:
    entry = fields.optional_child(message, "entry")
    roles = fields.optional_child(message, "supported_roles")
    performance = fields.string(message, "performance")
    performance_percent(performance)
    return SkimmedNode(
        node_id=fields.uint(message, "node_id", 32),
        identity=parse_key(message, "ed25519_identity_pubkey"),
        ip_addresses=parse_ips(message, "ip_addresses"),
        mix_port=fields.uint(message, "mix_port", 16),
        sphinx_key=parse_key(message, "x25519_sphinx_pubkey"),
        role=_parse_role(message.get("role", message.get("epoch_role"))),
        supported_roles=parse_roles(roles) if roles is not None else NodeRoles(),
        entry=_parse_entry(entry) if entry is not None else None,
        performance=performance,
    )


def emit_node(node: SkimmedNode) -> JsonObject:
    return {
        "node_id": node.node_id,
        "ed25519_identity_pubkey": base58.encode(node.identity),
        "ip_addresses": list(node.ip_addresses),
        "mix_port": node.mix_port,
        "x25519_sphinx_pubkey": base58.encode(node.sphinx_key),
        "role": _emit_role(node.role),
        "supported_roles": emit_roles(node.supported_roles),
        "entry": _emit_entry(node.entry) if node.entry is not None else None,
        "performance": node.performance,
    }


def _parse_role(role: object) -> EpochRole:
    if isinstance(role, str) and role in _ROLE_ALIASES:
        return EpochRole(_ROLE_ALIASES[role])
    if isinstance(role, dict) and len(role) == 1 and isinstance(role.get("Mixnode"), dict):
        return EpochRole(RoleKind.MIXNODE, fields.uint(role["Mixnode"], "layer", 8))
    raise MalformedError("role: unknown")


def _emit_role(role: EpochRole) -> object:
    return {"Mixnode": {"layer": role.layer}} if role.kind is RoleKind.MIXNODE else role.kind.value


def parse_roles(message: JsonObject) -> NodeRoles:
    """The four booleans of ``supported_roles`` and ``declared_role``."""
    return NodeRoles(*(fields.boolean(message, name) for name in ("mixnode", "entry", "exit_nr", "exit_ipr")))


def emit_roles(roles: NodeRoles) -> JsonObject:
    return {
        "mixnode": roles.mixnode,
        "entry": roles.entry,
        "exit_nr": roles.exit_nr,
        "exit_ipr": roles.exit_ipr,
    }


def _parse_entry(message: JsonObject) -> EntryDetails:
    return EntryDetails(
        hostname=fields.optional_string(message, "hostname"),
        ws_port=fields.uint(message, "ws_port", 16),
        wss_port=fields.optional_uint(message, "wss_port", 16),
    )


def _emit_entry(entry: EntryDetails) -> JsonObject:
    return {"hostname": entry.hostname, "ws_port": entry.ws_port, "wss_port": entry.wss_port}


def parse_key(message: JsonObject, name: str) -> bytes:
    """A 32-byte key as base58."""
    try:
        return base58.decode(fields.string(message, name), 32)
    except MalformedError as error:
        raise MalformedError(f"{name}: {error}") from None


def parse_ips(message: JsonObject, name: str) -> tuple[str, ...]:
    """IP addresses in their canonical text form."""
    addresses = fields.array(message, name)
    try:
        if not all(isinstance(address, str) for address in addresses):
            raise ValueError
        return tuple(map(_canonical, addresses))
    except ValueError:
        raise MalformedError(f"{name}: IP addresses are wanted") from None


@lru_cache(maxsize=4096)  # every list of a network names the same ones
def _canonical(address: str) -> str:
    return str(ipaddress.ip_address(address))


def parse_each(items: list[Any], parse: Callable[[JsonObject], _T]) -> tuple[tuple[_T, ...], int]:
    """The elements that can be read, and the number of the others.

    :raises MalformedError: none can; it tells what is wrong with the first one.
    """
    parsed: list[_T] = []
    problem: MalformedError | None = None
    for index, item in enumerate(items):
        try:
            if not isinstance(item, dict):
                raise MalformedError("an object is wanted")
            parsed.append(parse(item))
        except MalformedError as error:
            problem = problem or MalformedError(f"data[{index}].{error}")
    if problem is not None and not parsed:
        raise problem
    return tuple(parsed), len(items) - len(parsed)
