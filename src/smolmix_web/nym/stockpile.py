"""When a quiet client makes headers and reply SURBs for the next burst.

A download's first megabyte takes some 700 reply SURBs and 250 packets, and what they cost is nearly all
public-key arithmetic that could have been done in the quiet before. So once nothing has happened for a
moment, the pools are filled beyond what steady traffic needs, a few items at a time with a pause after each
few: who wakes up meanwhile waits for a few milliseconds at most, and the processor is left to others half of
the time.
"""

from __future__ import annotations

import math

from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.preparer import PacketPreparer
from smolmix_web.nym.stats import ClientStats

QUIET = 0.5
"""Seconds without a packet of ours after which the work begins."""
PAUSE = 0.006
"""Seconds between two slices, about as long as one takes in a page."""
SLICE = 6
"""Items made at a time, each up to about a millisecond of work."""
BUSY = 24
"""Packets between two times of quiet that promise more of them. A keep-alive and its answer have fewer."""
INTEREST = 120.0
"""Seconds after such a time during which the stock is kept up; later it would be made for nobody."""
BEFORE_CHANGE = 60.0
"""Seconds before a change of keys during which nothing more is made for the old ones."""


class Stockpile:
    """Calling order: :meth:`observe` after whatever may have moved packets, :meth:`work` once
    :attr:`due_at` has come.
    """

    def __init__(self, config: ClientConfig, stats: ClientStats, preparer: PacketPreparer) -> None:
        self._is_wanted = config.burst_surbs > 0 or config.burst_headers > 0
        self._stats = stats
        self._preparer = preparer
        self._count = 0
        self._quiet_count = 0
        self._active_at = -math.inf
        # The first session counts as busy: somebody has just opened it.
        self._interest_ends = math.inf
        self.due_at = math.inf
        """When to call :meth:`work` next."""

    def observe(self, now: float) -> None:
        """Looks whether packets of ours came or went. Cover does not count: it never ends."""
        stats = self._stats
        count = stats.real_sent + stats.acks_received + stats.fragments_received
        if count == self._count or not self._is_wanted:
            return
        if now - self._active_at > QUIET:
            self._quiet_count = self._count
        if self._interest_ends == math.inf or count - self._quiet_count >= BUSY:
            self._interest_ends = now + INTEREST
        self._count, self._active_at = count, now
        self.due_at = now + QUIET

    def renew(self, now: float) -> None:
        """The topology changed: what was there may be gone."""
        if self._is_wanted and self._active_at > -math.inf:
            self.due_at = max(now, self._active_at) + QUIET

    def work(self, now: float, keys_change_at: float) -> None:
        """One slice, if it is time for one.

        :param keys_change_at: when the network's keys change next, on the same clock; infinite if not known.
        """
        if now < self.due_at:
            return
        is_worth = now < min(self._interest_ends, keys_change_at - BEFORE_CHANGE)
        made = self._preparer.stock_up(now, SLICE, INTEREST) if is_worth else 0
        self.due_at = now + PAUSE if made == SLICE else math.inf
