"""Invariant: whatever bytes arrive at a node, in whatever pieces, every frame is forwarded, delivered or
counted as dropped, and nothing raises."""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.localnet.node_stats import IngressStats
from smolmix_web.localnet.processing import PacketProcessor
from smolmix_web.localnet.sphinx_keys import SphinxKeyring
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import FrameDecoder, NodeFrame, encode_frame
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion
from smolmix_web.sphinx.packet import Hop, build_packet

QUICK = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])

KEYRING = SphinxKeyring(1)
KEYRING.prepare_next()
HERE = Hop(NodeAddress("127.0.0.1", 1).pack_padded(32), KEYRING.primary.public)
PACKET = build_packet([HERE, HERE], [0, 0], bytes(32), b"x", PacketSize.ACK.payload)

HEADERS = st.tuples(
    st.sampled_from([7, 8, 7, 8, 0, 9, 255]), st.integers(0, 9), st.integers(0, 3), st.integers(0, 4)
)
FRAMES = st.builds(
    lambda header, fill: (
        bytes(header if header[0] == 8 else header[:3])
        + bytes([fill]) * (PacketSize(header[1]).total if header[1] in (1, 2, 6, 7) else 100)
    ),
    HEADERS,
    st.integers(0, 255),
)


@QUICK
@given(st.lists(FRAMES | st.binary(max_size=50), max_size=5), st.lists(st.integers(1, 3000), max_size=8))
def test_decoder_in_pieces_gives_what_it_gives_at_once(chunks, cuts):
    stream = b"".join(chunks)
    whole, pieces = FrameDecoder(), FrameDecoder()
    at_once: list[NodeFrame] = []
    with contextlib.suppress(MalformedError):
        at_once = whole.receive_data(stream)
    in_pieces: list[NodeFrame] = []
    position = 0
    with contextlib.suppress(MalformedError):
        for cut in [*cuts, len(stream)]:
            in_pieces += pieces.receive_data(stream[position : position + cut])
            position += cut
    assert in_pieces == at_once
    assert (pieces.error is None) == (whole.error is None)


@QUICK
@given(
    st.lists(st.tuples(st.integers(0, len(PACKET) - 1), st.integers(0, 255)), max_size=4),
    st.sampled_from(list(PacketType)),
    st.sampled_from(list(KeyRotation)),
)
def test_processing_of_changed_packets(changes, packet_type, rotation):
    packet = bytearray(PACKET)
    for position, value in changes:
        packet[position] = value
    stats = IngressStats()
    keyring = SphinxKeyring(1, KEYRING.primary.secret)
    hop = PacketProcessor(keyring, stats).process(NodeFrame(bytes(packet), packet_type, rotation))
    counted = stats.malformed_packets_received + stats.replayed_packets_received
    assert (hop is None) == (counted == 1)


@QUICK
@given(
    st.sampled_from(list(PacketSize)),
    st.sampled_from(list(PacketVersion)),
    st.sampled_from(list(KeyRotation)),
)
def test_frames_come_back(size, version, rotation):
    frame = NodeFrame(bytes(size.total), PacketType.MIX, rotation, version)
    if version is PacketVersion.LEGACY:
        frame = NodeFrame(bytes(size.total), PacketType.MIX, KeyRotation.UNKNOWN, version)
    assert FrameDecoder().receive_data(encode_frame(frame)) == [frame]
