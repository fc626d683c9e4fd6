"""Reply SURBs are given, spent, requested and replaced as the published client does (spec/sphinx.md 25)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.fragments import split
from smolmix_web.nym.lanes import ADDITIONAL_SURBS, GENERAL, SURB_REQUEST
from smolmix_web.nym.message import encode_message, pad
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.payload import agree_fragment_key
from smolmix_web.nym.replies import ReplyData, SurbRequest
from support.mixnet import Mixnet

QUIET = ClientConfig().no_cover()
EXIT = replace(QUIET, threshold_buffer=50)
TAG = bytes(16)


def connect(
    net: Mixnet, surbs: int, *, config: ClientConfig = QUIET, alice: ClientConfig = QUIET
) -> tuple[NymClient, NymClient, bytes]:
    """Alice has written to Bob with so many SURBs; Bob has done nothing yet. With the tag for answers."""
    sender = net.add_client("alice", config=alice)
    receiver = net.add_client("bob", gateway=1, config=config)
    sender.send(receiver.address, b"open", net.now, reply_surbs=surbs)
    assert net.run(5.0, lambda: bool(net.events["bob"]))
    (event,) = net.events["bob"]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    return sender, receiver, event.sender_tag


# Spending -----------------------------------------------------------------------------------------------


def test_one_surb_per_fragment_and_ten_stay_in_reserve() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 14)
    bob.reply(tag, bytes(1604 * 6 - 3), net.now)
    # Four above the reserve are spent at once; two fragments wait, and one SURB carries the request.
    assert bob.queued_by_lane() == {GENERAL: 4, SURB_REQUEST: 1}
    assert bob.waiting_for_surbs(tag) == 2
    assert bob.surbs_held(tag) == 9
    assert bob.stats.surbs_requested == 10
    assert net.run(5.0, lambda: bool(net.events["alice"]))
    assert net.messages("alice") == [bytes(1604 * 6 - 3)]
    assert bob.waiting_for_surbs(tag) == 0


def test_a_message_with_few_surbs_is_answered_after_more_have_come() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 2)
    bob.reply(tag, b"answer", net.now)
    assert bob.waiting_for_surbs(tag) == 1
    assert net.run(5.0, lambda: bool(net.events["alice"]))
    assert net.messages("alice") == [b"answer"]
    assert alice.stats.surbs_issued == 12


def test_without_any_surb_an_answer_waits_and_cannot_even_ask() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 1)
    bob.reply(tag, b"first", net.now)  # spends the only SURB on a request
    assert bob.surbs_held(tag) == 0
    net.run(5.0)
    assert net.messages("alice") == [b"first"]
    assert bob.stats.replies_dropped == 0
    del alice


def test_answer_to_an_unknown_tag_is_dropped_and_counted() -> None:
    net = Mixnet()
    bob = net.add_client("bob")
    bob.reply(TAG, bytes(3000), net.now)
    assert bob.queued() == 0
    assert bob.stats.replies_dropped == 2


def test_large_answer_through_many_requests() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 12, config=EXIT)
    data = net.random.randbytes(300_000)
    bob.reply(tag, data, net.now)
    assert net.run(60.0, lambda: bool(net.events["alice"]))
    assert net.messages("alice") == [data]
    assert bob.stats.surbs_used >= 188
    assert alice.stats.surbs_issued >= bob.stats.surbs_used
    net.run(5.0)
    assert bob.surbs_held(tag) >= 50, "the buffer is filled up again"
    assert bob.surbs_held(tag) == bob.stats.surbs_stock


def test_waiting_fragments_are_bounded() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 10, config=replace(QUIET, max_waiting_fragments=20))
    bob.reply(tag, bytes(15 * 1604), net.now)
    bob.reply(tag, bytes(15 * 1604), net.now)
    assert bob.waiting_for_surbs(tag) <= 20
    assert bob.stats.replies_dropped == 16


# Asking -------------------------------------------------------------------------------------------------


def test_exit_asks_for_fifty_as_soon_as_it_is_opened() -> None:
    """ipr.md 9: after the Open frame with its 10 SURBs; the connect with 2 more is then answered at once."""
    net = Mixnet()
    alice, bob, tag = connect(net, 10, config=EXIT)
    assert bob.stats.surbs_requested == 50
    assert bob.surbs_held(tag) == 9
    assert bob.stats.surbs_used == 1
    alice.send(bob.address, b"connect", net.now, reply_surbs=2)
    assert net.run(5.0, lambda: b"connect" in net.messages("bob"))
    if bob.stats.surbs_received < 50:
        assert bob.surbs_held(tag) == 11
    bob.reply(tag, b"welcome", net.now)
    assert bob.waiting_for_surbs(tag) == 0
    net.run(5.0)
    assert alice.stats.surbs_issued == 62
    assert bob.surbs_held(tag) == 62 - 2


def test_no_request_while_enough_are_pending() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 12)
    net.disconnect("alice")
    for _ in range(5):
        bob.reply(tag, bytes(1000), net.now)
    assert bob.stats.surbs_requested == 10
    assert bob.queued_by_lane()[SURB_REQUEST] == 1


def test_request_for_fifty_is_one_message_of_fifteen_packets() -> None:
    net = Mixnet()
    alice, _, _ = connect(net, 10, config=EXIT)
    assert net.run(5.0, lambda: bool(alice._issuer.has_orders))
    while alice._issuer.has_orders:
        alice._composer.answer_requests(net.now)
    assert alice.queued_by_lane() == {ADDITIONAL_SURBS: 15}


def test_request_for_120_is_answered_in_two_messages() -> None:
    """29.5: 46022 and 9222 bytes, 29 and 6 fragments; all of them usable."""
    net = Mixnet()
    alice, bob, tag = connect(net, 12, config=replace(QUIET, max_surb_request=120, threshold_buffer=120))
    net.run(5.0)
    assert bob.stats.surbs_requested == 120
    assert alice.stats.real_sent - 4 == 29 + 6
    assert bob.surbs_held(tag) == 11 + 120
    entry = bob._replier.stock.get(tag)
    assert entry is not None
    for held in list(entry.fresh):
        packet = held.surb.surb.apply(bytes(2048), PacketSize.REGULAR.payload)
        hops, final = net.walk(held.surb.first_hop, packet)
        assert len(hops) == 3
        assert final.destination == alice.address.identity


def test_nobody_gets_more_than_the_maximum_at_once() -> None:
    net = Mixnet()
    alice, bob, _ = connect(net, 12)
    peer = alice._issuer.peer(bob.address)
    assert alice._issuer.order(peer, 2**32 - 1)
    total = 0
    while alice._issuer.has_orders:
        finished = alice._issuer.work(net.now)
        total += len(finished[1].surbs) if finished else 0
    assert total == alice.config.max_surbs_per_request == 500


def test_greedy_peer_is_stopped() -> None:
    net = Mixnet()
    alice, bob, _ = connect(net, 12, alice=replace(QUIET, max_surbs_outstanding=30))
    peer = alice._issuer.peer(bob.address)
    assert [alice._issuer.order(peer, 10), alice._issuer.order(peer, 10)] == [True, True]
    assert not alice._issuer.order(peer, 10)
    while alice._issuer.has_orders:
        alice._issuer.work(net.now)
    assert peer.believed_stock == 30


def test_requests_are_worked_off_little_by_little() -> None:
    net = Mixnet()
    alice, bob, _ = connect(net, 12)
    peer = alice._issuer.peer(bob.address)
    alice._issuer.order(peer, 100)
    before = alice.stats.surbs_issued
    calls = 0
    while alice._issuer.has_orders:
        assert alice.poll_at() == alice._now, "it wants to be called again at once"
        alice.packets_to_send(net.now)
        calls += 1
    assert calls == 100 // alice.config.surbs_per_call
    assert alice.stats.surbs_issued == before + 100


def test_requests_beyond_the_limit_are_ignored() -> None:
    net = Mixnet()
    alice, bob, _ = connect(net, 12, alice=replace(QUIET, max_surb_orders=3))
    peer = alice._issuer.peer(bob.address)
    assert [alice._issuer.order(peer, 10) for _ in range(5)] == [True] * 3 + [False] * 2
    assert not alice._issuer.order(peer, 0)


# Who may ask, and who may answer ------------------------------------------------------------------------


def plain_push(client: NymClient, net: Mixnet, message: ReplyData | SurbRequest) -> None:
    """A stranger who knows the address sends this to the client, as any plain fragment."""
    padded, size = pad(encode_message(message), PacketSize.REGULAR)
    for fragment in split(padded, size, iter([12345])):
        key = agree_fragment_key(client.address.encryption, net.random.randbytes)
        client.receive_push(key.encrypt(fragment.to_bytes()), net.now)


def test_stranger_cannot_pose_as_an_answer() -> None:
    net = Mixnet()
    alice, bob, _ = connect(net, 12)
    plain_push(alice, net, ReplyData(b"forged"))
    plain_push(alice, net, SurbRequest(bob.address, 500))
    assert alice.next_event() is None
    assert alice.stats.malformed.reply_without_surb >= 1
    assert not alice._issuer.has_orders


def test_request_must_name_whom_the_surb_was_given_to() -> None:
    net = Mixnet(gateways=3)
    alice, bob, tag = connect(net, 12)
    carol = net.add_client("carol", gateway=2)
    alice.send(carol.address, b"open", net.now, reply_surbs=12)
    net.run(5.0)
    fragments = bob._outbox.create(
        SurbRequest(carol.address, 50), lane=SURB_REQUEST, max_retransmissions=0, sender_tag=tag
    )
    bob._replier.reply(tag, fragments, net.now)
    net.run(5.0)
    assert alice.stats.malformed.surb_request == 1
    assert alice.stats.surbs_issued == 24


def test_answers_are_told_apart_by_peer() -> None:
    net = Mixnet(gateways=3)
    alice, bob, tag = connect(net, 12)
    carol = net.add_client("carol", gateway=2)
    alice.send(carol.address, b"open", net.now, reply_surbs=12)
    net.run(5.0)
    event = net.events["carol"][0]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    carol.reply(event.sender_tag, b"from carol", net.now)
    bob.reply(tag, b"from bob", net.now)
    net.run(5.0)
    answers = {e.data: e.peer for e in net.events["alice"] if isinstance(e, MessageReceived)}
    assert answers == {b"from carol": carol.address, b"from bob": bob.address}


# Loss ---------------------------------------------------------------------------------------------------


def lose_pushes_to(net: Mixnet, name: str, *, but_acks: bool = True) -> None:
    net.push_filter = lambda to, message: to != name or (but_acks and len(message) == 21)


def test_lost_reply_is_sent_again_by_another_surb_ten_times() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 40)
    net.loss = 1.0
    bob.reply(tag, b"answer", net.now)
    net.run(60.0)
    assert bob.stats.retransmissions == 10
    assert bob.stats.surbs_used == 11
    assert bob.stats.abandoned == 1


def test_fire_and_forget() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 40)
    net.loss = 1.0
    bob.reply(tag, b"data", net.now, max_retransmissions=0)
    net.run(60.0)
    assert (bob.stats.real_sent, bob.stats.surbs_used, bob.stats.abandoned) == (1, 1, 1)


def test_retransmission_leaves_the_reserve_alone() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 11)
    net.loss = 1.0
    bob.reply(tag, b"answer", net.now)
    assert bob.surbs_held(tag) == 10
    net.run(2.5)
    assert (bob.surbs_held(tag), bob.stats.retransmissions) == (9, 1), "with 10 it may be repeated"
    net.run(2.0)
    assert bob.waiting_for_surbs(tag) == 1, "with 9 it has to wait"
    # The request for more may spend the reserve.
    net.run(30.0)
    assert bob.surbs_held(tag) == 0


def test_lost_request_is_repeated_and_the_stock_recovers() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 12, config=replace(QUIET, reply_max_retransmissions=0))
    lose_pushes_to(net, "alice")
    bob.reply(tag, bytes(10_000), net.now)
    net.run(9.0)
    assert bob.stats.surbs_requested == 10
    net.push_filter = lambda name, message: True
    net.run(20.0)
    assert bob.stats.surbs_requested > 10
    assert alice.stats.surbs_issued > 12
    assert bob.waiting_for_surbs(tag) == 0
    assert bob.surbs_held(tag) >= 9


def test_answers_that_wait_in_vain_are_dropped() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 15, config=replace(QUIET, reply_max_retransmissions=0))
    net.disconnect("alice")
    bob.reply(tag, bytes(20_000), net.now)
    waiting = bob.waiting_for_surbs(tag)
    assert waiting > 0
    net.run(30.0)
    assert bob.waiting_for_surbs(tag) == waiting
    net.run(20.0)
    assert bob.waiting_for_surbs(tag) == 0
    assert bob.stats.replies_dropped == waiting
    # The first request and five repetitions.
    assert bob.stats.surbs_requested >= 5 * 10


# Age ----------------------------------------------------------------------------------------------------


def test_reply_keys_are_forgotten_after_a_day() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 15)
    bob.reply(tag, b"answer", net.now, max_retransmissions=0)
    packets = bob.packets_to_send(net.now)
    assert alice._issuer.outstanding == 15
    net.now += 24 * 3600 + 120
    alice.handle_timer(net.now)
    assert alice._issuer.outstanding == 0
    for packet in packets:
        net._submit(packet)
    net.run(1.0)
    assert net.messages("alice") == []
    assert alice.stats.malformed.fragment == len(packets) == 1


def test_reply_keys_are_bounded() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 20, alice=replace(QUIET, max_reply_keys=12))
    assert alice._issuer.outstanding == 12
    bob.reply(tag, b"by the first SURB", net.now)
    net.run(1.0)
    assert net.messages("alice") == [], "the key of the oldest SURB went first"


def test_giving_up_a_peer_forgets_its_surbs() -> None:
    net = Mixnet()
    alice, bob, tag = connect(net, 20)
    alice.abandon(bob.address)
    assert alice._issuer.outstanding == 0
    bob.reply(tag, b"too late", net.now)
    net.run(1.0)
    assert net.messages("alice") == []


# Bounds of the stock ------------------------------------------------------------------------------------


def test_stock_per_peer_is_bounded() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 50, config=replace(QUIET, max_held_surbs_per_tag=30))
    assert bob.surbs_held(tag) == 30
    assert bob.stats.surbs_stock == 30
    assert bob.stats.surbs_discarded == 20


def test_peer_supplied_longest_ago_goes_first() -> None:
    net = Mixnet()
    bob = net.add_client("bob", gateway=1, config=replace(QUIET, max_sender_tags=3))
    tags = []
    for name in ("a", "b", "c", "d"):
        net.add_client(name).send(bob.address, name.encode(), net.now, reply_surbs=12)
        net.run(2.0)
        event = net.events["bob"][-1]
        assert isinstance(event, MessageReceived)
        assert event.sender_tag is not None
        tags.append(event.sender_tag)
        if name == "c":  # a supplies again and becomes the youngest
            net.clients["a"].send(bob.address, b"again", net.now, reply_surbs=1)
            net.run(2.0)
    assert [bob.surbs_held(tag) for tag in tags] == [13, 0, 12, 12]
    assert bob.stats.surbs_stock == 37


def test_total_stock_is_bounded() -> None:
    net = Mixnet()
    bob = net.add_client("bob", gateway=1, config=replace(QUIET, max_held_surbs=30))
    for name in ("a", "b", "c", "d"):
        net.add_client(name).send(bob.address, name.encode(), net.now, reply_surbs=12)
        net.run(2.0)
        assert bob.stats.surbs_stock <= 30
    assert bob.stats.surbs_stock == 24


# SURBs for free -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "wanted", "packets", "surbs"),
    [(50, 0, 1, 3), (50, 2, 1, 3), (1400, 0, 1, 0), (1400, 2, 2, 3), (1100, 0, 1, 1), (3180, 0, 2, 0)],
)
def test_padding_is_filled_with_surbs(length: int, wanted: int, packets: int, surbs: int) -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=replace(QUIET, fill_surbs=True))
    bob = net.add_client("bob", gateway=1)
    alice.send(bob.address, bytes(length), net.now, reply_surbs=wanted)
    assert alice.queued() == packets
    assert alice.stats.surbs_issued == surbs
    net.run(5.0)
    assert net.messages("bob") == [bytes(length)]
    assert bob.stats.surbs_received >= surbs


def test_filling_stops_when_the_peer_has_enough_and_goes_on_when_it_spends() -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=replace(QUIET, fill_surbs=True, fill_surbs_up_to=20))
    bob = net.add_client("bob", gateway=1, config=replace(QUIET, surb_threshold=0))
    for _ in range(20):
        alice.send(bob.address, b"small", net.now)
    net.run(5.0)
    assert alice.stats.surbs_issued == 20
    event = net.events["bob"][0]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    bob.reply(event.sender_tag, bytes(5 * 1604), net.now)
    net.run(5.0)
    for _ in range(20):
        alice.send(bob.address, b"small", net.now)
    assert alice.stats.surbs_issued == 26
    assert bob.stats.surbs_requested == 0


def test_lost_surbs_do_not_stop_the_filling_for_ever() -> None:
    net = Mixnet()
    alice = net.add_client("alice", config=replace(QUIET, fill_surbs=True, fill_surbs_up_to=20))
    bob = net.add_client("bob", gateway=1, config=replace(QUIET, surb_threshold=0))
    net.loss = 1.0
    alice.send(bob.address, b"lost", net.now, reply_surbs=20, max_retransmissions=0)
    net.run(3.0)
    net.loss = 0.0
    peer = alice._issuer.peer(bob.address)
    assert peer.believed_stock == 20
    alice.send(bob.address, b"open", net.now, reply_surbs=110)
    net.run(3.0)
    event = net.events["bob"][0]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    bob.reply(event.sender_tag, bytes(109 * 1604), net.now)
    net.run(3.0)
    assert peer.believed_stock == 0
    alice.send(bob.address, b"small", net.now)
    assert peer.believed_stock == 3


def first_packet(client: NymClient, now: float) -> MixPacket:
    return client.packets_to_send(now, 1)[0]


def test_replies_of_another_size_than_asked_with() -> None:
    """29.5: extended8 replies to a client that asked with regular packets."""
    net = Mixnet()
    _, bob, tag = connect(net, 15, config=replace(QUIET, primary_size=PacketSize.EXTENDED8))
    bob.reply(tag, bytes(20_000), net.now)
    assert first_packet(bob, net.now).size is PacketSize.EXTENDED8


def test_large_replies_arrive() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 15, config=replace(QUIET, primary_size=PacketSize.EXTENDED8))
    bob.reply(tag, bytes(20_000), net.now)
    net.run(5.0)
    assert net.messages("alice") == [bytes(20_000)]


def test_full_key_surbs_of_older_clients() -> None:
    net = Mixnet()
    _, bob, tag = connect(net, 15, alice=replace(QUIET, sphinx_version=258))
    entry = bob._replier.stock.get(tag)
    assert entry is not None
    assert not entry.fresh[0].surb.has_seeds
    bob.reply(tag, b"answer", net.now)
    net.run(5.0)
    assert net.messages("alice") == [b"answer"]
