"""Invariant: whatever a peer sends, nothing but CryptoError or MalformedError is raised."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web import crypto
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, Surb, build_packet, process_packet
from smolmix_web.sphinx.header import header_mac
from smolmix_web.sphinx.keys import ExpandedSecret

SECRET = b"\x07" * 32
ROUTE = [Hop(bytes(32), crypto.provider().x25519_public(SECRET))] * 3
PACKET = build_packet(ROUTE, [1, 2, 3], b"\xdd" * 32, b"message", 38)
PEER_FAULTS = (CryptoError, MalformedError)


def process(packet: bytes) -> None:
    with contextlib.suppress(*PEER_FAULTS):
        result = process_packet(SECRET, packet)
        assert isinstance(result, ForwardHop | FinalHop)
        if isinstance(result, ForwardHop):
            assert len(result.packet) == len(packet)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=500))
def test_random_bytes(packet: bytes) -> None:
    process(packet)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(PACKET)), st.binary(max_size=64), st.integers(0, 64))
def test_a_real_packet_with_a_piece_exchanged(start: int, piece: bytes, removed: int) -> None:
    process(PACKET[:start] + piece + PACKET[start + removed :])


@settings(max_examples=300, deadline=None)
@given(
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=300, max_size=300),
    st.binary(min_size=33, max_size=80),
)
def test_any_routing_information_under_a_good_mac(alpha: bytes, plain: bytes, payload: bytes) -> None:
    """A malicious sender can make every field of every hop."""
    provider = crypto.provider()
    with contextlib.suppress(CryptoError):
        keys = ExpandedSecret(provider.x25519(SECRET, alpha))
        for head in (
            plain[:1],
            b"\x01",
            b"\x02",
            b"\x01\x00\x01\x01",
            b"\x01\x00\x00\x01",
            b"\x02\x00\x01\x02",
        ):
            block = head + plain[len(head) :]
            beta = provider.aes_ctr(keys.stream_key, bytes(16), block)
            process(alpha + header_mac(keys, beta) + beta + payload)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(st.binary(max_size=500), st.sampled_from((16, 80, 96, 192, 960)).map(lambda n: bytes(380 + n)))
)
def test_reply_blocks(data: bytes) -> None:
    with contextlib.suppress(MalformedError):
        surb = Surb.from_bytes(data)
        assert surb.to_bytes() == data
        assert len(surb.apply(b"reply", 38)) == 386
