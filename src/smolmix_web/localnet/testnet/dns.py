"""What the name server of the test internet answers: its hosts, and odd names under ``.test`` on purpose.

Behaviour goes by name, so that a client can be tested through its ordinary interface:

====================  ======================================================================================
name                  answer
====================  ======================================================================================
hosts                 their A and AAAA; NOERROR without answer (NODATA) for what they do not have
``cname.test``        CNAME to ``web.test`` together with its addresses
``cname-only.test``   CNAME to ``web.test`` without them: the client has to ask again
``chain-N.test``      chain of N CNAMEs (at most 20) that ends at ``web.test``, one step per answer
``loop.test``         CNAME to ``loop2.test``, which is a CNAME to ``loop.test``
``truncated.test``    over UDP truncated and empty, over TCP as ``web.test``
``many.test``         64 A records: over UDP truncated, unless the client offers a large buffer by EDNS
``slow-N.test``       as ``web.test``, after N milliseconds
``silent.test``       no answer at all
``wrongid.test``      an answer with another message id and the address 192.0.2.66, and nothing else
``spoofed.test``      that wrong answer first, then the right one
``wrongname.test``    an answer to another question, with the address 192.0.2.66
``garbage.test``      bytes that are no message
``servfail.test``     SERVFAIL
``dnsrefused.test``   REFUSED
``ttl-N.test``        as ``web.test``, with a time to live of N seconds
``lost-N.test``       as ``web.test``, but the first N questions over UDP get no answer
``no4.test``          as ``web.test`` for IPv6; questions for IPv4 get no answer
``no6.test``          as ``web.test`` for IPv4; questions for IPv6 get no answer
``half.test``         IPv4 as ``web.test``; SERVFAIL for IPv6
``alias-nowhere.test``  CNAME to a name that does not exist
``wide.test``         an A record of the wrong class and an unknown type beside the right one
``bücher.test``       (``xn--bcher-kva.test``) as ``web.test``
====================  ======================================================================================

All else under ``.test`` does not exist (NXDOMAIN with the zone's SOA); other names are REFUSED. The server of
:mod:`smolmix_web.localnet.testnet.dns_server` carries the answers.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

ZONE = dns.name.from_text("test.")
TTL = 300  # seconds
WRONG_ADDRESS = "192.0.2.66"

_SOA = "ns.test. admin.test. 1 3600 600 86400 60"
_NUMBERED = re.compile(r"(chain|slow|ttl|lost)-([0-9]{1,6})\.test\.", re.ASCII)
_MAX_CHAIN = 20


class Answer(NamedTuple):
    """``wire`` is to be sent ``delay`` seconds from now."""

    wire: bytes
    delay: float = 0.0


class Zone:
    """Answers questions; pure but for the log of questions and the counters of ``lost-N`` names.

    :param hosts: name without final dot -> addresses of both families
    """

    def __init__(self, hosts: Mapping[str, Sequence[str]]) -> None:
        self._hosts = {f"{name}.": tuple(addresses) for name, addresses in hosts.items()}
        self.questions: deque[tuple[str, str, str]] = deque(maxlen=1000)
        """The last questions: name, type and transport ("udp" or "tcp")."""
        self._losses: Counter[str] = Counter()

    def answer(self, wire: bytes, transport: str) -> list[Answer]:
        """What to send for a query; nothing for what is no query."""
        try:
            query = dns.message.from_wire(wire)
        except Exception:  # dnspython's parser leaks more than its own errors on hostile bytes
            return []
        if query.flags & dns.flags.QR or query.opcode() != dns.opcode.QUERY or len(query.question) != 1:
            return []
        question = query.question[0]
        name = question.name.to_text().lower()
        self.questions.append((name.rstrip("."), dns.rdatatype.to_text(question.rdtype), transport))
        odd = _ODD.get(name)
        if odd is not None:
            return odd(self, query, transport)
        match = _NUMBERED.fullmatch(name)
        if match:
            return self._numbered(query, transport, match[1], int(match[2]))
        return [self._plain(query, transport, name)]

    # --- ordinary names ---

    def _plain(self, query: dns.message.Message, transport: str, name: str, ttl: int = TTL) -> Answer:
        response = _response(query)
        if name in self._hosts or name in ("test.", "ns.test."):
            self._add_addresses(response, name, ttl)
        elif not query.question[0].name.is_subdomain(ZONE):
            response.set_rcode(dns.rcode.REFUSED)
        else:
            response.set_rcode(dns.rcode.NXDOMAIN)
        if not response.answer and response.rcode() != dns.rcode.REFUSED:
            response.authority.append(_records("test.", 60, "SOA", _SOA))
        return _emit(query, response, transport)

    def _add_addresses(self, response: dns.message.Message, name: str, ttl: int, owner: str = "") -> None:
        wanted = response.question[0].rdtype
        for version, kind in ((4, "A"), (6, "AAAA")):
            addresses = [
                one for one in self._hosts.get(name, ()) if ipaddress.ip_address(one).version == version
            ]
            if addresses and wanted in (dns.rdatatype.from_text(kind), dns.rdatatype.ANY):
                response.answer.append(_records(owner or name, ttl, kind, *addresses))

    def _as_web(
        self, query: dns.message.Message, transport: str, *, ttl: int = TTL, delay: float = 0.0
    ) -> list[Answer]:
        response = _response(query)
        self._add_addresses(response, "web.test.", ttl, query.question[0].name.to_text())
        return [Answer(_emit(query, response, transport).wire, delay)]

    # --- odd names ---

    def _numbered(self, query: dns.message.Message, transport: str, kind: str, number: int) -> list[Answer]:
        name = query.question[0].name.to_text().lower()
        if kind == "chain":
            step = min(number, _MAX_CHAIN)
            return self._alias(query, transport, f"chain-{step - 1}.test." if step > 1 else "web.test.")
        if kind == "slow":
            return self._as_web(query, transport, delay=number / 1000)
        if kind == "ttl":
            return self._as_web(query, transport, ttl=number)
        if transport == "udp" and self._losses[name] < number:
            self._losses[name] += 1
            return []
        return self._as_web(query, transport)

    def _alias(
        self, query: dns.message.Message, transport: str, target: str, *, complete: bool = False
    ) -> list[Answer]:
        response = _response(query)
        response.answer.append(_records(query.question[0].name.to_text(), TTL, "CNAME", target))
        if complete:
            self._add_addresses(response, target, TTL)
        return [_emit(query, response, transport)]

    def _truncated(self, query: dns.message.Message, transport: str) -> list[Answer]:
        if transport == "tcp":
            return self._as_web(query, transport)
        response = _response(query)
        response.flags |= dns.flags.TC
        return [_emit(query, response, transport)]

    def _many(self, query: dns.message.Message, transport: str) -> list[Answer]:
        response = _response(query)
        if query.question[0].rdtype == dns.rdatatype.A:
            addresses = [f"192.0.2.{number}" for number in range(100, 164)]
            response.answer.append(_records("many.test.", TTL, "A", *addresses))
        return [_emit(query, response, transport)]

    def _wrong_id(self, query: dns.message.Message, transport: str) -> list[Answer]:
        response = _response(query)
        response.answer.append(_records(query.question[0].name.to_text(), TTL, "A", WRONG_ADDRESS))
        response.id = query.id ^ 0x5555
        return [_emit(query, response, transport)]

    def _spoofed(self, query: dns.message.Message, transport: str) -> list[Answer]:
        right = self._as_web(query, transport, delay=0.05)
        return [*self._wrong_id(query, transport), *right]

    def _wrong_name(self, query: dns.message.Message, transport: str) -> list[Answer]:
        other = dns.message.make_query("other.test.", query.question[0].rdtype, id=query.id)
        response = _response(other)
        response.answer.append(_records("other.test.", TTL, "A", WRONG_ADDRESS))
        return [_emit(query, response, transport)]

    def _failure(self, query: dns.message.Message, transport: str, rcode: dns.rcode.Rcode) -> list[Answer]:
        response = _response(query)
        response.set_rcode(rcode)
        return [_emit(query, response, transport)]


_Odd = Callable[[Zone, dns.message.Message, str], list[Answer]]


def _deaf(version: str) -> _Odd:
    """Answers no question for one family."""
    return lambda zone, query, how: (
        [] if query.question[0].rdtype.name == version else zone._as_web(query, how)
    )


def _half(zone: Zone, query: dns.message.Message, transport: str) -> list[Answer]:
    if query.question[0].rdtype == dns.rdatatype.AAAA:
        return zone._failure(query, transport, dns.rcode.SERVFAIL)
    return zone._as_web(query, transport)


def _wide(zone: Zone, query: dns.message.Message, transport: str) -> list[Answer]:
    response = _response(query)
    owner = query.question[0].name.to_text()
    chaos = dns.rdataclass.RdataClass.CH
    response.answer.append(dns.rrset.from_text(owner, TTL, chaos, "TXT", '"chaos"'))
    response.answer.append(_records(owner, TTL, "TYPE65280", r"\# 4 c0000242"))
    zone._add_addresses(response, "web.test.", TTL, owner)
    return [_emit(query, response, transport)]


_ODD: dict[str, _Odd] = {
    "cname.test.": lambda zone, query, how: zone._alias(query, how, "web.test.", complete=True),
    "cname-only.test.": lambda zone, query, how: zone._alias(query, how, "web.test."),
    "loop.test.": lambda zone, query, how: zone._alias(query, how, "loop2.test."),
    "loop2.test.": lambda zone, query, how: zone._alias(query, how, "loop.test."),
    "truncated.test.": Zone._truncated,
    "many.test.": Zone._many,
    "silent.test.": lambda zone, query, how: [],
    "wrongid.test.": Zone._wrong_id,
    "spoofed.test.": Zone._spoofed,
    "wrongname.test.": Zone._wrong_name,
    "garbage.test.": lambda zone, query, how: [Answer(query.id.to_bytes(2, "big") + b"\xff" * 40)],
    "servfail.test.": lambda zone, query, how: zone._failure(query, how, dns.rcode.SERVFAIL),
    "no4.test.": _deaf("A"),
    "no6.test.": _deaf("AAAA"),
    "half.test.": _half,
    "alias-nowhere.test.": lambda zone, query, how: zone._alias(query, how, "nowhere.test."),
    "wide.test.": _wide,
    "xn--bcher-kva.test.": lambda zone, query, how: zone._as_web(query, how),
    "dnsrefused.test.": lambda zone, query, how: zone._failure(query, how, dns.rcode.REFUSED),
}


def _response(query: dns.message.Message) -> dns.message.Message:
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    return response


def _records(owner: str, ttl: int, kind: str, *texts: str) -> dns.rrset.RRset:
    return dns.rrset.from_text_list(owner, ttl, dns.rdataclass.IN, kind, list(texts))


def _emit(query: dns.message.Message, response: dns.message.Message, transport: str) -> Answer:
    """The wire form, truncated as RFC 2181 section 9 wants when it does not fit the client's UDP buffer."""
    if transport == "tcp":
        return Answer(response.to_wire(max_size=65535))
    limit = max(512, query.payload) if query.edns >= 0 else 512
    wire = response.to_wire(max_size=65535)
    if len(wire) > limit:
        response.answer.clear()
        response.flags |= dns.flags.TC
        wire = response.to_wire(max_size=65535)
    return Answer(wire)
