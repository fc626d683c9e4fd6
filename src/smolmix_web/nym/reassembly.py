"""From fragments back to messages (sphinx.md 15.5).

Fragments come in any order, more than once, and from strangers. A set is complete when all its positions are
there; a message when the whole chain of sets is. Sets are told apart by their id *and* by how they came
(``origin``), so that a stranger who guesses an id cannot slip a fragment into an answer that travels on our
own reply SURBs.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from smolmix_web.nym.fragments import Fragment

IDLE_LIFETIME = 30 * 60.0
"""Seconds after which a set that got no new fragment is dropped (15.5)."""
CLEANUP_INTERVAL = 10.0
"""Seconds between two looks for idle sets."""

_SET_COST, _SLOT_COST, _PART_COST = 400, 8, 40
"""Bytes that a set, a place in it and a fragment cost beside the payload, roughly (CPython, 64 bit)."""

_Key = tuple[Hashable, int]


@dataclass(slots=True)
class ReassemblyStats:
    """Counters; ``sets`` and ``buffered`` (bytes) are what is held right now."""

    completed: int = 0
    duplicates: int = 0
    conflicting: int = 0
    late: int = 0
    expired: int = 0
    evicted: int = 0
    sets: int = 0
    buffered: int = 0


@dataclass(slots=True)
class _FragmentSet:
    total: int
    touched: float
    parts: list[bytes | None] = field(init=False)
    missing: int = field(init=False)
    size: int = field(init=False)
    previous_set: int | None = None
    next_set: int | None = None

    def __post_init__(self) -> None:
        self.parts = [None] * self.total
        self.missing = self.total
        self.size = _SET_COST + _SLOT_COST * self.total


class Reassembler:
    """Feed it with :meth:`insert`; memory never exceeds the two limits.

    :param max_buffered: bytes of payload held for incomplete messages; beyond it the sets that waited longest
        are given up.
    :param remembered_sets: ids of finished sets remembered at least, to recognise late copies. The published
        client remembers all of them for ever.
    """

    def __init__(self, *, max_buffered: int = 32 << 20, remembered_sets: int = 65536) -> None:
        self.stats = ReassemblyStats()
        self._max_buffered = max_buffered
        self._remembered = remembered_sets
        # In order of the last new fragment, so that the first one is the stalest.
        self._sets: dict[_Key, _FragmentSet] = {}
        # Two generations: when the young one is full it becomes the old one.
        self._finished: set[_Key] = set()
        self._finished_before: set[_Key] = set()
        self._next_cleanup = 0.0

    def insert(self, fragment: Fragment, now: float, origin: Hashable = None) -> bytes | None:
        """The padded message that this fragment completes, if any. A bad fragment is counted and dropped.

        :param origin: what the fragment came by; sets of different origins never mix.
        """
        if now >= self._next_cleanup:
            self._drop_idle(now)
        key = (origin, fragment.set_id)
        if key in self._finished or key in self._finished_before:
            self.stats.late += 1
            return None
        held = self._sets.get(key)
        if held is None:
            held = _FragmentSet(fragment.total, now)
            self.stats.buffered += held.size
        elif held.total != fragment.total:
            # One of the two lies, and nothing tells which; the first one stays.
            self.stats.conflicting += 1
            return None
        elif held.parts[fragment.position - 1] is not None:
            self.stats.duplicates += 1
            return None
        self._store(key, held, fragment, now)
        if held.missing:
            self._evict(keep=key)
            return None
        return self._finish(origin, fragment.set_id)

    def _store(self, key: _Key, held: _FragmentSet, fragment: Fragment, now: float) -> None:
        held.parts[fragment.position - 1] = fragment.payload
        held.missing -= 1
        held.touched = now
        # A payload may be empty, and still costs.
        held.size += len(fragment.payload) + _PART_COST
        self.stats.buffered += len(fragment.payload) + _PART_COST
        if fragment.previous_set is not None:
            held.previous_set = fragment.previous_set
        if fragment.next_set is not None:
            held.next_set = fragment.next_set
        self._sets.pop(key, None)
        self._sets[key] = held
        self.stats.sets = len(self._sets)

    def _finish(self, origin: Hashable, set_id: int) -> bytes | None:
        """Delivers the chain around a complete set, if it is complete too."""
        ids = [set_id]
        first = last = self._sets[origin, set_id]
        while (link := first.previous_set) is not None:
            before = self._complete(origin, link)
            if before is None:
                return None
            if before.next_set != ids[0] or link in ids:
                self._break_chain(origin, [*ids, link])
                return None
            ids.insert(0, link)
            first = before
        while (link := last.next_set) is not None:
            behind = self._complete(origin, link)
            if behind is None:
                return None
            if behind.previous_set != ids[-1] or link in ids:
                self._break_chain(origin, [*ids, link])
                return None
            ids.append(link)
            last = behind
        parts: list[bytes] = []
        for member in ids:
            parts.extend(part for part in self._sets[origin, member].parts if part is not None)
            self._remove((origin, member))
            self._remember((origin, member))
        self.stats.completed += 1
        return b"".join(parts)

    def _complete(self, origin: Hashable, set_id: int) -> _FragmentSet | None:
        held = self._sets.get((origin, set_id))
        return held if held is not None and not held.missing else None

    def _break_chain(self, origin: Hashable, ids: list[int]) -> None:
        """Links that contradict each other can never become a message."""
        self.stats.conflicting += 1
        for set_id in ids:
            self._remove((origin, set_id))

    def _remember(self, key: _Key) -> None:
        if len(self._finished) >= self._remembered:
            self._finished_before = self._finished
            self._finished = set()
        self._finished.add(key)

    def _remove(self, key: _Key) -> None:
        held = self._sets.pop(key, None)
        if held is not None:
            self.stats.buffered -= held.size
            self.stats.sets = len(self._sets)

    def _evict(self, keep: _Key) -> None:
        while self.stats.buffered > self._max_buffered and len(self._sets) > 1:
            stalest = next(iter(self._sets))
            if stalest == keep:
                return
            self._remove(stalest)
            self.stats.evicted += 1

    def _drop_idle(self, now: float) -> None:
        self._next_cleanup = now + CLEANUP_INTERVAL
        while self._sets:
            stalest = next(iter(self._sets))
            if now - self._sets[stalest].touched <= IDLE_LIFETIME:
                return
            self._remove(stalest)
            self.stats.expired += 1
