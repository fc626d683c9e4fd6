"""A certificate of RFC 5280 as a checked value: parsing alone refuses what is not DER or not RFC 5280.

Extensions are kept raw in ``extensions``; those that matter for paths are parsed on first use and cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.constraints import NameConstraints, pull_name_constraints
from smolmix_web.tls.certificates.der import (
    BIT_STRING,
    INTEGER,
    NULL,
    OCTET_STRING,
    OID,
    SEQUENCE,
    DerReader,
    context,
    decode_bit_flags,
    decode_integer,
    decode_oid,
    read_whole,
)
from smolmix_web.tls.certificates.names import GeneralName, pull_general_names


class ExtensionOid:
    SUBJECT_KEY_IDENTIFIER = "2.5.29.14"
    KEY_USAGE = "2.5.29.15"
    SUBJECT_ALTERNATIVE_NAME = "2.5.29.17"
    ISSUER_ALTERNATIVE_NAME = "2.5.29.18"
    BASIC_CONSTRAINTS = "2.5.29.19"
    CRL_NUMBER = "2.5.29.20"
    DELTA_CRL_INDICATOR = "2.5.29.27"
    ISSUING_DISTRIBUTION_POINT = "2.5.29.28"
    NAME_CONSTRAINTS = "2.5.29.30"
    CRL_DISTRIBUTION_POINTS = "2.5.29.31"
    CERTIFICATE_POLICIES = "2.5.29.32"
    POLICY_MAPPINGS = "2.5.29.33"
    AUTHORITY_KEY_IDENTIFIER = "2.5.29.35"
    POLICY_CONSTRAINTS = "2.5.29.36"
    EXTENDED_KEY_USAGE = "2.5.29.37"
    FRESHEST_CRL = "2.5.29.46"
    INHIBIT_ANY_POLICY = "2.5.29.54"
    AUTHORITY_INFORMATION_ACCESS = "1.3.6.1.5.5.7.1.1"


class KeyUsageBit:
    """RFC 5280 section 4.2.1.3."""

    DIGITAL_SIGNATURE = 0
    KEY_CERT_SIGN = 5
    CRL_SIGN = 6


class ExtendedKeyUsageOid:
    ANY = "2.5.29.37.0"
    SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
    CLIENT_AUTH = "1.3.6.1.5.5.7.3.2"
    OCSP_SIGNING = "1.3.6.1.5.5.7.3.9"


@dataclass(frozen=True, slots=True)
class AlgorithmIdentifier:
    """``parameters`` is the encoded element, or None when absent."""

    oid: str
    parameters: bytes | None


@dataclass(frozen=True, slots=True)
class PublicKey:
    """SubjectPublicKeyInfo. ``bits`` is the content of the BIT STRING; ``encoded`` the whole structure."""

    algorithm: AlgorithmIdentifier
    bits: bytes
    encoded: bytes


@dataclass(frozen=True, slots=True)
class Extension:
    critical: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class AuthorityKeyIdentifier:
    """RFC 5280 section 4.2.1.1."""

    key_identifier: bytes | None
    has_issuer_and_serial: bool


@dataclass(frozen=True, slots=True)
class BasicConstraints:
    """RFC 5280 section 4.2.1.9."""

    ca: bool
    path_length: int | None


def pull_algorithm(reader: DerReader) -> AlgorithmIdentifier:
    inner = reader.pull_sequence()
    oid = inner.pull_oid()
    parameters = inner.pull_element()[2] if inner.remaining else None
    inner.expect_end()
    return AlgorithmIdentifier(oid, parameters)


def pull_public_key(encoded: bytes) -> PublicKey:
    reader = read_whole(encoded)
    algorithm, bits = pull_algorithm(reader), reader.pull_bits()
    reader.expect_end()
    return PublicKey(algorithm, bits, encoded)


def pull_extension_list(reader: DerReader) -> dict[str, Extension]:
    """``Extensions``: at least one, none twice (section 4.2)."""
    found: dict[str, Extension] = {}
    while reader.remaining:
        inner = reader.pull_sequence()
        oid = inner.pull_oid()
        critical, value = inner.pull_boolean_default_false(), inner.pull(OCTET_STRING)
        inner.expect_end()
        if oid in found:
            raise MalformedError(f"extension {oid} appears twice")
        found[oid] = Extension(critical, value)
    if not found:
        raise MalformedError("empty list of extensions")
    return found


class Certificate:
    """One parsed certificate. Equality and hash are those of its DER bytes.

    :param der: the whole encoding.
    :param strict: False lets a GeneralizedTime stand where UTCTime has to be used; an old root does that.
    :raises MalformedError: it is not a certificate of RFC 5280 section 4.1 (version 1 parses).
    """

    def __init__(self, der: bytes, *, strict: bool = True) -> None:
        self.der = bytes(der)
        outer = read_whole(self.der)
        self.tbs = outer.pull_encoded(SEQUENCE)
        self.signature_algorithm = pull_algorithm(outer)
        self.signature = outer.pull_bits()
        outer.expect_end()
        self._pull_tbs(read_whole(self.tbs), strict)

    def _pull_tbs(self, tbs: DerReader, strict: bool) -> None:
        version = tbs.pull_optional(context(0))
        self.version = 1
        if version is not None:
            number = DerReader(version)
            self.version = number.pull_integer() + 1
            number.expect_end()
            if self.version not in (2, 3):
                raise MalformedError(f"certificate version {self.version}")
        serial = tbs.pull(INTEGER)
        self.serial, self.serial_length = decode_integer(serial), len(serial)
        if pull_algorithm(tbs) != self.signature_algorithm:
            raise MalformedError("the two signature algorithms of a certificate differ")
        self.issuer = tbs.pull_encoded(SEQUENCE)
        validity = tbs.pull_sequence()
        self.not_before, self.not_after = (validity.pull_time(strict=strict) for _ in range(2))
        validity.expect_end()
        self.subject = tbs.pull_encoded(SEQUENCE)
        self.public_key = pull_public_key(tbs.pull_encoded(SEQUENCE))
        for unique_id in (1, 2):  # unique identifiers, long obsolete
            tbs.pull_optional(context(unique_id, constructed=False))
        extensions = tbs.pull_optional(context(3))
        tbs.expect_end()
        self.extensions: dict[str, Extension] = {}
        if extensions is not None:
            if self.version != 3:
                raise MalformedError("extensions in a certificate that is not of version 3")
            self.extensions = pull_extension_list(read_whole(extensions))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"<Certificate serial {self.serial:x}>"

    @property
    def self_issued(self) -> bool:
        return self.subject == self.issuer

    def _value(self, oid: str) -> bytes | None:
        extension = self.extensions.get(oid)
        return None if extension is None else extension.value

    @cached_property
    def basic_constraints(self) -> BasicConstraints | None:
        value = self._value(ExtensionOid.BASIC_CONSTRAINTS)
        if value is None:
            return None
        reader = read_whole(value)
        ca = reader.pull_boolean_default_false()
        length = reader.pull_integer() if reader.peek_tag() == INTEGER else None
        reader.expect_end()
        if length is not None and length < 0:
            raise MalformedError("negative path length")
        return BasicConstraints(ca, length)

    @cached_property
    def key_usage(self) -> frozenset[int] | None:
        """Numbers of the bits that are set; None without the extension."""
        value = self._value(ExtensionOid.KEY_USAGE)
        if value is None:
            return None
        reader = DerReader(value)
        bits = decode_bit_flags(reader.pull(BIT_STRING))
        reader.expect_end()
        if not bits:
            raise MalformedError("key usage without any use")
        return bits

    @cached_property
    def extended_key_usage(self) -> tuple[str, ...] | None:
        value = self._value(ExtensionOid.EXTENDED_KEY_USAGE)
        if value is None:
            return None
        reader = read_whole(value)
        uses = []
        while reader.remaining:
            uses.append(decode_oid(reader.pull(OID)))
        if not uses:
            raise MalformedError("extended key usage without any use")
        return tuple(uses)

    @cached_property
    def alternative_names(self) -> tuple[GeneralName, ...] | None:
        value = self._value(ExtensionOid.SUBJECT_ALTERNATIVE_NAME)
        return None if value is None else pull_general_names(read_whole(value))

    @cached_property
    def name_constraints(self) -> NameConstraints | None:
        value = self._value(ExtensionOid.NAME_CONSTRAINTS)
        return None if value is None else pull_name_constraints(read_whole(value))

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        value = self._value(ExtensionOid.SUBJECT_KEY_IDENTIFIER)
        if value is None:
            return None
        reader = DerReader(value)
        identifier = reader.pull(OCTET_STRING)
        reader.expect_end()
        return identifier

    @cached_property
    def authority_key_identifier(self) -> AuthorityKeyIdentifier | None:
        value = self._value(ExtensionOid.AUTHORITY_KEY_IDENTIFIER)
        if value is None:
            return None
        reader = read_whole(value)
        identifier = reader.pull_optional(context(0, constructed=False))
        issuer = reader.pull_optional(context(1))
        serial = reader.pull_optional(context(2, constructed=False))
        reader.expect_end()
        return AuthorityKeyIdentifier(identifier, issuer is not None or serial is not None)


def parameters_are_null_or_absent(algorithm: AlgorithmIdentifier) -> bool:
    return algorithm.parameters in (None, bytes((NULL, 0)))
