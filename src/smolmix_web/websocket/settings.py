"""Limits and times of one WebSocket."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """Times in seconds, sizes in bytes."""

    connect_timeout: float = 30.0
    """The TCP handshake of one address."""

    tls_timeout: float = 30.0

    handshake_timeout: float = 60.0
    """From the upgrade request to its answer."""

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
