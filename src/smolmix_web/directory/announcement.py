"""How nodes of a local network make themselves known to its directory.

The official directory learns of nodes from a blockchain and polls each node's HTTP API. A local network has
no chain: here every node posts a signed description of itself, again and again while it lives. (Clients and
nodes, official ones included, ask the directory only; nobody but an official directory calls a node's HTTP
API, see spec nodes.md 9, 10.3, 15.1. So the nodes here have none.) ::

    POST v1/local/announce   {"announcement": "<JSON text>", "signature": "<base58 of 64 bytes>"}

The signature covers the UTF-8 bytes of ``announcement`` behind a fixed prefix, so nothing has to be
serialised twice in the same way.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from smolmix_web import json_fields as fields
from smolmix_web.crypto import provider
from smolmix_web.directory.described import DescribedNode, emit_described_node, parse_described_node
from smolmix_web.directory.skimmed import performance_percent
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.nym import base58

PATH_ANNOUNCE = "v1/local/announce"

MAX_BODY = 64 * 1024

_PREFIX = b"smolmix-web node announcement\n"


@dataclass(frozen=True, slots=True)
class Announcement:
    """A node as it wants to be listed.

    :ivar node: ``node_id`` is ignored; the directory gives ids.
    :ivar unix_time: seconds since 1970; has to grow from one announcement of a node to the next.
    :ivar layer: 1 to 3, the layer that a mix node wants; None leaves it to the directory.
    :ivar leaving: the node stops; take it off the lists.
    """

    node: DescribedNode
    unix_time: float
    layer: int | None = None
    performance: str = "1"
    leaving: bool = False


def parse_announcement(body: bytes) -> Announcement:
    """:raises MalformedError: not an announcement. :raises CryptoError: not signed by the node it names."""
    if len(body) > MAX_BODY:
        raise MalformedError("announcement too long")
    envelope = fields.parse_object(body)
    text = fields.string(envelope, "announcement")
    signature = base58.decode(fields.string(envelope, "signature"), 64)
    message = fields.parse_object(text)
    node = parse_described_node(fields.child(message, "node"))
    try:
        signed = _PREFIX + text.encode()
    except UnicodeEncodeError:
        raise MalformedError("announcement: not UTF-8") from None
    try:
        provider().ed25519_verify(node.identity, signature, signed)
    except CryptoError:
        raise CryptoError("the announcement is not signed by its node") from None
    layer = fields.optional_uint(message, "layer", 8)
    if layer is not None and layer not in (1, 2, 3):
        raise MalformedError("layer: 1, 2 or 3 is wanted")
    performance = fields.string(message, "performance")
    performance_percent(performance)
    milliseconds = fields.uint(message, "unix_milliseconds", 63)
    leaving = fields.boolean(message, "leaving")
    return Announcement(node, milliseconds / 1000, layer, performance, leaving)


def emit_announcement(announcement: Announcement, identity_seed: bytes) -> bytes:
    """The signed body; ``identity_seed`` is the ed25519 seed of the node, 32 bytes."""
    message = {
        "unix_milliseconds": round(announcement.unix_time * 1000),
        "layer": announcement.layer,
        "performance": announcement.performance,
        "leaving": announcement.leaving,
        "node": emit_described_node(announcement.node),
    }
    text = json.dumps(message, separators=(",", ":"))
    signature = provider().ed25519_sign(identity_seed, _PREFIX + text.encode())
    return json.dumps({"announcement": text, "signature": base58.encode(signature)}).encode()
