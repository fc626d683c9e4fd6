"""Which next hops a node sends to (spec nodes.md 8.2).

The reference looks at the IP address only. On one host all nodes share an address, so here the port counts
too: otherwise anybody could make a node connect to any local service.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from smolmix_web.nym.addresses import NodeAddress


class RoutingFilter:
    """Known nodes, and a rule for the time before any are known.

    :param verify: False allows every address.
    """

    def __init__(self, *, verify: bool = True) -> None:
        self._verify = verify
        self._known: frozenset[NodeAddress] = frozenset()
        self.has_pending = False
        """An unknown address was asked for since the last update: the list may be old."""

    def update(self, known: Iterable[NodeAddress]) -> None:
        """The mix addresses of all nodes of the network."""
        self._known = frozenset(known)
        self.has_pending = False

    def allows(self, address: NodeAddress) -> bool:
        if not self._verify or address in self._known:
            return True
        self.has_pending = True
        # Without any directory a node serves its own machine or private network.
        return not self._known and not ipaddress.ip_address(address.ip).is_global
