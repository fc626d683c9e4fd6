"""Decides whether a chain of certificates proves a server's name.

With a provider made of ``cryptography`` that package's verifier builds and decides the path; otherwise
:class:`~smolmix_web.tls.certificates.path.PathValidator` does. Either way each certificate of the path has to
keep the rules of :mod:`.certificates.profile`, and the server's own has to be fit for TLS; and either way it
is the path validator that says *why* a chain is refused, in classes that a user can act on.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from ipaddress import ip_address
from typing import Protocol

from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.tls.certificates.certificate import Certificate, KeyUsageBit, PublicKey
from smolmix_web.tls.certificates.keys import ED25519
from smolmix_web.tls.certificates.names import ServerName
from smolmix_web.tls.certificates.path import PathValidator
from smolmix_web.tls.certificates.pem import decode_pem
from smolmix_web.tls.certificates.profile import (
    check_common_name,
    check_intermediate,
    check_server,
    is_authority,
)
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.errors import BadCertificate, CertificateMalformed, CertificateWrongUsage
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

    :raises OptionError: the trust anchors cannot be read, or the bundled roots are not installed.
    """
    return _verifier(config.trust_anchors, config.bundled_roots, _ByIdentity(provider))


@dataclass(frozen=True, slots=True, eq=False)
class _ByIdentity:
    """Makes a provider usable as a key of the cache."""

    provider: Provider

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.provider is self.provider

    def __hash__(self) -> int:
        return id(self.provider)


@lru_cache(maxsize=8)
def _verifier(anchors: str | None, bundled: bool, key: _ByIdentity) -> Verifier:
    provider = key.provider
    roots = decode_pem(bundled_pem()) if bundled else []
    own = _own_anchors(anchors) if anchors is not None else []
    validator = PathValidator(own, provider, vetted=roots)
    if provider.name.startswith("cryptography"):
        return PycaVerifier([*roots, *own], validator)
    return PathVerifier(validator)


def _own_anchors(pem: str) -> list[bytes]:
    try:
        found = decode_pem(pem)
        for der in found:
            Certificate(der)
    except MalformedError as error:
        raise OptionError("trust_anchors", str(error)) from None
    if not found:
        raise OptionError("trust_anchors", "holds no PEM certificate")
    return found


def _peer(chain: tuple[bytes, ...], path: Sequence[Certificate]) -> VerifiedPeer:
    """What TLS asks of the server's certificate beyond a valid path."""
    leaf = path[0]
    if is_authority(leaf):
        raise CertificateWrongUsage("the server uses the certificate of an authority as its own")
    # RFC 8446 section 4.4.2.2; in TLS 1.2 ECDHE suites sign too.
    if leaf.key_usage is not None and KeyUsageBit.DIGITAL_SIGNATURE not in leaf.key_usage:
        raise CertificateWrongUsage("the certificate's key may not make signatures (key usage)")
    return VerifiedPeer(chain, leaf.public_key, min(certificate.not_after for certificate in path))


class PathVerifier:
    """Our own path validator, for providers without one."""

    def __init__(self, validator: PathValidator) -> None:
        self._validator = validator

    def verify(self, chain: tuple[bytes, ...], name: ServerName, unix_time: float) -> VerifiedPeer:
        return _peer(chain, self._validator.validate(chain, name, unix_time))


class PycaVerifier:
    """The verifier of ``cryptography``.

    Its profile is that of public authorities, and there are two things it cannot be asked about: chains with
    Ed25519 keys, as private networks may have them, and server names with an underscore, which are no host
    names but are used as such. There our own validator decides.
    """

    def __init__(self, anchors: list[bytes], validator: PathValidator) -> None:
        from cryptography import x509
        from cryptography.x509 import verification

        self._x509 = x509
        self._verification = verification
        self._validator = validator
        certificates = []
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some roots are older than the rules; see PathValidator
            for der in anchors:
                try:
                    certificates.append(x509.load_der_x509_certificate(der))
                except Exception:
                    continue  # ours parsed it, theirs does not: then it is not among their anchors
        self._store = verification.Store(certificates) if certificates else None

    def verify(self, chain: tuple[bytes, ...], name: ServerName, unix_time: float) -> VerifiedPeer:
        if name.dns is not None and "_" in name.dns:
            return _peer(chain, self._validator.validate(chain, name, unix_time))
        try:
            path = self._build(chain, name, unix_time)
        except Exception as error:  # VerificationError, and several others from parsing: all are refusals
            found = self._validator.validate(chain, name, unix_time)  # names the reason, as a rule
            if not any(certificate.public_key.algorithm.oid == ED25519 for certificate in found):
                raise BadCertificate(f"the certificate is not acceptable ({error})") from None
            return _peer(chain, found)
        try:
            certificates = [Certificate(der, strict=False) for der in path]
        except MalformedError as error:
            raise CertificateMalformed(f"a certificate is malformed ({error})") from None
        self._check_profile(certificates)
        return _peer(chain, certificates)

    def _build(self, chain: tuple[bytes, ...], name: ServerName, unix_time: float) -> list[bytes]:
        from cryptography.hazmat.primitives.serialization import Encoding

        x509 = self._x509
        if self._store is None:
            raise ValueError("there is no usable trust anchor")
        leaf, *others = (x509.load_der_x509_certificate(der) for der in chain)
        subject = x509.IPAddress(ip_address(name.ip)) if name.ip else x509.DNSName(name.dns or "")
        builder = self._verification.PolicyBuilder().store(self._store)
        builder = builder.time(datetime.fromtimestamp(math.floor(unix_time), UTC))
        path = builder.build_server_verifier(subject).verify(leaf, others)
        return [certificate.public_bytes(Encoding.DER) for certificate in path]

    def _check_profile(self, path: list[Certificate]) -> None:
        leaf, *authorities = path
        check_server(leaf)
        check_common_name(leaf)
        if not authorities:
            return
        *intermediates, anchor = authorities
        for certificate in intermediates:
            check_intermediate(certificate)
        self._validator.check_anchor(anchor)
