"""Fragments on their way out, and the messages they belong to."""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.lanes import Lane
from smolmix_web.nym.packets import KeyRotation, PacketSize
from smolmix_web.nym.replies import ReplySurb


@dataclass(slots=True, eq=False)
class HeldSurb:
    """A reply SURB of somebody else. ``received_at`` is on the engine's clock."""

    surb: ReplySurb = field(repr=False)
    rotation: KeyRotation
    received_at: float


@dataclass(slots=True, eq=False)
class OutgoingMessage:
    """:ivar unacknowledged: fragments neither acknowledged nor given up."""

    message_id: int
    unacknowledged: int
    failed: bool = False


@dataclass(slots=True, eq=False)
class OutgoingFragment:
    """One fragment from ``send`` until its ack. It is encrypted anew for each transmission.

    :ivar identifier: the 5 bytes that its ack brings back.
    :ivar recipient: where it goes, for anything but a reply.
    :ivar sender_tag: whom it answers, for a reply.
    :ivar surb: the reply SURB set aside for the next transmission of a reply.
    :ivar keeps_reserve: whether a retransmission leaves the reserve of SURBs alone (a SURB request does not).
    :ivar lane: where it waits now; changes to the retransmission lane.
    :ivar queued: whether it waits in the queue right now.
    :ivar deadline: when it counts as lost, infinite while no timer runs.
    :ivar sent_at: instant of the last transmission; ``sent_before_at`` of the one before.
    :ivar expected_delay: seconds that the last transmission and its ack should spend at mix nodes;
        ``expected_before`` of the one before.
    """

    message: OutgoingMessage
    identifier: bytes
    data: bytes = field(repr=False)
    size: PacketSize
    lane: Lane
    max_retransmissions: int | None
    recipient: Recipient | None = None
    sender_tag: bytes | None = None
    surb: HeldSurb | None = None
    keeps_reserve: bool = True
    retransmissions: int = 0
    queued: bool = False
    cancelled: bool = False
    deadline: float = 0.0
    sent_at: float | None = None
    sent_before_at: float | None = None
    expected_delay: float = 0.0
    expected_before: float = 0.0
