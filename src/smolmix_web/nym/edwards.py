"""Does a 32-byte string name a point of the Ed25519 curve? Addresses must (sphinx.md 13.2)."""

from __future__ import annotations

from functools import lru_cache

_P = 2**255 - 19
_D = -121665 * pow(121666, _P - 2, _P) % _P


@lru_cache(maxsize=4096)
def is_point(encoded: bytes) -> bool:
    """Whether decompression (RFC 8032, 5.1.3) finds an x.

    Like the Rust library behind Nym this takes y modulo p and lets the sign bit of x = 0 pass, which RFC 8032
    would refuse; keys of either sort are never made, so only agreement matters.
    """
    if len(encoded) != 32:
        return False
    y = int.from_bytes(encoded, "little") & (2**255 - 1)
    y2 = y * y % _P
    numerator, denominator = (y2 - 1) % _P, (_D * y2 + 1) % _P
    # x^2 = numerator / denominator is a square iff numerator * denominator is one (Euler's criterion).
    return pow(numerator * denominator % _P, (_P - 1) // 2, _P) in (0, 1)
