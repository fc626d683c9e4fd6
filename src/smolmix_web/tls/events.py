"""What :meth:`TlsClient.next_event` returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web.tls.registry import CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme


@dataclass(frozen=True, slots=True)
class HandshakeComplete:
    """The server is who it should be; application data may flow."""

    server_name: str
    version: ProtocolVersion
    cipher_suite: CipherSuite
    #: Group of the key exchange.
    group: NamedGroup
    #: Protocol that the server chose among those offered, or None.
    alpn: str | None
    #: The server's chain as sent, DER, its own first; that of the original session after resumption.
    peer_certificates: tuple[bytes, ...] = field(repr=False)
    #: Scheme of the server's handshake signature; None after resumption.
    signature_scheme: SignatureScheme | None = None
    resumed: bool = False
    #: A HelloRetryRequest cost one more round trip.
    retried: bool = False
    #: RFC 7627; always the case in TLS 1.3.
    extended_master_secret: bool = True


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Application data, never empty."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The server ended its direction in order, with close_notify."""


Event = HandshakeComplete | DataReceived | PeerClosed
