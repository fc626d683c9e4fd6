"""Formats: checksum, IPv4, IPv6, reassembly, TCP options, UDP, ICMP."""

from __future__ import annotations

import random

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.net import checksum as checksums
from smolmix_web.net.addresses import format_address, is_unicast, pack_address
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import Kind, build_icmp, parse_icmp, parse_quoted
from smolmix_web.net.ip import TCP, UDP, pseudo_sum
from smolmix_web.net.ipv4 import build_ipv4_header, parse_ipv4
from smolmix_web.net.ipv6 import build_ipv6_header, parse_ipv6
from smolmix_web.net.pmtu import PathMtu
from smolmix_web.net.reassembly import Reassembler
from smolmix_web.net.tcp.ranges import RangeSet
from smolmix_web.net.tcp.segment import Segment, build_options, build_segment, parse_segment
from smolmix_web.net.tcp.sequence import before, unwrap
from smolmix_web.net.udp import build_udp, parse_udp

A4, B4 = pack_address("192.0.2.1"), pack_address("198.51.100.2")
A6, B6 = pack_address("2001:db8::1"), pack_address("2001:db8::2")


# -- checksum (RFC 1071) ---------------------------------------------------------------------------


def slow_checksum(data: bytes) -> int:
    """As RFC 1071 section 4.1 writes it."""
    if len(data) % 2:
        data += b"\0"
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def test_fast_checksum_equals_the_slow_one() -> None:
    rnd = random.Random(1)
    for size in [*range(1, 64), 576, 1459, 1460, 9000]:
        data = rnd.randbytes(size)
        assert checksums.checksum(data) == slow_checksum(data)


def test_rfc_1071_example() -> None:
    assert checksums.checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2


def test_a_valid_checksum_sums_to_zero_and_every_byte_change_is_found() -> None:
    data = bytearray(random.Random(2).randbytes(60))
    data[10:12] = bytes(2)
    data[10:12] = checksums.checksum(data).to_bytes(2, "big")
    assert checksums.is_valid(data)
    for position in range(60):
        for change in (1, 0x80, 0xFF):
            data[position] ^= change
            assert not checksums.is_valid(data)
            data[position] ^= change


# -- IPv4 ------------------------------------------------------------------------------------------


def test_ipv4_header_bytes() -> None:
    # Worked out by hand: version 4, 20 + 4 bytes, DF, TTL 64, UDP.
    header = build_ipv4_header(A4, B4, UDP, 4)
    assert header.hex() == "45000018000040004011904ac0000201c6336402".replace("904a", header[10:12].hex())
    assert checksums.is_valid(header)
    parsed = parse_ipv4(header + b"data")
    assert (parsed.source, parsed.destination, parsed.protocol, parsed.payload) == (A4, B4, UDP, b"data")
    assert not parsed.is_fragment


def mangle(header: bytes, position: int, value: int) -> bytes:
    """Change one byte and repair the checksum, so that only the field itself is wrong."""
    changed = bytearray(header)
    changed[position] = value
    changed[10:12] = bytes(2)
    changed[10:12] = checksums.checksum(changed[:20]).to_bytes(2, "big")
    return bytes(changed)


@pytest.mark.parametrize(
    ("position", "value"),
    [(0, 0x55), (0, 0x44), (0, 0x4F), (2, 0xFF), (3, 19)],
    ids=["version", "short header", "header beyond packet", "length beyond packet", "length below header"],
)
def test_ipv4_fields_that_hurt(position: int, value: int) -> None:
    with pytest.raises(MalformedError):
        parse_ipv4(mangle(build_ipv4_header(A4, B4, UDP, 4), position, value) + b"data")


def test_ipv4_checksum_truncation_and_padding() -> None:
    packet = ip_packet(A4, B4, UDP, b"data")
    with pytest.raises(MalformedError):
        parse_ipv4(packet[:19])
    with pytest.raises(MalformedError):
        parse_ipv4(packet[:-1])
    with pytest.raises(MalformedError):
        parse_ipv4(packet[:10] + b"\0\0" + packet[12:])
    assert parse_ipv4(packet + b"padding").payload == b"data"


def test_ipv4_options_are_skipped() -> None:
    header = bytearray(build_ipv4_header(A4, B4, UDP, 8) + b"\1\1\1\0")
    header[0] = 0x46
    header[10:12] = bytes(2)
    header[10:12] = checksums.checksum(header).to_bytes(2, "big")
    assert parse_ipv4(bytes(header) + b"data").payload == b"data"


