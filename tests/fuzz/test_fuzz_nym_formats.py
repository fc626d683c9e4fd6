"""Invariant: a parser raises MalformedError, or gives a value that serialises and parses to an equal one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58
from smolmix_web.nym.acks import decode_ack, split_surb_ack
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.fragments import Fragment
from smolmix_web.nym.framing import FrameDecoder, encode_frame
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.message import encode_message, parse_message, unpad
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.replies import ReplySurb

noise = st.binary(max_size=600)

# Random bytes behind a head that gets a parser going.
fragments = st.one_of(
    noise,
    st.builds(
        lambda set_id, total, position, rest: (
            (set_id | 1 << 31).to_bytes(4, "big") + bytes((total, position)) + rest
        ),
        st.integers(0, 2**31 - 1),
        st.integers(0, 255),
        st.integers(0, 255),
        noise,
    ),
)
messages = st.one_of(
    noise,
    st.builds(lambda kind, rest: bytes((kind,)) + rest, st.integers(0, 3), noise),
    st.builds(
        lambda tag, count, hops, rotation, rest: (
            b"\x01" + bytes(16) + bytes((tag,)) + count.to_bytes(2, "big") + bytes((hops, rotation)) + rest
        ),
        st.integers(0, 6),
        st.integers(0, 5),
        st.integers(0, 6),
        st.integers(0, 3),
        st.builds(lambda unit, n, rest: unit * n + rest, st.binary(max_size=40), st.integers(0, 60), noise),
    ),
    st.builds(lambda rest: b"\x02\x01" + rest, st.binary(min_size=90, max_size=110)),
)
packets = st.builds(
    lambda head, length: head + bytes(length),
    st.binary(max_size=24),
    st.sampled_from([0, 377, 386, 2377, 2413, 8557]),
)

CASES: dict[str, tuple[st.SearchStrategy[bytes], Callable[[bytes], Any], Callable[[Any], bytes] | None]] = {
    "node address": (noise, NodeAddress.unpack, lambda value: value.pack()),
    "recipient": (st.binary(min_size=94, max_size=98), Recipient.from_bytes, lambda value: value.to_bytes()),
    "mix packet v1": (packets, MixPacket.from_bytes_v1, lambda value: value.to_bytes_v1()),
    "mix packet v2": (packets, MixPacket.from_bytes_v2, lambda value: value.to_bytes_v2()),
    "fragment": (fragments, Fragment.from_bytes, lambda value: value.to_bytes()),
    "message": (messages, parse_message, encode_message),
    "reply surb": (
        st.builds(lambda head, n: head + bytes([4]) * n, noise, st.integers(0, 1500)),
        ReplySurb.from_bytes,
        lambda value: value.to_bytes(),
    ),
    "client keys": (
        st.binary(min_size=78, max_size=82),
        ClientKeys.from_bytes,
        lambda value: value.to_bytes(),
    ),
    "padded message": (noise, unpad, None),
    "final plaintext": (st.binary(max_size=500), split_surb_ack, None),
    "ack": (st.binary(max_size=40), lambda data: decode_ack(bytes(16), data), None),
}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_parser(name: str, data: st.DataObject) -> None:
    strategy, parse, serialise = CASES[name]
    sample = data.draw(strategy)
    try:
        value = parse(sample)
    except MalformedError:
        return
    if serialise is not None:
        assert parse(serialise(value)) == value


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_texts(text: str) -> None:
    with contextlib.suppress(MalformedError):
        assert base58.encode(base58.decode(text)) == text
    with contextlib.suppress(MalformedError):
        assert str(Recipient.parse(text)) == text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(noise, packets, st.builds(lambda p: b"\x08\x02\x00\x01" + p, packets)), max_size=8))
def test_frame_stream_fed_whole_and_in_pieces(chunks: list[bytes]) -> None:
    """The same frames come out either way, and the decoder never holds more than one frame and a chunk."""
    whole, pieces = FrameDecoder(), FrameDecoder()
    stream = b"".join(chunks)
    expected = []
    with contextlib.suppress(MalformedError):
        expected = whole.receive_data(stream)
    received = []
    for start in range(0, len(stream), 97):
        try:
            received += pieces.receive_data(stream[start : start + 97])
        except MalformedError:
            break
        assert len(pieces._buffer) <= 33137
    assert received == expected
    for frame in expected:
        assert FrameDecoder().receive_data(encode_frame(frame)) == [frame]
