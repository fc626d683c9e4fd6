"""What a packet costs does not depend on how many connections there are: counted in calls, not in time."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from smolmix_web.net import Stack, TcpConnection

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
BLOCK = bytes(1_000)


class Pair:
    """Two stacks without a path between them."""

    def __init__(self, connections: int) -> None:
        self.now = 0.0
        self.client = Stack(ipv4=CLIENT, ipv6=None, mtu=1500)
        self.server = Stack(ipv4=SERVER, ipv6=None, mtu=1500)
        listener = self.server.listen_tcp(None, 80, backlog=connections)
        self.ends: list[tuple[TcpConnection, TcpConnection]] = []
        for _ in range(connections):
            ours = self.client.connect_tcp(SERVER, 80, self.now)
            self.turn(0.0001)
            self.turn(0.0001)
            theirs = listener.accept()
            assert theirs is not None
            self.ends.append((ours, theirs))

    def turn(self, step: float) -> int:
        """Packets there and back, and timers; the number of packets."""
        self.now += step
        count = 0
        for sender, receiver in ((self.client, self.server), (self.server, self.client)):
            for packet in sender.packets_to_send(self.now):
                receiver.receive_packet(packet, self.now)
                count += 1
        for stack in (self.client, self.server):
            due = stack.poll_at()
            if due is not None and due <= self.now:
                stack.handle_timer(self.now)
        return count


def calls_a_packet(connections: int, busy: int) -> float:
    """Python and C calls for each packet made and taken, while ``busy`` of the connections send in turn."""
    pair = Pair(connections)
    step = 0.001 / busy

    def rounds(count: int) -> int:
        packets = 0
        for _ in range(count):
            for ours, theirs in pair.ends[:busy]:
                ours.send(BLOCK, pair.now)
                packets += pair.turn(step)
                theirs.recv(1 << 16, pair.now)
        return packets

    rounds(20)
    calls = 0

    def count_call(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count_call)
    try:
        packets = rounds(max(400 // busy, 4))
    finally:
        sys.setprofile(None)
    return calls / packets


def test_a_packet_of_one_flow_costs_the_same_beside_300_idle_connections() -> None:
    assert calls_a_packet(300, 1) <= 1.05 * calls_a_packet(1, 1)


def test_a_packet_costs_the_same_when_300_connections_send_in_turn() -> None:
    assert calls_a_packet(300, 300) <= 1.1 * calls_a_packet(1, 1)
