"""Exit policy: which destinations an exit serves, in Nym's file format.

One rule per line, ``ExitPolicy <accept|reject|accept6|reject6> <address[/mask]>:<port|lo-hi|*>``; ``#``
starts a comment. The first rule that matches decides; when none does, the destination is denied. Before the
rules comes the test whether the address is globally routable at all (:class:`RequestFilter`). Source:
ipr.md section 12.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Network

from smolmix_web.errors import LocalProtocolError
from smolmix_web.ipr.routable import IpAddress, IpNetwork, is_globally_routable


class PolicyError(LocalProtocolError, ValueError):
    """A policy text is malformed."""

    code = "BAD_OPTION"


class PolicyAction(Enum):
    """``accept6`` and ``reject6`` act on any address that the pattern matches, like their namesakes."""

    ACCEPT = "accept"
    REJECT = "reject"
    ACCEPT6 = "accept6"
    REJECT6 = "reject6"

    @property
    def accepts(self) -> bool:
        return self in (PolicyAction.ACCEPT, PolicyAction.ACCEPT6)


class Wildcard(Enum):
    ANY = "*"
    ANY_V4 = "*4"
    ANY_V6 = "*6"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Ports ``low`` to ``high``, both inclusive, within 1..65535."""

    low: int = 1
    high: int = 65535

    def __contains__(self, port: int) -> bool:
        # Port 0 stands for traffic without ports (ICMP); it matches every range.
        return port == 0 or self.low <= port <= self.high

    def __str__(self) -> str:
        if (self.low, self.high) == (1, 65535):
            return "*"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class PolicyRule:
    action: PolicyAction
    address: Wildcard | IpNetwork
    ports: PortRange

    def matches(self, address: IpAddress, port: int) -> bool:
        if port not in self.ports:
            return False
        match self.address:
            case Wildcard.ANY:
                return True
            case Wildcard.ANY_V4:
                return address.version == 4
            case Wildcard.ANY_V6:
                return address.version == 6
            case network:
                return address in network

    def __str__(self) -> str:
        match self.address:
            case Wildcard():
                address = self.address.value
            case IPv6Network():
                address = f"[{self.address.network_address}]/{self.address.prefixlen}"
            case _:
                address = str(self.address)
        return f"ExitPolicy {self.action.value} {address}:{self.ports}"


@dataclass(frozen=True, slots=True)
class ExitPolicy:
    """An ordered list of rules."""

    rules: tuple[PolicyRule, ...]

    @classmethod
    def open(cls) -> ExitPolicy:
        """Accepts every destination ("open proxy")."""
        return cls((PolicyRule(PolicyAction.ACCEPT, Wildcard.ANY, PortRange()),))

    def allows(self, address: IpAddress, port: int) -> bool:
        """What the first matching rule says; False when none matches. Port 0: traffic without ports."""
        for rule in self.rules:
            if rule.matches(address, port):
                return rule.action.accepts
        return False


def _nothing(address: IpAddress, port: int) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """The whole check of a destination, in the reference exit's order: globally routable, then the rules.

    ``exempt(address, port)`` names destinations that are served although they are not globally routable.
    """

    policy: ExitPolicy
    allow_local_ips: bool = False
    exempt: Callable[[IpAddress, int], bool] = _nothing

    def allows(self, address: IpAddress, port: int) -> bool:
        local_is_fine = self.allow_local_ips or is_globally_routable(address) or self.exempt(address, port)
        return local_is_fine and self.policy.allows(address, port)


def parse_policy(text: str) -> ExitPolicy:
    """:raises PolicyError: a line is not a rule; the text names what is wrong with it"""
    rules = []
    for line in text.splitlines():
        line = line.partition("#")[0].strip()
        if not line:
            continue
        keyword, _, rest = line.partition(" ")
        if keyword != "ExitPolicy" or not rest:
            raise PolicyError(f"could not parse '{line}' into a valid policy")
        rules.append(_parse_rule(rest.strip()))
    return ExitPolicy(tuple(rules))


def emit_policy(policy: ExitPolicy) -> str:
    return "".join(f"{rule}\n" for rule in policy.rules)


def _parse_rule(text: str) -> PolicyRule:
    action_text, _, pattern = text.partition(" ")
    try:
        action = PolicyAction(action_text)
    except ValueError:
        raise PolicyError(f"'{action_text}' is not a valid policy action") from None
    pattern = pattern.strip()
    address, colon, ports = pattern.rpartition(":")
    if not colon:
        raise PolicyError(f"could not parse '{pattern}' into a valid policy address:port pattern")
    return PolicyRule(action, _parse_address(address), _parse_ports(ports))


def _parse_address(text: str) -> Wildcard | IpNetwork:
    base, slash, mask = text.partition("/")
    try:
        wildcard = Wildcard(base)
    except ValueError:
        pass
    else:
        if slash:
            raise PolicyError(f"attempted to use a bitmask ('/{mask}') with the address '{base}'")
        return wildcard
    bare = base[1:-1] if base.startswith("[") and base.endswith("]") else base
    try:
        # A zone ("%eth0") parses in Python but means nothing in a policy.
        address = ipaddress.ip_address("" if "%" in bare else bare)
    except ValueError:
        raise PolicyError(f"'{base}' is not a valid Ip address: malformed") from None
    if not slash:
        return ipaddress.ip_network(address)
    if not (mask.isascii() and mask.isdigit()):
        raise PolicyError(f"'/{mask}' is not a valid mask")
    if int(mask) > address.max_prefixlen:
        raise PolicyError(f"/{mask} is not a valid mask for an IpV{address.version} address")
    if int(mask) == 0:
        return Wildcard.ANY_V4 if address.version == 4 else Wildcard.ANY_V6
    return ipaddress.ip_network((address, int(mask)), strict=False)


def _parse_ports(text: str) -> PortRange:
    if text == "*":
        return PortRange()
    low, dash, high = text.partition("-")
    first = _parse_port(low, text)
    last = _parse_port(high, text) if dash else first
    if first > last:
        raise _bad_port(text)
    return PortRange(first, last)


def _parse_port(digits: str, text: str) -> int:
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 1 <= int(digits) <= 65535):
        raise _bad_port(text)
    return int(digits)


def _bad_port(text: str) -> PolicyError:
    return PolicyError(
        f"the provided port '{text}' was either malformed or was not in the valid 1..65535 range"
    )
