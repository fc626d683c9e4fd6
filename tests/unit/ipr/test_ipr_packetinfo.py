"""What the router reads from IP packets, extension headers and fragments included."""

import struct
from ipaddress import IPv4Address, IPv6Address

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.keepalive import is_answer, keepalive_packet
from smolmix_web.ipr.packetinfo import ICMP, ICMPV6, TCP, UDP, destination_of, inspect_packet

V4 = (IPv4Address("10.0.0.2").packed, IPv4Address("9.9.9.9").packed)
V6 = (IPv6Address("fc00::2").packed, IPv6Address("2600::9").packed)
PORTS = struct.pack(">HH", 1000, 443)
TCP_HEADER = PORTS + bytes(16)


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    words = 5 + len(options) // 4
    head = struct.pack(">BBHHHBBH", 0x40 + words, 0, 4 * words + len(payload), 1, fragment, 64, protocol, 0)
    return head + V4[0] + V4[1] + options + payload


def ipv6(next_header: int, payload: bytes) -> bytes:
    return struct.pack(">IHBB", 0x60000000, len(payload), next_header, 64) + V6[0] + V6[1] + payload


@pytest.mark.parametrize(
    ("packet", "protocol", "port", "transport"),
    [
        (ipv4(TCP, TCP_HEADER), TCP, 443, 20),
        (ipv4(UDP, PORTS + bytes(4)), UDP, 443, 20),
        (ipv4(UDP, PORTS + bytes(4), options=bytes(8)), UDP, 443, 28),
        (ipv4(ICMP, b"\x08" + bytes(7)), ICMP, 0, 20),
        (ipv4(132, PORTS), 132, 0, 20),  # SCTP: "unknown" to the router, so without ports
        (ipv4(TCP, TCP_HEADER, fragment=0x2000), TCP, 443, 20),  # first of several
        (ipv4(TCP, b"rest", fragment=5), TCP, 0, 20),
        (ipv4(UDP, PORTS + bytes(4)) + b"padding", UDP, 443, 20),
        (ipv6(TCP, TCP_HEADER), TCP, 443, 40),
        (ipv6(ICMPV6, b"\x80" + bytes(7)), ICMPV6, 0, 40),
        (ipv6(0, bytes([60, 0]) + bytes(6) + bytes([UDP, 1]) + bytes(14) + PORTS + bytes(4)), UDP, 443, 64),
        (ipv6(44, bytes([TCP, 0, 0, 1]) + bytes(4) + TCP_HEADER), TCP, 443, 48),
        (ipv6(44, bytes([TCP, 0, 0, 8]) + bytes(4) + b"rest"), TCP, 0, 48),
        (ipv6(51, bytes([UDP, 4]) + bytes(22) + PORTS + bytes(4)), UDP, 443, 64),
    ],
)
def test_protocol_port_and_addresses(packet: bytes, protocol: int, port: int, transport: int) -> None:
    info = inspect_packet(packet)
    assert (info.source, info.destination) == (V4 if packet[0] >> 4 == 4 else V6)
    assert (info.protocol, info.port, info.transport) == (protocol, port, transport)
    assert destination_of(packet) == info.destination


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        b"\x50" + bytes(60),
        b"\x44" + ipv4(UDP, PORTS + bytes(4))[1:],  # header of 16 bytes
        ipv4(UDP, PORTS),
        ipv4(TCP, TCP_HEADER[:19]),
        ipv4(TCP, TCP_HEADER)[:-1],
        ipv6(TCP, TCP_HEADER)[:-1],
        ipv6(TCP, TCP_HEADER)[:39],
        ipv6(0, bytes([UDP, 0, 0, 0])),
        ipv6(0, bytes([UDP, 31]) + bytes(30)),
        ipv6(ICMPV6, bytes(7)),
    ],
)
def test_packets_without_whole_headers_are_refused(packet: bytes) -> None:
    with pytest.raises(MalformedError):
        inspect_packet(packet)


def test_the_keep_alive_is_a_valid_echo_request_that_dies_at_the_exit() -> None:
    packet = keepalive_packet(IPv4Address("10.0.3.4"), 70000)
    info = inspect_packet(packet)
    assert info.source == IPv4Address("10.0.3.4").packed
    assert (info.protocol, info.port) == (ICMP, 0)
    assert packet[8] == 1
    for part in (packet[:20], packet[20:]):
        total = sum(struct.unpack(f">{len(part) // 2}H", part))
        assert (total & 0xFFFF) + (total >> 16) == 0xFFFF


def test_answers_to_keep_alives_are_told_from_other_packets() -> None:
    sent = keepalive_packet(IPv4Address("10.0.3.4"), 7)
    ours, kernel = sent[12:16], IPv4Address("10.0.0.1").packed

    def icmp(source: bytes, kind: int, body: bytes) -> bytes:
        return (
            struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(body), 0, 0, 64, 1, 0)
            + source
            + ours
            + bytes((kind, 0, 0, 0, 0, 0, 0, 0))
            + body
        )

    reply, exceeded = icmp(sent[16:20], 0, b""), icmp(kernel, 11, sent)
    assert is_answer(reply)
    assert is_answer(exceeded)
    elsewhere = sent[:16] + IPv4Address("9.9.9.9").packed + sent[20:]
    others = [
        b"",
        sent,
        reply[:27],
        exceeded[:47],
        icmp(kernel, 0, b""),
        icmp(kernel, 3, sent),
        icmp(kernel, 11, elsewhere),
        icmp(kernel, 11, sent[:9] + b"\x11" + sent[10:]),
        b"\x60" + reply[1:],
        reply[:9] + b"\x06" + reply[10:],
    ]
    assert [is_answer(packet) for packet in others] == [False] * len(others)
