"""WebSocket (RFC 6455) through the tunnel; wsproto does the protocol."""

from __future__ import annotations

from smolmix_web.websocket.client import WebSocketClient
from smolmix_web.websocket.errors import HandshakeRefused, MessageTooLarge, ProtocolViolation, WebSocketClosed
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
