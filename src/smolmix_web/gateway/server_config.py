"""Settings of a gateway."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.gateway import versions


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Behaviour of a gateway; times in seconds, sizes in bytes."""

    protocol_version: int = versions.CURRENT  # highest one spoken
    enforce_zk_nyms: bool = False  # refuse free bandwidth claims
    mock_credentials: bool = False  # take any ticket, as the reference's mock verifier does
    upgrade_mode: bool = False  # suspend metering (section 9.5)
    initial_timeout: float = 10.0
    handshake_timeout: float = 5.0
    max_timestamp_skew: float = 120.0
    push_backlog: int = 16 * 1024**2  # pushes waiting for a slow client
