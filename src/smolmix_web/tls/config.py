"""The few options of the engine. Verification has none: it is always on."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web.errors import OptionError
from smolmix_web.tls.registry import ProtocolVersion
from smolmix_web.tls.tickets import TicketStore

_VERSIONS = (ProtocolVersion.TLS_1_2, ProtocolVersion.TLS_1_3)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Options of a TLS client.

    :raises OptionError: a field is not acceptable.
    """

    #: Oldest version to accept; TLS 1.2 or 1.3.
    minimum_version: ProtocolVersion = ProtocolVersion.TLS_1_2
    #: Newest version to offer.
    maximum_version: ProtocolVersion = ProtocolVersion.TLS_1_3
    #: Application protocols (RFC 7301), best liked first, such as ``("http/1.1",)``; empty: not offered.
    alpn: tuple[str, ...] = ()
    #: PEM certificates of further authorities to trust: private networks, tests.
    trust_anchors: str | None = None
    #: Whether Mozilla's roots are trusted too; without them ``trust_anchors`` is all there is.
    bundled_roots: bool = True
    #: Where session tickets are kept, one store per tunnel. None: no resumption, so that two visits cannot
    #: be linked by a ticket.
    resumption: TicketStore | None = None
    #: Tickets are offered only to connections with the same label; an origin, usually.
    resumption_partition: str = ""

    def __post_init__(self) -> None:
        if self.minimum_version not in _VERSIONS or self.maximum_version not in _VERSIONS:
            raise OptionError("minimum_version, maximum_version", "must be TLS 1.2 or TLS 1.3")
        if self.minimum_version > self.maximum_version:
            raise OptionError("minimum_version", "is newer than maximum_version")
        for name in self.alpn:
            if not name.isascii() or not 1 <= len(name) <= 255:
                raise OptionError("alpn", f"{name!r} is not 1 to 255 ASCII characters")
        if not self.bundled_roots and self.trust_anchors is None:
            raise OptionError("trust_anchors", "must be given when the bundled roots are not used")
