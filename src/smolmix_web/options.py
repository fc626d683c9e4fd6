"""Every set-up option: unit, default, reason. One table for Python, JavaScript and the command line.

Names and defaults are those of the existing browser packages (spec/smolmix.md section 3) in Python spelling;
:meth:`TunnelOptions.from_mapping` takes the camelCase names of JavaScript.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from smolmix_web.errors import OptionError

MAINNET_DIRECTORY = "https://validator.nymtech.net/api/"


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """Options of one tunnel; immutable, validated at construction (:raises OptionError: names the field)."""

    network: str = MAINNET_DIRECTORY
    """Base URL of the Nym directory to use."""

    preferred_ipr: str | None = None
    """Full Nym address of the exit to use; otherwise random, weighted by performance."""

    preferred_gateway: str | None = None
    """Base58 identity of the entry gateway to use on first registration; otherwise random."""

    client_id: str = "smolmix-wasm"
    """Names the store in which keys and the gateway registration persist."""

    force_tls: bool = True
    """Only gateways that offer WSS. Off only for local networks."""

    disable_poisson_traffic: bool = False
    """Send packets as they come instead of on the Poisson schedule (weaker privacy, more speed)."""

    disable_cover_traffic: bool = False
    """Do not send loop cover packets."""

    open_reply_surbs: int = 10
    """Reply SURBs attached to the opening frame, 0 to 255."""

    data_reply_surbs: int = 2
    """Reply SURBs attached to each data frame, 0 to 255."""

    primary_dns: str = "8.8.8.8:53"
    """Resolver asked first, as IP literal and port; reached through the tunnel."""

    fallback_dns: str = "1.1.1.1:53"
    """Resolver asked when the first has no answer."""

    storage_passphrase: str | None = field(default=None, repr=False)
    """Encrypts what is stored under ``client_id`` (Argon2id, AES-256-GCM-SIV); None stores in the clear."""

    connect_timeout_ms: int = 60_000
    """Limit of the exit's connect handshake, milliseconds; at least 1."""

    dns_timeout_ms: int = 30_000
    """Limit of one DNS query (per server and record type), milliseconds; at least 1."""

    tcp_keepalive_ms: int = 10_000
    """TCP keep-alive interval, milliseconds; 0 switches keep-alive off."""

    tcp_buffer_size: int = 4 * 1024 * 1024
    """Largest receive and send buffer of a TCP connection, bytes. (The existing packages stop at 65,535.)"""

    max_redirects: int = 5
    """Redirects a fetch follows, 0 to 255."""

    cookies: bool = False
    """Keep cookies in memory for the life of the tunnel, and send them back (RFC 6265bis)."""

    tls_resumption: bool = False
    """Resume TLS 1.3 sessions. Saves certificates on further connections to an origin, and lets its server
    tell that they come from one visitor; tickets are kept per origin, and no longer than the exit is used."""

    trust_anchors: str | None = field(default=None, repr=False)
    """PEM certificates of authorities to trust besides Mozilla's roots (private networks, tests)."""

    debug: bool = False
    """Log by layer."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("open_reply_surbs", 0, 255),
            ("data_reply_surbs", 0, 255),
            ("connect_timeout_ms", 1, 2**32 - 1),
            ("dns_timeout_ms", 1, 2**32 - 1),
            ("tcp_keepalive_ms", 0, 2**32 - 1),
            ("tcp_buffer_size", 2048, 2**30),
            ("max_redirects", 0, 255),
        ):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise OptionError(camel_case(name), f"a whole number is wanted, not {_kind(value)}")
            if not low <= value <= high:
                raise OptionError(camel_case(name), f"{value} is not between {low} and {high}")
        for name in (
            *("force_tls", "disable_poisson_traffic", "disable_cover_traffic"),
            *("cookies", "tls_resumption", "debug"),
        ):
            if not isinstance(getattr(self, name), bool):
                raise OptionError(
                    camel_case(name), f"true or false is wanted, not {_kind(getattr(self, name))}"
                )
        for name in ("network", "client_id", "primary_dns", "fallback_dns"):
            if not isinstance(getattr(self, name), str):
                raise OptionError(camel_case(name), f"a text is wanted, not {_kind(getattr(self, name))}")
        for name in ("preferred_ipr", "preferred_gateway", "storage_passphrase", "trust_anchors"):
            if not isinstance(getattr(self, name), str | None):
                raise OptionError(camel_case(name), f"a text is wanted, not {_kind(getattr(self, name))}")
        if self.storage_passphrase == "":
            raise OptionError("storagePassphrase", "must not be empty; leave it out to store in the clear")
        if not re.match(r"https?://[^/?#\s]+", self.network):
            raise OptionError("network", f"{self.network!r} is not an http or https URL")
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", self.client_id):
            raise OptionError("clientId", "use 1 to 64 letters, digits, dots, dashes and underscores")
        parse_socket_address("primaryDns", self.primary_dns)
        parse_socket_address("fallbackDns", self.fallback_dns)

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> TunnelOptions:
        """Options from JavaScript's camelCase names; None counts as absent.

        :raises OptionError: an unknown name or a value that does not fit. (The existing packages ignore
            unknown names; a mistyped option must not silently weaken anything, so this one does not.)
        """
        known = {camel_case(item.name): item.name for item in fields(cls)}
        chosen: dict[str, Any] = {}
        for name, value in given.items():
            if name not in known:
                raise OptionError(str(name), f"unknown option; known are {', '.join(sorted(known))}")
            if value is None:
                continue
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            chosen[known[name]] = value
        return cls(**chosen)


def camel_case(name: str) -> str:
    """``dns_timeout_ms`` -> ``dnsTimeoutMs``."""
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def parse_socket_address(field_name: str, text: str) -> tuple[str, int]:
    """``192.0.2.1:53`` or ``[2001:db8::1]:53``. :raises OptionError: anything else."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not colon or not 0 < number < 65536 or bracketed != (address.version == 6):
        raise OptionError(field_name, f"{text!r} is not an IP address and port like 192.0.2.1:53")
    return str(address), number


def _kind(value: object) -> str:
    return type(value).__name__
