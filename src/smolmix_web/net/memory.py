"""The memory that received and unread bytes take over all connections, and who may still add to it.

The limit is never exceeded. So that connections cannot starve each other, it is filled in steps: data beyond
a hole, which nobody can read yet, only up to three quarters; data in order of a connection that already holds
much up to seven eighths; the last eighth is kept for those that hold little. Reading therefore always makes
room again: what blocks the memory is in order, or has room in front of it.
"""

from __future__ import annotations


class ReceiveMemory:
    """``used`` and ``limit`` are bytes, what is held for bookkeeping included."""

    __slots__ = ("_beyond", "_large", "_little", "_pressed_from", "limit", "used")

    def __init__(self, limit: int) -> None:
        self.used = 0
        self.limit = limit
        self._pressed_from = limit // 2
        self._beyond = limit - limit // 4
        self._large = limit - limit // 8
        self._little = limit // 1024  # 64 KiB of 64 MiB, so that the last eighth serves 128 connections

    def admits(self, size: int, held: int, in_order: bool) -> bool:
        """Whether a segment of ``size`` bytes may be kept by a connection that holds ``held`` bytes."""
        used = self.used + size
        if used <= self._beyond:
            return True
        if not in_order:
            return False
        return used <= (self.limit if held <= self._little else self._large)

    @property
    def roomy(self) -> bool:
        """Less than half is in use: buffers may grow, and windows open as far as they may."""
        return self.used < self._pressed_from
