"""UDP through the user-space exit: one connected real socket for each pair of ends that talk.

As in a NAT, a flow lives while it is used and ends after a time of silence (RFC 4787 section 4.3 wants two
minutes; name look-ups are over in seconds). A flow more than allowed pushes out the one unused longest.
"""

from __future__ import annotations

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from smolmix_web.localnet.address_map import Endpoint
from smolmix_web.net.stack import DatagramTooLong, UdpAnySocket

FLOW_IDLE = 120.0  # seconds
DNS_IDLE = 15.0
_DNS_PORT = 53
_MAX_DATAGRAM = 65_535
# Datagrams read in one go, so that one loud peer cannot hold up the loop.
_BURST = 64

_Address = tuple[str, int]


@dataclass(slots=True)
class _Flow:
    socket: socket.socket
    last_used: float
    idle_limit: float


class UdpRelay:
    """All UDP flows of one client.

    :param datagrams: the stack's socket for everything
    :param changed: called when the stack may have something to send after a call from a real socket
    """

    def __init__(
        self,
        datagrams: UdpAnySocket,
        clock: Callable[[], float],
        changed: Callable[[], None],
        max_flows: int,
    ) -> None:
        self._datagrams = datagrams
        self._clock = clock
        self._changed = changed
        self._max_flows = max_flows
        self._flows: OrderedDict[tuple[_Address, _Address], _Flow] = OrderedDict()
        self.too_long = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._flows)

    def knows(self, source: _Address, destination: _Address) -> bool:
        """Whether the two ends have a flow."""
        return (source, destination) in self._flows

    def send(
        self, source: _Address, destination: _Address, data: bytes, target: Endpoint, now: float
    ) -> None:
        """A datagram of the client for ``destination``, which really is at ``target``."""
        key = (source, destination)
        flow = self._flows.get(key)
        if flow is None:
            try:
                flow = self._open(key, target, now)
            except OSError:
                self._datagrams.refuse(source, destination, data)
                return
        flow.last_used = now
        self._flows.move_to_end(key)
        try:
            flow.socket.send(data)
        except BlockingIOError:
            self.dropped += 1
        except OSError:  # an ICMP error about an earlier datagram, or this one is too long for the way
            self._datagrams.refuse(source, destination, data)

    def expire(self, now: float) -> None:
        """Ends flows that were silent too long."""
        for key in [key for key, flow in self._flows.items() if now - flow.last_used >= flow.idle_limit]:
            self._end(key)

    def close(self) -> None:
        for key in list(self._flows):
            self._end(key)

    def _open(self, key: tuple[_Address, _Address], target: Endpoint, now: float) -> _Flow:
        if len(self._flows) >= self._max_flows:
            self._end(next(iter(self._flows)))
        family = socket.AF_INET6 if ":" in target.host else socket.AF_INET
        real = socket.socket(family, socket.SOCK_DGRAM)
        try:
            real.setblocking(False)
            real.connect(target)
            asyncio.get_running_loop().add_reader(real, self._readable, key)
        except BaseException:
            real.close()
            raise
        flow = _Flow(real, now, DNS_IDLE if key[1][1] == _DNS_PORT else FLOW_IDLE)
        self._flows[key] = flow
        return flow

    def _readable(self, key: tuple[_Address, _Address]) -> None:
        flow, now = self._flows[key], self._clock()
        client, server = key
        flow.last_used = now
        self._flows.move_to_end(key)
        for _ in range(_BURST):
            try:
                data = flow.socket.recv(_MAX_DATAGRAM)
            except BlockingIOError:
                break
            except OSError:
                # The destination answered "port unreachable"; the client is told the same.
                self._datagrams.refuse(client, server, b"")
                break
            try:
                self._datagrams.send(server, client, data, now)
            except DatagramTooLong:
                self.too_long += 1
        self._changed()

    def _end(self, key: tuple[_Address, _Address]) -> None:
        flow = self._flows.pop(key)
        asyncio.get_running_loop().remove_reader(flow.socket)
        flow.socket.close()
