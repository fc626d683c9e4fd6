"""Limits and times of one WebSocket."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.errors import OptionError


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Times in seconds, sizes in bytes; all greater than zero (:raises OptionError: names the field)."""

    resolve_timeout: float | None = None
    """Finding the addresses of the host; None leaves it to the limit of the resolver."""

    connect_timeout: float = 30.0
    """The TCP handshake, over all addresses of the host that are tried."""

    tls_timeout: float = 30.0

    handshake_timeout: float = 60.0
    """From the upgrade request to its answer."""

    idle_timeout: float = 60.0
    """How long the peer may take nothing of a message that is being sent; then the connection fails."""

    close_timeout: float = 20.0
    """How long the peer may take to answer our Close frame: several mixnet round trips."""

    max_message_size: int = 64 * 1024 * 1024
    """Of a received message, unpacked. Browsers take more, but a page's worker has to hold it."""

    ping_interval: float | None = None
    """Send a Ping after so long without a sign of life; None sends none."""

    ping_timeout: float = 60.0
    """A Ping unanswered for so long ends the connection with 1006."""

    compression: bool = True
    """Offer permessage-deflate (RFC 7692)."""

    def __post_init__(self) -> None:
        for name, shown in _SHOWN.items():
            value = getattr(self, name)
            if value is None and name in ("resolve_timeout", "ping_interval"):
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise OptionError(shown, f"{value!r} is not a number greater than zero")


_SHOWN = {
    "resolve_timeout": "timeouts.resolve",
    "connect_timeout": "timeouts.connect",
    "tls_timeout": "timeouts.tls",
    "handshake_timeout": "timeouts.firstByte",
    "idle_timeout": "timeouts.idle",
    "close_timeout": "timeouts.close",
    "ping_interval": "pingInterval",
    "ping_timeout": "timeouts.pong",
    "max_message_size": "maxMessageSize",
}
"""Names in JavaScript."""
