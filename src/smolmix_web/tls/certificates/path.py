"""Finds a path from the server's certificate to a trust anchor and validates it (RFC 5280 section 6.1).

What a server sends may lack the order and hold strangers and dead ends (RFC 4158), so this is a depth-first
search: from a certificate to all that may have issued it, anchors first, then by key identifier. Checks that
need one link only are made on the way down, name constraints and revocation once an anchor is reached.
Budgets bound the work, because anybody may send anything.

When all paths fail, the error raised is that of the path that came closest: a complaint about a step to
a trust anchor says more than one about an intermediate, and that more than "nobody knows the issuer".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final

from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.certificate import Certificate, ExtendedKeyUsageOid
from smolmix_web.tls.certificates.constraints import ConstraintBudget, violates
from smolmix_web.tls.certificates.names import (
    GeneralName,
    NameKind,
    ServerName,
    directory_name,
    email_addresses,
)
from smolmix_web.tls.certificates.profile import (
    check_anchor,
    check_common_name,
    check_intermediate,
    check_server,
    is_authority,
)
from smolmix_web.tls.certificates.revocation import RevocationList, check_not_revoked
from smolmix_web.tls.certificates.signatures import acceptable_key, verify_signed
from smolmix_web.tls.errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNameConstraint,
    CertificateNotYetValid,
    CertificatePathTooLong,
    CertificateSelfSigned,
    CertificateWrongHost,
    TlsError,
    UnknownCa,
)

#: Intermediates in a path that are not self-issued; public chains have one to three.
MAX_DEPTH: Final = 8
#: Certificates that a server may send.
_MAX_SENT: Final = 64
#: Signatures checked for one server; a handful is normal.
_MAX_SIGNATURES: Final = 64
_MAX_STEPS: Final = 1000


class PathValidator:
    """Trust anchors, and the search for a path to one of them.

    :param anchors: DER certificates that have to keep the profile. Those that cannot be parsed are left out.
    :param provider: checks the signatures.
    :param vetted: DER certificates that a root program has examined: Mozilla's. Some are older than today's
        rules (serial number zero, no key identifier), so of these only validity, key and limits count.
    :param max_depth: intermediates in a path, not counting self-issued ones.
    """

    def __init__(
        self,
        anchors: Iterable[bytes],
        provider: Provider,
        *,
        vetted: Iterable[bytes] = (),
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self._provider = provider
        self._max_depth = max_depth
        self._anchors: dict[bytes, list[Certificate]] = {}
        self._vetted: dict[bytes, bool] = {}
        for der, is_vetted in [*((der, True) for der in vetted), *((der, False) for der in anchors)]:
            try:
                anchor = Certificate(der, strict=not is_vetted)
            except MalformedError:
                continue
            if anchor.der not in self._vetted:
                self._vetted[anchor.der] = is_vetted
                self._anchors.setdefault(anchor.subject, []).append(anchor)

    def validate(
        self,
        chain: Sequence[bytes],
        name: ServerName | None,
        unix_time: float,
        *,
        purpose: str = ExtendedKeyUsageOid.SERVER_AUTH,
        revocation_lists: Sequence[RevocationList] = (),
    ) -> tuple[Certificate, ...]:
        """The path, from the server's certificate to the anchor's.

        :param chain: DER, the server's own first, the others in any order; strangers are skipped.
        :param name: what the server's certificate has to be good for; None: any name.
        :param unix_time: seconds since 1970; fractions are cut off, as certificates have whole seconds.
        :raises TlsError: one of the classes for verification failures.
        """
        if not 1 <= len(chain) <= _MAX_SENT:
            raise CertificateMalformed(f"the server sent {len(chain)} certificates")
        try:
            leaf = Certificate(chain[0])
        except MalformedError as error:
            raise CertificateMalformed(f"the server's certificate is malformed ({error})") from None
        search = _Search(self, chain[1:], math.floor(unix_time), purpose, revocation_lists)
        if leaf.self_issued and not self.is_anchor(leaf) and not self.anchors_named(leaf.issuer):
            raise CertificateSelfSigned("the server's certificate is signed by itself, and is not trusted")
        check_server(leaf, purpose=purpose)
        path = search.run(leaf)
        if name is not None:
            check_name(leaf, name)
        if not is_authority(leaf):
            check_common_name(leaf)
        return path

    def anchors_named(self, subject: bytes) -> list[Certificate]:
        return self._anchors.get(subject, [])

    def check_anchor(self, anchor: Certificate, *, purpose: str = ExtendedKeyUsageOid.SERVER_AUTH) -> None:
        """:raises TlsError: its form is not acceptable; time is not looked at."""
        if self._vetted.get(anchor.der):
            acceptable_key(anchor.public_key)
        else:
            check_anchor(anchor, purpose=purpose, self_signed=self._is_self_signed(anchor))

    def _is_self_signed(self, anchor: Certificate) -> bool:
        """By name; where the names differ, by signature."""
        if anchor.self_issued:
            return True
        try:
            verify_signed(
                self._provider, anchor.public_key, anchor.signature_algorithm, anchor.tbs, anchor.signature
            )
        except TlsError:
            return False
        return True

    def is_anchor(self, certificate: Certificate) -> bool:
        return certificate.der in self._vetted

    @property
    def provider(self) -> Provider:
        return self._provider

    @property
    def max_depth(self) -> int:
        return self._max_depth


def check_name(leaf: Certificate, name: ServerName) -> None:
    """:raises CertificateWrongHost: none of the alternative names is ``name``."""
    names = leaf.alternative_names or ()
    if any(name.matches(candidate) for candidate in names):
        return
    known = [n.text for n in names if n.kind == NameKind.DNS]
    listed = ", ".join(known[:5]) + (" and others" if len(known) > 5 else "")
    raise CertificateWrongHost(f"the certificate is for other names ({listed or 'no host name at all'})")


def check_validity(certificate: Certificate, unix_time: float, what: str) -> None:
    """Both ends are included (RFC 5280 section 4.1.2.5)."""
    if unix_time < certificate.not_before:
        raise CertificateNotYetValid(f"{what} is not valid yet; is the clock of this machine right?")
    if unix_time > certificate.not_after:
        raise CertificateExpired(f"{what} has expired")


class _Search:
    """One run of the search; holds what is used up and what was found wrong."""

    def __init__(
        self,
        validator: PathValidator,
        others: Sequence[bytes],
        unix_time: float,
        purpose: str,
        revocation_lists: Sequence[RevocationList],
    ) -> None:
        self._validator = validator
        self._unix_time = unix_time
        self._purpose = purpose
        self._lists = revocation_lists
        self._intermediates: dict[bytes, list[Certificate]] = {}
        for der in dict.fromkeys(others):
            try:
                certificate = Certificate(der)
            except MalformedError:
                continue  # a stranger; if it was needed, its issue is "unknown authority"
            self._intermediates.setdefault(certificate.subject, []).append(certificate)
        self._signatures_left = _MAX_SIGNATURES
        self._steps_left = _MAX_STEPS
        self._budget = ConstraintBudget()
        self._failure: tuple[int, TlsError] = (
            -1,
            UnknownCa("no trusted authority issued the certificate"),
        )

    def run(self, leaf: Certificate) -> tuple[Certificate, ...]:
        check_validity(leaf, self._unix_time, "the server's certificate")
        if self._validator.is_anchor(leaf):  # trusted as it stands
            return (leaf,)
        path = self._extend([leaf])
        if path is None:
            raise self._failure[1]
        return path

    def _fail(self, weight: int, error: TlsError) -> None:
        if weight > self._failure[0]:
            self._failure = (weight, error)

    def _extend(self, path: list[Certificate]) -> tuple[Certificate, ...] | None:
        """The finished path, or None with the reason noted."""
        last = path[-1]
        candidates = self._candidates(path)
        if not candidates:
            reason = "the certificate comes from an authority that is not trusted, or one is missing"
            self._fail(0, UnknownCa(reason))
        for issuer, is_anchor in candidates:
            self._steps_left -= 1
            if self._steps_left < 0 or self._signatures_left <= 0:
                self._fail(3, CertificatePathTooLong("the chain has too many branches to search"))
                return None
            try:
                self._check_link(issuer, last, path, is_anchor)
                extended = [*path, issuer]
                if is_anchor:
                    self._check_whole(extended)
                    return tuple(extended)
            except TlsError as error:
                self._fail(2 if is_anchor else 1, error)
                continue
            found = self._extend(extended)
            if found is not None:
                return found
        return None

    def _candidates(self, path: list[Certificate]) -> list[tuple[Certificate, bool]]:
        last = path[-1]
        seen = {(c.subject, c.public_key.encoded) for c in path}
        anchors = self._validator.anchors_named(last.issuer)
        found = [(c, True) for c in anchors if (c.subject, c.public_key.encoded) not in seen]
        found += [
            (c, False)
            for c in self._intermediates.get(last.issuer, [])
            if (c.subject, c.public_key.encoded) not in seen and not self._validator.is_anchor(c)
        ]
        try:
            wanted = last.authority_key_identifier
        except MalformedError:
            wanted = None
        if wanted is not None and wanted.key_identifier is not None:
            found.sort(key=lambda pair: (not pair[1], _identifier(pair[0]) != wanted.key_identifier))
        return found

    def _check_link(
        self, issuer: Certificate, subject: Certificate, path: list[Certificate], is_anchor: bool
    ) -> None:
        if is_anchor:
            self._validator.check_anchor(issuer, purpose=self._purpose)
            check_validity(issuer, self._unix_time, "a trust anchor's certificate")
        else:
            check_intermediate(issuer, purpose=self._purpose)
            check_validity(issuer, self._unix_time, "an intermediate certificate")
        below = sum(1 for certificate in path[1:] if not certificate.self_issued)
        limit = issuer.basic_constraints.path_length if issuer.basic_constraints else None
        if limit is not None and below > limit:
            raise CertificatePathTooLong("the chain is longer than one of its authorities allows")
        own = 0 if is_anchor or issuer.self_issued else 1
        if below + own > self._validator.max_depth:
            raise CertificatePathTooLong("the chain has too many intermediate certificates")
        self._signatures_left -= 1
        verify_signed(
            self._validator.provider,
            issuer.public_key,
            subject.signature_algorithm,
            subject.tbs,
            subject.signature,
        )

    def _check_whole(self, path: list[Certificate]) -> None:
        try:
            self._check_name_constraints(path)
        except MalformedError as error:
            raise CertificateNameConstraint(f"names in the chain cannot be checked ({error})") from None
        check_not_revoked(path, self._lists, self._validator.provider, self._unix_time)

    def _check_name_constraints(self, path: list[Certificate]) -> None:
        constrained = [(i, c.name_constraints) for i, c in enumerate(path) if c.name_constraints is not None]
        if not constrained:
            return
        for place, certificate in enumerate(path):
            if place > 0 and certificate.self_issued:
                continue
            names = _constrained_names(certificate)
            subject_length = len(directory_name(certificate.subject))
            for i, constraints in constrained:
                if i > place and constraints is not None:
                    # Comparing a long subject is work as well.
                    self._budget.spend(subject_length * len(constraints.permitted + constraints.excluded))
                    for name in names:
                        if violates(name, constraints, self._budget):
                            raise CertificateNameConstraint(
                                "a name in the chain lies outside of what its authority may certify"
                            )


def _identifier(certificate: Certificate) -> bytes | None:
    try:
        return certificate.subject_key_identifier
    except MalformedError:
        return None


def _constrained_names(certificate: Certificate) -> list[GeneralName]:
    """Alternative names, the subject, and e-mail addresses in a subject without alternatives."""
    names = list(certificate.alternative_names or ())
    if directory_name(certificate.subject):
        names.append(GeneralName(NameKind.DIRECTORY, certificate.subject))
    if certificate.alternative_names is None:
        names += email_addresses(certificate.subject)
    return names
