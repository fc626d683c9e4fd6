"""What can go wrong between client and gateway, as the client sees it."""

from __future__ import annotations

from smolmix_web.errors import NetworkError, RemoteProtocolError


class GatewayError(RemoteProtocolError):
    """The gateway broke the protocol, or refused a step of it."""

    code = "GATEWAY"


class IncompatibleGateway(GatewayError):
    """The gateway speaks no protocol version that we do."""

    code = "GATEWAY_INCOMPATIBLE"


class HandshakeFailed(GatewayError):
    """The registration handshake failed: a bad signature or a malformed message."""

    code = "GATEWAY_HANDSHAKE"


class GatewayRefused(GatewayError):
    """The gateway answered a step with an error of its own; the text is the gateway's."""

    code = "GATEWAY_REFUSED"
    retriable = True

    def __init__(self, step: str, reason: str) -> None:
        super().__init__(f"the gateway refused {step}: {reason[:300]}")
        self.step = step
        self.reason = reason


class RegistrationLost(GatewayRefused):
    """The gateway does not know our shared key (any more): register again."""

    code = "GATEWAY_REGISTRATION_LOST"


class SessionBusy(GatewayRefused):
    """The gateway still holds a live session of this identity; it frees it when that connection ends."""

    code = "GATEWAY_SESSION_BUSY"


class GatewayClosed(NetworkError):
    """The WebSocket to the gateway ended."""

    code = "GATEWAY_CLOSED"
