"""The client engine over a mixnet in memory: what its users rely on (spec/sphinx.md 20-24, 29.5)."""

from __future__ import annotations

import statistics
from dataclasses import replace

import pytest

from smolmix_web import crypto
from smolmix_web.errors import LocalProtocolError
from smolmix_web.nym.acks import decode_ack, split_surb_ack
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.cover import is_cover
from smolmix_web.nym.events import MessageAbandoned, MessageDelivered, MessageReceived
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.lanes import GENERAL, RETRANSMISSION, connection_lane
from smolmix_web.nym.message import MessageKind
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketSize
from smolmix_web.nym.payload import decrypt_fragment
from support.mixnet import Mixnet

QUIET = ClientConfig().no_cover()


def pair(net: Mixnet, config: ClientConfig = QUIET) -> tuple[NymClient, NymClient]:
    return net.add_client("alice", config=config), net.add_client("bob", gateway=1, config=config)


def drain(client: NymClient, now: float = 0.0) -> list[MixPacket]:
    packets = []
    while client.queued():
        packets += client.packets_to_send(now, 1000)
    return packets


def sender_tag(net: Mixnet, name: str) -> bytes:
    tags = [event.sender_tag for event in net.events[name] if isinstance(event, MessageReceived)]
    assert tags[-1] is not None
    return tags[-1]


# Messages -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 1602, 1603, 20_000])
def test_plain_message_arrives_once_and_is_acknowledged(length: int) -> None:
    net = Mixnet()
    alice, bob = pair(net)
    data = net.random.randbytes(length)
    alice.send(bob.address, data, net.now, anonymous=False)
    net.run(5.0)
    assert net.events["bob"] == [MessageReceived(data, None, MessageKind.PLAIN)]
    assert alice.unacknowledged() == 0
    assert alice.stats.retransmissions == 0
    assert alice.stats.acks_received == alice.stats.real_sent == 1 + (length + 1) // 1604
    assert 0 < alice.stats.ack_round_trip < 10


def test_anonymous_message_can_be_answered() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, b"question", net.now, reply_surbs=12)
    assert net.run(5.0, lambda: bool(net.events["bob"]))
    (question,) = net.events["bob"]
    assert isinstance(question, MessageReceived)
    assert (question.data, question.kind) == (b"question", MessageKind.REPLIABLE)
    assert question.sender_tag is not None
    bob.reply(question.sender_tag, b"answer", net.now)
    assert net.run(5.0, lambda: bool(net.events["alice"]))
    assert net.events["alice"] == [MessageReceived(b"answer", None, MessageKind.REPLY, bob.address)]


def test_sender_tag_is_fixed_per_recipient_and_differs_between_them() -> None:
    net = Mixnet(gateways=3)
    alice, bob = pair(net)
    carol = net.add_client("carol", gateway=2)
    for data in (b"one", b"two"):
        alice.send(bob.address, data, net.now)
        alice.send(carol.address, data, net.now)
    net.run(5.0)
    tags = {
        name: {event.sender_tag for event in net.events[name] if isinstance(event, MessageReceived)}
        for name in ("bob", "carol")
    }
    assert len(tags["bob"]) == len(tags["carol"]) == 1
    assert tags["bob"] != tags["carol"]


def test_message_to_oneself() -> None:
    net = Mixnet()
    alice, _ = pair(net)
    alice.send(alice.address, b"note", net.now, reply_surbs=11)
    net.run(2.0)
    alice.reply(sender_tag(net, "alice"), b"answer", net.now)
    net.run(2.0)
    assert net.messages("alice") == [b"note", b"answer"]


def test_ipv6_network() -> None:
    net = Mixnet(ipv6=True)
    alice, bob = pair(net)
    alice.send(bob.address, b"question", net.now, reply_surbs=12)
    net.run(5.0)
    bob.reply(sender_tag(net, "bob"), b"answer", net.now)
    net.run(5.0)
    assert net.messages("alice") == [b"answer"]


