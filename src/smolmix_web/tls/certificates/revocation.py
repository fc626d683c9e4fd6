"""Certificate revocation lists (RFC 5280 sections 5 and 6.3), for lists that somebody already has.

The client does not fetch any: a request to an authority would tell it which sites are visited.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.certificate import (
    Certificate,
    Extension,
    ExtensionOid,
    KeyUsageBit,
    pull_algorithm,
    pull_extension_list,
)
from smolmix_web.tls.certificates.der import (
    GENERALIZED_TIME,
    INTEGER,
    SEQUENCE,
    UTC_TIME,
    context,
    read_whole,
)
from smolmix_web.tls.certificates.signatures import verify_signed
from smolmix_web.tls.errors import CertificateMalformed, CertificateRevoked, CertificateUnknown

_MAY_BE_CRITICAL: Final = frozenset((ExtensionOid.AUTHORITY_KEY_IDENTIFIER,))


class RevocationList:
    """One complete list of an authority. :raises MalformedError: it is not one of RFC 5280 section 5.1."""

    def __init__(self, der: bytes) -> None:
        outer = read_whole(der)
        self.tbs = outer.pull_encoded(SEQUENCE)
        self.signature_algorithm = pull_algorithm(outer)
        self.signature = outer.pull_bits()
        outer.expect_end()
        tbs = read_whole(self.tbs)
        if tbs.pull_integer() != 1:
            raise MalformedError("revocation list that is not of version 2")
        if pull_algorithm(tbs) != self.signature_algorithm:
            raise MalformedError("the two signature algorithms of a revocation list differ")
        self.issuer = tbs.pull_encoded(SEQUENCE)
        self.this_update = tbs.pull_time()
        self.next_update = tbs.pull_time() if tbs.peek_tag() in (UTC_TIME, GENERALIZED_TIME) else math.inf
        revoked = set()
        if tbs.peek_tag() == SEQUENCE:
            entries = tbs.pull_sequence()
            while entries.remaining:
                entry = entries.pull_sequence()
                revoked.add(entry.pull(INTEGER))
                entry.pull_time()
                if entry.remaining:
                    for extension in pull_extension_list(entry.pull_sequence()).values():
                        if extension.critical:
                            raise MalformedError("revocation entry with a critical extension")
                entry.expect_end()
        self.revoked = frozenset(int.from_bytes(serial, "big", signed=True) for serial in revoked)
        contents = tbs.pull_optional(context(0))
        tbs.expect_end()
        self.extensions: dict[str, Extension] = {}
        if contents is not None:
            self.extensions = pull_extension_list(read_whole(contents))

    def check_usable(self, issuer: Certificate, provider: Provider, unix_time: float) -> None:
        """:raises TlsError: not signed by ``issuer``, who may not sign lists, or not of this time."""
        number = self.extensions.get(ExtensionOid.CRL_NUMBER)
        if number is None or number.critical:
            raise CertificateMalformed("revocation list without a number, or with a critical one")
        for oid, extension in self.extensions.items():
            if extension.critical and oid not in _MAY_BE_CRITICAL:
                raise CertificateUnknown(f"revocation list with the critical extension {oid}")
        if issuer.key_usage is not None and KeyUsageBit.CRL_SIGN not in issuer.key_usage:
            raise CertificateUnknown("revocation list of an authority that may not sign lists")
        if not self.this_update <= unix_time <= self.next_update:
            raise CertificateUnknown("revocation list that is not current")
        verify_signed(provider, issuer.public_key, self.signature_algorithm, self.tbs, self.signature)


def check_not_revoked(
    path: Sequence[Certificate], lists: Sequence[RevocationList], provider: Provider, unix_time: float
) -> None:
    """``path`` from the server's certificate to the anchor's. Certificates whose issuer has no list pass.

    :raises CertificateRevoked: a certificate is on its issuer's list.
    :raises TlsError: the list of an issuer on the path cannot be relied upon.
    """
    for certificate, issuer in pairwise(path):
        for found in lists:
            if found.issuer != issuer.subject:
                continue
            found.check_usable(issuer, provider, unix_time)
            if certificate.serial in found.revoked:
                raise CertificateRevoked("a certificate in the chain was revoked by its issuer")
