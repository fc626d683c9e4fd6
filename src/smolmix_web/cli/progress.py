"""One line on a terminal that tells how far a long piece of work is."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 24
_INTERVAL = 0.1  # seconds between two redraws


class ProgressLine:
    """A bar that redraws itself in place; silent where nobody looks (``enabled`` false)."""

    def __init__(self, *, enabled: bool, stream: TextIO | None = None) -> None:
        self._enabled = enabled
        self._stream = stream if stream is not None else sys.stderr
        self._drawn_at = 0.0
        self._drawn = False

    def show(self, fraction: float | None, text: str) -> None:
        """``fraction`` from 0 to 1, or None where the end is not known."""
        now = time.monotonic()
        if not self._enabled or (now - self._drawn_at < _INTERVAL and fraction != 1.0):
            return
        self._drawn_at, self._drawn = now, True
        filled = round((fraction or 0.0) * _WIDTH)
        bar = "#" * filled + "." * (_WIDTH - filled)
        percent = "" if fraction is None else f"{fraction:4.0%} "
        self._stream.write(f"\r\x1b[2K[{bar}] {percent}{text}")
        self._stream.flush()

    def clear(self) -> None:
        """Take the line away."""
        if self._drawn:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()
            self._drawn = False