def test_extended_packets() -> None:
    net = Mixnet()
    alice, bob = pair(net, replace(QUIET, secondary_size=PacketSize.EXTENDED16))
    alice.send(bob.address, bytes(50_000), net.now, anonymous=False)
    alice.send(bob.address, b"short", net.now, anonymous=False)
    packets = drain(alice)
    assert sorted(packet.size.total for packet in packets) == [2413, *[16749] * 4]
    net.run(0.0)
    for packet in packets:
        net._submit(packet)
    net.run(5.0)
    assert sorted(map(len, net.messages("bob"))) == [5, 50_000]


def test_gateway_only_routes() -> None:
    net = Mixnet()
    alice, bob = pair(net, replace(QUIET, disable_mix_hops=True))
    alice.send(bob.address, b"question", net.now, reply_surbs=12)
    (packet, *_) = packets = drain(alice)
    assert packet.first_hop == net.gateways[1].address
    for each in packets:
        net._submit(each)
    net.run(5.0)
    bob.reply(sender_tag(net, "bob"), b"answer", net.now)
    net.run(5.0)
    assert net.messages("alice") == [b"answer"]


def test_misuse() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    with pytest.raises(LocalProtocolError):
        alice.send(bob.address, b"", 0.0, anonymous=False, reply_surbs=1)
    with pytest.raises(LocalProtocolError):
        alice.send(bob.address, b"", 0.0, reply_surbs=-1)
    with pytest.raises(LocalProtocolError):
        bob.reply(bytes(16), b"", 0.0)


# What packets look like ---------------------------------------------------------------------------------


def test_real_packets_are_259_and_cover_is_258() -> None:
    net = Mixnet()
    alice, bob = pair(net, ClientConfig())
    alice.send(bob.address, bytes(5000), net.now, reply_surbs=10)
    real, cover, seen_ids = 0, 0, set()
    for tick in range(200):
        for packet in alice.packets_to_send(tick * 0.02):
            assert packet.size is PacketSize.REGULAR
            hops, final = net.walk(packet.first_hop, packet.packet)
            first_hop, ack, message = split_surb_ack(final.plaintext)
            ack_hops, ack_final = net.walk(first_hop, ack)
            versions = {hop.version for hop in (*hops, final, *ack_hops, ack_final)}
            assert (len(hops), len(ack_hops)) == (3, 3)
            assert final.identifier == ack_final.identifier == bytes(16)
            assert ack_final.destination == alice.address.identity
            assert len(message) == 1643
            if final.destination == bob.address.identity:
                real += 1
                assert versions == {259}
                seen_ids.add(ack_final.plaintext)
            else:
                cover += 1
                assert final.destination == alice.address.identity
                assert versions == {258}
    assert real == len(seen_ids) == 6
    assert cover == alice.stats.cover_sent > 100


def test_cover_is_the_cake_and_comes_home() -> None:
    net = Mixnet()
    keys = ClientKeys.generate(net.random.randbytes)
    client = NymClient(keys, net.gateways[0].identity, random_bytes=net.random.randbytes)
    client.set_topology(net.topology(), 0.0)
    packet = client.packets_to_send(1.0)[0]
    _, final = net.walk(packet.first_hop, packet.packet)
    first_hop, ack, message = split_surb_ack(final.plaintext)
    decrypted = decrypt_fragment(crypto.provider().x25519_key(keys.encryption_secret), message)
    assert is_cover(decrypted)
    assert decrypted == b"The cake is a lie!\x01".ljust(1611, b"\0")
    _, ack_final = net.walk(first_hop, ack)
    assert decode_ack(keys.ack_key, ack_final.plaintext) == bytes(5)
    client.receive_push(message, 1.0)
    client.receive_push(ack_final.plaintext, 1.0)
    assert (client.stats.cover_received, client.stats.acks_cover) == (1, 1)
    assert client.next_event() is None