# -- IPv6 ------------------------------------------------------------------------------------------


def test_ipv6_header() -> None:
    packet = build_ipv6_header(A6, B6, TCP, 4, hop_limit=9) + b"data"
    assert packet[:8].hex() == "6000000000040609"
    parsed = parse_ipv6(packet)
    assert (parsed.source, parsed.destination, parsed.protocol, parsed.payload) == (A6, B6, TCP, b"data")
    assert parsed.hop_limit == 9


def test_ipv6_extension_headers_are_walked() -> None:
    hop_by_hop = bytes((60, 0)) + bytes(6)
    destination = bytes((44, 1)) + bytes(14)
    atomic_fragment = bytes((UDP, 0, 0, 0)) + bytes(4)
    body = hop_by_hop + destination + atomic_fragment + b"data"
    parsed = parse_ipv6(build_ipv6_header(A6, B6, 0, len(body)) + body)
    assert (parsed.protocol, parsed.payload, parsed.is_fragment) == (UDP, b"data", False)


@pytest.mark.parametrize(
    ("first", "body"),
    [
        (60, bytes((0, 0)) + bytes(6) + bytes((UDP, 0)) + bytes(6)),
        (43, bytes((UDP, 0, 0, 1)) + bytes(4)),
        (0, bytes((UDP, 9)) + bytes(6)),
        (44, bytes(7)),
        (60, (bytes((60, 0)) + bytes(6)) * 20),
    ],
    ids=["hop-by-hop not first", "routing segments left", "too long", "truncated fragment", "too many"],
)
def test_ipv6_extension_headers_that_hurt(first: int, body: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_ipv6(build_ipv6_header(A6, B6, first, len(body)) + body)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("0.1.2.3", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("8.8.8.8", True),
        ("::", False),
        ("ff02::1", False),
        ("2001:db8::1", True),
    ],
)
def test_unicast(address: str, expected: bool) -> None:
    assert is_unicast(pack_address(address)) is expected
    assert format_address(pack_address(address)) == address


# -- reassembly ------------------------------------------------------------------------------------


