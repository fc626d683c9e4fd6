"""Path MTU per destination (RFC 1191, RFC 8201), learnt from "packet too big"."""

from __future__ import annotations

from collections import OrderedDict

from smolmix_web.net.ipv6 import MIN_MTU as MIN_MTU_V6

_LIFETIME = 600.0  # RFC 1191 section 6.3, RFC 8201 section 4: 10 minutes
_MAX_ENTRIES = 1_024
# RFC 791 allows 68; smaller than this is an attack or a link nobody has (Linux min_pmtu).
MIN_MTU_V4 = 552


class PathMtu:
    """``interface_mtu`` is the upper bound and the answer for destinations nothing is known about."""

    def __init__(self, interface_mtu: int) -> None:
        self.interface_mtu = interface_mtu
        self._entries: OrderedDict[bytes, tuple[int, float]] = OrderedDict()

    def get(self, destination: bytes, now: float) -> int:
        entry = self._entries.get(destination)
        if entry is None:
            return self.interface_mtu
        mtu, expires = entry
        if expires <= now:
            del self._entries[destination]
            return self.interface_mtu
        return min(mtu, self.interface_mtu)

    def reduce(self, destination: bytes, mtu: int, now: float) -> int | None:
        """A router says ``mtu``; the new value if it is smaller than the one in use, else ``None``."""
        mtu = max(mtu, MIN_MTU_V4 if len(destination) == 4 else MIN_MTU_V6)
        if mtu >= self.get(destination, now):
            return None
        self._entries[destination] = (mtu, now + _LIFETIME)
        self._entries.move_to_end(destination)
        if len(self._entries) > _MAX_ENTRIES:
            self._entries.popitem(last=False)
        return mtu
