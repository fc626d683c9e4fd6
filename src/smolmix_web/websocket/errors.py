"""What can go wrong with a WebSocket once the tunnel itself works."""

from __future__ import annotations

from smolmix_web.errors import LocalProtocolError, RemoteProtocolError


class HandshakeRefused(RemoteProtocolError):
    """The server answered the upgrade with something else than 101, or with a 101 that does not fit."""

    code = "WS_HANDSHAKE"

    def __init__(self, problem: str, status: int | None = None) -> None:
        super().__init__(problem)
        self.status = status


class ProtocolViolation(RemoteProtocolError):
    """The server sent frames that break RFC 6455; the connection was ended."""

    code = "WS_PROTOCOL"


class MessageTooLarge(RemoteProtocolError):
    """A message is larger than the limit; the connection was closed with 1009."""

    code = "WS_TOO_LARGE"


class WebSocketClosed(LocalProtocolError):
    """Sending on a WebSocket that is closing or closed."""

    code = "WS_CLOSED"
