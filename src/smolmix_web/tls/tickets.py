"""Session tickets of TLS 1.3, kept so that resumption cannot link what should stay apart.

A ticket is a cookie that the server reads before any page does. So there is no store unless one is asked for,
each tunnel has its own, tickets are filed by partition (an origin) and server name, used once
(RFC 8446 appendix C.4), and forgotten with the store.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from smolmix_web.tls.registry import CipherSuite

#: RFC 8446 section 4.6.1: no ticket is used for longer than a week, whatever the server says. Seconds.
MAX_LIFETIME = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Ticket:
    """One resumable session. Times are seconds of ``unix_time``."""

    identity: bytes = field(repr=False)
    psk: bytes = field(repr=False)
    age_add: int = field(repr=False)
    cipher_suite: CipherSuite
    received_at: float
    #: End of use: the server's lifetime, a week, or the certificate's end, whichever is first.
    expires_at: float
    #: When the chain that was verified in the first handshake ends.
    certificate_not_after: float
    peer_certificates: tuple[bytes, ...] = field(repr=False)

    def obfuscated_age(self, unix_time: float) -> int:
        """RFC 8446 section 4.2.11.1, milliseconds modulo 2**32."""
        return (max(0, round((unix_time - self.received_at) * 1000)) + self.age_add) % (1 << 32)


class TicketStore:
    """A bounded store; one per tunnel.

    :param per_key: tickets kept for one partition and server; servers hand out two at a time.
    :param keys: partitions and servers remembered; the least recently used goes first.
    """

    def __init__(self, *, per_key: int = 4, keys: int = 256) -> None:
        self._per_key = per_key
        self._keys = keys
        self._tickets: OrderedDict[Hashable, list[Ticket]] = OrderedDict()

    def put(self, key: Hashable, ticket: Ticket) -> None:
        held = self._tickets.setdefault(key, [])
        self._tickets.move_to_end(key)
        held.append(ticket)
        del held[: -self._per_key]
        while len(self._tickets) > self._keys:
            self._tickets.popitem(last=False)

    def take(self, key: Hashable, unix_time: float) -> Ticket | None:
        """The newest ticket that is still good; it leaves the store."""
        held = self._tickets.get(key, [])
        while held:
            ticket = held.pop()
            if ticket.received_at <= unix_time < ticket.expires_at:
                return ticket
        self._tickets.pop(key, None)
        return None

    def clear(self) -> None:
        self._tickets.clear()

    def __repr__(self) -> str:
        return f"<TicketStore of {len(self._tickets)} keys>"
