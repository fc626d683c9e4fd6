"""Sizes, types, frame versions and rotations have the numbers of the wire (spec/sphinx.md 10)."""

from __future__ import annotations

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion


@pytest.mark.parametrize(
    ("tag", "size", "total", "plaintext"),
    [
        (1, PacketSize.REGULAR, 2413, 2048),
        (2, PacketSize.ACK, 386, 21),
        (3, PacketSize.EXTENDED32, 33133, 32768),
        (4, PacketSize.EXTENDED8, 8557, 8192),
        (5, PacketSize.EXTENDED16, 16749, 16384),
        (6, PacketSize.OUTFOX_REGULAR, 2377, 2048),
        (7, PacketSize.OUTFOX_ACK, 377, 48),
    ],
)
def test_packet_size(tag: int, size: PacketSize, total: int, plaintext: int) -> None:
    assert PacketSize.from_tag(tag) is size
    assert (size.total, size.plaintext) == (total, plaintext)
    assert PacketSize.from_total(total) is size
    assert size.is_sphinx is (tag < 6)
    if size.is_sphinx:
        assert size.payload == plaintext + 17


@pytest.mark.parametrize("tag", [0, 8, 255])
def test_unknown_size_tag(tag: int) -> None:
    with pytest.raises(MalformedError):
        PacketSize.from_tag(tag)


@pytest.mark.parametrize("length", [0, 348, 385, 2412, 2414, 100000])
def test_length_of_no_packet(length: int) -> None:
    with pytest.raises(MalformedError):
        PacketSize.from_total(length)


def test_packet_type() -> None:
    assert PacketType.from_byte(0) is PacketType.MIX
    assert PacketType.from_byte(2) is PacketType.OUTFOX
    for value in (1, 3, 255):
        with pytest.raises(MalformedError):
            PacketType.from_byte(value)


def test_packet_version() -> None:
    assert PacketVersion.from_byte(7) is PacketVersion.LEGACY
    assert PacketVersion.from_byte(8) is PacketVersion.KEY_ROTATION
    for value in (0, 6, 9, 255):
        with pytest.raises(MalformedError):
            PacketVersion.from_byte(value)


@pytest.mark.parametrize(
    ("rotation_id", "rotation"),
    [
        (0, KeyRotation.UNKNOWN),
        (0xFFFFFFFF, KeyRotation.UNKNOWN),
        (1, KeyRotation.ODD),
        (2, KeyRotation.EVEN),
        (1001, KeyRotation.ODD),
        (0xFFFFFFFE, KeyRotation.EVEN),
    ],
)
def test_rotation_from_id(rotation_id: int, rotation: KeyRotation) -> None:
    assert KeyRotation.from_rotation_id(rotation_id) is rotation
    assert KeyRotation.from_byte(rotation) is rotation


def test_rotation_byte_out_of_range() -> None:
    with pytest.raises(MalformedError):
        KeyRotation.from_byte(3)
