"""Answers kept for their time to live. Bounded; the oldest entry goes first."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """``addresses`` is empty for a name known not to exist."""

    addresses: tuple[str, ...]
    expires_at: float  # seconds on the caller's monotonic clock


class Cache:
    """Names to addresses.

    :param size: entries kept at most.
    :param max_negative: longest time a negative answer is kept, seconds (RFC 2308 section 5 advises limits).
    """

    def __init__(self, size: int = 256, max_negative: float = 60.0) -> None:
        self._size = size
        self._max_negative = max_negative
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, name: str, now: float) -> Entry | None:
        """The entry for ``name`` if it is still valid at ``now``."""
        entry = self._entries.get(name)
        if entry is not None and now >= entry.expires_at:
            del self._entries[name]
            return None
        return entry

    def put(self, name: str, addresses: tuple[str, ...], ttl: float, now: float) -> None:
        """Keep ``addresses`` (empty: no such name) for ``ttl`` seconds; a TTL of 0 is not kept."""
        if not addresses:
            ttl = min(ttl, self._max_negative)
        self._entries.pop(name, None)
        if ttl <= 0:
            return
        self._entries[name] = Entry(addresses, now + ttl)
        while len(self._entries) > self._size:
            self._entries.popitem(last=False)
