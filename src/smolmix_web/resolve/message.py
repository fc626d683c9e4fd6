"""DNS questions and answers (RFC 1035), over dnspython's message format. Pure: bytes in, values out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from smolmix_web.errors import MalformedError, OptionError

RecordType = Literal["A", "AAAA"]

MAX_UDP_PAYLOAD = 1232
"""EDNS buffer size, bytes: fits one IPv6 packet of minimum MTU (DNS flag day 2020)."""

MAX_TTL = 86_400  # seconds; a longer one is of no use to a page's tunnel
_MAX_CNAMES = 8  # links followed inside one answer, as the existing packages do between answers


_LABEL = re.compile(rb"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """What one answer says about a name and a record type."""

    addresses: tuple[str, ...] = ()
    alias: str | None = None
    """The end of the CNAME chain, where the answer has an alias but no address for it."""

    exists: bool = True
    """False for NXDOMAIN."""

    truncated: bool = False
    """Ask again over TCP."""

    failed: str | None = None
    """The server could not answer (SERVFAIL, REFUSED, ...): the text of its code."""

    ttl: int = 0
    """Seconds the answer may be kept: the least of all records used, or the SOA's for a negative one."""


def parse_name(host: str) -> dns.name.Name:
    """The absolute DNS name of ``host`` (IDN allowed). :raises OptionError: it is not a host name."""
    try:
        name = dns.name.from_text(host, idna_codec=dns.name.IDNA_2003_Practical)
    except (dns.exception.DNSException, UnicodeError) as error:
        raise OptionError("host", f"{host!r} is not a host name") from error
    if name == dns.name.root:
        raise OptionError("host", "the name is empty")
    # DNS carries any bytes in a label, but hosts are made of these (RFC 1123 section 2.1, and "_").
    if not all(_LABEL.fullmatch(label) for label in name.labels[:-1]):
        raise OptionError("host", f"{host!r} is not a host name")
    return name


def build_query(name: dns.name.Name, record_type: RecordType, query_id: int, *, edns: bool = True) -> bytes:
    """A recursive query. ``query_id`` is 16 bits and must be unpredictable (RFC 5452)."""
    if not edns:
        return dns.message.make_query(name, record_type, id=query_id).to_wire()
    query = dns.message.make_query(name, record_type, use_edns=0, payload=MAX_UDP_PAYLOAD, id=query_id)
    return query.to_wire()


def parse_answer(wire: bytes, name: dns.name.Name, record_type: RecordType, query_id: int) -> Answer | None:
    """The answer in ``wire``, or None when it belongs to another question (RFC 5452 section 9).

    :raises MalformedError: it is not a DNS message.
    """
    try:
        message = dns.message.from_wire(wire, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError, IndexError, KeyError) as error:
        raise MalformedError("not a DNS message") from error
    wanted = dns.rdatatype.from_text(record_type)
    if message.id != query_id or not message.flags & dns.flags.QR:
        return None
    if len(message.question) != 1:
        return None
    question = message.question[0]
    if question.name != name or question.rdtype != wanted or question.rdclass != dns.rdataclass.RdataClass.IN:
        return None
    if message.flags & dns.flags.TC:
        return Answer(truncated=True)
    code = message.rcode()
    if code not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return Answer(failed=dns.rcode.to_text(code))
    return _read_sections(message, name, wanted, exists=code == dns.rcode.NOERROR)


def _read_sections(
    message: dns.message.Message, name: dns.name.Name, wanted: dns.rdatatype.RdataType, *, exists: bool
) -> Answer:
    ttl = MAX_TTL
    current = name
    for _ in range(_MAX_CNAMES + 1):
        records = _rrset(message.answer, current, wanted)
        if records is not None and len(records):
            addresses = tuple(record.address for record in records)
            return Answer(addresses=addresses, ttl=min(ttl, records.ttl))
        alias = _rrset(message.answer, current, dns.rdatatype.RdataType.CNAME)
        if alias is None or not len(alias):
            break
        ttl = min(ttl, alias.ttl)
        current = alias[0].target
    else:
        return Answer(failed="CNAME loop")
    if not exists:
        return Answer(exists=False, ttl=min(ttl, _negative_ttl(message)))
    if current != name:
        return Answer(alias=current.to_text(omit_final_dot=True), ttl=ttl)
    return Answer(ttl=min(ttl, _negative_ttl(message)))


def _rrset(
    section: list[dns.rrset.RRset], name: dns.name.Name, wanted: dns.rdatatype.RdataType
) -> dns.rrset.RRset | None:
    for rrset in section:
        if rrset.name == name and rrset.rdtype == wanted and rrset.rdclass == dns.rdataclass.RdataClass.IN:
            return rrset
    return None


def _negative_ttl(message: dns.message.Message) -> int:
    """RFC 2308 section 5: the lesser of the SOA's own TTL and its minimum field; without one, do not keep."""
    for rrset in message.authority:
        if rrset.rdtype == dns.rdatatype.RdataType.SOA and len(rrset):
            return int(min(rrset.ttl, rrset[0].minimum))
    return 0
