"""WebSocket (RFC 6455) through the tunnel; wsproto does the protocol.

The names below are loaded when first used: settings are wanted where wsproto is not.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

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

_HOMES = {
    "HandshakeRefused": "errors",
    "MessageTooLarge": "errors",
    "ProtocolViolation": "errors",
    "WebSocketClient": "client",
    "WebSocketClosed": "errors",
    "WebSocketRequest": "request",
    "WebSocketSettings": "settings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
