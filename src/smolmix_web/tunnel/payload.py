"""The payload encoding of Nym's TypeScript SDK: a raw message with a MIME type and headers in front.

Programs that talk to pages made with that SDK need it (spec native-clients.md 3.3)::

    8 bytes   length m of the metadata, big-endian
    m bytes   JSON: {"mimeType": text, "headers": text or null}
    the rest  payload
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from smolmix_web.errors import MalformedError

_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class MixPayload:
    """What such a message holds. ``headers`` is any text; its meaning is up to the two sides."""

    mime_type: str
    payload: bytes = field(repr=False)
    headers: str | None = None


def encode_payload(content: MixPayload) -> bytes:
    """What :meth:`MixClient.send <smolmix_web.tunnel.mix_client.MixClient.send>` takes."""
    named = {"mimeType": content.mime_type, "headers": content.headers}
    metadata = json.dumps(named, separators=(",", ":"), ensure_ascii=False).encode()
    return len(metadata).to_bytes(_LENGTH_BYTES, "big") + metadata + content.payload


def decode_payload(message: bytes) -> MixPayload:
    """:raises MalformedError: it is not of this form."""
    if len(message) < _LENGTH_BYTES:
        raise MalformedError(f"payload: {len(message)} bytes are no message of this form")
    end = _LENGTH_BYTES + int.from_bytes(message[:_LENGTH_BYTES], "big")
    if end > len(message):
        raise MalformedError("payload: the metadata is longer than the message")
    try:
        metadata = json.loads(message[_LENGTH_BYTES:end].decode())
    except (ValueError, RecursionError):
        raise MalformedError("payload: the metadata is not JSON") from None
    if not isinstance(metadata, dict):
        raise MalformedError("payload: the metadata is not an object")
    mime_type, headers = metadata.get("mimeType"), metadata.get("headers")
    if not isinstance(mime_type, str) or not isinstance(headers, str | None):
        raise MalformedError("payload: the metadata has no mimeType, or headers that are no text")
    return MixPayload(mime_type, message[end:], headers)
