"""Pictures that the test internet serves, drawn when they are asked for."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable
from functools import lru_cache

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = 2  # colour type of the PNG header


@lru_cache(maxsize=4)
def png(size: int) -> bytes:
    """``size`` x ``size`` pixels of rings in green and blue (PNG, 8 bits of RGB)."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)  # this row is not filtered
        for x in range(size):
            dx, dy = (2 * x + 1) / size - 1, (2 * y + 1) / size - 1
            wave = 0.5 + 0.5 * math.cos(18 * math.hypot(dx, dy) - 2 * math.atan2(dy, dx))
            rows += bytes((int(12 + 50 * wave), int(90 + 130 * wave), int(100 + 60 * (1 - dx * dy) * wave)))
    header = struct.pack(">IIBBBBB", size, size, 8, _RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows))), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def svg(size: int) -> bytes:
    """The same size as a vector drawing: a ring of dots."""
    dots = ""
    for number in range(12):
        turn = number * math.tau / 12
        x, y = 50 + 34 * math.cos(turn), 50 + 34 * math.sin(turn)
        dots += f'<circle cx="{x:.2f}" cy="{y:.2f}" r="{4 + number / 3:.2f}"/>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100" width="{size}" height="{size}">'
        f'<rect width="100" height="100" fill="#0f766e"/><g fill="#ccfbf1">{dots}</g></svg>'
    ).encode()


PICTURES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "png": ("image/png", png),
    "svg": ("image/svg+xml", svg),
}
"""By format: content type, and what draws it at a size in pixels."""
