"""How long each phase of a fetch may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchTimeouts:
    """Seconds; each names its phase in the :class:`~smolmix_web.errors.DeadlineError` it causes.

    The defaults allow for a mixnet: a round trip takes up to 2 s, and a lost packet a few more.
    """

    connect: float = 30.0
    """The TCP handshake of one address (name resolution has its own limit, ``dns_timeout_ms``)."""

    tls: float = 30.0
    """The TLS handshake."""

    queue: float = 120.0
    """Waiting for a free connection when all of an origin's are busy."""

    first_byte: float = 60.0
    """From the request having been sent to the response's head."""

    idle: float = 60.0
    """Between two pieces of the body, in either direction."""

    total: float | None = None
    """The whole fetch up to the response's head; None sets no limit beyond the phases'."""
