"""States of a tunnel, and what it tells whoever watches it."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from smolmix_web.errors import SmolmixError


class TunnelState(enum.StrEnum):
    """Names as the existing browser packages use them, plus ``reconnecting``."""

    CONNECTING = "connecting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    """The gateway link, the exit or the topology was lost and is being replaced."""
    SHUTTING_DOWN = "shutting_down"
    SHUTDOWN = "shutdown"
    FAILED = "failed"


RUNNING = (TunnelState.READY, TunnelState.RECONNECTING)

Stage = Literal["keys", "directory", "gateway", "exit", "ready"]


@dataclass(frozen=True, slots=True)
class StateChange:
    """The tunnel is now in ``state``.

    :ivar reason: a sentence for people.
    :ivar code: the stable code of the error behind it (see :mod:`smolmix_web.errors`), "" without one.
    :ivar stage: where set-up stood, for a state that ends it.
    """

    kind: ClassVar[str] = "statechange"
    state: TunnelState
    reason: str
    code: str = ""
    stage: Stage | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Set-up is in ``stage``, of which ``stage_fraction`` is done, and ``fraction`` of it all (0 to 1)."""

    kind: ClassVar[str] = "progress"
    stage: Stage
    fraction: float
    detail: str
    stage_fraction: float = 0.0


TunnelEvent = StateChange | Progress
Observer = Callable[[TunnelEvent], None]

StagePlan = Mapping[Stage, tuple[float, float]]
"""Where each stage begins and ends on the whole way, 0 to 1."""

CLIENT_PLAN: StagePlan = {"keys": (0.0, 0.1), "directory": (0.1, 0.5), "gateway": (0.5, 1.0), "ready": (1, 1)}
TUNNEL_PLAN: StagePlan = {
    "keys": (0.0, 0.1),
    "directory": (0.1, 0.4),
    "gateway": (0.4, 0.7),
    "exit": (0.7, 1.0),
    "ready": (1.0, 1.0),
}


def progress(plan: StagePlan, stage: Stage, stage_fraction: float, detail: str) -> Progress:
    """A :class:`Progress` with its place on the whole way."""
    begin, end = plan[stage]
    return Progress(stage, begin + (end - begin) * stage_fraction, detail, stage_fraction)


def error_code(error: BaseException | None) -> str:
    """The stable code of an error; INTERNAL for one that no user should ever meet."""
    if error is None:
        return ""
    if isinstance(error, SmolmixError):
        return error.code
    return "TIMEOUT" if isinstance(error, TimeoutError) else "INTERNAL"
