"""Reply SURBs of others: who gave how many, and when to ask for more (sphinx.md 25, 26).

This file decides; :mod:`.replier` acts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.outgoing import HeldSurb, OutgoingFragment
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.replies import SurbList
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.stats import ClientStats

EMPTY_LIFETIME = 300.0
"""Seconds after the last supply until an empty entry is removed."""


@dataclass(slots=True, eq=False)
class TagStock:
    """All we have from, and owe to, one sender tag.

    :ivar fresh: SURBs, oldest first. ``stale`` ones were there when the network changed its keys.
    :ivar pending: SURBs requested and not yet received.
    :ivar supplied_at: instant of the last SURBs.
    :ivar retransmissions: reply fragments that have been sent before and wait for a SURB.
    :ivar replies: reply fragments that wait for their first SURB.
    """

    sender_tag: bytes
    supplied_at: float
    fresh: deque[HeldSurb] = field(default_factory=deque)
    stale: deque[HeldSurb] = field(default_factory=deque)
    pending: int = 0
    rerequests: int = 0
    retransmissions: deque[OutgoingFragment] = field(default_factory=deque)
    replies: deque[OutgoingFragment] = field(default_factory=deque)

    @property
    def held(self) -> int:
        return len(self.fresh) + len(self.stale)

    @property
    def waiting(self) -> int:
        """Fragments that wait for SURBs."""
        return len(self.retransmissions) + len(self.replies)


class SurbStock:
    """The entries, in order of their last supply; totals are bounded by the configuration.

    :param evicted: called with an entry that had to go, so that what waits in it can be given up.
    """

    def __init__(self, config: ClientConfig, stats: ClientStats, evicted: Callable[[TagStock], None]) -> None:
        self._config = config
        self._stats = stats
        self._evicted = evicted
        self._entries: dict[bytes, TagStock] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[TagStock]:
        return iter(list(self._entries.values()))

    def get(self, sender_tag: bytes) -> TagStock | None:
        return self._entries.get(sender_tag)

    def supply(self, sender_tag: bytes, surbs: SurbList, now: float, *, requested: bool) -> TagStock:
        """Files SURBs that arrived (25.3). :param requested: they answer a request."""
        entry = self._entries.pop(sender_tag, None) or TagStock(sender_tag, now)
        self._entries[sender_tag] = entry
        self._stats.surbs_received += len(surbs.surbs)
        if requested:
            entry.pending = max(0, entry.pending - len(surbs.surbs))
        room = max(0, self._config.max_held_surbs_per_tag - entry.held)
        for surb in surbs.surbs[:room]:
            entry.fresh.append(HeldSurb(surb, surbs.rotation, now))
        self._stats.surbs_discarded += max(0, len(surbs.surbs) - room)
        self._stats.surbs_stock += min(len(surbs.surbs), room)
        surplus = len(entry.fresh) - self._config.surb_threshold
        while entry.stale and surplus > 0:
            entry.stale.popleft()
            surplus -= 1
            self._discarded(1)
        entry.supplied_at = now
        entry.rerequests = 0
        self._make_room(entry)
        return entry

    def _make_room(self, keep: TagStock) -> None:
        while (
            len(self._entries) > self._config.max_sender_tags
            or self._stats.surbs_stock > self._config.max_held_surbs
        ):
            entry = next(iter(self._entries.values()))
            if entry is keep:
                return
            self.remove(entry)
            self._evicted(entry)

    def take(self, entry: TagStock) -> HeldSurb:
        """The next SURB, fresh ones first. Look at ``held`` before."""
        self._stats.surbs_stock -= 1
        return entry.fresh.popleft() if entry.fresh else entry.stale.popleft()

    def put_back(self, sender_tag: bytes, surb: HeldSurb) -> None:
        """A SURB that was taken and not used."""
        entry = self._entries.get(sender_tag)
        if entry is not None:
            entry.fresh.appendleft(surb)
            self._stats.surbs_stock += 1

    def remove(self, entry: TagStock) -> None:
        if self._entries.pop(entry.sender_tag, None) is not None:
            self._discarded(entry.held)

    def spendable(self, entry: TagStock) -> int:
        """SURBs that replies may use now: those above the reserve."""
        return max(0, entry.held - self._config.surb_threshold)

    def wanted(self, entry: TagStock) -> int:
        """How many SURBs to request now, 0 for none (25.2)."""
        config = self._config
        have = entry.pending + len(entry.fresh)
        need = entry.waiting + config.threshold_buffer
        if have >= config.max_surb_threshold or have >= need + config.surb_threshold:
            return 0
        return min(config.max_surb_request, max(need, config.min_surb_request))

    def is_stalled(self, entry: TagStock, now: float) -> bool:
        """Whether fragments wait and no SURBs came for so long that a request must have been lost."""
        return entry.waiting > 0 and now - entry.supplied_at > self._config.rerequest_wait

    def is_hopeless(self, entry: TagStock, now: float) -> bool:
        """Whether fragments wait in vain (25.5)."""
        return entry.waiting > 0 and (
            now - entry.supplied_at > self._config.drop_wait or entry.rerequests > self._config.max_rerequests
        )

    def mark_stale(self, entry: TagStock) -> int:
        """The network changed its keys: returns how many SURBs have to be replaced."""
        moved = len(entry.fresh)
        entry.stale.extend(entry.fresh)
        entry.fresh.clear()
        return moved

    def purge(
        self,
        info: KeyRotationInfo,
        now: float,
        unix_time: float,
        topology_epoch: tuple[int, float] | None,
    ) -> None:
        """Throws away SURBs that the network will not carry any more (26).

        :param topology_epoch: epoch id and ``refreshed_at`` of the topology. Where they contradict the
            clock, one of the two is wrong, and only SURBs that are too old for any clock go.
        """
        if topology_epoch is not None and not info.agrees_with(*topology_epoch):
            self._purge_older_than(now - info.packet_lifetime)
            return
        rotation_id = info.rotation_at(unix_time)
        start = info.rotation_start(rotation_id) - unix_time + now
        oldest = start - info.epoch_duration
        self._purge_older_than(oldest, KeyRotation.EVEN if rotation_id & 1 else KeyRotation.ODD)
        for entry in self:
            if now > start + info.epoch_duration:
                self._discarded(len(entry.stale))
                entry.stale.clear()
            is_empty = not entry.held and not entry.pending and not entry.waiting
            if entry.supplied_at < oldest or (is_empty and now - entry.supplied_at > EMPTY_LIFETIME):
                self.remove(entry)
                self._evicted(entry)

    def _purge_older_than(self, oldest: float, wrong: KeyRotation | None = None) -> None:
        for entry in self:
            entry.fresh = self._keep(entry.fresh, oldest, wrong)
            entry.stale = self._keep(entry.stale, oldest, wrong)

    def _keep(self, surbs: deque[HeldSurb], oldest: float, wrong: KeyRotation | None) -> deque[HeldSurb]:
        kept = deque(surb for surb in surbs if surb.received_at >= oldest and surb.rotation is not wrong)
        self._discarded(len(surbs) - len(kept))
        return kept

    def _discarded(self, count: int) -> None:
        self._stats.surbs_stock -= count
        self._stats.surbs_discarded += count
