"""NymMessage: what is cut into fragments (sphinx.md 14). The bodies stand in :mod:`.replies`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from smolmix_web.errors import MalformedError
from smolmix_web.nym.fragments import choose_size, count_fragments, fragment_length
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.replies import (
    AdditionalSurbs,
    Heartbeat,
    RepliableData,
    ReplyData,
    SurbRequest,
    parse_repliable,
    parse_reply,
)

_END = b"\x01"


class MessageKind(IntEnum):
    """First byte of a message."""

    PLAIN = 0
    REPLIABLE = 1
    REPLY = 2


@dataclass(frozen=True, slots=True)
class PlainData:
    """Application data without any means to answer it."""

    data: bytes = field(repr=False)

    def body(self) -> bytes:
        return self.data


NymMessage = PlainData | RepliableData | AdditionalSurbs | Heartbeat | ReplyData | SurbRequest

_KINDS: dict[type, MessageKind] = {
    PlainData: MessageKind.PLAIN,
    RepliableData: MessageKind.REPLIABLE,
    AdditionalSurbs: MessageKind.REPLIABLE,
    Heartbeat: MessageKind.REPLIABLE,
    ReplyData: MessageKind.REPLY,
    SurbRequest: MessageKind.REPLY,
}


def encode_message(message: NymMessage) -> bytes:
    return bytes((_KINDS[type(message)],)) + message.body()


def parse_message(data: bytes) -> NymMessage:
    """:raises MalformedError: unknown kind or tag, truncated, or an empty content where one is required."""
    if not data:
        raise MalformedError("empty message")
    kind, body = data[0], data[1:]
    if kind == MessageKind.PLAIN:
        return PlainData(body)
    if kind == MessageKind.REPLIABLE:
        return parse_repliable(body)
    if kind == MessageKind.REPLY:
        return parse_reply(body)
    raise MalformedError(f"{kind} is not a kind of message")


def pad(data: bytes, primary: PacketSize, secondary: PacketSize | None = None) -> tuple[bytes, PacketSize]:
    """``data`` with 0x01 and zeros behind it so that it fills its fragments, and its packet size."""
    length = len(data) + 1
    size = choose_size(length, primary, secondary)
    free = count_fragments(length, fragment_length(size))[1]
    return b"".join((data, _END, bytes(free))), size


def unpad(padded: bytes) -> bytes:
    """Cuts at the last 0x01, whatever follows it, as the published client does.

    :raises MalformedError: there is none, or nothing stands before it.
    """
    end = padded.rfind(_END)
    if end <= 0:
        raise MalformedError("message without end mark")
    return padded[:end]
