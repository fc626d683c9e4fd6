"""Loop cover packets: to oneself, indistinguishable from data on the way (sphinx.md 18)."""

from __future__ import annotations

from smolmix_web.nym.fragments import fragment_length
from smolmix_web.nym.packets import PacketSize

_CONTENT = b"The cake is a lie!"


def cover_content(size: PacketSize) -> bytes:
    """What stands in place of a fragment."""
    return (_CONTENT + b"\x01").ljust(fragment_length(size), b"\0")


def is_cover(decrypted: bytes) -> bool:
    """Asked after decryption, before any parsing."""
    return decrypted.startswith(_CONTENT)
