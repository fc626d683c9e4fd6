"""States, settings and counters of :class:`~smolmix_web.gateway.client.GatewayClient`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(Enum):
    IDLE = "no connection"
    EXPECT_VERSION = "asked for the protocol version"
    EXPECT_MATERIAL = "handshake: awaiting message 2"
    EXPECT_FINALISATION = "handshake: awaiting message 4"
    EXPECT_REGISTER = "awaiting the confirmation of the registration"
    WAIT_CLOCK = "waiting for a fresh timestamp"
    EXPECT_AUTHENTICATE = "awaiting the answer to the authentication"
    EXPECT_BANDWIDTH = "awaiting the first bandwidth claim"
    READY = "ready"
    FAILED = "failed"


STEPS = {
    State.EXPECT_VERSION: "the protocol version request",
    State.EXPECT_MATERIAL: "registration",
    State.EXPECT_FINALISATION: "registration",
    State.EXPECT_REGISTER: "registration",
    State.EXPECT_AUTHENTICATE: "authentication",
    State.EXPECT_BANDWIDTH: "the bandwidth claim",
}


@dataclass(frozen=True, slots=True)
class GatewayClientConfig:
    """Time-outs in seconds. The official client waits 5 s per handshake message and 300 s for the rest.

    :ivar silence_timeout: a gateway answers every upload; when uploads find no answer of any kind for so
        long, the connection is dead, even where TCP has not noticed yet (sleep, change of network).
    """

    control_timeout: float = 20.0
    handshake_timeout: float = 5.0
    claim_retry: float = 5.0  # pause after a claim that did not help
    silence_timeout: float = 30.0


@dataclass(slots=True)
class GatewayClientStats:
    """Counters since construction, over all sessions."""

    packets_sent: int = 0
    packets_dropped: int = 0  # no room while waiting for bandwidth, or not ready
    pushes_received: int = 0
    undecryptable_pushes: int = 0
    malformed_texts: int = 0
    unexpected_texts: int = 0
    claims: int = 0
