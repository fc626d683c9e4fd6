"""Remembering which packets a node has seen, in bounded memory (spec nodes.md 4.2).

A Bloom filter over the 32-byte replay tag. The tag is the output of a KDF, hence already as good as random:
its bits serve as the hash functions. When a filter is full it becomes the old generation and a new one
starts; a packet is a replay if either knows it. So a filter forgets what is older than one to two
capacities, where the reference with its 540 MB remembers a whole rotation of 2,000 packets per second.
"""

from __future__ import annotations

INDEX_BITS = 25
"""Bits of an index: 2**25 bits are 4 MiB per generation, allocated when touched."""

HASHES = 10
"""Indexes per tag: 250 of its 256 bits."""

CAPACITY = 1_000_000
"""Tags per generation. False positives when full: (1 - exp(-10 * 1e6 / 2**25))**10 = 1.3e-6."""

_SIZE = 1 << (INDEX_BITS - 3)
_MASK = (1 << INDEX_BITS) - 1


class ReplayFilter:
    """Check-and-insert of replay tags of one rotation."""

    __slots__ = ("_capacity", "_count", "_current", "_previous")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._count = 0
        self._current = bytearray(_SIZE)
        self._previous: bytearray | None = None

    def to_bytes(self) -> bytes:
        """State for :meth:`restore`: tags in the current generation, then one or two generations."""
        return self._count.to_bytes(8, "big") + self._current + (self._previous or b"")

    def restore(self, state: bytes) -> None:
        """Take over what another filter saw. :raises ValueError: no such state."""
        count, generations = int.from_bytes(state[:8], "big"), state[8:]
        if len(generations) not in (_SIZE, 2 * _SIZE):
            raise ValueError("not the state of a replay filter")
        self._count = count
        self._current = bytearray(generations[:_SIZE])
        self._previous = bytearray(generations[_SIZE:]) or None

    def seen(self, tag: bytes) -> bool:
        """Whether this tag (32 bytes) was given before; it is remembered from now on."""
        number = int.from_bytes(tag, "little")
        current, previous = self._current, self._previous
        in_current = True
        in_previous = previous is not None
        for _ in range(HASHES):
            index = number & _MASK
            number >>= INDEX_BITS
            byte, bit = index >> 3, 1 << (index & 7)
            if not current[byte] & bit:
                in_current = False
                current[byte] |= bit
            if in_previous and previous is not None and not previous[byte] & bit:
                in_previous = False
        if in_current or in_previous:
            return True
        self._count += 1
        if self._count >= self._capacity:
            self._previous = current
            self._current = bytearray(_SIZE)
            self._count = 0
        return False
