"""Name constraints: within which names an authority may issue certificates (RFC 5280 section 4.2.1.10).

A subtree of DNS names holds the name itself and all below it; of addresses, a prefix; of directory names, all
that begin with it; of e-mail addresses and URIs, a host, the hosts below one, or one mailbox.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.der import DerReader, context
from smolmix_web.tls.certificates.names import (
    GeneralName,
    NameKind,
    directory_name,
    dns_labels,
    dns_pattern_labels,
    pull_general_name,
    split_email,
)

#: Kinds that constraints are evaluated for. Others, where constrained, may not appear at all.
_EVALUATED = frozenset((NameKind.EMAIL, NameKind.DNS, NameKind.DIRECTORY, NameKind.URI, NameKind.IP))


@dataclass(frozen=True, slots=True)
class NameConstraints:
    permitted: tuple[GeneralName, ...]
    excluded: tuple[GeneralName, ...]


def pull_name_constraints(reader: DerReader) -> NameConstraints:
    permitted, excluded = reader.pull_optional(context(0)), reader.pull_optional(context(1))
    reader.expect_end()
    if permitted is None and excluded is None:
        raise MalformedError("empty name constraints")
    return NameConstraints(_pull_subtrees(permitted), _pull_subtrees(excluded))


def _pull_subtrees(contents: bytes | None) -> tuple[GeneralName, ...]:
    if contents is None:
        return ()
    reader = DerReader(contents)
    bases = []
    while reader.remaining:
        subtree = reader.pull_sequence()
        base = pull_general_name(subtree)
        # minimum is 0 and so left out, maximum is absent: RFC 5280 allows nothing else.
        subtree.expect_end()
        _check_constraint(base)
        bases.append(base)
    if not bases:
        raise MalformedError("empty list of subtrees")
    return tuple(bases)


def _check_constraint(base: GeneralName) -> None:
    if base.kind == NameKind.DNS and base.value:
        dns_labels(base.text)  # neither wildcards nor a leading period
    elif base.kind == NameKind.IP:
        if len(base.value) not in (8, 32):
            raise MalformedError("IP constraint of a wrong length")
        half = len(base.value) // 2
        mask = int.from_bytes(base.value[half:], "big")
        inverted = mask ^ ((1 << 8 * half) - 1)
        if inverted & (inverted + 1):
            raise MalformedError("IP constraint whose mask is not a prefix")
    elif base.kind == NameKind.DIRECTORY:
        directory_name(base.value)


def _dns_within(labels: list[str], base: str) -> bool:
    if not base:
        return True
    wanted = base.lower().split(".")
    return len(labels) >= len(wanted) and labels[-len(wanted) :] == wanted


def _host_within(host: str, base: str) -> bool:
    """Hosts of e-mail addresses and URIs: a leading period means subdomains only, else this very host."""
    host, base = host.lower(), base.lower()
    return host.endswith(base) and len(host) > len(base) if base.startswith(".") else host == base


def _uri_host(uri: str) -> str:
    found = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)", uri)
    if not found:
        raise MalformedError("URI without a host under a URI constraint")
    host = found[1].rpartition("@")[2]
    host = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    dns_labels(host)
    return host


def _within(name: GeneralName, base: GeneralName, *, wildcard_may: bool) -> bool:
    """Whether ``name`` lies in the subtree. A wildcard stands for many names: ``wildcard_may`` asks whether
    *some* of them lie inside (for exclusion), otherwise *all* of them must (for permission).
    """
    if name.kind == NameKind.DNS:
        labels = dns_pattern_labels(name.text)
        if labels[0] != "*":
            return _dns_within(labels, base.text)
        if _dns_within(labels[1:], base.text):
            return True
        return wildcard_may and base.text.lower().split(".")[1:] == labels[1:]
    if name.kind == NameKind.IP:
        size = len(name.value)
        if len(base.value) != 2 * size:
            return False
        address, network, mask = (
            int.from_bytes(part, "big") for part in (name.value, base.value[:size], base.value[size:])
        )
        return address & mask == network & mask
    if name.kind == NameKind.DIRECTORY:
        wanted = directory_name(base.value)
        return directory_name(name.value)[: len(wanted)] == wanted
    if name.kind == NameKind.EMAIL:
        local, host = split_email(name.text)
        if "@" in base.text:
            base_local, base_host = split_email(base.text)
            return local == base_local and host == base_host
        return _host_within(host, base.text)
    return _host_within(_uri_host(name.text), base.text)


class ConstraintBudget:
    """Bounds the work that constraints may cause: names times subtrees, over a whole validation."""

    __slots__ = ("left",)

    def __init__(self, comparisons: int = 100_000) -> None:
        self.left = comparisons

    def spend(self, comparisons: int) -> None:
        """:raises MalformedError: a chain made to keep the verifier busy."""
        self.left -= comparisons
        if self.left < 0:
            raise MalformedError("too many name constraints to check")


def violates(name: GeneralName, constraints: NameConstraints, budget: ConstraintBudget) -> bool:
    """Whether ``name`` is outside of the permitted or inside the excluded subtrees of its kind."""
    budget.spend(len(constraints.permitted) + len(constraints.excluded))
    permitted = [base for base in constraints.permitted if base.kind == name.kind]
    excluded = [base for base in constraints.excluded if base.kind == name.kind]
    if not permitted and not excluded:
        return False
    if name.kind not in _EVALUATED:
        return True
    if any(_within(name, base, wildcard_may=True) for base in excluded):
        return True
    return bool(permitted) and not any(_within(name, base, wildcard_may=False) for base in permitted)
