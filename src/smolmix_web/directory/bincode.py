"""The bincode form of skimmed lists (spec directory.md 11): little-endian, variable-length integers.

A server answers so for ``output=bincode``; what decides how an answer is read is its Content-Type.
``pull_x`` and ``push_x`` are mirror images.
"""

from __future__ import annotations

import ipaddress

from smolmix_web.directory import timestamps
from smolmix_web.directory.skimmed import (
    EpochRole,
    Metadata,
    Pagination,
    RoleKind,
    SkimmedList,
    SkimmedNode,
    performance_percent,
)
from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58
from smolmix_web.nym.topology import EntryDetails, NodeRoles
from smolmix_web.wire import Reader, Writer

_WIDTHS = {251: 2, 252: 4, 253: 8}

# The tag of a role is its position here.
_ROLES = (
    RoleKind.MIXNODE,
    RoleKind.ENTRY_GATEWAY,
    RoleKind.EXIT_GATEWAY,
    RoleKind.STANDBY,
    RoleKind.INACTIVE,
)


def decode_skimmed(data: bytes) -> SkimmedList:
    """:raises MalformedError: truncated, trailing bytes, or a value that does not fit."""
    reader = Reader(data)
    metadata = pull_metadata(reader)
    pagination = Pagination(pull_varint(reader), pull_varint(reader), pull_varint(reader))
    count = pull_varint(reader)
    if count > reader.remaining:  # each node has many bytes: refuse before allocating
        raise MalformedError("more nodes announced than bytes left")
    nodes = tuple(pull_node(reader) for _ in range(count))
    reader.expect_end()
    return SkimmedList(metadata, pagination, nodes)


def encode_skimmed(answer: SkimmedList) -> bytes:
    writer = Writer()
    push_metadata(writer, answer.metadata)
    for number in (answer.pagination.total, answer.pagination.page, answer.pagination.size):
        push_varint(writer, number)
    push_varint(writer, len(answer.nodes))
    for node in answer.nodes:
        push_node(writer, node)
    return writer.getvalue()


def pull_metadata(reader: Reader) -> Metadata:
    # The encoding of the other values of the status is not published; nobody sends them to clients.
    if pull_option(reader):
        raise MalformedError("metadata with a status is not understood in bincode")
    return Metadata(
        absolute_epoch_id=pull_varint(reader, 32),
        rotation_id=pull_varint(reader, 32),
        refreshed_at=timestamps.parse_lenient(pull_string(reader)),
    )


def push_metadata(writer: Writer, metadata: Metadata) -> None:
    push_option(writer, present=False)
    push_varint(writer, metadata.absolute_epoch_id)
    push_varint(writer, metadata.rotation_id)
    push_string(writer, timestamps.emit_offset_date_time(metadata.refreshed_at))


def pull_node(reader: Reader) -> SkimmedNode:
    node_id = pull_varint(reader, 32)
    identity = base58.decode(pull_string(reader), 32)
    count = pull_varint(reader)
    if count > reader.remaining:
        raise MalformedError("more addresses announced than bytes left")
    addresses = tuple(_pull_ip(reader) for _ in range(count))
    mix_port = pull_varint(reader, 16)
    sphinx_key = base58.decode(pull_string(reader), 32)
    role = _pull_role(reader)
    roles = NodeRoles(*(pull_bool(reader) for _ in range(4)))
    entry = _pull_entry(reader) if pull_option(reader) else None
    performance = pull_string(reader)
    performance_percent(performance)
    return SkimmedNode(node_id, identity, addresses, mix_port, sphinx_key, role, roles, entry, performance)


def push_node(writer: Writer, node: SkimmedNode) -> None:
    push_varint(writer, node.node_id)
    push_string(writer, base58.encode(node.identity))
    push_varint(writer, len(node.ip_addresses))
    for address in node.ip_addresses:
        _push_ip(writer, address)
    push_varint(writer, node.mix_port)
    push_string(writer, base58.encode(node.sphinx_key))
    _push_role(writer, node.role)
    roles = node.supported_roles
    for flag in (roles.mixnode, roles.entry, roles.exit_nr, roles.exit_ipr):
        writer.push_u8(flag)
    push_option(writer, present=node.entry is not None)
    if node.entry is not None:
        _push_entry(writer, node.entry)
    push_string(writer, node.performance)


def _pull_role(reader: Reader) -> EpochRole:
    tag = pull_varint(reader)
    if tag >= len(_ROLES):
        raise MalformedError(f"{tag} is not a role")
    return EpochRole(_ROLES[tag], reader.pull_u8() if tag == 0 else 0)


def _push_role(writer: Writer, role: EpochRole) -> None:
    tag = _ROLES.index(role.kind)
    push_varint(writer, tag)
    if tag == 0:
        writer.push_u8(role.layer)


def _pull_entry(reader: Reader) -> EntryDetails:
    hostname = pull_string(reader) if pull_option(reader) else None
    ws_port = pull_varint(reader, 16)
    return EntryDetails(hostname, ws_port, pull_varint(reader, 16) if pull_option(reader) else None)


def _push_entry(writer: Writer, entry: EntryDetails) -> None:
    push_option(writer, present=entry.hostname is not None)
    if entry.hostname is not None:
        push_string(writer, entry.hostname)
    push_varint(writer, entry.ws_port)
    push_option(writer, present=entry.wss_port is not None)
    if entry.wss_port is not None:
        push_varint(writer, entry.wss_port)


def _pull_ip(reader: Reader) -> str:
    tag = pull_varint(reader)
    if tag > 1:
        raise MalformedError(f"{tag} is not an address family")
    return str(ipaddress.ip_address(reader.pull_bytes(16 if tag else 4)))


def _push_ip(writer: Writer, address: str) -> None:
    parsed = ipaddress.ip_address(address)
    push_varint(writer, parsed.version == 6)
    writer.push_bytes(parsed.packed)


def pull_varint(reader: Reader, bits: int = 64) -> int:
    """An unsigned integer of at most ``bits`` bits. :raises MalformedError: larger, or an unknown width."""
    first = reader.pull_u8()
    if first < 251:
        return first
    if first not in _WIDTHS:
        raise MalformedError("integer wider than 64 bits")
    value = reader.pull_uint_le(_WIDTHS[first])
    if value >> bits:
        raise MalformedError(f"integer wider than {bits} bits")
    return value


def push_varint(writer: Writer, value: int) -> None:
    if value < 251:
        writer.push_u8(value)
        return
    for first, width in _WIDTHS.items():
        if value < 1 << 8 * width:
            writer.push_u8(first)
            writer.push_uint_le(value, width)
            return
    raise ValueError("integer wider than 64 bits")


def pull_bool(reader: Reader) -> bool:
    value = reader.pull_u8()
    if value > 1:
        raise MalformedError(f"{value} is not a boolean")
    return bool(value)


def pull_option(reader: Reader) -> bool:
    """Whether a value follows."""
    return pull_bool(reader)


def push_option(writer: Writer, *, present: bool) -> None:
    writer.push_u8(present)


def pull_string(reader: Reader) -> str:
    try:
        return reader.pull_bytes(pull_varint(reader)).decode()
    except UnicodeDecodeError:
        raise MalformedError("not UTF-8") from None


def push_string(writer: Writer, text: str) -> None:
    data = text.encode()
    push_varint(writer, len(data))
    writer.push_bytes(data)