@pytest.mark.parametrize(
    ("rotation_id", "rotation"),
    [
        (0, KeyRotation.UNKNOWN),
        (1, KeyRotation.ODD),
        (2, KeyRotation.EVEN),
        (0xFFFFFFFF, KeyRotation.UNKNOWN),
    ],
)
def test_packets_carry_the_rotation_of_the_topology(rotation_id: int, rotation: KeyRotation) -> None:
    net = Mixnet(rotation_id=rotation_id)
    alice, bob = pair(net, ClientConfig())
    alice.send(bob.address, bytes(3000), 0.0, reply_surbs=1)
    packets = [packet for tick in range(50) for packet in alice.packets_to_send(tick * 0.02)]
    assert {packet.rotation for packet in packets} == {rotation}


def test_delays_have_the_configured_means() -> None:
    net = Mixnet()
    alice, bob = pair(net, replace(QUIET, average_packet_delay=0.015, average_ack_delay=0.030))
    alice.send(bob.address, bytes(200_000), 0.0, anonymous=False)
    packet_delays, ack_delays = [], []
    for packet in drain(alice):
        hops, final = net.walk(packet.first_hop, packet.packet)
        packet_delays += [hop.delay_ns for hop in hops]
        first_hop, ack, _ = split_surb_ack(final.plaintext)
        ack_delays += [hop.delay_ns for hop in net.walk(first_hop, ack)[0]]
    assert len(packet_delays) == 3 * 125
    # The mean of 375 exponential samples lies within 20 % of the parameter (four deviations).
    assert statistics.fmean(packet_delays) == pytest.approx(15e6, rel=0.2)
    assert statistics.fmean(ack_delays) == pytest.approx(30e6, rel=0.2)


def test_no_delays_when_the_average_is_zero() -> None:
    net = Mixnet()
    alice, bob = pair(net, replace(QUIET, average_packet_delay=0.0))
    alice.send(bob.address, b"x", 0.0, anonymous=False)
    (packet,) = drain(alice)
    hops, _ = net.walk(packet.first_hop, packet.packet)
    assert [hop.delay_ns for hop in hops] == [0, 0, 0]


# Retransmission -----------------------------------------------------------------------------------------


def test_without_acks_a_fragment_comes_again_fresh_outside_and_equal_inside() -> None:
    """29.5: 1.5 to 1.7 s later, with fresh route, ack and ephemeral key but identical fragment bytes."""
    net = Mixnet()
    alice = net.add_client("alice")
    keys = ClientKeys.generate(net.random.randbytes)
    recipient = keys.recipient(net.gateways[1].identity)
    alice.send(recipient, b"hello", 0.0, anonymous=False)
    secret = crypto.provider().x25519_key(keys.encryption_secret)
    (first,) = alice.packets_to_send(0.0)
    poll_at = alice.poll_at()
    assert poll_at is not None
    assert 1.5 < poll_at < 2.0
    alice.handle_timer(poll_at - 0.001)
    assert alice.packets_to_send(poll_at - 0.001) == []
    alice.handle_timer(poll_at)
    assert alice.queued_by_lane() == {RETRANSMISSION: 1}
    (second,) = alice.packets_to_send(poll_at)
    plaintexts = [net.walk(packet.first_hop, packet.packet)[1].plaintext for packet in (first, second)]
    acks, messages = zip(*(split_surb_ack(plaintext)[1:] for plaintext in plaintexts), strict=True)
    assert first.packet[:32] != second.packet[:32]
    assert acks[0] != acks[1]
    assert messages[0][:32] != messages[1][:32]
    assert decrypt_fragment(secret, messages[0]) == decrypt_fragment(secret, messages[1])
    assert alice.stats.retransmissions == 1


def test_lost_packets_are_repaired() -> None:
    net = Mixnet(loss=0.05, seed=5)
    alice, bob = pair(net)
    data = net.random.randbytes(60_000)
    alice.send(bob.address, data, net.now, anonymous=False)
    assert net.run(60.0, lambda: bool(net.events["bob"]) and not alice.unacknowledged())
    assert net.messages("bob") == [data]
    assert alice.stats.retransmissions > 0


