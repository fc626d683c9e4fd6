"""The signed request by which a node asks the directory to describe it anew (spec nodes.md 9, request 2)."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web import json_fields as fields
from smolmix_web.crypto import provider
from smolmix_web.directory.skimmed import parse_key
from smolmix_web.json_fields import JsonObject
from smolmix_web.nym import base58

MAX_AGE = 30
"""Seconds a request may be old; from the future it may not be at all."""

MIN_INTERVAL = 60.0
"""Seconds between two requests of one node."""

_TEXT = b"describe-cache-refresh-request"


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    node_identity: bytes  # 32 bytes
    request_timestamp: int  # unix seconds, i64
    signature: bytes  # 64 bytes

    def verify(self) -> None:
        """:raises CryptoError: not signed by the node."""
        provider().ed25519_verify(self.node_identity, self.signature, self._signed())

    def _signed(self) -> bytes:
        return self.node_identity + self.request_timestamp.to_bytes(8, "big", signed=True) + _TEXT


def parse_refresh_request(message: JsonObject) -> RefreshRequest:
    """:raises MalformedError: names the field that does not fit."""
    return RefreshRequest(
        parse_key(message, "node_identity"),
        fields.sint(message, "request_timestamp"),
        fields.byte_array(message, "signature", 64),
    )


def emit_refresh_request(identity_seed: bytes, request_timestamp: int) -> JsonObject:
    """A request signed with the node's ed25519 seed, 32 bytes."""
    identity = provider().ed25519_public(identity_seed)
    unsigned = RefreshRequest(identity, request_timestamp, bytes(64))
    signature = provider().ed25519_sign(identity_seed, unsigned._signed())
    return {
        "node_identity": base58.encode(identity),
        "request_timestamp": request_timestamp,
        "signature": list(signature),
    }
