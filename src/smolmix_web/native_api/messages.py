"""Requests and responses of the native client's interface, apart from their two forms (1.2 and 1.5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from smolmix_web.errors import MalformedError
from smolmix_web.nym.addresses import Recipient


@dataclass(frozen=True, slots=True)
class Send:
    """A plain message. ``connection_id``: the lane it goes on, and that an answer is wanted."""

    recipient: Recipient
    data: bytes = field(repr=False)
    connection_id: int | None = None


@dataclass(frozen=True, slots=True)
class SendAnonymous:
    """A message that can be answered ``reply_surbs`` packets far."""

    recipient: Recipient
    data: bytes = field(repr=False)
    reply_surbs: int
    connection_id: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer to a sender tag of 16 bytes."""

    sender_tag: bytes
    data: bytes = field(repr=False)
    connection_id: int | None = None


@dataclass(frozen=True, slots=True)
class GetSelfAddress:
    pass


@dataclass(frozen=True, slots=True)
class ClosedConnection:
    """Packets of this lane that were not sent yet are not wanted any more."""

    connection_id: int


@dataclass(frozen=True, slots=True)
class GetLaneQueueLength:
    connection_id: int


Request = Send | SendAnonymous | Reply | GetSelfAddress | ClosedConnection | GetLaneQueueLength


@dataclass(frozen=True, slots=True)
class Received:
    """A message from the mixnet; no tag for plain messages and for replies."""

    data: bytes = field(repr=False)
    sender_tag: bytes | None = None


@dataclass(frozen=True, slots=True)
class SelfAddress:
    address: Recipient


@dataclass(frozen=True, slots=True)
class LaneQueueLength:
    connection_id: int
    length: int


class ErrorKind(IntEnum):
    EMPTY_REQUEST = 0x01
    TOO_SHORT_REQUEST = 0x02
    UNKNOWN_REQUEST = 0x03
    MALFORMED_REQUEST = 0x04
    OTHER = 0xFF

    @property
    def text(self) -> str:
        """As the text form spells it."""
        return {
            ErrorKind.EMPTY_REQUEST: "received request contained no data",
            ErrorKind.TOO_SHORT_REQUEST: "received request did not contain enough data",
            ErrorKind.UNKNOWN_REQUEST: "unknown request type",
            ErrorKind.MALFORMED_REQUEST: "malformed request",
            ErrorKind.OTHER: "other",
        }[self]


@dataclass(frozen=True, slots=True)
class Failure:
    kind: ErrorKind
    detail: str


Response = Received | SelfAddress | LaneQueueLength | Failure


class BadRequest(MalformedError):
    """A request that cannot be understood; the connection stays open."""

    def __init__(self, kind: ErrorKind, detail: str) -> None:
        super().__init__(f"{kind.text}: {detail}")
        self.failure = Failure(kind, detail)
