"""Fragments that wait for their ack, and when they count as lost (sphinx.md 23)."""

from __future__ import annotations

import heapq
import math

from smolmix_web.nym.ack_timing import AckTiming
from smolmix_web.nym.outgoing import OutgoingFragment

MAX_DOUBTFUL = 256
"""Fragments of which a second ack would tell something; the oldest are forgotten."""


class PendingAcks:
    """Order of calls per fragment: ``sent`` whenever it leaves, ``take_expired`` gives it back when no ack
    came in time, ``acknowledge`` or ``forget`` ends it.
    """

    def __init__(self, timing: AckTiming) -> None:
        self._timing = timing
        # Fragments sent more than once and acknowledged once: how slow the last but one transmission was, if
        # it was that which brought the ack.
        self._doubtful: dict[bytes, float] = {}
        self._fragments: dict[bytes, OutgoingFragment] = {}
        # Entries go stale when a fragment is sent again or forgotten; its ``deadline`` tells.
        self._timers: list[tuple[float, bytes]] = []

    def __len__(self) -> int:
        return len(self._fragments)

    def __contains__(self, identifier: bytes) -> bool:
        return identifier in self._fragments

    def sent(self, fragment: OutgoingFragment, expected_delay_ns: int, now: float) -> None:
        """Starts the timer: the packet has just left towards the gateway."""
        self._fragments[fragment.identifier] = fragment
        fragment.sent_before_at, fragment.sent_at = fragment.sent_at, now
        fragment.expected_before, fragment.expected_delay = fragment.expected_delay, expected_delay_ns * 1e-9
        fragment.deadline = now + self._timing.wait(fragment.expected_delay)
        heapq.heappush(self._timers, (fragment.deadline, fragment.identifier))

    def acknowledge(self, identifier: bytes, now: float) -> OutgoingFragment | None:
        """The fragment, which waits no longer; None if it is not known (any more)."""
        fragment = self._fragments.pop(identifier, None)
        if fragment is None:
            overhead = self._doubtful.pop(identifier, None)
            if overhead is not None:
                self._timing.acknowledged(overhead)
        elif fragment.sent_before_at is not None:
            self._doubtful[identifier] = now - fragment.sent_before_at - fragment.expected_before
            if len(self._doubtful) > MAX_DOUBTFUL:
                del self._doubtful[next(iter(self._doubtful))]
        elif fragment.sent_at is not None:
            self._timing.acknowledged(now - fragment.sent_at - fragment.expected_delay)
        return fragment

    def forget(self, fragment: OutgoingFragment) -> None:
        if self._fragments.get(fragment.identifier) is fragment:
            del self._fragments[fragment.identifier]

    def oldest(self) -> OutgoingFragment | None:
        return next(iter(self._fragments.values()), None)

    def fragments(self) -> list[OutgoingFragment]:
        return list(self._fragments.values())

    def poll_at(self) -> float:
        """Instant of the next expiry, ``math.inf`` for none."""
        timers = self._timers
        while timers and not self._is_current(*timers[0]):
            heapq.heappop(timers)
        return timers[0][0] if timers else math.inf

    def take_expired(self, now: float) -> list[OutgoingFragment]:
        """Fragments whose time is over. They stay pending, without a timer, until sent again."""
        expired = []
        while self.poll_at() <= now:
            _, identifier = heapq.heappop(self._timers)
            fragment = self._fragments[identifier]
            fragment.deadline = math.inf
            expired.append(fragment)
        return expired

    def _is_current(self, deadline: float, identifier: bytes) -> bool:
        fragment = self._fragments.get(identifier)
        return fragment is not None and fragment.deadline == deadline
