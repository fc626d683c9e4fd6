"""WebSocket (RFC 6455) through the tunnel; wsproto does the protocol.

The names below are loaded when first used: settings are wanted where wsproto is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smolmix_web import lazy_names

if TYPE_CHECKING:
    from smolmix_web.websocket.client import WebSocketClient
    from smolmix_web.websocket.errors import (
        HandshakeRefused,
        MessageTooLarge,
        ProtocolViolation,
        WebSocketClosed,
    )
    from smolmix_web.websocket.request import WebSocketRequest
    from smolmix_web.websocket.settings import WebSocketSettings

__all__ = [
    "HandshakeRefused",
    "MessageTooLarge",
    "ProtocolViolation",
    "WebSocketClient",
    "WebSocketClosed",
    "WebSocketRequest",
    "WebSocketSettings",
]

__getattr__ = lazy_names.loads(
    __name__,
    {
        "HandshakeRefused": "errors",
        "MessageTooLarge": "errors",
        "ProtocolViolation": "errors",
        "WebSocketClient": "client",
        "WebSocketClosed": "errors",
        "WebSocketRequest": "request",
        "WebSocketSettings": "settings",
    },
)
