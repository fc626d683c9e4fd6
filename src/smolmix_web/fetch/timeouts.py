"""How long each phase of a fetch may take, and what the phases are called."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, Literal

from smolmix_web.errors import OptionError, SmolmixError

Phase = Literal[
    "exit", "resolve", "connect", "tls", "queue", "firstByte", "idle", "total",  # waits, each with a limit
    "upload", "response", "redirect", "body",
]  # fmt: skip
PHASES: Final[frozenset[str]] = frozenset(Phase.__args__)  # type: ignore[attr-defined]
"""What ``phase`` of an error of a fetch can be. A time-out names its limit in :class:`FetchTimeouts`; other
failures say what was going on: ``response`` from sending the request to the response's head, then ``body``;
``upload`` where the caller's own stream broke. ``exit`` is the wait for a lost exit's replacement."""


@dataclass(frozen=True, slots=True)
class FetchTimeouts:
    """Seconds, greater than zero (:raises OptionError: names the field).

    Each names its phase in the :class:`~smolmix_web.errors.DeadlineError` it causes.

    The defaults allow for a mixnet: a round trip takes up to 2 s, and a lost packet a few more.
    """

    resolve: float | None = None
    """Finding the addresses of the host; None leaves it to the limit of the resolver."""

    connect: float = 30.0
    """The TCP handshake, over all addresses of the host that are tried."""

    tls: float = 30.0
    """The TLS handshake."""

    queue: float = 120.0
    """Waiting for a free connection when all of an origin's are busy."""

    first_byte: float = 60.0
    """From the request having been sent to the response's head."""

    idle: float = 60.0
    """Between two pieces of the body, in either direction."""

    total: float | None = None
    """The whole fetch, the body included; None sets no limit beyond the phases'."""

    def __post_init__(self) -> None:
        for name in ("resolve", "connect", "tls", "queue", "first_byte", "idle", "total"):
            seconds = getattr(self, name)
            if seconds is None and name in ("resolve", "total"):
                continue
            if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
                shown = {"first_byte": "timeouts.firstByte", "total": "timeout"}.get(name, f"timeouts.{name}")
                raise OptionError(shown, f"{seconds!r} is not a number of seconds greater than zero")


@contextlib.contextmanager
def during(phase: Phase) -> Iterator[None]:
    """Errors from within carry ``phase``, unless they carry a phase of a fetch already; its time is noted."""
    timings, started = _timings.get(), time.monotonic()
    try:
        yield
    except SmolmixError as error:
        if error.phase not in PHASES:
            error.phase = phase
        raise
    finally:
        if timings is not None:
            timings[phase] = timings.get(phase, 0.0) + time.monotonic() - started


_timings: ContextVar[dict[str, float] | None] = ContextVar("timings", default=None)


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Seconds by phase of all that happens within (in this task and in those made by it), redirects and
    second attempts added up. A phase that was not entered, such as ``tls`` on a kept connection, is absent.
    """
    timings: dict[str, float] = {}
    token = _timings.set(timings)
    try:
        yield timings
    finally:
        _timings.reset(token)
