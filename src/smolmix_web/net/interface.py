"""The interface: our addresses, and the packets that belong to no connection.

Datagrams, ICMP messages and resets for unknown packets wait in one bounded queue; connections make their
packets themselves when they may send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.errors import OptionError
from smolmix_web.net import icmp
from smolmix_web.net.addresses import format_address, pack_address
from smolmix_web.net.config import StackConfig
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.ip import ICMP, ICMPV6, UDP
from smolmix_web.net.ipv4 import parse_ipv4
from smolmix_web.net.ipv6 import parse_ipv6
from smolmix_web.net.pmtu import PathMtu
from smolmix_web.net.reassembly import Reassembler
from smolmix_web.net.udp import DatagramTooLong, build_udp


@dataclass(slots=True)
class StackStats:
    """Counters since the stack was made."""

    packets_received: int = 0
    packets_sent: int = 0
    malformed: int = 0
    not_for_us: int = 0
    no_socket: int = 0
    paws_dropped: int = 0
    reordered: int = 0
    challenge_acks: int = 0
    memory_dropped: int = 0
    control_dropped: int = 0
    resets_sent: int = 0
    syns_dropped: int = 0
    icmp_errors: int = 0


class Interface:
    """See the module; the parameters are those of :class:`~smolmix_web.net.stack.Stack`."""

    def __init__(
        self,
        ipv4: str | None,
        ipv6: str | None,
        mtu: int,
        config: StackConfig,
        random_bytes: Callable[[int], bytes],
        accept_any: bool,
    ) -> None:
        if not 576 <= mtu <= 65_535:
            raise OptionError("mtu", "not between 576 and 65535 bytes")
        self._ipv4 = pack_address(ipv4) if ipv4 is not None else None
        self._ipv6 = pack_address(ipv6) if ipv6 is not None else None
        if self._ipv4 is not None and len(self._ipv4) != 4:
            raise OptionError("ipv4", "not an IPv4 address")
        if self._ipv6 is not None and len(self._ipv6) != 16:
            raise OptionError("ipv6", "not an IPv6 address")
        self.mtu = mtu
        self.config = config
        self.random_bytes = random_bytes
        self.accept_any = accept_any
        self.stats = StackStats()
        self._path_mtu = PathMtu(mtu)
        self._reassembler = Reassembler(config.reassembly_limit, config.reassembly_timeout)
        self._control: deque[bytes] = deque()
        self._icmp_tokens = float(config.icmp_per_second)
        self._icmp_at = 0.0
        self._now = 0.0

    def send_control(self, packet: bytes) -> None:
        """Queue a packet that belongs to no connection; dropped when the queue is full."""
        if len(self._control) >= self.config.control_queue_limit:
            self.stats.control_dropped += 1
        else:
            self._control.append(packet)

    def send_datagram(
        self, source: bytes, source_port: int, destination: bytes, port: int, data: bytes, now: float
    ) -> None:
        """:raises DatagramTooLong: it does not fit the path MTU."""
        limit = self._path_mtu.get(destination, now) - (28 if len(source) == 4 else 48)
        if len(data) > limit:
            raise DatagramTooLong(len(data), limit)
        datagram = build_udp(source, destination, source_port, port, bytes(data))
        self.send_control(ip_packet(source, destination, UDP, datagram, self.config.hop_limit))

    def send_unreachable(self, original: bytes, *, code: int | None = None) -> None:
        """Tell the sender of ``original`` that its destination cannot be reached; default: port
        unreachable."""
        if not self.may_answer(self._now):
            return
        parsed = parse_ipv4(original) if original[0] >> 4 == 4 else parse_ipv6(original)
        if len(parsed.source) == 4:
            protocol, default = ICMP, icmp.PORT_UNREACHABLE_V4
        else:
            protocol, default = ICMPV6, icmp.PORT_UNREACHABLE_V6
        body = icmp.build_unreachable(
            original, parsed.destination, parsed.source, self.mtu, code=default if code is None else code
        )
        self.send_control(ip_packet(parsed.destination, parsed.source, protocol, body, self.config.hop_limit))

    def may_answer(self, now: float) -> bool:
        """A token bucket of one second."""
        rate = float(self.config.icmp_per_second)
        self._icmp_tokens = min(rate, self._icmp_tokens + max(now - self._icmp_at, 0.0) * rate)
        self._icmp_at = now
        if self._icmp_tokens < 1:
            return False
        self._icmp_tokens -= 1
        return True

    def source_for(self, destination: bytes) -> bytes:
        """Our address of the same family. :raises OptionError: there is none."""
        source = self._ipv4 if len(destination) == 4 else self._ipv6
        if source is None:
            raise OptionError("address", f"the stack has no IPv{4 if len(destination) == 4 else 6} address")
        return source

    def local_address_text(self, version: int) -> str:
        packed = self._ipv4 if version == 4 and self._ipv4 is not None else self._ipv6 or self._ipv4
        return format_address(packed) if packed is not None else ""
