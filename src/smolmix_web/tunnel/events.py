"""States of a tunnel, and what it tells whoever watches it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Literal


class TunnelState(enum.StrEnum):
    """Names as the existing browser packages use them, plus ``reconnecting``."""

    CONNECTING = "connecting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    """The gateway link or the exit was lost and is being replaced."""
    SHUTTING_DOWN = "shutting_down"
    SHUTDOWN = "shutdown"
    FAILED = "failed"


Stage = Literal["keys", "directory", "gateway", "exit", "ready"]


@dataclass(frozen=True, slots=True)
class StateChange:
    """The tunnel is now in ``state``; ``reason`` is a sentence for people."""

    kind: ClassVar[str] = "statechange"
    state: TunnelState
    reason: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Set-up reached ``stage``; ``fraction`` of it all (0 to 1) is done."""

    kind: ClassVar[str] = "progress"
    stage: Stage
    fraction: float
    detail: str


TunnelEvent = StateChange | Progress
