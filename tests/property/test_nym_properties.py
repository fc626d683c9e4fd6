"""What holds for every message and every network."""

from __future__ import annotations

import itertools
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmix_web.nym import base58
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.edwards import is_point
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.fragments import Fragment, count_fragments, fragment_length, split
from smolmix_web.nym.framing import FrameDecoder, NodeFrame, encode_frame
from smolmix_web.nym.message import pad, unpad
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType, PacketVersion
from smolmix_web.nym.reassembly import Reassembler
from support.mixnet import Mixnet

TRAFFIC_SIZES = (PacketSize.REGULAR, PacketSize.EXTENDED8, PacketSize.EXTENDED16, PacketSize.EXTENDED32)
QUIET = ClientConfig().no_cover()

# Around the borders of fragments and of sets, and anything.
lengths = st.one_of(
    st.integers(1, 20_000),
    st.builds(lambda n, d: max(1, 1604 * n + d), st.integers(1, 6), st.integers(-5, 5)),
    st.builds(lambda n, d: max(1, 409_014 * n + d), st.integers(1, 2), st.integers(-25, 25)),
)


@settings(max_examples=30, deadline=None)
@given(lengths, st.sampled_from(TRAFFIC_SIZES), st.randoms(use_true_random=False))
def test_split_and_join_in_any_order_with_copies(length: int, size: PacketSize, random) -> None:  # type: ignore[no-untyped-def]
    data = random.randbytes(length)
    padded, chosen = pad(data, size)
    assert chosen is size
    fragments = list(split(padded, size, itertools.count(random.randrange(1, 2**30))))
    assert len(fragments) == count_fragments(length + 1, fragment_length(size))[0]
    wire = [fragment.to_bytes() for fragment in fragments]
    assert {len(data) for data in wire} == {fragment_length(size)}
    wire += random.sample(wire, len(wire) // 3)
    random.shuffle(wire)
    reassembler = Reassembler()
    results = [reassembler.insert(Fragment.from_bytes(data), 0.0) for data in wire]
    complete = [result for result in results if result is not None]
    assert complete == [padded]
    assert unpad(complete[0]) == data
    assert reassembler.stats.buffered == 0


@given(st.binary(max_size=200))
def test_base58(data: bytes) -> None:
    assert base58.decode(base58.encode(data)) == data


@given(st.binary(min_size=96, max_size=96))
def test_recipient(data: bytes) -> None:
    if is_point(data[:32]) and is_point(data[64:]):
        recipient = Recipient.from_bytes(data)
        assert Recipient.parse(str(recipient)).to_bytes() == data


addresses = st.builds(NodeAddress, st.ip_addresses().map(str), st.integers(0, 65535))


@given(addresses, st.sampled_from(KeyRotation), st.sampled_from(PacketSize))
def test_mix_packet(address: NodeAddress, rotation: KeyRotation, size: PacketSize) -> None:
    packet = MixPacket(address, bytes(size.total), PacketType.MIX, rotation)
    assert MixPacket.from_bytes_v2(packet.to_bytes_v2()) == packet


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_frames_in_any_chunks(data: st.DataObject) -> None:
    frames = [
        NodeFrame(bytes([i % 256]) * size.total, PacketType.MIX, rotation, version)
        for i, (size, rotation, version) in enumerate(
            data.draw(
                st.lists(
                    st.tuples(
                        st.sampled_from(PacketSize),
                        st.sampled_from(KeyRotation),
                        st.sampled_from(PacketVersion),
                    ),
                    max_size=6,
                )
            )
        )
    ]
    expected = [
        frame if frame.version == 8 else replace(frame, rotation=KeyRotation.UNKNOWN) for frame in frames
    ]
    stream = b"".join(map(encode_frame, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = FrameDecoder()
    received: list[NodeFrame] = []
    for start, end in itertools.pairwise([0, *cuts, len(stream)]):
        received += decoder.receive_data(stream[start:end])
    assert received == expected


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32),
    loss=st.sampled_from([0.0, 0.02, 0.08]),
    duplication=st.sampled_from([0.0, 0.2]),
    spread=st.sampled_from([0.0, 0.3]),
    questions=st.lists(st.integers(0, 6000), min_size=1, max_size=5),
    answer=st.integers(1, 20_000),
)
def test_conversation_over_a_bad_network(
    seed: int, loss: float, duplication: float, spread: float, questions: list[int], answer: int
) -> None:
    """Messages arrive exactly once, answers arrive, and the SURB stock recovers."""
    net = Mixnet(seed=seed, loss=loss, duplication=duplication, link_delay=(0.001, 0.001 + spread))
    alice = net.add_client("alice")
    config = replace(QUIET, threshold_buffer=20, reply_max_retransmissions=None)
    bob = net.add_client("bob", gateway=1, config=config)
    sent = [bytes([number + 1]) * length for number, length in enumerate(questions)]
    for message in sent:
        alice.send(bob.address, message, net.now, reply_surbs=12)
    assert net.run(600.0, lambda: len(net.events["bob"]) == len(sent))
    event = net.events["bob"][0]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    data = net.random.randbytes(answer)
    bob.reply(event.sender_tag, data, net.now)
    assert net.run(600.0, lambda: bool(net.events["alice"]))
    net.run(60.0)
    assert sorted(net.messages("bob")) == sorted(sent)
    assert net.messages("alice") == [data]
    assert alice.unacknowledged() == bob.unacknowledged() == 0
    assert bob.waiting_for_surbs(event.sender_tag) == 0
    assert bob.surbs_held(event.sender_tag) >= 10
    assert bob.stats.surbs_stock == bob.surbs_held(event.sender_tag)
