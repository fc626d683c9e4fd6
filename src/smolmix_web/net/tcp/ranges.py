"""A set of half-open integer ranges: SACK islands on either side of a connection."""

from __future__ import annotations

from bisect import bisect_left, bisect_right


class RangeSet:
    """Disjoint, non-touching ranges in order. All operations but the list shifts are logarithmic."""

    __slots__ = ("ends", "starts")

    def __init__(self) -> None:
        self.starts: list[int] = []
        self.ends: list[int] = []

    def __len__(self) -> int:
        return len(self.starts)

    def __iter__(self) -> zip[tuple[int, int]]:
        return zip(self.starts, self.ends, strict=True)

    def add(self, start: int, end: int) -> tuple[int, int]:
        """Add ``[start, end)``; the range that now holds it."""
        first = bisect_left(self.ends, start)
        last = bisect_right(self.starts, end)
        if first < last:
            start = min(start, self.starts[first])
            end = max(end, self.ends[last - 1])
        self.starts[first:last] = [start]
        self.ends[first:last] = [end]
        return start, end

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of ``[start, end)`` that are not in the set."""
        out = []
        index = bisect_right(self.ends, start)
        while start < end:
            if index == len(self.starts) or self.starts[index] >= end:
                out.append((start, end))
                break
            if self.starts[index] > start:
                out.append((start, self.starts[index]))
            start = self.ends[index]
            index += 1
        return out

    def count(self, start: int, end: int) -> int:
        """How many ranges overlap or touch ``[start, end)``."""
        return bisect_right(self.starts, end) - bisect_left(self.ends, start)

    def find(self, position: int) -> tuple[int, int] | None:
        """The range that holds ``position``."""
        index = bisect_right(self.starts, position) - 1
        if index >= 0 and position < self.ends[index]:
            return self.starts[index], self.ends[index]
        return None

    def discard_below(self, position: int) -> None:
        """Forget everything before ``position``."""
        count = bisect_right(self.ends, position)
        if count:
            del self.starts[:count], self.ends[:count]
        if self.starts and self.starts[0] < position:
            self.starts[0] = position

    def clear(self) -> None:
        self.starts.clear()
        self.ends.clear()
