"""The Internet checksum (RFC 1071) through one big-integer remainder.

The one's complement sum of 16-bit words is the number they spell modulo 65,535, because 2**16 leaves
remainder 1. So a whole packet is summed by ``int.from_bytes`` and one ``%``, both of which run in C, and
fields may be added as plain integers of any multiple of 16 bits: a 32-bit sequence number counts as its two
halves.
"""

from __future__ import annotations

_MODULUS = 0xFFFF


def word_sum(data: bytes | bytearray | memoryview) -> int:
    """A number congruent to the sum of the 16-bit words of ``data``; an odd last byte is padded with zero."""
    number = int.from_bytes(data, "big")
    return number << 8 if len(data) & 1 else number


def checksum(data: bytes | bytearray | memoryview, *, extra: int = 0) -> int:
    """The 16-bit checksum of ``data``; ``extra`` is the sum of words that count too (a pseudo-header)."""
    return -(word_sum(data) + extra) % _MODULUS


def is_valid(data: bytes | bytearray | memoryview, *, extra: int = 0) -> bool:
    """Whether ``data``, its checksum field included, sums to zero in one's complement."""
    return (word_sum(data) + extra) % _MODULUS == 0