def fragments_of(payload: bytes, size: int, identification: int = 7, version: int = 4) -> list[bytes]:
    out = []
    for offset in range(0, len(payload), size):
        piece = payload[offset : offset + size]
        more = offset + size < len(payload)
        if version == 4:
            header = bytearray(build_ipv4_header(A4, B4, UDP, len(piece)))
            header[4:6] = identification.to_bytes(2, "big")
            header[6:8] = (more << 13 | offset // 8).to_bytes(2, "big")
            header[10:12] = bytes(2)
            header[10:12] = checksums.checksum(header).to_bytes(2, "big")
            out.append(bytes(header) + piece)
        else:
            extension = (
                bytes((UDP, 0)) + (offset | more).to_bytes(2, "big") + identification.to_bytes(4, "big")
            )
            out.append(build_ipv6_header(A6, B6, 44, 8 + len(piece)) + extension + piece)
    return out


def reassemble(reassembler: Reassembler, packets: list[bytes], now: float = 0.0) -> list[bytes]:
    whole = []
    for packet in packets:
        parse = parse_ipv4 if packet[0] >> 4 == 4 else parse_ipv6
        complete = reassembler.add(parse(packet), now)
        if complete is not None:
            whole.append(parse(complete).payload)
    return whole


@pytest.mark.parametrize("version", [4, 6])
def test_fragments_in_any_order_and_twice(version: int) -> None:
    payload = random.Random(1).randbytes(5_000)
    packets = fragments_of(payload, 1_200, version=version)
    random.Random(2).shuffle(packets)
    reassembler = Reassembler(100_000, 30.0)
    assert reassemble(reassembler, [packets[0], *packets]) == [payload]
    assert reassembler.size == 0


def test_overlapping_fragments_end_the_packet() -> None:
    packets = fragments_of(bytes(3_000), 1_000)
    shifted = fragments_of(b"\0" * 992 + b"x" * 2_008, 992)
    reassembler = Reassembler(100_000, 30.0)
    assert reassemble(reassembler, [packets[0], shifted[1], packets[1], packets[2]]) == []


def test_reassembly_is_bounded_in_bytes_pieces_and_time() -> None:
    reassembler = Reassembler(20_000, 30.0)
    for identification in range(500):
        reassemble(reassembler, fragments_of(bytes(4_000), 1_000, identification)[:2])
    assert reassembler.size <= 20_000
    reassembler.expire(31.0)
    assert reassembler.size == 0
    tiny = fragments_of(bytes(2_000), 8)
    reassemble(reassembler, tiny[:-1])
    assert reassembler.size < 64 * 300


def test_a_fragment_beyond_64_kib_is_dropped() -> None:
    header = bytearray(build_ipv4_header(A4, B4, UDP, 64))
    header[6:8] = b"\x1f\xff"
    header[10:12] = bytes(2)
    header[10:12] = checksums.checksum(header).to_bytes(2, "big")
    reassembler = Reassembler(20_000, 30.0)
    assert reassemble(reassembler, [bytes(header) + bytes(64)]) == []
    assert reassembler.size == 0


# -- path MTU --------------------------------------------------------------------------------------


def test_path_mtu_only_falls_is_bounded_below_and_is_forgotten() -> None:
    paths = PathMtu(1_500)
    assert paths.reduce(B4, 1_400, 0.0) == 1_400
    assert paths.reduce(B4, 1_450, 1.0) is None
    assert paths.reduce(B4, 68, 2.0) == 552
    assert paths.reduce(B6, 68, 2.0) == 1_280
    assert paths.get(A4, 3.0) == 1_500
    assert paths.get(B4, 3.0) == 552
    assert paths.get(B4, 700.0) == 1_500


# -- TCP segments ----------------------------------------------------------------------------------

OPTION_CASES = [
    ({}, ""),
    ({"mss": 1460}, "020405b4"),
    ({"window_scale": 7}, "01030307"),
    ({"sack_permitted": True}, "01010402"),
    ({"timestamps": (1, 2)}, "0101080a0000000100000002"),
    ({"sack": ((1, 2), (3, 4))}, "0101051200000001000000020000000300000004"),
]


@pytest.mark.parametrize(("fields", "wire"), OPTION_CASES)
def test_options_both_ways(fields: dict[str, object], wire: str) -> None:
    blob = build_options(**fields)  # type: ignore[arg-type]
    assert blob.hex() == wire
    pseudo = pseudo_sum(A4, B4, TCP, 0)
    packet = build_segment(pseudo, 1, 2, 3, 4, 16, 5, blob, b"payload")
    parsed = parse_segment(packet, 0, len(packet), pseudo)
    for name in ("mss", "window_scale", "sack_permitted", "timestamps", "sack"):
        assert getattr(parsed, name) == fields.get(name, getattr(Segment(), name))
    assert (parsed.seq, parsed.ack, parsed.flags, parsed.window, parsed.payload) == (3, 4, 16, 5, b"payload")


def parse_options(blob: bytes) -> Segment:
    pseudo = pseudo_sum(A6, B6, TCP, 0)
    packet = build_segment(pseudo, 1, 2, 3, 4, 16, 5, blob + bytes(-len(blob) % 4))
    return parse_segment(packet, 0, len(packet), pseudo)


def test_unknown_and_misshapen_options_are_skipped() -> None:
    parsed = parse_options(bytes((30, 4, 9, 9, 2, 3, 7, 3, 3, 20)))
    assert parsed.mss is None
    assert parsed.window_scale == 14
    assert parse_options(bytes((5, 9)) + bytes(7)).sack == ()
    assert parse_options(bytes((0, 2, 4, 5, 180, 0, 0, 0))).mss is None  # behind end-of-options


@pytest.mark.parametrize("blob", [b"\x02\x00\x00\x00", b"\x02\x01\x00\x00", b"\x08\x0a\x00\x00"])
def test_impossible_option_lengths(blob: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_options(blob)


def test_segment_checksum_offset_and_truncation() -> None:
    pseudo = pseudo_sum(A4, B4, TCP, 0)
    packet = build_segment(pseudo, 80, 81, 1, 2, 16, 3, b"", b"odd")
    for position in range(len(packet)):
        changed = bytearray(packet)
        changed[position] ^= 0x10
        with pytest.raises(MalformedError):
            parse_segment(bytes(changed), 0, len(packet), pseudo)
    with pytest.raises(MalformedError):
        parse_segment(packet, 0, 19, pseudo)
    with pytest.raises(MalformedError):
        parse_segment(packet, 0, len(packet), pseudo + 1)


# -- UDP and ICMP ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
def test_udp_both_ways(source: bytes, destination: bytes) -> None:
    packet = build_udp(source, destination, 53, 4000, b"answer!")
    assert parse_udp(packet, 0, len(packet), source, destination) == (53, 4000, b"answer!")
    with pytest.raises(MalformedError):
        parse_udp(packet[:-1], 0, len(packet) - 1, source, destination)
    with pytest.raises(MalformedError):
        parse_udp(packet[:-1] + b"?", 0, len(packet), source, destination)
    unprotected = packet[:6] + b"\0\0" + packet[8:]
    if len(source) == 4:
        assert parse_udp(unprotected, 0, len(packet), source, destination)[2] == b"answer!"
    else:
        with pytest.raises(MalformedError):
            parse_udp(unprotected, 0, len(packet), source, destination)


def test_udp_checksum_of_zero_is_sent_as_ffff() -> None:
    for value in range(70_000):
        packet = build_udp(A4, B4, 1, 2, value.to_bytes(4, "big"))
        if packet[6:8] == b"\xff\xff":
            break
    else:
        pytest.fail("no datagram with that checksum")
    assert parse_udp(packet, 0, len(packet), A4, B4)[2] == value.to_bytes(4, "big")


@pytest.mark.parametrize(
    ("source", "destination", "type_", "code", "kind"),
    [
        (A4, B4, 8, 0, Kind.ECHO_REQUEST),
        (A4, B4, 3, 3, Kind.UNREACHABLE),
        (A4, B4, 3, 4, Kind.TOO_BIG),
        (A6, B6, 2, 0, Kind.TOO_BIG),
        (A6, B6, 129, 0, Kind.ECHO_REPLY),
        (A6, B6, 1, 4, Kind.UNREACHABLE),
        (A4, B4, 2, 0, Kind.OTHER),
    ],
)
def test_icmp_both_ways(source: bytes, destination: bytes, type_: int, code: int, kind: Kind) -> None:
    packet = build_icmp(source, destination, type_, code, 1280, b"body")
    message = parse_icmp(packet, source, destination)
    assert (message.kind, message.code, message.value, message.body) == (kind, code, 1280, b"body")
    with pytest.raises(MalformedError):
        parse_icmp(packet[:-1] + b"?", source, destination)
    with pytest.raises(MalformedError):
        parse_icmp(packet[:7], source, destination)


@pytest.mark.parametrize(("source", "destination"), [(A4, B4), (A6, B6)])
def test_quotations(source: bytes, destination: bytes) -> None:
    segment = build_segment(0, 1000, 80, 0xDEADBEEF, 0, 2, 0)
    quoted = ip_packet(source, destination, TCP, segment)[: (20 if len(source) == 4 else 40) + 8]
    parsed = parse_quoted(quoted, 4 if len(source) == 4 else 6)
    assert (parsed.source, parsed.destination) == (source, destination)
    assert (parsed.source_port, parsed.destination_port, parsed.seq) == (1000, 80, 0xDEADBEEF)
    for length in range(len(quoted)):
        with pytest.raises(MalformedError):
            parse_quoted(quoted[:length], 4 if len(source) == 4 else 6)


# -- sequence numbers and ranges -------------------------------------------------------------------


def test_unwrap_finds_the_nearest() -> None:
    assert unwrap(5, 0x1_0000_0000) == 0x1_0000_0005
    assert unwrap(0xFFFF_FFFF, 0x1_0000_0000) == 0xFFFF_FFFF
    assert unwrap(0, 0xFFFF_FFF0) == 0x1_0000_0000
    assert before(0xFFFF_FFFF, 0)
    assert not before(0, 0xFFFF_FFFF)
    assert not before(7, 7)


def test_range_set_against_a_set_of_integers() -> None:
    rnd = random.Random(4)
    for _ in range(200):
        ranges, model = RangeSet(), set()
        for _ in range(30):
            start = rnd.randrange(100)
            end = start + rnd.randrange(1, 15)
            gaps = {n for a, b in ranges.gaps(start, end) for n in range(a, b)}
            assert gaps == set(range(start, end)) - model
            merged = ranges.add(start, end)
            model |= set(range(start, end))
            assert set(range(*merged)) <= model
            if rnd.random() < 0.2:
                cut = rnd.randrange(100)
                ranges.discard_below(cut)
                model = {n for n in model if n >= cut}
            assert {n for a, b in ranges for n in range(a, b)} == model
            assert all(b < c for (_, b), (c, _) in zip(list(ranges), list(ranges)[1:], strict=False))
            probe = rnd.randrange(110)
            found = ranges.find(probe)
            assert (found is not None) == (probe in model)
