"""Frames between nodes and packets from clients, whole and byte by byte (spec/sphinx.md 11, 12)."""

from __future__ import annotations

import pytest

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.acks import split_surb_ack
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import FrameDecoder, NodeFrame, encode_frame
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion


def frame(size: PacketSize, version: PacketVersion, rotation: KeyRotation = KeyRotation.UNKNOWN) -> NodeFrame:
    return NodeFrame(bytes([size]) * size.total, PacketType.MIX, rotation, version)


CASES = [
    (frame(PacketSize.ACK, PacketVersion.LEGACY), "070200"),
    (frame(PacketSize.REGULAR, PacketVersion.LEGACY), "070100"),
    (frame(PacketSize.REGULAR, PacketVersion.KEY_ROTATION, KeyRotation.EVEN), "08010002"),
    (frame(PacketSize.ACK, PacketVersion.KEY_ROTATION, KeyRotation.ODD), "08020001"),
    (frame(PacketSize.EXTENDED32, PacketVersion.KEY_ROTATION), "08030000"),
    (NodeFrame(bytes(2377), PacketType.OUTFOX), "070602"),
]


@pytest.mark.parametrize(("value", "head"), CASES)
def test_frame_both_ways(value: NodeFrame, head: str) -> None:
    data = encode_frame(value)
    assert data == bytes.fromhex(head) + value.packet
    assert FrameDecoder().receive_data(data) == [value]


def test_frames_in_one_chunk_and_byte_by_byte() -> None:
    frames = [value for value, _ in CASES]
    stream = b"".join(encode_frame(value) for value in frames)
    assert FrameDecoder().receive_data(stream) == frames

    decoder = FrameDecoder()
    received = [value for i in range(len(stream)) for value in decoder.receive_data(stream[i : i + 1])]
    assert received == frames


def test_version_of_the_link_decides_over_the_rotation() -> None:
    value = frame(PacketSize.ACK, PacketVersion.KEY_ROTATION, KeyRotation.EVEN)
    (received,) = FrameDecoder().receive_data(encode_frame(value, 7))
    assert (received.version, received.rotation) == (PacketVersion.LEGACY, KeyRotation.UNKNOWN)
    assert received.packet == value.packet


@pytest.mark.parametrize(
    "head", ["060100", "090100", "000100", "070000", "070800", "070101", "070103", "08010003"]
)
def test_bad_header_ends_the_stream(head: str) -> None:
    decoder = FrameDecoder()
    with pytest.raises(MalformedError):
        decoder.receive_data(bytes.fromhex(head))
    with pytest.raises(MalformedError):
        decoder.receive_data(encode_frame(CASES[0][0]))


def test_frames_before_a_bad_one_are_kept() -> None:
    decoder = FrameDecoder()
    good = CASES[0][0]
    assert decoder.receive_data(encode_frame(good) + b"\xff\xff\xff") == [good]
    assert decoder.error is not None
    with pytest.raises(MalformedError):
        decoder.receive_data(b"")


def test_packet_of_no_size_cannot_be_framed() -> None:
    with pytest.raises(LocalProtocolError):
        encode_frame(NodeFrame(bytes(100)))


@pytest.mark.parametrize("address", [NodeAddress("10.1.2.3", 1789), NodeAddress("fe80::1", 65535)])
def test_mix_packet_versions(address: NodeAddress) -> None:
    packet = MixPacket(address, bytes(386), PacketType.MIX, KeyRotation.ODD)
    v2 = packet.to_bytes_v2()
    assert v2 == b"\0\x01" + address.pack() + bytes(386)
    assert MixPacket.from_bytes_v2(v2) == packet
    v1 = packet.to_bytes_v1()
    assert v1 == b"\0" + address.pack() + bytes(386)
    assert MixPacket.from_bytes_v1(v1) == MixPacket(address, bytes(386))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\0\0",
        b"\x01\0\x04\0\0\0\0\0\0" + bytes(386),
        b"\0\x03\x04\0\0\0\0\0\0" + bytes(386),
        b"\0\0\x05\0\0\0\0\0\0" + bytes(386),
        b"\0\0\x04\0\0\0\0\0\0" + bytes(385),
        b"\0\0\x04\0\0\0\0\0\0",
    ],
)
def test_bad_mix_packet(data: bytes) -> None:
    with pytest.raises(MalformedError):
        MixPacket.from_bytes_v2(data)


def test_final_plaintext_without_room_for_an_ack() -> None:
    address = NodeAddress("1.2.3.4", 5)
    plaintext = address.pack_padded(19) + b"a" * 386
    assert split_surb_ack(plaintext) == (address, b"a" * 386, b"")
    with pytest.raises(MalformedError):
        split_surb_ack(plaintext[:-1])
    with pytest.raises(MalformedError):
        split_surb_ack(b"\x07" + plaintext[1:])
