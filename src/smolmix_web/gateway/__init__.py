"""Client and gateway: registration, authentication, bandwidth, uploads and pushes over one WebSocket.

Both ends are here: :class:`GatewayClient` and :class:`GatewaySession`, mirror images over the same formats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from smolmix_web import lazy_names
from smolmix_web.gateway.client import GatewayClient
from smolmix_web.gateway.client_state import GatewayClientConfig
from smolmix_web.gateway.errors import (
    GatewayClosed,
    GatewayError,
    GatewayRefused,
    HandshakeFailed,
    IncompatibleGateway,
    RegistrationLost,
    SessionBusy,
)
from smolmix_web.gateway.events import (
    ClientReady,
    Dropped,
    Failed,
    ForgetMeAcknowledged,
    GatewayComplaint,
    MessagePushed,
    OutOfBandwidth,
    PacketUploaded,
    Ready,
    Registered,
    RememberMeAcknowledged,
)

if TYPE_CHECKING:
    from smolmix_web.gateway.registry import GatewayRegistry, GatewayStorage, MemoryStorage, StoredClient
    from smolmix_web.gateway.server import GatewaySession, Ping
    from smolmix_web.gateway.server_config import GatewayConfig

__all__ = [
    "ClientReady",
    "Dropped",
    "Failed",
    "ForgetMeAcknowledged",
    "GatewayClient",
    "GatewayClientConfig",
    "GatewayClosed",
    "GatewayComplaint",
    "GatewayConfig",
    "GatewayError",
    "GatewayRefused",
    "GatewayRegistry",
    "GatewaySession",
    "GatewayStorage",
    "HandshakeFailed",
    "IncompatibleGateway",
    "MemoryStorage",
    "MessagePushed",
    "OutOfBandwidth",
    "PacketUploaded",
    "Ping",
    "Ready",
    "Registered",
    "RegistrationLost",
    "RememberMeAcknowledged",
    "SessionBusy",
    "StoredClient",
]

# The gateway's own side is loaded when it is first used: a page has no need of it.
__getattr__ = lazy_names.loads(
    __name__,
    {
        "GatewayConfig": "server_config",
        "GatewayRegistry": "registry",
        "GatewaySession": "server",
        "GatewayStorage": "registry",
        "MemoryStorage": "registry",
        "Ping": "server",
        "StoredClient": "registry",
    },
)
