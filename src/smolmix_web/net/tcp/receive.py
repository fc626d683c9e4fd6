"""The receiving half: reassembly, SACK blocks, the window we advertise, and its auto-tuning.

Data in order goes to ``queue`` at once. Data beyond a hole is kept in ``pieces`` (sorted, not overlapping)
and described by ``islands`` for SACK. Nothing that was SACKed is ever dropped, so we do not renege.
"""

from __future__ import annotations

from bisect import bisect_left

from smolmix_web.net.tcp.ranges import RangeSet
from smolmix_web.net.tcp.sequence import MASK

# What one piece costs besides its bytes (tuple, bytes object, list slot), so that one-byte segments
# cannot occupy a hundred times what they claim.
PIECE_OVERHEAD = 160
_PRESSED_SEGMENTS = 8


class Receiver:
    """Sequence numbers are unbounded. Calls: :meth:`insert` a segment's text, :meth:`take` for the
    application."""

    __slots__ = (
        "_repeat",
        "_tune_at",
        "_tune_from",
        "capacity",
        "dsack",
        "edge",
        "fin",
        "fresh",
        "islands",
        "limit",
        "mss",
        "nxt",
        "pieces",
        "pieces_size",
        "queue",
    )

    def __init__(self, initial: int, limit: int, mss: int) -> None:
        self.nxt = 0  # RCV.NXT
        self.edge = 0  # right edge of the largest window ever advertised
        self.fin: int | None = None  # sequence number of the peer's FIN, once seen
        self.queue = bytearray()
        self.pieces: list[tuple[int, bytes]] = []
        self.pieces_size = 0
        self.islands = RangeSet()
        self.fresh: dict[int, None] = {}  # starts of islands that no ACK has shown as they are, newest last
        self._repeat = 0  # islands from here on are shown again when an ACK has room
        self.dsack: tuple[int, int] | None = None
        self.capacity = initial
        self.limit = limit
        self._tune_at = 0.0
        self._tune_from = 0
        self.mss = mss

    @property
    def held(self) -> int:
        """Bytes of memory that count against the stack's limit."""
        return len(self.queue) + self.pieces_size

    def open(self, irs: int) -> None:
        """The peer's SYN arrived with this (unbounded) sequence number."""
        self.nxt = self.edge = self._tune_from = irs + 1

    def insert(self, seq: int, data: bytes) -> bool:
        """Take the text of a segment that overlaps the window; whether RCV.NXT moved.

        Parts received before are reported once by D-SACK (RFC 2883) in the next ACK.
        """
        end = seq + len(data)
        nxt = self.nxt
        if seq < nxt:
            self.dsack = (seq, min(end, nxt))
            if end <= nxt:
                return False
            data = data[nxt - seq :]
            seq = nxt
        if end > self.edge:
            data = data[: self.edge - seq]
            end = self.edge
            if seq >= end:
                return False
        if seq == nxt:
            if not self.pieces:
                self.queue += data
                self.nxt = end
                return True
            known = self.islands.gaps(seq, end)
            if len(known) != 1 or known[0] != (seq, end):
                self.dsack = self._overlap(seq, end)
            self.queue += data
            self.nxt = end
            self._drain()
            return True
        self._insert_beyond(seq, end, data)
        return False

    def _overlap(self, seq: int, end: int) -> tuple[int, int] | None:
        """First part of ``[seq, end)`` that an island already holds."""
        found = self.islands.find(seq)
        if found is not None:
            return seq, min(end, found[1])
        index = bisect_left(self.islands.starts, seq)
        if index < len(self.islands) and self.islands.starts[index] < end:
            return self.islands.starts[index], min(end, self.islands.ends[index])
        return None

    def _insert_beyond(self, seq: int, end: int, data: bytes) -> None:
        gaps = self.islands.gaps(seq, end)
        if gaps != [(seq, end)]:
            self.dsack = self._overlap(seq, end)
        for start, stop in gaps:
            piece = (start, data[start - seq : stop - seq])
            self.pieces.insert(bisect_left(self.pieces, piece), piece)
            self.pieces_size += stop - start + PIECE_OVERHEAD
        island = self.islands.add(seq, end)
        fresh = self.fresh
        for start in [start for start in fresh if island[0] <= start <= island[1]]:
            del fresh[start]
        fresh[island[0]] = None

    def _drain(self) -> None:
        """Move pieces that are now in order to the queue."""
        pieces, count = self.pieces, 0
        while count < len(pieces):
            seq, data = pieces[count]
            if seq > self.nxt:
                break
            count += 1
            self.pieces_size -= len(data) + PIECE_OVERHEAD
            fresh = seq + len(data) - self.nxt
            if fresh > 0:
                self.queue += data if fresh == len(data) else data[-fresh:]
                self.nxt += fresh
        if count:
            del pieces[:count]
        self.islands.discard_below(self.nxt)
        for start in [start for start in self.fresh if start <= self.nxt]:
            del self.fresh[start]

    def sack_blocks(self, room: int) -> tuple[tuple[int, int], ...]:
        """Up to ``room`` blocks as 32-bit numbers.

        D-SACK first (RFC 2883), then the island that changed last (RFC 2018 section 4), then the lowest that
        no ACK has shown yet, because the sender will first lose patience with those; then older ones in turn,
        in case the ACK that showed them was lost.
        """
        blocks: list[tuple[int, int]] = []
        islands = self.islands
        if self.dsack is not None:
            blocks.append(self.dsack)
            # RFC 2883 section 4.2.2: a duplicate inside an island is followed by that island.
            around = islands.find(self.dsack[0])
            if around is not None:
                blocks.append(around)
                self.fresh.pop(around[0], None)
            self.dsack = None
        fresh = self.fresh
        if fresh and len(blocks) < room:
            self._show(blocks, next(reversed(fresh)))
            while fresh and len(blocks) < room:
                self._show(blocks, min(fresh))
        if len(blocks) < room and islands.starts:
            index = bisect_left(islands.starts, self._repeat)
            for step in range(min(len(islands), room)):
                at = (index + step) % len(islands)
                block = (islands.starts[at], islands.ends[at])
                if block not in blocks:
                    blocks.append(block)
                    self._repeat = block[1]
                    if len(blocks) == room:
                        break
        return tuple((start & MASK, end & MASK) for start, end in blocks[:room])

    def _show(self, blocks: list[tuple[int, int]], start: int) -> None:
        del self.fresh[start]
        island = self.islands.find(start)
        if island is not None and island not in blocks:
            blocks.append(island)

    def window(self, roomy: bool = True) -> int:
        """Bytes from RCV.NXT to the right edge we would advertise now; moves the edge.

        The edge never moves left, and moves right only by a segment or half the buffer at least
        (RFC 9293 section 3.8.6.2.2, silly window avoidance).

        :param roomy: the stack has memory to spare; else the window closes to a few segments as data comes.
        """
        capacity = self.capacity if roomy else min(self.capacity, _PRESSED_SEGMENTS * self.mss)
        edge = self.nxt + capacity - len(self.queue)
        if edge - self.edge >= min(capacity // 2, self.mss):
            self.edge = edge
        return max(self.edge - self.nxt, 0)

    def window_would_open(self) -> bool:
        """Whether reading has freed enough that the peer should hear of it without waiting for data."""
        free = self.capacity - len(self.queue)
        seen = self.edge - self.nxt
        return free - seen >= max(min(self.capacity // 2, 2 * self.mss), seen)

    def take(self, max_bytes: int) -> bytes:
        """Up to ``max_bytes`` for the application."""
        queue = self.queue
        if max_bytes >= len(queue):
            data = bytes(queue)
            self.queue = bytearray()
        else:
            data = bytes(memoryview(queue)[:max_bytes])
            del queue[:max_bytes]
        return data

    def tune(self, seq_end: int, now: float, rtt: float) -> bool:
        """Grow the window when half of it is in use and the application keeps up; whether it grew.

        Holes stop the application without its fault, so what counts is not what it has taken (dynamic
        right-sizing) but what arrived, and that little of it waits to be read. Fourfold, because the sender's
        next and larger window is on its way before it hears of this.
        """
        if now - self._tune_at > max(rtt, 0.01):
            self._tune_at, self._tune_from = now, seq_end
        rushing = seq_end - self._tune_from >= self.capacity // 2
        waiting = bool(self.pieces) and self.edge - seq_end <= self.capacity // 2  # for a hole to be filled
        if not (rushing or waiting) or len(self.queue) > self.capacity // 2:
            return False
        self._tune_at, self._tune_from = now, seq_end
        grown = min(4 * self.capacity, self.limit)
        if grown == self.capacity:
            return False
        self.capacity = grown
        return True

    def drop_all(self) -> None:
        """The connection is gone: keep only what is in order and unread."""
        self.pieces.clear()
        self.pieces_size = 0
        self.islands.clear()
        self.fresh.clear()
