"""The multi-IP-packet codec ("bundle"): zero or more records ``length u16 | packet``.

Every data message of the IPR protocol carries a bundle, also for a single packet. Source: ipr.md section 7.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

# The reference encoder's target size, length prefixes included.
MAX_BUNDLE_LENGTH = 1500

_PREFIX = 2


class SplitBundle(NamedTuple):
    """``complete`` is False when the end of the bundle was cut off in the middle of a record."""

    packets: list[bytes]
    complete: bool


def split_bundle(bundle: bytes) -> SplitBundle:
    """All whole packets of a bundle. An incomplete tail is reported, not raised: the rest stays useful."""
    packets: list[bytes] = []
    position = 0
    end = len(bundle)
    while position + _PREFIX <= end:
        start = position + _PREFIX
        stop = start + int.from_bytes(bundle[position:start], "big")
        if stop > end:
            return SplitBundle(packets, False)
        packets.append(bundle[start:stop])
        position = stop
    return SplitBundle(packets, position == end)


def join_bundle(packets: Iterable[bytes]) -> bytes:
    """Each packet is at most 65,535 bytes long."""
    out = bytearray()
    for packet in packets:
        out += len(packet).to_bytes(_PREFIX, "big")
        out += packet
    return bytes(out)


class Bundler:
    """Collects packets into bundles of about ``limit`` bytes, exactly as the reference encoder does.

    :meth:`add` gives a bundle when one is full; :meth:`flush` gives what is held, or nothing.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = MAX_BUNDLE_LENGTH) -> None:
        self._buffer = bytearray()
        self._limit = limit

    def __len__(self) -> int:
        """Bytes held back for the next bundle."""
        return len(self._buffer)

    def add(self, packet: bytes) -> bytes | None:
        record = len(packet) + _PREFIX
        full: bytes | None = None
        if not self._buffer and record > self._limit:
            return len(packet).to_bytes(_PREFIX, "big") + packet
        if len(self._buffer) + record > self._limit:
            # What was held goes out; the new packet starts the next bundle, even when it alone is too large.
            full = self.flush()
        self._buffer += len(packet).to_bytes(_PREFIX, "big")
        self._buffer += packet
        return full

    def flush(self) -> bytes | None:
        if not self._buffer:
            return None
        bundle = bytes(self._buffer)
        self._buffer.clear()
        return bundle
