"""Bounded reassembly of IP fragments (RFC 791 section 3.2, RFC 8200 section 4.5).

Overlapping fragments end the whole packet (RFC 5722; for IPv4 likewise, as attacks by overlap have no honest
use).
"""

from __future__ import annotations

from bisect import insort

from smolmix_web.net.flow import ip_packet
from smolmix_web.net.ip import IpPacket

_MAX_FRAGMENTS = 64  # a 64 KiB packet over an MTU of 1,280 makes 53
_OVERHEAD = 256

_Key = tuple[bytes, bytes, int, int]


class _Partial:
    __slots__ = ("deadline", "pieces", "protocol", "size", "total")

    def __init__(self, deadline: float, protocol: int) -> None:
        self.deadline = deadline
        self.protocol = protocol
        self.pieces: list[tuple[int, bytes]] = []
        self.total: int | None = None
        self.size = 0


class Reassembler:
    """``limit`` bytes and ``timeout`` seconds bound what incomplete packets hold; the oldest makes room."""

    def __init__(self, limit: int, timeout: float) -> None:
        self._limit = limit
        self._timeout = timeout
        self._partials: dict[_Key, _Partial] = {}
        self.size = 0
        self.dropped = 0

    def add(self, fragment: IpPacket, now: float) -> bytes | None:
        """The whole packet once its last missing fragment arrived, as if it had never been cut."""
        self.expire(now)
        version = 4 if len(fragment.source) == 4 else 6
        data = fragment.payload
        offset = fragment.fragment_offset
        key = (
            fragment.source,
            fragment.destination,
            fragment.identification,
            fragment.protocol if version == 4 else 0,  # RFC 791 includes the protocol, RFC 8200 does not
        )
        end = offset + len(data)
        if not data or end > 65_535 or (fragment.more_fragments and len(data) % 8):
            self.dropped += 1
            return None
        partial = self._partials.get(key)
        if partial is None:
            partial = self._partials[key] = _Partial(now + self._timeout, fragment.protocol)
        if offset == 0:
            partial.protocol = fragment.protocol
        if not self._insert(partial, offset, data, fragment.more_fragments):
            self._drop(key)
            return None
        self._make_room(key)
        if partial.total is None or sum(len(piece) for _, piece in partial.pieces) < partial.total:
            return None
        whole = b"".join(piece for _, piece in partial.pieces)
        self._forget(key)
        return ip_packet(fragment.source, fragment.destination, partial.protocol, whole, fragment.hop_limit)

    def _insert(self, partial: _Partial, offset: int, data: bytes, more: bool) -> bool:
        end = offset + len(data)
        for start, piece in partial.pieces:
            if start == offset and piece == data:
                return True  # a duplicate (RFC 8200 section 4.5 allows to ignore it)
            if start < end and offset < start + len(piece):
                return False
        if partial.total is not None and (end > partial.total or not more):
            return False
        if not more:
            if partial.pieces and partial.pieces[-1][0] + len(partial.pieces[-1][1]) > end:
                return False
            partial.total = end
        if len(partial.pieces) >= _MAX_FRAGMENTS:
            return False
        insort(partial.pieces, (offset, data))
        partial.size += len(data) + _OVERHEAD
        self.size += len(data) + _OVERHEAD
        return True

    def _make_room(self, keep: _Key) -> None:
        while self.size > self._limit and len(self._partials) > 1:
            oldest = next(iter(self._partials))
            if oldest == keep:
                oldest = next(key for key in self._partials if key != keep)
            self._drop(oldest)

    def _drop(self, key: _Key) -> None:
        self.dropped += 1
        self._forget(key)

    def _forget(self, key: _Key) -> None:
        self.size -= self._partials.pop(key).size

    def expire(self, now: float) -> None:
        """Drop what has waited too long."""
        while self._partials:
            key, partial = next(iter(self._partials.items()))
            if partial.deadline > now:
                return
            self._drop(key)

    def poll_at(self) -> float | None:
        for partial in self._partials.values():
            return partial.deadline
        return None
