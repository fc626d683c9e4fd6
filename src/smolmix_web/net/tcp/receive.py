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


class Receiver:
    """Sequence numbers are unbounded. Calls: :meth:`insert` a segment's text, :meth:`take` for the
    application."""

    __slots__ = (
        "_measure_at",
        "_measure_from",
        "_recent",
        "capacity",
        "changed_islands",
        "copied",
        "dsack",
        "edge",
        "fin",
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
        self._recent: list[int] = []  # a position in each recently changed island, newest first
        self.changed_islands: set[int] = set()  # starts of islands changed since the last ACK
        self.dsack: tuple[int, int] | None = None
        self.capacity = initial
        self.limit = limit
        self.mss = mss
        self.copied = 0  # bytes the application has taken
        self._measure_at = 0.0
        self._measure_from = 0

    @property
    def held(self) -> int:
        """Bytes of memory that count against the stack's limit."""
        return len(self.queue) + self.pieces_size

    def open(self, irs: int) -> None:
        """The peer's SYN arrived with this (unbounded) sequence number."""
        self.nxt = self.edge = irs + 1

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
        before = self.islands.find(seq)
        island = self.islands.add(seq, end)
        if before is not None:
            self.changed_islands.discard(before[0])
        self.changed_islands.add(island[0])
        recent = self._recent
        recent[:] = [seq, *(old for old in recent if not island[0] <= old < island[1])][:8]

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
        self.changed_islands = {start for start in self.changed_islands if start > self.nxt}

    def sack_blocks(self, room: int) -> tuple[tuple[int, int], ...]:
        """Up to ``room`` blocks as 32-bit numbers: D-SACK first, then the newest islands (RFC 2018 section
        4)."""
        blocks: list[tuple[int, int]] = []
        if self.dsack is not None:
            blocks.append(self.dsack)
            # RFC 2883 section 4.2.2: a duplicate inside an island is followed by that island.
            around = self.islands.find(self.dsack[0])
            if around is not None:
                blocks.append(around)
            self.dsack = None
        if self.islands.starts:
            kept = []
            for position in self._recent:
                island = self.islands.find(position)
                if island is None:
                    continue
                kept.append(position)
                if island not in blocks[-len(kept) :] and island not in blocks[1:]:
                    blocks.append(island)
            self._recent = kept
            if len(blocks) < room:
                # The recent list may have lost an island to a flood; fill up from the left, where holes hurt.
                for island in self.islands:
                    if island not in blocks[1:] and (not blocks or island != blocks[0]):
                        blocks.append(island)
                    if len(blocks) >= room:
                        break
            # What was reported goes to the end, so that with many islands each gets its turn.
            reported = blocks[:room]
            shown = [p for p in self._recent if any(a <= p < b for a, b in reported)]
            if len(self._recent) > len(shown):
                self._recent = [p for p in self._recent if p not in shown] + shown
        else:
            self._recent.clear()
        self.changed_islands.clear()
        return tuple((start & MASK, end & MASK) for start, end in blocks[:room])

    def window(self) -> int:
        """Bytes from RCV.NXT to the right edge we would advertise now; moves the edge.

        The edge never moves left, and moves right only by a segment or half the buffer at least
        (RFC 9293 section 3.8.6.2.2, silly window avoidance).
        """
        edge = self.nxt + self.capacity - len(self.queue)
        if edge - self.edge >= min(self.capacity // 2, self.mss):
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
        self.copied += len(data)
        return data

    def tune(self, now: float, rtt: float, may_grow: bool) -> None:
        """Dynamic right-sizing: let the window be twice what the application takes in a round trip, doubled
        once more because slow start doubles the flow while our advertisement travels."""
        if now - self._measure_at < rtt:
            return
        taken = self.copied - self._measure_from
        self._measure_at, self._measure_from = now, self.copied
        wanted = 4 * taken
        if may_grow and wanted > self.capacity:
            self.capacity = min(wanted, self.limit)

    def drop_all(self) -> None:
        """The connection is gone: keep only what is in order and unread."""
        self.pieces.clear()
        self.pieces_size = 0
        self.islands.clear()
        self._recent.clear()
        self.changed_islands.clear()
