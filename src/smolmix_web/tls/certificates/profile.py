"""What each certificate of a path has to look like, by its place in the path.

RFC 5280 section 4 with the tightenings of the CA/Browser Forum Baseline Requirements section 7.1.2, which
public authorities have to keep. These rules look at one certificate at a time; paths are in :mod:`.path`.
They hold whichever verifier built the path.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final

from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.certificate import Certificate, ExtendedKeyUsageOid, KeyUsageBit
from smolmix_web.tls.certificates.certificate import ExtensionOid as Oid
from smolmix_web.tls.certificates.der import SEQUENCE, read_whole
from smolmix_web.tls.certificates.names import (
    NameKind,
    attribute_texts,
    directory_name,
    pull_general_name,
)
from smolmix_web.tls.certificates.signatures import acceptable_key
from smolmix_web.tls.errors import (
    CertificateMalformed,
    CertificateNotAuthority,
    CertificateUnknownCritical,
    CertificateWrongUsage,
)

#: Extensions that may be critical because they are taken into account. Certificate policies are among them
#: since any policy will do; constraints on policies are not evaluated, so where critical they end the path.
_MAY_BE_CRITICAL: Final = frozenset(
    (
        Oid.BASIC_CONSTRAINTS,
        Oid.KEY_USAGE,
        Oid.EXTENDED_KEY_USAGE,
        Oid.SUBJECT_ALTERNATIVE_NAME,
        Oid.NAME_CONSTRAINTS,
        Oid.CERTIFICATE_POLICIES,
    )
)
_NEVER_CRITICAL: Final = frozenset(
    (Oid.SUBJECT_KEY_IDENTIFIER, Oid.AUTHORITY_KEY_IDENTIFIER, Oid.AUTHORITY_INFORMATION_ACCESS)
)
_MUST_BE_CRITICAL: Final = frozenset((Oid.POLICY_CONSTRAINTS, Oid.INHIBIT_ANY_POLICY))
_MAX_SERIAL_LENGTH: Final = 20
_COMMON_NAME: Final = "2.5.4.3"
_ADDRESS_LIKE: Final = re.compile(r"[0-9.]*[0-9]|0x[0-9A-Fa-f]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
#: Also in Unicode: an internationalized name has to be spelled as its A-label.
_HOST_LIKE: Final = re.compile(r"[\w*-]+(\.[\w-]+)+")
_EMPTY_NAME: Final = bytes((SEQUENCE, 0))


def check_server(certificate: Certificate, *, purpose: str = ExtendedKeyUsageOid.SERVER_AUTH) -> None:
    """The certificate at the end of a path. One that belongs to an authority follows the authorities' rules.

    :raises TlsError: one of the classes for verification failures.
    """
    try:
        _check_common(certificate)
        if is_authority(certificate):
            _check_authority(certificate, purpose)
        else:
            _check_end_entity(certificate, purpose)
        _check_authority_key_identifier(certificate)
        _check_alternative_names(certificate)
    except MalformedError as error:
        raise CertificateMalformed(f"the server's certificate is malformed ({error})") from None


def check_intermediate(certificate: Certificate, *, purpose: str = ExtendedKeyUsageOid.SERVER_AUTH) -> None:
    """A certificate of an authority between the server's and the trust anchor's."""
    try:
        _check_common(certificate)
        _check_authority(certificate, purpose)
        _check_authority_key_identifier(certificate)
    except MalformedError as error:
        raise CertificateMalformed(f"an intermediate certificate is malformed ({error})") from None


def check_anchor(
    certificate: Certificate, *, purpose: str = ExtendedKeyUsageOid.SERVER_AUTH, self_signed: bool
) -> None:
    """A trust anchor, which is a certificate like any other here: its limits bind those below.

    :param self_signed: it was signed with its own key, so that section 4.2.1.1 lets it go without an
        authority key identifier.
    """
    try:
        _check_common(certificate)
        _check_authority(certificate, purpose)
        identifier = certificate.authority_key_identifier
        if identifier is not None or not self_signed:
            _check_authority_key_identifier(certificate)
        if self_signed:
            if certificate.extended_key_usage is not None:
                raise MalformedError("extended key usage in a root certificate")
            if identifier and identifier.key_identifier != certificate.subject_key_identifier:
                raise MalformedError("authority key identifier of a root is not its own")
    except MalformedError as error:
        raise CertificateMalformed(f"a trust anchor's certificate is malformed ({error})") from None


def is_authority(certificate: Certificate) -> bool:
    constraints = certificate.basic_constraints
    return constraints is not None and constraints.ca


def _check_common(certificate: Certificate) -> None:
    if certificate.version != 3:
        raise MalformedError("certificate of an old version")
    if certificate.serial_length > _MAX_SERIAL_LENGTH or certificate.serial <= 0:
        raise MalformedError("serial number out of range")
    if certificate.issuer == _EMPTY_NAME:
        raise MalformedError("empty issuer")
    directory_name(certificate.issuer)
    directory_name(certificate.subject)
    for oid, extension in certificate.extensions.items():
        if extension.critical and oid in _NEVER_CRITICAL:
            raise MalformedError(f"extension {oid} is critical")
        if not extension.critical and oid in _MUST_BE_CRITICAL:
            raise MalformedError(f"extension {oid} is not critical")
        if extension.critical and oid not in _MAY_BE_CRITICAL:
            raise CertificateUnknownCritical(f"a certificate has the unknown critical extension {oid}")
    acceptable_key(certificate.public_key)
    _check_information_access(certificate)


def _check_authority(certificate: Certificate, purpose: str) -> None:
    if not is_authority(certificate):
        raise CertificateNotAuthority("a certificate was signed by one that is not an authority's")
    if not certificate.extensions[Oid.BASIC_CONSTRAINTS].critical:
        raise MalformedError("basic constraints of an authority are not critical")
    usage = certificate.key_usage
    if usage is not None and KeyUsageBit.KEY_CERT_SIGN not in usage:
        raise CertificateNotAuthority("an authority's key may not sign certificates")
    if certificate.subject == _EMPTY_NAME:
        raise MalformedError("authority without a name")
    if certificate.subject_key_identifier is None:
        raise MalformedError("authority without a subject key identifier")
    uses = certificate.extended_key_usage
    if uses is not None and purpose not in uses and ExtendedKeyUsageOid.ANY not in uses:
        raise CertificateWrongUsage("an authority in the chain may not certify servers")
    _ = certificate.name_constraints, certificate.alternative_names  # must parse


def _check_end_entity(certificate: Certificate, purpose: str) -> None:
    usage, uses = certificate.key_usage, certificate.extended_key_usage
    if usage is not None and KeyUsageBit.KEY_CERT_SIGN in usage:
        raise MalformedError("may sign certificates without being an authority's")
    constraints = certificate.basic_constraints
    if constraints is not None and constraints.path_length is not None:
        raise MalformedError("path length without being an authority's")
    if Oid.NAME_CONSTRAINTS in certificate.extensions:
        raise MalformedError("name constraints without being an authority's")
    if uses is None or purpose not in uses:
        raise CertificateWrongUsage("the certificate was not issued for servers (extended key usage)")
    if certificate.extensions[Oid.EXTENDED_KEY_USAGE].critical:
        raise MalformedError("extended key usage is critical")


def _check_authority_key_identifier(certificate: Certificate) -> None:
    identifier = certificate.authority_key_identifier
    if identifier is None or identifier.key_identifier is None:
        raise MalformedError("authority key identifier is missing")
    if identifier.has_issuer_and_serial:
        raise MalformedError("authority key identifier with issuer or serial number")


def _check_alternative_names(certificate: Certificate) -> None:
    names = certificate.alternative_names
    if names is None:
        raise MalformedError("no subject alternative name")
    empty_subject = certificate.subject == _EMPTY_NAME
    if certificate.extensions[Oid.SUBJECT_ALTERNATIVE_NAME].critical != empty_subject:
        raise MalformedError("subject alternative name is critical exactly when the subject is empty")


def check_common_name(certificate: Certificate) -> None:
    """Baseline Requirements 7.1.4.3: a common name that claims a host has to be one of the alternative names,
    spelled the same way. It is never matched, but a certificate that contradicts itself is not believed. Two
    liberties that authorities take are let pass: names that cannot be taken for a host, and a host under
    a wildcard, or right above one. Authorities' certificates have no host for a name.
    """
    names = certificate.alternative_names or ()
    for value in attribute_texts(certificate.subject, _COMMON_NAME):
        if _ADDRESS_LIKE.fullmatch(value):
            if value not in {str(ip_address(name.value)) for name in names if name.kind == NameKind.IP}:
                raise CertificateMalformed(
                    "the common name is an address, but not one of the certificate's names"
                )
        elif _HOST_LIKE.fullmatch(value):
            hosts = {name.text for name in names if name.kind == NameKind.DNS}
            if hosts and hosts.isdisjoint((value, "*." + value, "*." + value.partition(".")[2])):
                raise CertificateMalformed(
                    "the common name is a host, but not one of the certificate's names"
                )


def _check_information_access(certificate: Certificate) -> None:
    """AuthorityInfoAccess is never followed, but has to be well-formed (RFC 5280 section 4.2.2.1)."""
    extension = certificate.extensions.get(Oid.AUTHORITY_INFORMATION_ACCESS)
    if extension is None:
        return
    reader = read_whole(extension.value)
    if not reader.remaining:
        raise MalformedError("empty authority information access")
    while reader.remaining:
        description = reader.pull_sequence()
        description.pull_oid()
        pull_general_name(description)
        description.expect_end()
