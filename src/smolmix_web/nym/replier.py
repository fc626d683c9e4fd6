"""Answering by sender tag: one reply SURB per fragment, and asking for more of them (sphinx.md 20.2, 25)."""

from __future__ import annotations

import math

from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.lanes import SURB_REQUEST, Lane
from smolmix_web.nym.outbox import Outbox
from smolmix_web.nym.outgoing import OutgoingFragment
from smolmix_web.nym.replies import SurbList, SurbRequest
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.stats import ClientStats
from smolmix_web.nym.surb_stock import SurbStock, TagStock
from smolmix_web.nym.topology import Topology

CHECK_INTERVAL = 5.0
"""Seconds between two looks for replies that wait in vain."""


class Replier:
    """Puts SURBs and reply fragments together and hands both to the outbox.

    :param address: ours; a SURB request must name it.
    """

    def __init__(self, address: Recipient, config: ClientConfig, stats: ClientStats, outbox: Outbox) -> None:
        self._address = address
        self._config = config
        self._stats = stats
        self._outbox = outbox
        self._next_check = 0.0
        self.stock = SurbStock(config, stats, self._give_up_waiting)

    def reply(self, sender_tag: bytes, fragments: list[OutgoingFragment], now: float) -> None:
        """Sends what the stock allows and lets the rest wait. Without any stock all is dropped."""
        entry = self.stock.get(sender_tag)
        if entry is None or entry.waiting + len(fragments) > self._config.max_waiting_fragments:
            self._drop(fragments)
            return
        entry.replies.extend(fragments)
        self._spend(entry, now)
        self._request_if_short(entry, now)

    def supply(self, sender_tag: bytes, surbs: SurbList, now: float, *, requested: bool) -> None:
        """SURBs arrived (25.3)."""
        if surbs.surbs or requested:
            entry = self.stock.supply(sender_tag, surbs, now, requested=requested)
            self._spend(entry, now)
            self._request_if_short(entry, now)

    def retransmit(self, fragment: OutgoingFragment, now: float) -> None:
        """A lost reply fragment needs a new SURB."""
        assert fragment.sender_tag is not None
        entry = self.stock.get(fragment.sender_tag)
        if entry is None:
            self._drop([fragment])
            return
        if fragment.surb is not None:  # it was never sent
            self._outbox.enqueue(fragment, now)
        elif entry.held >= (self._config.surb_threshold if fragment.keeps_reserve else 1):
            self._send(entry, fragment, now)
        else:
            entry.retransmissions.append(fragment)
            self._request_if_short(entry, now)

    def forget(self, fragment: OutgoingFragment) -> None:
        """The fragment was acknowledged: nothing of it needs to wait here, and its SURB is free again."""
        if fragment.sender_tag is None:
            return
        if fragment.surb is not None:
            self.stock.put_back(fragment.sender_tag, fragment.surb)
            fragment.surb = None
        entry = self.stock.get(fragment.sender_tag)
        if entry is not None and fragment in entry.retransmissions:
            entry.retransmissions.remove(fragment)

    def waiting_in(self, lane: Lane) -> list[OutgoingFragment]:
        """Fragments of ``lane`` that wait for their first SURB."""
        return [fragment for entry in self.stock for fragment in entry.replies if fragment.lane == lane]

    def drop_lane(self, lane: Lane) -> None:
        """What waits on ``lane`` will not be sent."""
        for entry in self.stock:
            dropped = [fragment for fragment in entry.replies if fragment.lane == lane]
            for fragment in dropped:
                entry.replies.remove(fragment)
            self._drop(dropped)

    def poll_at(self) -> float:
        """Instant of the next look, ``math.inf`` while there is nobody to answer."""
        return self._next_check if len(self.stock) else math.inf

    def handle_timer(self, now: float) -> None:
        """Repeats requests that seem lost, and drops replies that wait in vain (25.5)."""
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        for entry in self.stock:
            if self.stock.is_hopeless(entry, now):
                self._give_up_waiting(entry)
            elif self.stock.is_stalled(entry, now):
                entry.rerequests += 1
                entry.pending = 0
                self._request_if_short(entry, now)

    def refresh(self, now: float) -> None:
        """The network changed its keys: let everybody replace what they gave us (26)."""
        for entry in self.stock:
            moved = self.stock.mark_stale(entry)
            if moved:
                self._request(entry, moved, now)

    def purge(self, info: KeyRotationInfo, topology: Topology | None, now: float, unix_time: float) -> None:
        epoch = (topology.epoch_id, topology.refreshed_at) if topology is not None else None
        self.stock.purge(info, now, unix_time, epoch)

    def _spend(self, entry: TagStock, now: float) -> None:
        """Retransmissions first, both down to the reserve."""
        for _ in range(min(self.stock.spendable(entry), entry.waiting)):
            waiting = entry.retransmissions or entry.replies
            self._send(entry, waiting.popleft(), now)

    def _send(self, entry: TagStock, fragment: OutgoingFragment, now: float) -> None:
        fragment.surb = self.stock.take(entry)
        self._outbox.enqueue(fragment, now)

    def _request_if_short(self, entry: TagStock, now: float) -> None:
        amount = self.stock.wanted(entry)
        if amount:
            self._request(entry, amount, now)

    def _request(self, entry: TagStock, amount: int, now: float) -> None:
        """Costs one SURB, from the reserve if need be. Without any we can only hope for new ones."""
        if not entry.held:
            return
        fragments = self._outbox.create(
            SurbRequest(self._address, amount),
            lane=SURB_REQUEST,
            max_retransmissions=self._config.reply_max_retransmissions,
            sender_tag=entry.sender_tag,
        )
        for fragment in fragments:  # one: a request fits every packet size
            fragment.keeps_reserve = False
            self._send(entry, fragment, now)
        entry.pending += amount
        self._stats.surbs_requested += amount

    def _give_up_waiting(self, entry: TagStock) -> None:
        waiting = [*entry.retransmissions, *entry.replies]
        entry.retransmissions.clear()
        entry.replies.clear()
        self._drop(waiting)

    def _drop(self, fragments: list[OutgoingFragment]) -> None:
        self._stats.replies_dropped += len(fragments)
        for fragment in fragments:
            self._outbox.abandon(fragment)