def test_slow_network_is_not_flooded_with_copies() -> None:
    """Acks take 2.4 s; the published client would send every packet twice for ever."""
    net = Mixnet(link_delay=(0.3, 0.3))
    alice, bob = pair(net)
    for number in range(40):
        alice.send(bob.address, bytes([number]) * 100, net.now, anonymous=False)
        net.run(1.0)
    net.run(20.0)
    assert len(net.messages("bob")) == 40
    assert alice.stats.retransmissions < 12


def test_limit_of_retransmissions() -> None:
    net = Mixnet(loss=1.0)
    alice, bob = pair(net, replace(QUIET, delivery_events=True))
    first = alice.send(bob.address, b"once", net.now, anonymous=False, max_retransmissions=0)
    second = alice.send(bob.address, bytes(3000), net.now, anonymous=False, max_retransmissions=2)
    net.run(20.0)
    assert alice.stats.real_sent == 1 + 2 * 3
    assert net.events["alice"] == [MessageAbandoned(first), MessageAbandoned(second)]
    assert alice.unacknowledged() == alice.queued() == 0


def test_global_limit_of_retransmissions() -> None:
    net = Mixnet(loss=1.0)
    alice, bob = pair(net, replace(QUIET, max_retransmissions=3))
    alice.send(bob.address, b"x", net.now, anonymous=False)
    net.run(60.0)
    assert alice.stats.real_sent == 4
    assert alice.stats.abandoned == 1


def test_without_a_limit_it_is_sent_for_ever() -> None:
    net = Mixnet(loss=1.0)
    alice, bob = pair(net)
    alice.send(bob.address, b"x", net.now, anonymous=False)
    net.run(100.0)
    assert alice.stats.real_sent > 50
    assert alice.unacknowledged() == 1


def test_ack_takes_a_queued_retransmission_back() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, b"x", 0.0, anonymous=False)
    (packet,) = alice.packets_to_send(0.0)
    _, final = net.walk(packet.first_hop, packet.packet)
    first_hop, ack, _ = split_surb_ack(final.plaintext)
    _, ack_final = net.walk(first_hop, ack)
    alice.handle_timer(10.0)
    assert alice.queued() == 1
    alice.receive_push(ack_final.plaintext, 10.0)
    assert alice.queued() == 0
    assert alice.packets_to_send(10.0) == []
    alice.receive_push(ack_final.plaintext, 10.0)
    assert alice.stats.acks_unmatched == 1


def test_delivery_events() -> None:
    net = Mixnet()
    alice, bob = pair(net, replace(QUIET, delivery_events=True))
    number = alice.send(bob.address, bytes(10_000), net.now)
    net.run(5.0)
    assert net.events["alice"] == [MessageDelivered(number)]


def test_unacknowledged_fragments_are_bounded() -> None:
    net = Mixnet(loss=1.0)
    alice, bob = pair(net, replace(QUIET, max_unacknowledged=50))
    alice.send(bob.address, bytes(160_000), 0.0, anonymous=False)
    drain(alice)
    assert alice.unacknowledged() == 50
    assert alice.stats.abandoned == 50


def test_a_recipient_can_be_given_up() -> None:
    net = Mixnet(loss=1.0)
    alice, bob = pair(net)
    alice.send(bob.address, bytes(10_000), net.now, reply_surbs=5)
    alice.packets_to_send(net.now, 3)
    alice.send(alice.address, b"kept", net.now, anonymous=False)
    assert alice.abandon(bob.address) == 8
    assert (alice.queued(), alice.unacknowledged()) == (1, 0)
    net.run(10.0)
    assert alice.stats.real_sent > 3, "the message to another recipient goes on"


# Duplicates ---------------------------------------------------------------------------------------------


