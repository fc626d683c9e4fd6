"""Reply SURBs, and the bodies of repliable messages and replies (sphinx.md 19)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.payload import KEY_LENGTH
from smolmix_web.sphinx import HEADER_LENGTH, MAX_HOPS, Surb
from smolmix_web.wire import Reader, Writer

SENDER_TAG_LENGTH = 16

_BASE_LENGTH = KEY_LENGTH + HEADER_LENGTH + 32
_SEED_LENGTH = 16
_FULL_KEY_LENGTH = 192
V1_SURB_LENGTH = _BASE_LENGTH + 4 * _FULL_KEY_LENGTH
"""1,164: lists of version 1 know four hops and full payload keys only."""


def surb_length(hops: int) -> int:
    """Bytes of a reply SURB with payload-key seeds (460 for 4 hops)."""
    return _BASE_LENGTH + hops * _SEED_LENGTH


@dataclass(frozen=True, slots=True)
class ReplySurb:
    """A Sphinx SURB and the key under which the one fragment it carries is encrypted (16 bytes)."""

    key: bytes = field(repr=False)
    surb: Surb = field(repr=False)

    @property
    def first_hop(self) -> NodeAddress:
        return NodeAddress.unpack(self.surb.first_hop)

    @property
    def hops(self) -> int:
        return len(self.surb.payload_keys)

    @property
    def has_seeds(self) -> bool:
        """Whether it is of Sphinx version 259 (and fits a list of version 2)."""
        return len(self.surb.payload_keys[0]) == _SEED_LENGTH

    def to_bytes(self) -> bytes:
        return self.key + self.surb.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> ReplySurb:
        """:raises MalformedError: truncated, or its first hop is no address."""
        reply_surb = cls(data[:KEY_LENGTH], Surb.from_bytes(data[KEY_LENGTH:]))
        _ = reply_surb.first_hop
        return reply_surb


class RepliableTag(IntEnum):
    """Content tag of a repliable message. From version 2 on the list says hops and rotation."""

    DATA_V1 = 0
    ADDITIONAL_SURBS_V1 = 1
    HEARTBEAT_V1 = 2
    DATA_V2 = 3
    ADDITIONAL_SURBS_V2 = 4
    HEARTBEAT_V2 = 5


class ReplyTag(IntEnum):
    DATA = 0
    SURB_REQUEST = 1


@dataclass(frozen=True, slots=True)
class SurbList:
    """Reply SURBs made for one key rotation. Version 1 cannot name the rotation: it reads as UNKNOWN."""

    surbs: tuple[ReplySurb, ...] = ()
    rotation: KeyRotation = KeyRotation.UNKNOWN
    version: int = 2

    def push(self, writer: Writer) -> None:
        if self.version == 1:
            _push_v1(writer, self.surbs)
        else:
            _push_v2(writer, self)

    @classmethod
    def pull(cls, reader: Reader, version: int) -> SurbList:
        return _pull_v1(reader) if version == 1 else _pull_v2(reader)


def _push_v1(writer: Writer, surbs: Sequence[ReplySurb]) -> None:
    writer.push_u32(len(surbs))
    for surb in surbs:
        encoded = surb.to_bytes()
        if len(encoded) != V1_SURB_LENGTH:
            raise LocalProtocolError("a list of version 1 takes SURBs of four hops with full keys")
        writer.push_bytes(encoded)


def _pull_v1(reader: Reader) -> SurbList:
    count = reader.pull_u32()
    return SurbList(_pull_surbs(reader, count, V1_SURB_LENGTH), KeyRotation.UNKNOWN, version=1)


def _push_v2(writer: Writer, surb_list: SurbList) -> None:
    surbs = surb_list.surbs
    hops = surbs[0].hops if surbs else 0
    if any(surb.hops != hops or not surb.has_seeds for surb in surbs):
        raise LocalProtocolError("a list of version 2 takes SURBs of one length with key seeds")
    writer.push_u16(len(surbs))
    writer.push_u8(hops)
    writer.push_u8(surb_list.rotation if surbs else KeyRotation.UNKNOWN)
    for surb in surbs:
        writer.push_bytes(surb.to_bytes())


def _pull_v2(reader: Reader) -> SurbList:
    count = reader.pull_u16()
    hops = reader.pull_u8()
    rotation = KeyRotation.from_byte(reader.pull_u8())
    if count and not 1 <= hops <= MAX_HOPS:
        raise MalformedError(f"reply SURBs of {hops} hops")
    surbs = _pull_surbs(reader, count, surb_length(hops))
    return SurbList(surbs, rotation if surbs else KeyRotation.UNKNOWN, version=2)


def _pull_surbs(reader: Reader, count: int, length: int) -> tuple[ReplySurb, ...]:
    if count * length > reader.remaining:
        raise MalformedError(f"{count} reply SURBs announced in {reader.remaining} bytes")
    return tuple(ReplySurb.from_bytes(reader.pull_bytes(length)) for _ in range(count))


@dataclass(frozen=True, slots=True)
class _Repliable:
    """:ivar sender_tag: 16 bytes by which the receiver files the SURBs and addresses its answers."""

    sender_tag: bytes
    surbs: SurbList

    _TAGS: ClassVar[tuple[RepliableTag, RepliableTag]]

    def _writer(self) -> Writer:
        writer = Writer()
        writer.push_bytes(self.sender_tag)
        writer.push_u8(self._TAGS[self.surbs.version - 1])
        self.surbs.push(writer)
        return writer

    def body(self) -> bytes:
        return self._writer().getvalue()


@dataclass(frozen=True, slots=True)
class RepliableData(_Repliable):
    """Application data and some SURBs to answer it."""

    data: bytes = field(repr=False)

    _TAGS = (RepliableTag.DATA_V1, RepliableTag.DATA_V2)

    def body(self) -> bytes:
        writer = self._writer()
        writer.push_bytes(self.data)
        return writer.getvalue()


@dataclass(frozen=True, slots=True)
class AdditionalSurbs(_Repliable):
    """Answer to a SURB request."""

    _TAGS = (RepliableTag.ADDITIONAL_SURBS_V1, RepliableTag.ADDITIONAL_SURBS_V2)


@dataclass(frozen=True, slots=True)
class Heartbeat(_Repliable):
    """Specified but never sent; its SURBs are good."""

    _TAGS = (RepliableTag.HEARTBEAT_V1, RepliableTag.HEARTBEAT_V2)


def parse_repliable(body: bytes) -> RepliableData | AdditionalSurbs | Heartbeat:
    """:raises MalformedError: truncated, unknown content tag, or a SURB that cannot be used."""
    reader = Reader(body)
    sender_tag = reader.pull_bytes(SENDER_TAG_LENGTH)
    tag = reader.pull_u8()
    if tag > RepliableTag.HEARTBEAT_V2:
        raise MalformedError(f"{tag} is not a repliable content")
    surbs = SurbList.pull(reader, 1 if tag <= RepliableTag.HEARTBEAT_V1 else 2)
    if tag in RepliableData._TAGS:
        return RepliableData(sender_tag, surbs, reader.pull_rest())
    # Trailing bytes after the other two are ignored.
    if tag in AdditionalSurbs._TAGS:
        return AdditionalSurbs(sender_tag, surbs)
    return Heartbeat(sender_tag, surbs)


@dataclass(frozen=True, slots=True)
class ReplyData:
    """Application data sent by SURB."""

    data: bytes = field(repr=False)

    def body(self) -> bytes:
        return bytes((ReplyTag.DATA,)) + self.data


@dataclass(frozen=True, slots=True)
class SurbRequest:
    """``requester`` wants ``amount`` (u32) more reply SURBs sent to it."""

    requester: Recipient
    amount: int

    def body(self) -> bytes:
        return bytes((ReplyTag.SURB_REQUEST,)) + self.requester.to_bytes() + self.amount.to_bytes(4, "big")


def parse_reply(body: bytes) -> ReplyData | SurbRequest:
    """:raises MalformedError: unknown tag, empty data, or a request that has not exactly 100 bytes."""
    reader = Reader(body)
    tag = reader.pull_u8()
    if tag == ReplyTag.DATA:
        if not reader.remaining:
            raise MalformedError("empty reply")
        return ReplyData(reader.pull_rest())
    if tag == ReplyTag.SURB_REQUEST:
        request = SurbRequest(Recipient.from_bytes(reader.pull_bytes(96)), reader.pull_u32())
        reader.expect_end()
        return request
    raise MalformedError(f"{tag} is not a reply content")
