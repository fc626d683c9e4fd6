"""Certificates of the test internet: one trusted root, good leaves, and a gallery of bad ones.

All keys are made afresh at each start and live in memory and in a temporary folder; nothing here may ever
be trusted outside a test.
"""

from __future__ import annotations

import datetime
import ipaddress
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Credential:
    """A certificate, its key, and the certificates that a server sends after it."""

    certificate: x509.Certificate
    key: PrivateKey
    chain: tuple[x509.Certificate, ...] = ()

    def __repr__(self) -> str:
        return f"<Credential {self.certificate.subject.rfc4514_string()}>"

    @property
    def certificate_pem(self) -> bytes:
        """The certificate and its chain."""
        parts = (self.certificate, *self.chain)
        return b"".join(part.public_bytes(serialization.Encoding.PEM) for part in parts)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Authority:
    """A certificate authority that issues leaves and intermediates.

    :param now: wall clock, for the validity of everything issued
    """

    def __init__(self, name: str, now: datetime.datetime, parent: Authority | None = None) -> None:
        self._now = now
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name)
        issuer: Credential | None = parent.credential if parent else None
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 30 * _DAY)
            .not_valid_after(now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(certificate_authority=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if issuer is not None:
            builder = builder.add_extension(_authority_key(issuer.certificate), critical=False)
        certificate = builder.sign(issuer.key if issuer else key, hashes.SHA256())
        # Intermediates are sent by servers, the root never is.
        self.sent: tuple[x509.Certificate, ...] = (certificate, *parent.sent) if parent else ()
        self.credential: Credential = Credential(certificate, key)

    @property
    def certificate_pem(self) -> str:
        return self.credential.certificate_pem.decode()

    def issue(
        self,
        names: Sequence[str],
        *,
        key: PrivateKey | None = None,
        valid_from_days: int = -30,
        valid_to_days: int = 365,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.SERVER_AUTH,
        send_chain: bool = True,
    ) -> Credential:
        """A leaf for host names and addresses; validity in days from now (negative: in the past)."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = _leaf(
            names, key, self._now + valid_from_days * _DAY, self._now + valid_to_days * _DAY, usage
        )
        issuer = self.credential
        certificate = (
            builder.issuer_name(issuer.certificate.subject)
            .add_extension(_authority_key(issuer.certificate), critical=False)
            .sign(issuer.key, hashes.SHA256())
        )
        return Credential(certificate, key, self.sent if send_chain else ())


def self_signed(names: Sequence[str], now: datetime.datetime) -> Credential:
    """A leaf that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _leaf(names, key, now - 30 * _DAY, now + 365 * _DAY, ExtendedKeyUsageOID.SERVER_AUTH)
    return Credential(builder.issuer_name(_name(names[0])).sign(key, hashes.SHA256()), key)


def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def server_context(credential: Credential) -> ssl.SSLContext:
    """A TLS server context that offers HTTP/1.1 by ALPN. Weak keys are allowed: the client is to refuse
    them.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_alpn_protocols(["http/1.1"])
    # The ssl module loads certificates from files only.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "server.pem")
        path.touch(mode=0o600)
        path.write_bytes(credential.key_pem + credential.certificate_pem)
        context.load_cert_chain(path)
    return context


def _leaf(
    names: Sequence[str],
    key: PrivateKey,
    valid_from: datetime.datetime,
    valid_to: datetime.datetime,
    usage: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(_name(names[0]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid_from)
        .not_valid_after(valid_to)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificate_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _authority_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _key_usage(*, certificate_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificate_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_authority,
        crl_sign=certificate_authority,
        encipher_only=False,
        decipher_only=False,
    )