def test_every_push_twice_is_one_message() -> None:
    net = Mixnet(duplication=1.0)
    alice, bob = pair(net)
    alice.send(bob.address, bytes(5000), net.now, reply_surbs=20)
    net.run(5.0)
    bob.reply(sender_tag(net, "bob"), b"answer" * 1000, net.now)
    net.run(5.0)
    assert net.messages("bob") == [bytes(5000)]
    assert net.messages("alice") == [b"answer" * 1000]
    assert net.stats.replays_dropped > 0
    assert alice.stats.duplicates > 0
    assert bob.stats.reassembly.late + bob.stats.reassembly.duplicates > 0


# Pace ---------------------------------------------------------------------------------------------------


def test_unpaced_everything_due_leaves_at_once_up_to_the_limit() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, bytes(1604 * 50 - 2), 0.0, anonymous=False)
    assert alice.queued() == 50
    assert alice.queued_by_lane() == {GENERAL: 50}
    assert len(alice.packets_to_send(0.0, 30)) == 30
    assert alice.queued() == 20
    assert alice.poll_at() == 0.0, "more is due"
    assert len(alice.packets_to_send(0.0, 30)) == 20
    assert alice.packets_to_send(0.0, 30) == []


def test_main_stream_has_the_same_pace_with_and_without_data() -> None:
    net = Mixnet()
    idle = net.add_client("idle", config=ClientConfig(disable_cover=True))
    busy = net.add_client("busy", config=ClientConfig(disable_cover=True))
    busy.send(idle.address, bytes(1604 * 100), 0.0, anonymous=False)
    counts = {}
    for client in (idle, busy):
        counts[client] = sum(len(client.packets_to_send(tick * 0.005)) for tick in range(1000))
    # 5 s at 20 ms: 250 each; five deviations of a Poisson count are 79.
    assert all(171 < count < 329 for count in counts.values())
    assert idle.stats.real_sent == 0
    assert busy.stats.real_sent == 101
    assert busy.stats.cover_sent == counts[busy] - 101, "cover fills the ticks after the data"


def test_cover_stream_runs_beside_an_unpaced_main_stream() -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=ClientConfig(disable_poisson=True))
    count = sum(len(alice.packets_to_send(tick * 0.02)) for tick in range(3000))
    # 60 s at 200 ms: 300; five deviations are 87.
    assert 213 < count < 387
    assert alice.stats.cover_sent == count


def test_cover_stream_skips_ticks_when_the_connection_is_full() -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=ClientConfig(disable_poisson=True))
    for tick in range(500):
        assert alice.packets_to_send(tick * 0.02, 0) == []
    assert alice.stats.cover_skipped > 20
    assert len(alice.packets_to_send(10.0)) <= 1


def test_full_connection_slows_the_main_stream_down() -> None:
    net = Mixnet()
    config = ClientConfig(disable_cover=True)
    alice, bob = net.add_client("alice", config=config), net.add_client("bob", config=config)
    for tick in range(600):
        alice.packets_to_send(tick * 0.01, backlog=32)
        bob.packets_to_send(tick * 0.01, backlog=0)
    assert alice.stats.cover_sent < bob.stats.cover_sent / 2


def test_blocked_connection_slows_it_down_too() -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=ClientConfig(disable_cover=True))
    for tick in range(500):
        alice.packets_to_send(tick * 0.01, 0)
    alice.packets_to_send(5.0, 1000)
    before = alice.stats.cover_sent
    for tick in range(100):
        alice.packets_to_send(5.0 + tick * 0.01, 1000)
    assert alice.stats.cover_sent - before < 30, "far below the 50 of a free connection"


def test_conversation_inside_the_default_traffic() -> None:
    net = Mixnet()
    alice, bob = pair(net, ClientConfig())
    alice.send(bob.address, b"question" * 500, net.now, reply_surbs=15)
    assert net.run(10.0, lambda: bool(net.events["bob"]))
    bob.reply(sender_tag(net, "bob"), b"answer" * 500, net.now)
    assert net.run(10.0, lambda: bool(net.events["alice"]))
    net.run(1.0)
    for client in (alice, bob):
        stats = client.stats
        assert stats.cover_sent > 20
        assert stats.cover_received > stats.cover_sent * 0.7, "loops come home"
        assert stats.acks_cover > stats.cover_sent * 0.7
        assert stats.malformed.fragment == stats.retransmissions == 0


