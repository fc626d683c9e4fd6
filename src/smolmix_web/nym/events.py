"""What the client tells the layer above."""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.message import MessageKind


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A whole message, exactly once.

    :ivar sender_tag: 16 bytes to answer with by ``reply``; None unless the sender made the message repliable.
    :ivar kind: PLAIN, REPLIABLE or REPLY.
    :ivar peer: for a REPLY: to whom the reply SURBs it came by had been given, so who wrote it.
    """

    data: bytes = field(repr=False)
    sender_tag: bytes | None = None
    kind: MessageKind = MessageKind.PLAIN
    peer: Recipient | None = None


@dataclass(frozen=True, slots=True)
class MessageDelivered:
    """Every fragment of the message was acknowledged: it reached the recipient's gateway."""

    message_id: int


@dataclass(frozen=True, slots=True)
class MessageAbandoned:
    """Some fragment of the message was given up. Others may have arrived."""

    message_id: int


NymEvent = MessageReceived | MessageDelivered | MessageAbandoned
