"""A certificate factory for tests: an authority and what it issues, in the profile that verifiers want.

trustme's are refused by ``cryptography``'s verifier (critical subjectAltName), so this makes its own.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)


@cache
def make_key(kind: str, serial: int = 0) -> CertificateIssuerPrivateKeyTypes:
    """``kind``: p256, p384, p521, ed25519, rsa1024, rsa2048, rsa3072. One key per (kind, serial) and run."""
    curves = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1(), "p521": ec.SECP521R1()}
    if kind in curves:
        return ec.generate_private_key(curves[kind])
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa")))


def key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and what a server sends beside it."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def chain_der(self) -> tuple[bytes, ...]:
        der = serialization.Encoding.DER
        return tuple(c.public_bytes(der) for c in (self.certificate, *self.intermediates))

    @property
    def chain_pem(self) -> bytes:
        pem = serialization.Encoding.PEM
        return b"".join(c.public_bytes(pem) for c in (self.certificate, *self.intermediates))

    def write(self, folder: Path, name: str = "server") -> tuple[Path, Path]:
        """(chain file, key file), PEM."""
        chain, key = folder / f"{name}.crt", folder / f"{name}.key"
        chain.write_bytes(self.chain_pem)
        key.write_bytes(key_pem(self.key))
        return chain, key


class Authority:
    """A certificate authority. ``key_kind`` as in :func:`make_key`."""

    def __init__(
        self,
        name: str = "Test Authority",
        key_kind: str = "p256",
        *,
        issuer: Authority | None = None,
        path_length: int | None = None,
        not_before: datetime.datetime = NOW - 400 * DAY,
        not_after: datetime.datetime = NOW + 4000 * DAY,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        serial: int = 0,
    ) -> None:
        self.issuer = issuer
        self.key = make_key(key_kind, hash(("authority", name, serial)))
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = self if issuer is None else issuer
        builder = _builder(self.name, signer.name, self.key.public_key(), not_before, not_after)
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), True)
        builder = builder.add_extension(_key_usage(sign=False, authority=True), True)
        builder = builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False
        )
        if issuer is not None:
            aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
            builder = builder.add_extension(aki, False)
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        self.certificate = builder.sign(signer.key, _hash_for(signer.key))

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def intermediates(self) -> tuple[x509.Certificate, ...]:
        """What a server under this authority has to send: everything but the root."""
        return () if self.issuer is None else (self.certificate, *self.issuer.intermediates())

    def issue(
        self,
        *names: str,
        key_kind: str = "p256",
        not_before: datetime.datetime = NOW - 30 * DAY,
        not_after: datetime.datetime = NOW + 1000 * DAY,
        usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.SERVER_AUTH,),
        signature_hash: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
        extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
        without: Sequence[type[x509.ExtensionType]] = (),
        serial: int = 0,
    ) -> Issued:
        key = make_key(key_kind, hash(("leaf", serial)))
        builder = _builder(x509.Name([]), self.name, key.public_key(), not_before, not_after)
        given: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(False, None), True),
            (_key_usage(sign=True, authority=False), True),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), False),
            (x509.SubjectAlternativeName(_general_names(names)), True),
        ]
        if usages is not None:
            given.append((x509.ExtendedKeyUsage(list(usages)), False))
        replaced = {type(extension) for extension, _ in extensions} | set(without)
        given = [pair for pair in given if type(pair[0]) not in replaced] + list(extensions)
        for extension, critical in given:
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.key, signature_hash or _hash_for(self.key))
        return Issued(certificate, key, self.intermediates())


def self_signed(*names: str) -> Issued:
    """A server certificate that vouches for itself."""
    key = make_key("p256", 99)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "self")])
    builder = _builder(subject, subject, key.public_key(), NOW - DAY, NOW + 1000 * DAY)
    builder = builder.add_extension(x509.SubjectAlternativeName(_general_names(names)), False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    return Issued(builder.sign(key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificatePublicKeyTypes,
    not_before: datetime.datetime,
    not_after: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _key_usage(*, sign: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(sign, False, False, False, False, authority, authority, False, False)


def _hash_for(key: CertificateIssuerPrivateKeyTypes) -> hashes.SHA256 | hashes.SHA384 | None:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return None
    return (
        hashes.SHA384()
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.key_size > 256
        else hashes.SHA256()
    )
