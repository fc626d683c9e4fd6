"""What was sent and is not yet cumulatively acknowledged: one record a segment, in sequence order.

Three views on the same records: the list by sequence number (for ACK and SACK), the order of transmissions
(for RACK), and a heap of those declared lost (for retransmission, lowest first). The latter two are cleaned
lazily. A record counts as in flight exactly when it
is neither acknowledged, nor SACKed, nor lost and not yet retransmitted (RFC 6675 "pipe").
"""

from __future__ import annotations

from bisect import bisect_left
from heapq import heappop, heappush
from operator import attrgetter

from smolmix_web.net.tcp.ranges import RangeSet

_by_end = attrgetter("end")
_by_time = attrgetter("sent_at")
_CUT_AFTER = 256  # list slots that may lie unused at the front


class Sent:
    """One segment's worth of sequence space ``[seq, end)`` (a FIN counts as one)."""

    __slots__ = (
        "app_limited",
        "delivered",
        "delivered_at",
        "done",
        "end",
        "entries",
        "first_sent_at",
        "lost",
        "sent_at",
        "sent_first_at",
        "seq",
        "transmissions",
    )

    def __init__(self, seq: int, end: int, now: float) -> None:
        self.seq = seq
        self.end = end
        self.sent_at = now
        self.sent_first_at = now
        self.transmissions = 1
        self.entries = 1  # in the order of transmissions; the last one counts
        self.done = False  # acknowledged or SACKed
        self.lost = False
        # Connection state at the time of sending, for the delivery-rate sample (tcp/delivery.py).
        self.delivered = 0
        self.delivered_at = now
        self.first_sent_at = now
        self.app_limited = False

    def __lt__(self, other: Sent) -> bool:
        return self.seq < other.seq

    def __repr__(self) -> str:
        state = "done" if self.done else "lost" if self.lost else "flying"
        return f"<Sent {self.seq}:{self.end} x{self.transmissions} {state}>"


class Scoreboard:
    """See the module. ``in_flight`` and ``sacked_bytes`` are bytes."""

    __slots__ = ("_head", "_lost", "_order", "_order_head", "in_flight", "records", "sacked", "sacked_bytes")

    def __init__(self) -> None:
        self.records: list[Sent] = []
        self._head = 0  # records before it are acknowledged; cut off now and then
        self.sacked = RangeSet()
        self.sacked_bytes = 0
        self.in_flight = 0
        self._order: list[Sent] = []  # an entry for each transmission, from ``_order_head`` on
        self._order_head = 0
        self._lost: list[Sent] = []

    def __len__(self) -> int:
        return len(self.records) - self._head

    def first(self) -> Sent | None:
        """The record at SND.UNA."""
        return self.records[self._head] if self._head < len(self.records) else None

    def last(self) -> Sent | None:
        return self.records[-1] if self._head < len(self.records) else None

    def add(self, record: Sent) -> None:
        """A first transmission; ``record.seq`` is SND.NXT."""
        self.records.append(record)
        self._order.append(record)
        self.in_flight += record.end - record.seq

    def resent(self, record: Sent, now: float) -> None:
        """A retransmission of a record that may or may not have been declared lost."""
        if record.lost:
            record.lost = False
            self.in_flight += record.end - record.seq
        record.sent_at = now
        record.transmissions += 1
        record.entries += 1
        self._order.append(record)

    def acknowledge(self, una: int) -> list[Sent]:
        """Drop everything before ``una``; the records that were not SACKed before, in order."""
        records, index, size = self.records, self._head, len(self.records)
        newly = []
        while index < size:
            record = records[index]
            if record.end > una:
                if record.seq < una:
                    self._trim(record, una)
                break
            index += 1
            if record.done:
                self.sacked_bytes -= record.end - record.seq
            else:
                record.done = True
                if not record.lost:
                    self.in_flight -= record.end - record.seq
                newly.append(record)
        self._head = index
        if index == size:
            records.clear()
            self._order.clear()
            self._head = self._order_head = 0
        elif index > _CUT_AFTER and index * 2 > size:
            del records[:index]
            self._head = 0
        if self.sacked.starts:
            self.sacked.discard_below(una)
        return newly

    def _trim(self, record: Sent, una: int) -> None:
        """The peer acknowledged part of a segment."""
        cut = una - record.seq
        if record.done:
            self.sacked_bytes -= cut
        elif not record.lost:
            self.in_flight -= cut
        record.seq = una

    def sack(self, start: int, end: int) -> list[Sent]:
        """Mark ``[start, end)`` as received; the records newly and wholly covered, in order."""
        gaps = self.sacked.gaps(start, end)
        if not gaps:
            return []
        low, high = self.sacked.add(start, end)
        newly = []
        records = self.records
        for gap_start, gap_end in gaps:
            index = bisect_left(records, gap_start + 1, self._head, key=_by_end)
            while index < len(records) and records[index].seq < gap_end:
                record = records[index]
                index += 1
                if not record.done and low <= record.seq and record.end <= high:
                    record.done = True
                    self.sacked_bytes += record.end - record.seq
                    if not record.lost:
                        self.in_flight -= record.end - record.seq
                    newly.append(record)
        return newly

    def mark_lost(self, record: Sent) -> None:
        if not record.lost and not record.done:
            record.lost = True
            self.in_flight -= record.end - record.seq
            heappush(self._lost, record)

    def unmark_lost(self) -> None:
        """Nothing was lost after all: what was not sent again counts as in flight as before."""
        flying = []
        for record in self.records[self._head :]:
            if record.done:
                record.entries = 0
                continue
            if record.lost:
                record.lost = False
                self.in_flight += record.end - record.seq
            record.entries = 1
            flying.append(record)
        self._order = sorted(flying, key=_by_time)
        self._order_head = 0

    def next_lost(self) -> Sent | None:
        """The lowest lost record that was not retransmitted since."""
        lost = self._lost
        while lost and (lost[0].done or not lost[0].lost):
            heappop(lost)
        return lost[0] if lost else None

    def oldest_flying(self) -> Sent | None:
        """The record in flight whose last transmission is the oldest."""
        order, head = self._order, self._order_head
        size, found = len(order), None
        while head < size:
            record = order[head]
            if record.entries == 1 and not record.done and not record.lost:
                found = record
                break
            record.entries -= 1
            head += 1
        if head > _CUT_AFTER and 2 * head > size:
            del order[:head]
            head = 0
        self._order_head = head
        return found

    def split(self, record: Sent, at: int) -> None:
        """Cut an un-SACKed record in two (the path's MTU became smaller, or the window did)."""
        tail = Sent(at, record.end, record.sent_at)
        for name in Sent.__slots__:
            if name not in ("seq", "end", "entries"):
                setattr(tail, name, getattr(record, name))
        record.end = at
        self.records.insert(bisect_left(self.records, at, self._head, key=_by_end) + 1, tail)
        if tail.lost:
            tail.entries = 0
            heappush(self._lost, tail)
        else:
            self._order.append(tail)

    def forget_sacks(self) -> None:
        """The peer reneged (RFC 2018 section 8): treat everything SACKed as in flight again, then lost."""
        for record in self.records[self._head :]:
            if record.done:
                record.done = False
                record.lost = False
                self.in_flight += record.end - record.seq
                self.mark_lost(record)
        self.sacked.clear()
        self.sacked_bytes = 0

    def from_first(self) -> list[Sent]:
        """All records, in sequence order."""
        return self.records[self._head :]
