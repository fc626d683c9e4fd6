"""Puts reply SURBs and data together into repliable messages (sphinx.md 19.3, 20.1, 25.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from smolmix_web.errors import CryptoError
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.fragments import choose_size, count_fragments, fragment_length
from smolmix_web.nym.lanes import ADDITIONAL_SURBS, Lane
from smolmix_web.nym.outbox import Outbox
from smolmix_web.nym.preparer import PacketPreparer
from smolmix_web.nym.replies import SENDER_TAG_LENGTH, AdditionalSurbs, RepliableData, SurbList, surb_length
from smolmix_web.nym.surb_issuer import Peer, SurbIssuer
from smolmix_web.nym.topology import NoRouteError

_OVERHEAD = 1 + SENDER_TAG_LENGTH + 1 + 4
"""Bytes of a repliable message beside its SURBs and data: kind, tag, content tag, list head."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """A message whose reply SURBs are yet to be made."""

    message_id: int
    recipient: Recipient
    data: bytes = field(repr=False)
    reply_surbs: int
    max_retransmissions: int | None
    lane: Lane


class Composer:
    """Messages go straight to the outbox, or wait here, in order, for a topology to route their SURBs by."""

    def __init__(
        self, config: ClientConfig, preparer: PacketPreparer, issuer: SurbIssuer, outbox: Outbox
    ) -> None:
        self._config = config
        self._preparer = preparer
        self._issuer = issuer
        self._outbox = outbox
        self._drafts: deque[_Draft] = deque()

    def send(
        self,
        recipient: Recipient,
        data: bytes,
        now: float,
        *,
        message_id: int,
        reply_surbs: int,
        max_retransmissions: int | None,
        lane: Lane,
    ) -> None:
        self._drafts.append(_Draft(message_id, recipient, data, reply_surbs, max_retransmissions, lane))
        self.flush(now)

    def queued(self) -> int:
        """Packets that the waiting messages will become, roughly."""
        unit = fragment_length(self._config.primary_size)
        return sum(1 + len(draft.data) // unit for draft in self._drafts)

    def flush(self, now: float) -> None:
        """Composes what waits, as far as SURBs can be made."""
        while self._drafts:
            draft = self._drafts[0]
            peer = self._issuer.peer(draft.recipient)
            count = draft.reply_surbs + self._surbs_for_free(peer, draft)
            try:
                surbs = self._issuer.issue(peer, count, now) if count else SurbList()
            except (NoRouteError, CryptoError):
                return
            self._drafts.popleft()
            fragments = self._outbox.create(
                RepliableData(peer.sender_tag, surbs, draft.data),
                lane=draft.lane,
                max_retransmissions=draft.max_retransmissions,
                recipient=draft.recipient,
                message_id=draft.message_id,
            )
            for fragment in fragments:
                self._outbox.enqueue(fragment, now)

    def _surbs_for_free(self, peer: Peer, draft: _Draft) -> int:
        """SURBs that fit where padding would be, if the peer may need them."""
        config = self._config
        room = config.fill_surbs_up_to - peer.believed_stock - draft.reply_surbs
        if not config.fill_surbs or room <= 0 or not self._preparer.is_ready:
            return 0
        if self._preparer.surb_version != 259:
            return 0
        one = surb_length(1 if config.disable_mix_hops else 4)
        length = _OVERHEAD + draft.reply_surbs * one + len(draft.data) + 1
        size = choose_size(length, config.primary_size, config.secondary_size)
        free = count_fragments(length, fragment_length(size))[1]
        return min(room, free // one)

    def answer_requests(self, now: float) -> None:
        """Makes a few of the SURBs that others requested, and sends them once a message is full."""
        if not self._preparer.is_ready:
            return
        try:
            finished = self._issuer.work(now)
        except (NoRouteError, CryptoError):
            return
        if finished is None:
            return
        peer, surbs = finished
        fragments = self._outbox.create(
            AdditionalSurbs(peer.sender_tag, surbs),
            lane=ADDITIONAL_SURBS,
            max_retransmissions=None,
            recipient=peer.recipient,
        )
        for fragment in fragments:
            self._outbox.enqueue(fragment, now)

    def waiting_in(self, lane: Lane) -> int:
        """Messages waiting that will go on ``lane``."""
        return sum(draft.lane == lane for draft in self._drafts)

    def drop_lane(self, lane: Lane) -> None:
        self._drafts = deque(draft for draft in self._drafts if draft.lane != lane)

    def forget(self, recipient: Recipient) -> None:
        self._drafts = deque(draft for draft in self._drafts if draft.recipient != recipient)
