"""Messages on their way out: cut, queued, waiting for acks, given up (sphinx.md 20, 23)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smolmix_web.nym.ack_timing import AckTiming
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageAbandoned, MessageDelivered
from smolmix_web.nym.fragments import fragment_identifier, new_set_id, split
from smolmix_web.nym.lanes import RETRANSMISSION, Lane, LaneQueue
from smolmix_web.nym.message import NymMessage, encode_message, pad
from smolmix_web.nym.outgoing import OutgoingFragment, OutgoingMessage
from smolmix_web.nym.randomness import RandomBytes
from smolmix_web.nym.retransmission import PendingAcks
from smolmix_web.nym.stats import ClientStats


class Outbox:
    """A fragment is created, queued, popped by the pace, sent, and then acknowledged or sent again.

    :param emit: takes delivery events, if the configuration wants any.
    """

    def __init__(
        self,
        config: ClientConfig,
        stats: ClientStats,
        random_bytes: RandomBytes,
        emit: Callable[[MessageDelivered | MessageAbandoned], None],
    ) -> None:
        self._config = config
        self._stats = stats
        self._random_bytes = random_bytes
        self._emit = emit
        self.queue: LaneQueue[OutgoingFragment] = LaneQueue(random_bytes)
        self.ack_timing = AckTiming(config.ack_wait_multiplier, config.ack_wait_addition)
        self.pending = PendingAcks(self.ack_timing)
        self._last_message_id = 0

    def new_message_id(self) -> int:
        self._last_message_id += 1
        return self._last_message_id

    def create(
        self,
        message: NymMessage,
        *,
        lane: Lane,
        max_retransmissions: int | None,
        recipient: Recipient | None = None,
        sender_tag: bytes | None = None,
        message_id: int | None = None,
    ) -> list[OutgoingFragment]:
        """The fragments of a message, not queued yet."""
        config = self._config
        padded, size = pad(encode_message(message), config.primary_size, config.secondary_size)
        pieces = list(split(padded, size, self._set_ids()))
        outgoing = OutgoingMessage(message_id or self.new_message_id(), len(pieces))
        self._stats.messages_sent += 1
        return [
            OutgoingFragment(
                outgoing,
                piece.identifier,
                piece.to_bytes(),
                size,
                lane,
                max_retransmissions,
                recipient=recipient,
                sender_tag=sender_tag,
            )
            for piece in pieces
        ]

    def _set_ids(self) -> Iterator[int]:
        used: set[int] = set()
        while True:
            set_id = new_set_id(self._random_bytes)
            if set_id not in used and fragment_identifier(set_id, 1) not in self.pending:
                used.add(set_id)
                yield set_id

    def enqueue(self, fragment: OutgoingFragment, now: float) -> None:
        fragment.queued = True
        self.queue.push(fragment, now)

    def pop(self, now: float) -> OutgoingFragment | None:
        fragment = self.queue.pop(now)
        if fragment is not None:
            fragment.queued = False
        return fragment

    def sent(self, fragment: OutgoingFragment, expected_delay_ns: int, now: float) -> None:
        """It left, or could not be routed: in both cases it will come back unless an ack arrives."""
        self.pending.sent(fragment, expected_delay_ns, now)
        while len(self.pending) > self._config.max_unacknowledged:
            oldest = self.pending.oldest()
            assert oldest is not None
            self.abandon(oldest)

    def acknowledge(self, identifier: bytes, now: float) -> OutgoingFragment | None:
        """The fragment whose ack came; it is out of the queue too. None if it is not known any more."""
        fragment = self.pending.acknowledge(identifier, now)
        if fragment is None:
            return None
        self._unqueue(fragment)
        message = fragment.message
        message.unacknowledged -= 1
        if not message.unacknowledged and not message.failed and self._config.delivery_events:
            self._emit(MessageDelivered(message.message_id))
        return fragment

    def take_lost(self, now: float) -> list[OutgoingFragment]:
        """Fragments whose ack is overdue and that may be sent again; others are given up here."""
        lost = []
        for fragment in self.pending.take_expired(now):
            if self._is_exhausted(fragment):
                self.abandon(fragment)
                continue
            fragment.retransmissions += 1
            fragment.lane = RETRANSMISSION
            self._stats.retransmissions += 1
            lost.append(fragment)
        return lost

    def _is_exhausted(self, fragment: OutgoingFragment) -> bool:
        limits = (fragment.max_retransmissions, self._config.max_retransmissions)
        return any(limit is not None and fragment.retransmissions >= limit for limit in limits)

    def abandon(self, fragment: OutgoingFragment) -> None:
        """Forget it, wherever it is."""
        self.pending.forget(fragment)
        self._unqueue(fragment)
        self._stats.abandoned += 1
        message = fragment.message
        message.unacknowledged -= 1
        if not message.failed:
            message.failed = True
            if self._config.delivery_events:
                self._emit(MessageAbandoned(message.message_id))

    def _unqueue(self, fragment: OutgoingFragment) -> None:
        if fragment.queued:
            fragment.queued = False
            self.queue.cancel(fragment)
        else:
            fragment.cancelled = True

    def abandon_where(self, predicate: Callable[[OutgoingFragment], bool]) -> list[OutgoingFragment]:
        """Forgets all queued and unacknowledged fragments that fit; returns them."""
        found = {id(f): f for f in (*self.queue, *self.pending.fragments()) if predicate(f)}
        for fragment in found.values():
            self.abandon(fragment)
        return list(found.values())
