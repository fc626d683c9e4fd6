"""Protocol versions between client and gateway (spec gateway.md section 3)."""

from __future__ import annotations

AUTHENTICATE_V2 = 4  # oldest one still accepted
KEY_ROTATION_BYTE = 5  # uploads carry the key rotation (kind 2)
CURRENT = 6

MIN_SUPPORTED = AUTHENTICATE_V2


def choose_version(offered: int) -> int | None:
    """What a client proposes to a gateway that supports ``offered``; None when they cannot talk."""
    return min(offered, CURRENT) if offered >= MIN_SUPPORTED else None
