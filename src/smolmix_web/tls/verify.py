"""Decides whether a chain of certificates proves a server's name."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Protocol

from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.tls.certificates.certificate import Certificate, PublicKey
from smolmix_web.tls.certificates.names import ServerName
from smolmix_web.tls.certificates.pem import decode_pem
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.errors import BadCertificate, CertificateMalformed
from smolmix_web.tls.roots import bundled_pem


@dataclass(frozen=True, slots=True)
class VerifiedPeer:
    """A server that proved its name, provided that it also signs with ``public_key``."""

    chain: tuple[bytes, ...] = field(repr=False)
    public_key: PublicKey
    #: Seconds since 1970 after which the proof is over.
    not_after: float


class Verifier(Protocol):
    def verify(self, chain: tuple[bytes, ...], name: ServerName, unix_time: float) -> VerifiedPeer:
        """``chain`` is DER as sent, the server's own certificate first, the others in any order.

        :raises TlsError: one of the classes for verification failures in :mod:`.errors`.
        """
        ...


def verifier_for(config: TlsConfig, provider: Provider) -> Verifier:
    """The verifier for a configuration; made once and kept, because reading all roots takes a while.

    :raises OptionError: the trust anchors cannot be read.
    """
    return _verifier(config.trust_anchors, config.bundled_roots)


@lru_cache(maxsize=8)
def _verifier(anchors: str | None, bundled: bool) -> Verifier:
    blocks = decode_pem(bundled_pem()) if bundled else []
    if anchors is not None:
        try:
            own = decode_pem(anchors)
        except MalformedError:
            own = []
        if not own:
            raise OptionError("trust_anchors", "holds no readable PEM certificate")
        blocks += own
    return PycaVerifier(blocks)


class PycaVerifier:
    """The verifier of ``cryptography``."""

    def __init__(self, anchors: list[bytes]) -> None:
        from cryptography import x509
        from cryptography.x509 import verification

        self._x509 = x509
        self._verification = verification
        self._store = verification.Store([x509.load_der_x509_certificate(der) for der in anchors])

    def verify(self, chain: tuple[bytes, ...], name: ServerName, unix_time: float) -> VerifiedPeer:
        import ipaddress

        x509, verification = self._x509, self._verification
        try:
            leaf = Certificate(chain[0])
            certificates = [x509.load_der_x509_certificate(der) for der in chain]
        except (MalformedError, ValueError) as error:
            raise CertificateMalformed(f"a certificate cannot be read ({error})") from None
        subject = x509.IPAddress(ipaddress.ip_address(name.ip)) if name.ip else x509.DNSName(name.dns or "")
        builder = verification.PolicyBuilder().store(self._store)
        verifier = builder.time(datetime.fromtimestamp(unix_time, UTC)).build_server_verifier(subject)
        try:
            verifier.verify(certificates[0], certificates[1:])
        except verification.VerificationError as error:
            raise BadCertificate(str(error)) from None
        return VerifiedPeer(chain, leaf.public_key, leaf.not_after)
