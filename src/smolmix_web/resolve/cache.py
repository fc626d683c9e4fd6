"""Answers kept for their time to live. Bounded; the oldest entry goes first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from smolmix_web.resolve.message import RecordType

Key = tuple[str, RecordType]


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one name and record type."""

    addresses: tuple[str, ...]
    """Empty where there are none."""

    expires_at: float
    """Seconds on the caller's monotonic clock."""

    exists: bool = True
    """False: there is no such name, with any record."""


class Cache:
    """Names and record types to addresses.

    :param size: entries kept at most.
    :param max_negative: longest time a negative answer is kept, seconds (RFC 2308 section 5 advises limits).
    """

    def __init__(self, size: int = 512, max_negative: float = 60.0) -> None:
        self._size = size
        self._max_negative = max_negative
        self._entries: OrderedDict[Key, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: float) -> Entry | None:
        """The entry if it is still valid at ``now``."""
        entry = self._entries.get(key)
        if entry is not None and now >= entry.expires_at:
            del self._entries[key]
            return None
        return entry

    def put(self, key: Key, entry: Entry, now: float) -> None:
        """Keep an entry; one whose time is over already is not kept."""
        if not entry.addresses:
            entry = Entry((), min(entry.expires_at, now + self._max_negative), entry.exists)
        self._entries.pop(key, None)
        if entry.expires_at <= now:
            return
        self._entries[key] = entry
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
