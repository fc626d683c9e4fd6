"""Invariant: no packet of a client and no question makes the exit or the test name server raise."""

from ipaddress import IPv4Address, IPv6Address

import dns.message
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.packetinfo import inspect_packet
from smolmix_web.localnet.testnet.dns import Zone
from smolmix_web.localnet.userspace_exit import UserspaceExit
from smolmix_web.localnet.way_out import ExitClient
from smolmix_web.net.stack import Stack

CLIENT = ExitClient(b"c" * 16, IPv4Address("10.0.7.7"), IPv6Address("fc00::707"), 1400)


def packets() -> list[bytes]:
    """A SYN, a datagram and their IPv6 twins."""
    stack = Stack(ipv4=str(CLIENT.ipv4), ipv6=str(CLIENT.ipv6), mtu=1400, random_bytes=bytes)
    for address in ("9.9.9.9", "2600::9"):
        stack.connect_tcp(address, 80, 0.0)
        stack.open_udp(connect=(address, 53)).send_to(b"question", None, 0.0)
    return stack.packets_to_send(0.0)


SEEDS = packets()
change = st.tuples(st.integers(0, 90), st.integers(0, 255))


@settings(max_examples=250, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(SEEDS), st.lists(change, max_size=4), st.booleans()), max_size=12))
def test_client_packets(sent: list[tuple[bytes, list[tuple[int, int]], bool]]) -> None:
    way_out = UserspaceExit(reach_internet=False, random_bytes=bytes)
    way_out.client_connected(CLIENT, 0.0)
    for number, (packet, changes, cut) in enumerate(sent):
        now = number * 0.7
        damaged = bytearray(packet)
        for position, value in changes:
            damaged[position % len(damaged)] = value
        data = bytes(damaged[: len(damaged) - 7 * cut])
        try:
            info = inspect_packet(data)
        except MalformedError:
            continue
        way_out.receive_packet(CLIENT, data, info, now)
        way_out.handle_timer(now)
        way_out.packets_to_send(now, lambda tag: 4)
    way_out.client_gone(CLIENT, 99.0)
    assert not any(way_out.counts().values())


WIRE = dns.message.make_query("spoofed.test", "A", use_edns=0).to_wire()


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60), st.binary(max_size=40).map(lambda tail: WIRE[:12] + tail), st.just(WIRE)
    ),
    st.lists(change, max_size=4),
    st.sampled_from(("udp", "tcp")),
)
def test_questions(wire: bytes, changes: list[tuple[int, int]], transport: str) -> None:
    damaged = bytearray(wire)
    for position, value in changes:
        if damaged:
            damaged[position % len(damaged)] = value
    for answer in Zone({"web.test": ["192.0.2.10"]}).answer(bytes(damaged), transport):
        assert len(answer.wire) <= 65535
