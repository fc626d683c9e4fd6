"""Sequence numbers.

On the wire a sequence number has 32 bits and wraps. Inside the stack it is an unbounded integer, so that
``<`` means "earlier": :func:`unwrap` maps a number from the wire to the nearest unbounded one, and ``& MASK``
maps back. Only timestamps, which stay modulo 2**32, are compared with :func:`before`.
"""

from __future__ import annotations

MASK = 0xFFFF_FFFF
_HALF = 0x8000_0000


def unwrap(wire: int, near: int) -> int:
    """The unbounded number closest to ``near`` whose low 32 bits are ``wire``."""
    return near + ((wire - near + _HALF) & MASK) - _HALF


def before(a: int, b: int) -> bool:
    """Whether ``a`` comes before ``b`` modulo 2**32 (RFC 9293 section 3.4, RFC 7323 section 5.2)."""
    return (a - b) & MASK >= _HALF and a != b
