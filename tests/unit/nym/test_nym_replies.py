"""Reply SURBs and the messages that carry them (spec/sphinx.md 14, 19)."""

from __future__ import annotations

import random

import pytest

from smolmix_web import crypto
from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.message import (
    MessageKind,
    NymMessage,
    PlainData,
    encode_message,
    parse_message,
)
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.replies import (
    AdditionalSurbs,
    Heartbeat,
    RepliableData,
    ReplyData,
    ReplySurb,
    SurbList,
    SurbRequest,
    surb_length,
)
from smolmix_web.sphinx import Hop, Surb

RANDBYTES = random.Random(3).randbytes
TAG = bytes(range(16))
REQUESTER = Recipient(
    crypto.provider().ed25519_public(bytes(32)), b"\x05" * 32, crypto.provider().ed25519_public(b"\x01" * 32)
)


def reply_surb(hops: int = 4, version: int = 259) -> ReplySurb:
    route = [
        Hop(
            NodeAddress("10.0.0.1", 1000 + i).pack_padded(32),
            crypto.provider().x25519_public(bytes([i + 1]) * 32),
        )
        for i in range(hops)
    ]
    surb = Surb.create(route, [0] * hops, bytes(32), version=version, random_bytes=RANDBYTES)
    return ReplySurb(RANDBYTES(16), surb)


SEEDS = tuple(reply_surb() for _ in range(3))
FULL = tuple(reply_surb(version=258) for _ in range(2))
NO_SURBS = SurbList()
V2 = SurbList(SEEDS, KeyRotation.EVEN)
V1 = SurbList(FULL, KeyRotation.UNKNOWN, version=1)

CASES: list[tuple[NymMessage, bytes]] = [
    (PlainData(b"data"), b"\x00data"),
    (PlainData(b""), b"\x00"),
    (RepliableData(TAG, NO_SURBS, b"data"), b"\x01" + TAG + b"\x03" + bytes(4) + b"data"),
    (RepliableData(TAG, V2, b"data"), b"\x01" + TAG + b"\x03" + b"\0\x03\x04\x02"),
    (RepliableData(TAG, V1, b"data"), b"\x01" + TAG + b"\x00" + b"\0\0\0\x02"),
    (AdditionalSurbs(TAG, V2), b"\x01" + TAG + b"\x04" + b"\0\x03\x04\x02"),
    (AdditionalSurbs(TAG, V1), b"\x01" + TAG + b"\x01" + b"\0\0\0\x02"),
    (Heartbeat(TAG, V2), b"\x01" + TAG + b"\x05" + b"\0\x03\x04\x02"),
    (Heartbeat(TAG, V1), b"\x01" + TAG + b"\x02" + b"\0\0\0\x02"),
    (ReplyData(b"data"), b"\x02\x00data"),
    (SurbRequest(REQUESTER, 50), b"\x02\x01" + REQUESTER.to_bytes() + b"\0\0\0\x32"),
]


@pytest.mark.parametrize(("message", "start"), CASES)
def test_message_both_ways(message: NymMessage, start: bytes) -> None:
    data = encode_message(message)
    assert data.startswith(start)
    assert parse_message(data) == message


def test_lengths_of_lists() -> None:
    """22 + 460c bytes for additional SURBs, and so 3, 15 and 29 packets for 10, 50 and 100 of them."""
    assert len(SEEDS[0].to_bytes()) == surb_length(4) == 460
    assert len(FULL[0].to_bytes()) == 1164
    assert len(reply_surb(hops=1).to_bytes()) == surb_length(1) == 412
    assert len(encode_message(AdditionalSurbs(TAG, V2))) == 22 + 460 * 3
    assert len(encode_message(AdditionalSurbs(TAG, V1))) == 22 + 1164 * 2


def test_surb_both_ways() -> None:
    for surb in (*SEEDS, *FULL, reply_surb(hops=1), reply_surb(hops=5)):
        assert ReplySurb.from_bytes(surb.to_bytes()) == surb
    assert SEEDS[0].first_hop == NodeAddress("10.0.0.1", 1000)
    assert SEEDS[0].has_seeds
    assert not FULL[0].has_seeds


def test_surb_with_bad_first_hop() -> None:
    data = bytearray(SEEDS[0].to_bytes())
    data[16 + 348] = 9
    with pytest.raises(MalformedError):
        ReplySurb.from_bytes(data)


def test_keys_do_not_show() -> None:
    text = repr(V2)
    assert repr(SEEDS[0].key)[2:-1] not in text
    assert repr(SEEDS[0].surb.payload_keys[0])[2:-1] not in text


def test_trailing_bytes_are_ignored_without_data() -> None:
    for message in (AdditionalSurbs(TAG, V2), Heartbeat(TAG, V1)):
        assert parse_message(encode_message(message) + b"junk") == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x03data",
        b"\x01",
        b"\x01" + TAG,
        b"\x01" + TAG + b"\x03",
        b"\x01" + TAG + b"\x06" + bytes(4),
        b"\x01" + TAG + b"\x03" + b"\0\x01\x04\x02" + bytes(459),
        b"\x01" + TAG + b"\x03" + b"\0\x00\x00\x03",  # rotation
        b"\x01" + TAG + b"\x03" + b"\0\x01\x00\x02" + bytes(1000),  # hops
        b"\x01" + TAG + b"\x03" + b"\0\x01\x06\x02" + bytes(1000),
        b"\x01" + TAG + b"\x03" + b"\xff\xff\x04\x02" + bytes(1000),
        b"\x01" + TAG + b"\x00" + b"\xff\xff\xff\xff" + bytes(1200),
        b"\x02",
        b"\x02\x00",
        b"\x02\x02data",
        b"\x02\x01" + REQUESTER.to_bytes() + b"\0\0\0",
        b"\x02\x01" + REQUESTER.to_bytes() + b"\0\0\0\0\0",
        b"\x02\x01" + b"\x02" + bytes(95) + b"\0\0\0\x01",
    ],
)
def test_bad_message(data: bytes) -> None:
    with pytest.raises(MalformedError):
        parse_message(data)


def test_lists_take_surbs_of_one_form() -> None:
    with pytest.raises(LocalProtocolError):
        encode_message(AdditionalSurbs(TAG, SurbList((SEEDS[0], reply_surb(hops=3)))))
    with pytest.raises(LocalProtocolError):
        encode_message(AdditionalSurbs(TAG, SurbList(FULL)))
    with pytest.raises(LocalProtocolError):
        encode_message(AdditionalSurbs(TAG, SurbList(SEEDS, version=1)))


def test_kinds() -> None:
    assert [kind.value for kind in MessageKind] == [0, 1, 2]
