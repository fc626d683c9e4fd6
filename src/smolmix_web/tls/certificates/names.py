"""Names in certificates: directory names and general names (RFC 5280), and matching a server name (RFC 9525).

A server name is either an IP address, compared byte for byte, or a DNS name in ASCII (A-labels), compared
without regard to case, where ``*`` may stand for exactly the leftmost label of a certificate's pattern. The
subject's common name is never consulted.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.der import (
    BMP_STRING,
    IA5_STRING,
    PRINTABLE_STRING,
    SEQUENCE,
    SET,
    TELETEX_STRING,
    UNIVERSAL_STRING,
    UTF8_STRING,
    DerReader,
    context,
    read_whole,
)

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_EMAIL_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+", re.ASCII)
_EMAIL_ADDRESS_OID = "1.2.840.113549.1.9.1"


class NameKind(IntEnum):
    """Tag numbers of GeneralName, RFC 5280 section 4.2.1.6."""

    OTHER = 0
    EMAIL = 1
    DNS = 2
    X400 = 3
    DIRECTORY = 4
    EDI_PARTY = 5
    URI = 6
    IP = 7
    REGISTERED_ID = 8


Rdn = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class GeneralName:
    """``value``: the string of EMAIL, DNS and URI in latin-1; the Name of DIRECTORY; else raw contents."""

    kind: NameKind
    value: bytes

    @property
    def text(self) -> str:
        try:
            return self.value.decode("ascii")
        except UnicodeDecodeError:
            raise MalformedError("name that is not ASCII") from None


# -- parsing -----------------------------------------------------------------------------------------


def pull_general_name(reader: DerReader) -> GeneralName:
    tag, contents, _ = reader.pull_element()
    try:
        kind = NameKind(tag & 0x1F)
    except ValueError:
        raise MalformedError(f"general name of unknown kind {tag & 0x1F}") from None
    constructed = kind in (NameKind.OTHER, NameKind.X400, NameKind.DIRECTORY, NameKind.EDI_PARTY)
    if tag != context(kind, constructed=constructed):
        raise MalformedError(f"general name with tag {tag:#04x}")
    if kind in (NameKind.EMAIL, NameKind.DNS, NameKind.URI) and not contents.isascii():
        raise MalformedError("general name is not ASCII")
    if kind == NameKind.DIRECTORY:
        inner = DerReader(contents)
        contents = inner.pull_encoded(SEQUENCE)
        inner.expect_end()
    return GeneralName(kind, contents)


def pull_general_names(reader: DerReader) -> tuple[GeneralName, ...]:
    """subjectAltName: at least one name, each well-formed for its kind."""
    names = []
    while reader.remaining:
        name = pull_general_name(reader)
        if name.kind == NameKind.DNS:
            dns_pattern_labels(name.text)
        elif name.kind == NameKind.EMAIL:
            split_email(name.text)
        elif name.kind == NameKind.IP and len(name.value) not in (4, 16):
            raise MalformedError("IP address of a wrong length in a certificate")
        names.append(name)
    if not names:
        raise MalformedError("empty list of alternative names")
    return tuple(names)


def dns_labels(name: str) -> list[str]:
    labels = name.lower().split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise MalformedError("not a DNS name")
    return labels


def dns_pattern_labels(pattern: str) -> list[str]:
    """Labels of a certificate's DNS name, the leftmost of which may be ``*``.

    :raises MalformedError: not a name, or a wildcard elsewhere, or one right under a top-level domain.
    """
    if pattern.startswith("*."):
        rest = dns_labels(pattern[2:])
        if len(rest) < 2:
            raise MalformedError("wildcard for a whole top-level domain")
        return ["*", *rest]
    return dns_labels(pattern)


@lru_cache(maxsize=512)
def directory_name(encoded: bytes) -> tuple[Rdn, ...]:
    """A Name as comparable values: RFC 5280 section 7.1, by ignoring case and inner white space."""
    reader, rdns = read_whole(encoded), []
    while reader.remaining:
        attributes, rdn = DerReader(reader.pull(SET)), set()
        while attributes.remaining:
            oid, tag, contents, whole = _pull_attribute(attributes)
            rdn.add((oid, _comparable(tag, contents, whole)))
        if not rdn:
            raise MalformedError("empty relative distinguished name")
        rdns.append(frozenset(rdn))
    return tuple(rdns)


_STRING_ENCODINGS = {
    UTF8_STRING: "utf-8",
    PRINTABLE_STRING: "ascii",
    IA5_STRING: "ascii",
    TELETEX_STRING: "latin-1",
    BMP_STRING: "utf-16-be",
    UNIVERSAL_STRING: "utf-32-be",
}


def _text(tag: int, contents: bytes) -> str | None:
    """A string value; None for values of other types."""
    if tag not in _STRING_ENCODINGS:
        return None
    try:
        return contents.decode(_STRING_ENCODINGS[tag])
    except UnicodeDecodeError:
        raise MalformedError("bad string in a name") from None


def _comparable(tag: int, contents: bytes, whole: bytes) -> str:
    text = _text(tag, contents)
    return "#" + whole.hex() if text is None else " ".join(text.casefold().split())


def _pull_attribute(reader: DerReader) -> tuple[str, int, bytes, bytes]:
    attribute = reader.pull_sequence()
    oid, (tag, contents, whole) = attribute.pull_oid(), attribute.pull_element()
    attribute.expect_end()
    return oid, tag, contents, whole


def attribute_texts(encoded: bytes, wanted: str) -> list[str]:
    """All values of one attribute of a Name, as they are written."""
    reader, found = read_whole(encoded), []
    while reader.remaining:
        attributes = DerReader(reader.pull(SET))
        while attributes.remaining:
            oid, tag, contents, _ = _pull_attribute(attributes)
            text = _text(tag, contents)
            if oid == wanted and text is not None:
                found.append(text)
    return found


def email_addresses(encoded: bytes) -> list[GeneralName]:
    """emailAddress attributes of a subject, which e-mail constraints also cover when there is no SAN."""
    texts = attribute_texts(encoded, _EMAIL_ADDRESS_OID)
    return [GeneralName(NameKind.EMAIL, text.encode("utf-8", "replace")) for text in texts]


def split_email(address: str) -> tuple[str, str]:
    local, at, host = address.rpartition("@")
    if not at or not _EMAIL_LOCAL.fullmatch(local):
        raise MalformedError("bad e-mail address in a certificate")
    return local, ".".join(dns_labels(host))


# -- matching a server name --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerName:
    """What the user asked for: exactly one of both is set."""

    dns: str | None
    ip: bytes | None

    @classmethod
    def parse(cls, text: str) -> ServerName:
        """:raises MalformedError: neither an IP address (brackets allowed) nor a DNS name in ASCII."""
        bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
        try:
            return cls(None, ipaddress.ip_address(bare).packed)
        except ValueError:
            pass
        labels = dns_labels(text.removesuffix("."))
        if labels[-1].isdigit():
            raise MalformedError("a DNS name does not end in a number")
        return cls(".".join(labels), None)

    def matches(self, name: GeneralName) -> bool:
        if self.ip is not None:
            return name.kind == NameKind.IP and name.value == self.ip
        return name.kind == NameKind.DNS and self._matches_dns(dns_pattern_labels(name.text))

    def _matches_dns(self, pattern: list[str]) -> bool:
        assert self.dns is not None
        labels = self.dns.split(".")
        if pattern[0] == "*":
            return len(labels) == len(pattern) and labels[1:] == pattern[1:]
        return labels == pattern
