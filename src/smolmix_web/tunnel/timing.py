"""Every deadline and interval of the tunnel in one place. Seconds throughout."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from smolmix_web.errors import DeadlineError, SmolmixError
from smolmix_web.sockets.gateway_link import LinkConfig


@dataclass(frozen=True, slots=True)
class TunnelTiming:
    """Defaults suit the public network; tests shorten what they wait for."""

    set_up: float = 300.0
    """Set-up as a whole. Its parts have limits of their own, but there may be many tries."""
    storage: float = 15.0
    """One access to the platform's storage (a browser may block IndexedDB for ever)."""
    directory_request: float = 30.0
    """One GET (spec/directory.md 2)."""

    topology_refresh: float = 300.0
    """Between two refreshes (spec/directory.md 4)."""
    topology_retry: float = 10.0
    """After a failed refresh; doubles with each failure, up to ``topology_refresh``."""
    topology_failures: int = 10
    """Failures in a row during which the old topology stays; one more clears it."""
    missing_gateway_failures: int = 3
    """Refreshes in a row without our own gateway after which another gateway is looked for."""

    link: LinkConfig = field(default_factory=LinkConfig)
    gateway_patience: float = 20.0
    """How long a lost gateway is waited for before others are tried, beside it."""
    gateway_attempts: int = 5
    """Failed reconnects in a row that end the patience early."""

    exit_probe: float | None = 4.0
    """Silence of the exit, while an answer is due, after which it is pinged."""
    exit_silence: float | None = 15.0
    """Silence after which the exit counts as lost. Two retransmissions of ping and answer fit into it."""
    exit_attempt: float = 20.0
    """One handshake when there are other exits to try, or a lost one is replaced; otherwise the option
    ``connectTimeoutMs`` counts."""
    exit_wait: float = 60.0
    """How long a call waits for a lost exit's replacement."""

    retry_first: float = 1.0
    """Pause between two rounds of looking for a gateway or an exit; doubles up to the next figure."""
    retry_last: float = 60.0

    send_wait: float = 60.0
    """How long sending a raw message waits for room in the queue."""


@asynccontextmanager
async def deadline(phase: str | Callable[[], str], seconds: float | None) -> AsyncIterator[None]:
    """Bounds what stands in its body; None sets no limit.

    :raises DeadlineError: after ``seconds``, naming ``phase``.
    """
    timeout = asyncio.timeout(seconds)
    try:
        async with timeout:
            yield
    except TimeoutError as error:
        if isinstance(error, SmolmixError) or not timeout.expired() or seconds is None:
            raise
        raise DeadlineError(phase if isinstance(phase, str) else phase(), seconds) from error