def test_secondary_cover_size_share() -> None:
    net = Mixnet()
    config = ClientConfig(secondary_size=PacketSize.EXTENDED8, cover_primary_ratio=0.7)
    alice = net.add_client("alice", config=config)
    sizes = [packet.size for tick in range(400) for packet in alice.packets_to_send(tick * 0.02)]
    share = sizes.count(PacketSize.REGULAR) / len(sizes)
    assert share == pytest.approx(0.7, abs=0.12)
    assert set(sizes) == {PacketSize.REGULAR, PacketSize.EXTENDED8}


def test_a_request_does_not_wait_behind_an_upload() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, bytes(1604 * 200 - 2), 0.0, anonymous=False, lane=connection_lane(1))
    alice.packets_to_send(0.0, 1)
    alice.send(bob.address, b"request", 0.0, anonymous=False, lane=connection_lane(2))
    assert connection_lane(2) in alice.queued_by_lane()
    alice.packets_to_send(0.0, 2)
    assert connection_lane(2) not in alice.queued_by_lane()


# Topology -----------------------------------------------------------------------------------------------


def test_nothing_leaves_without_a_topology_and_nothing_is_lost() -> None:
    net = Mixnet()
    bob = net.add_client("bob", gateway=1)
    alice = net.add_client("alice", ready=False, config=replace(QUIET, disable_cover=False))
    alice.send(bob.address, b"plain", 0.0, anonymous=False)
    alice.send(bob.address, b"with surbs", 0.0, reply_surbs=5)
    assert not alice.is_ready
    assert alice.queued() >= 2
    assert alice.packets_to_send(5.0) == []
    alice.set_topology(net.topology(), 5.0)
    net.run(5.0)
    assert sorted(net.messages("bob")) == [b"plain", b"with surbs"]
    alice.set_topology(None, net.now)
    alice.send(bob.address, b"later", net.now, reply_surbs=5)
    assert alice.packets_to_send(net.now + 10) == []
    alice.set_topology(net.topology(), net.now)
    net.run(5.0)
    assert net.messages("bob")[-1] == b"later"


def test_own_gateway_missing_from_the_topology() -> None:
    net = Mixnet()
    net.gateways[0].is_up = False
    alice = net.add_client("alice")
    assert not alice.is_ready


def test_recipient_whose_gateway_comes_back() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    net.gateways[1].is_up = False
    alice.set_topology(net.topology(), net.now)
    alice.send(bob.address, b"patience", net.now, anonymous=False)
    net.run(10.0)
    assert alice.stats.real_sent == 0
    assert alice.stats.unroutable > 1
    net.gateways[1].is_up = True
    alice.set_topology(net.topology(), net.now)
    net.run(10.0)
    assert net.messages("bob") == [b"patience"]


def test_dead_mix_node_is_survived_and_avoided_after_the_refresh() -> None:
    net = Mixnet(per_layer=3)
    alice, bob = pair(net)
    next(iter(net.nodes.values())).is_up = False
    data = net.random.randbytes(40_000)
    alice.send(bob.address, data, net.now, anonymous=False)
    assert net.run(60.0, lambda: net.messages("bob") == [data])
    net.run(10.0)
    for client in (alice, bob):
        client.set_topology(net.topology(), net.now)
    before = net.stats.node_down
    alice.send(bob.address, data, net.now, anonymous=False)
    net.run(10.0)
    assert net.messages("bob") == [data, data]
    assert net.stats.node_down == before


def test_stored_messages_after_an_absence() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    net.disconnect("bob")
    alice.send(bob.address, bytes(10_000), net.now, reply_surbs=11)
    net.run(30.0)
    assert net.messages("bob") == []
    assert alice.unacknowledged() == 0, "the gateway acknowledges what it stores"
    net.reconnect("bob")
    net.run(1.0)
    assert net.messages("bob") == [bytes(10_000)]
    bob.reply(sender_tag(net, "bob"), b"back again", net.now)
    net.run(5.0)
    assert net.messages("alice") == [b"back again"]


