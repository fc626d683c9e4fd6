"""TLS 1.3 and 1.2 as a client: :class:`TlsClient` without I/O, :func:`wrap` over a stream."""

from smolmix_web.tls.client import TlsClient
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.errors import TlsError, TlsTruncated
from smolmix_web.tls.events import DataReceived, Event, HandshakeComplete, PeerClosed
from smolmix_web.tls.registry import ProtocolVersion
from smolmix_web.tls.stream import TlsStream, wrap
from smolmix_web.tls.tickets import TicketStore

__all__ = [
    "DataReceived",
    "Event",
    "HandshakeComplete",
    "PeerClosed",
    "ProtocolVersion",
    "TicketStore",
    "TlsClient",
    "TlsConfig",
    "TlsError",
    "TlsStream",
    "TlsTruncated",
    "wrap",
]