# Preparing ahead ----------------------------------------------------------------------------------------


def test_prepared_headers_are_used_once_and_thrown_away_with_the_topology() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    assert alice.prepare_ahead(0.0, 1000) == 0, "nobody knows yet what will be needed"
    alice.send(bob.address, b"x", 0.0, reply_surbs=2)
    drain(alice)
    made = alice.prepare_ahead(0.0, 7)
    assert made == 7
    while alice.prepare_ahead(0.0, 50):
        made += 50
    prepared = alice._preparer.prepared
    config = alice.config
    assert prepared == 3 * config.prepared_headers + config.prepared_surbs
    alice.send(bob.address, bytes(1604 * 60), 0.0, reply_surbs=60)
    packets = drain(alice)
    assert len({packet.packet[:32] for packet in packets}) == len(packets)
    for packet in packets:
        net._submit(packet)
    net.run(5.0)
    assert sorted(map(len, net.messages("bob"))) == [1, 1604 * 60]

    while alice.prepare_ahead(net.now, 50):
        pass
    net.rotate_keys()
    alice.set_topology(net.topology(), net.now)
    assert alice._preparer.prepared == 0
    assert alice.prepare_ahead(net.now, 5) == 5, "the demand is remembered"
    assert alice.prepare_ahead(net.now + 3600, 5) == 0, "and forgotten when it is old"


def test_unchanged_topology_keeps_what_is_prepared() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, b"x", 0.0)
    drain(alice)
    alice.prepare_ahead(0.0, 10)
    alice.set_topology(replace(net.topology(), epoch_id=7), 1.0)
    assert alice._preparer.prepared == 10


def test_recipient_without_a_route_does_not_stop_the_preparing_for_others() -> None:
    net = Mixnet(gateways=3)
    alice, bob = pair(net)
    carol = net.add_client("carol", gateway=2)
    for recipient in (bob.address, carol.address):
        alice.send(recipient, b"x", 0.0, anonymous=False)
    drain(alice)
    net.gateways[1].is_up = False
    alice.set_topology(net.topology(), 0.0)
    while made := alice.prepare_ahead(0.0, 10):
        assert made > 0
    # Acks, packets to carol, and the keys of both.
    assert alice._preparer.prepared == 4 * alice.config.prepared_headers


def test_nothing_is_left_over_after_a_conversation() -> None:
    """For clients that run for days: every table is empty, or bounded by what is held for good reason."""
    net = Mixnet(seed=8, loss=0.03, duplication=0.1)
    config = replace(QUIET, reply_max_retransmissions=None)
    alice, bob = pair(net, config)
    for number in range(60):
        alice.send(bob.address, bytes(100 * number), net.now, reply_surbs=3)
        net.run(0.5)
        if net.events["bob"]:
            bob.reply(sender_tag(net, "bob"), bytes(50 * number + 1), net.now)
    net.run(120.0)
    for client in (alice, bob):
        assert client.queued() == client.unacknowledged() == 0
        assert client._outbox.pending._timers == []
        assert client.stats.reassembly.buffered == client.stats.reassembly.sets == 0
        assert not client._issuer.has_orders
        assert all(not state.items for state in client._outbox.queue._lanes.values())
    stats = bob.stats
    assert stats.surbs_stock == stats.surbs_received - stats.surbs_used - stats.surbs_discarded
    assert alice._issuer.outstanding == alice.stats.surbs_issued - alice.stats.surbs_answered
    assert len(net.messages("bob")) == 60


def test_repr_is_a_summary_without_secrets() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    alice.send(bob.address, b"secret", 0.0, anonymous=False)
    assert repr(alice) == "<NymClient ready, 1 queued, 0 unacknowledged>"
