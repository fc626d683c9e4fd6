"""A key rotation loses no message, and SURBs of the past are replaced and thrown away (spec/sphinx.md 26)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.outgoing import HeldSurb
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.replies import ReplySurb, SurbList
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.stats import ClientStats
from smolmix_web.nym.surb_stock import SurbStock, TagStock
from smolmix_web.sphinx import Surb
from support.mixnet import UNIX_EPOCH, Mixnet

QUIET = ClientConfig().no_cover()
EPOCH = 400.0
INFO = KeyRotationInfo(
    validity_epochs=2,
    initial_epoch_id=98,
    current_absolute_epoch_id=100,
    current_epoch_start=UNIX_EPOCH,
    epoch_duration=EPOCH,
)
"""Rotation 1 begins with the simulation, rotation 2 after 800 s."""


def tag_of(net: Mixnet, name: str) -> bytes:
    event = net.events[name][-1]
    assert isinstance(event, MessageReceived)
    assert event.sender_tag is not None
    return event.sender_tag


def refresh(net: Mixnet, *clients: NymClient) -> None:
    for client in clients:
        client.set_topology(net.topology(), net.now, unix_time=net.unix_time)


def test_no_message_is_lost_across_the_boundary() -> None:
    """Packets in flight, in the queue and unacknowledged at the switch; clients learn of it one by one."""
    net = Mixnet(loss=0.03, seed=4)
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    messages = [bytes([number]) * 4000 for number in range(20)]
    for number, message in enumerate(messages):
        alice.send(bob.address, message, net.now, reply_surbs=2)
        net.run(0.3)
        if number == 6:
            net.limit = 1
            net.rotate_keys()
        if number == 10:
            refresh(net, alice)
            net.limit = 32
        if number == 14:
            refresh(net, bob)
        if number == 17:
            net.run(5.0)
            net.drop_old_keys()
    assert net.run(60.0, lambda: len(net.events["bob"]) == 20 and not alice.unacknowledged())
    assert sorted(net.messages("bob")) == messages


def test_packets_follow_the_topology_from_the_next_one_on() -> None:
    net = Mixnet()
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    alice.send(bob.address, bytes(20_000), 0.0, anonymous=False)
    assert {p.rotation for p in alice.packets_to_send(0.0, 5)} == {KeyRotation.ODD}
    net.rotate_keys()
    refresh(net, alice)
    packets = alice.packets_to_send(0.0, 50)
    assert {p.rotation for p in packets} == {KeyRotation.EVEN}
    net.drop_old_keys()
    for packet in packets:
        net.walk(packet.first_hop, packet.packet)


def test_reply_packets_carry_the_rotation_of_their_surb() -> None:
    net = Mixnet()
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    alice.send(bob.address, b"open", net.now, reply_surbs=15)
    net.run(3.0)
    net.rotate_keys()
    refresh(net, alice, bob)
    bob.reply(tag_of(net, "bob"), b"by an old SURB", net.now)
    (packet, *_) = bob.packets_to_send(net.now)
    assert packet.rotation is KeyRotation.ODD
    net._submit(packet)
    net.run(1.0)
    assert net.messages("alice") == [b"by an old SURB"]
    assert bob.stats.acks_received >= 1, "the ack inside has to use the keys of the old rotation too"
    assert net.stats.undecryptable == 0


def test_held_surbs_are_replaced_after_the_switch() -> None:
    net = Mixnet()
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    bob.set_key_rotation(INFO, net.now, net.unix_time)
    alice.send(bob.address, b"open", net.now, reply_surbs=25)
    net.run(900.0)
    tag = tag_of(net, "bob")
    assert bob.surbs_held(tag) == 0, "the clock says rotation 2 while the SURBs are of rotation 1"


def test_surbs_are_replaced_however_often_the_epochs_are_told() -> None:
    """An exit hears of them with every announcement, every few seconds; a poll is due every 50 seconds."""
    net = Mixnet()
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    bob.set_key_rotation(INFO, net.now, net.unix_time)
    alice.send(bob.address, b"open", net.now, reply_surbs=25)
    net.run(3.0)
    tag = tag_of(net, "bob")
    assert bob.surbs_held(tag) == 25
    while net.now < 870:
        epoch = INFO.epoch_at(net.unix_time)
        start = UNIX_EPOCH + (epoch - 100) * EPOCH
        told = replace(INFO, current_absolute_epoch_id=epoch, current_epoch_start=start)
        bob.set_key_rotation(told, net.now, net.unix_time)
        net.epoch_id = epoch
        refresh(net, bob)
        net.run(5.0)
    assert bob.surbs_held(tag) == 0


def test_refresh_asks_for_as_many_as_were_held() -> None:
    net = Mixnet()
    alice, bob = net.add_client("alice"), net.add_client("bob", gateway=1)
    bob.set_key_rotation(INFO, net.now, net.unix_time)
    net.run(790.0)
    alice.send(bob.address, b"open", net.now, reply_surbs=25)
    net.run(3.0)
    tag = tag_of(net, "bob")
    net.rotate_keys()
    net.epoch_id = 102
    # The topology arrives just before the clock's rotation ends, as if our clock were a little slow.
    refresh(net, alice, bob)
    entry = bob._replier.stock.get(tag)
    assert entry is not None
    bob._poll_refresh(net.topology(), net.now)
    assert bob.stats.surbs_requested == 0, "noticed at one poll"
    bob._poll_refresh(net.topology(), net.now)
    assert bob.stats.surbs_requested == 25, "acted upon at the next"
    assert (len(entry.fresh), len(entry.stale)) == (0, 24)
    net.run(5.0)
    assert len(entry.fresh) == 25
    assert {held.rotation for held in entry.fresh} == {KeyRotation.EVEN}
    assert len(entry.stale) == 24 - 15, "fresh ones beyond the reserve push stale ones out"
    bob.reply(tag, b"answer", net.now)
    assert bob.packets_to_send(net.now)[0].rotation is KeyRotation.EVEN, "fresh ones are used first"


def test_conversation_goes_on_through_three_rotations() -> None:
    net = Mixnet(seed=9)
    alice, bob = (
        net.add_client("alice"),
        net.add_client("bob", gateway=1, config=replace(QUIET, threshold_buffer=20)),
    )
    for client in (alice, bob):
        client.set_key_rotation(INFO, net.now, net.unix_time)
    answers = 0
    while net.now < 2600:
        if net.now // 100 % 8 == 0 and net.rotation_id != INFO.rotation_at(net.unix_time):
            net.rotate_keys()
        net.epoch_id = INFO.epoch_at(net.unix_time)
        refresh(net, alice, bob)
        alice.send(bob.address, b"question", net.now, reply_surbs=2)
        net.run(20.0)
        bob.reply(tag_of(net, "bob"), b"answer", net.now)
        answers += 1
        net.run(80.0)
    assert net.rotation_id >= 4
    assert len(net.messages("bob")) == answers
    assert net.messages("alice") == [b"answer"] * answers
    assert bob.stats.surbs_discarded > 0
    assert bob.stats.replies_dropped == 0


# Purge rules, one by one -----------------------------------------------------------------------------------


def stock_with(
    received_at: float, rotation: KeyRotation, *, config: ClientConfig = QUIET
) -> tuple[SurbStock, TagStock, ClientStats, list[TagStock]]:
    stats = ClientStats()
    removed: list[TagStock] = []
    stock = SurbStock(config, stats, removed.append)
    surb = ReplySurb(bytes(16), Surb(bytes(348), bytes(32), (bytes(16),) * 4))
    entry = stock.supply(bytes(16), SurbList((surb,) * 5, rotation), received_at, requested=False)
    return stock, entry, stats, removed


TRUSTED = None
"""No topology to doubt."""


@pytest.mark.parametrize(
    ("received_at", "rotation", "now", "kept"),
    [
        (850.0, KeyRotation.EVEN, 900.0, 5),
        (850.0, KeyRotation.UNKNOWN, 900.0, 5),
        (850.0, KeyRotation.ODD, 900.0, 0),  # rotation 2 is even
        (390.0, KeyRotation.UNKNOWN, 900.0, 0),  # before T - e = 800 - 400
        (410.0, KeyRotation.UNKNOWN, 900.0, 5),
        (100.0, KeyRotation.EVEN, 700.0, 0),  # rotation 1 is odd
        (100.0, KeyRotation.ODD, 700.0, 5),
    ],
)
def test_purge_by_age_and_parity(received_at: float, rotation: KeyRotation, now: float, kept: int) -> None:
    stock, entry, stats, _ = stock_with(received_at, rotation)
    stock.purge(INFO, now, UNIX_EPOCH + now, TRUSTED)
    assert entry.held == kept
    assert stats.surbs_stock == kept
    assert stats.surbs_discarded == 5 - kept


def test_entry_last_supplied_before_the_rotation_is_removed() -> None:
    stock, entry, stats, removed = stock_with(390.0, KeyRotation.UNKNOWN)
    stock.purge(INFO, 900.0, UNIX_EPOCH + 900.0, TRUSTED)
    assert removed == [entry]
    assert stock.get(bytes(16)) is None
    assert stats.surbs_stock == 0


def test_stale_surbs_end_with_the_overlap() -> None:
    stock, entry, _, _ = stock_with(790.0, KeyRotation.UNKNOWN)
    stock.mark_stale(entry)
    stock.purge(INFO, 1190.0, UNIX_EPOCH + 1190.0, TRUSTED)
    assert len(entry.stale) == 5
    stock.purge(INFO, 1210.0, UNIX_EPOCH + 1210.0, TRUSTED)
    assert len(entry.stale) == 0


def test_empty_entry_is_removed_after_five_minutes() -> None:
    stock, entry, _, removed = stock_with(850.0, KeyRotation.EVEN)
    while entry.held:
        stock.take(entry)
    stock.purge(INFO, 1100.0, UNIX_EPOCH + 1100.0, TRUSTED)
    assert removed == []
    entry.pending = 10
    stock.purge(INFO, 1160.0, UNIX_EPOCH + 1160.0, TRUSTED)
    assert removed == [], "an answer may be on its way"
    entry.pending = 0
    stock.purge(INFO, 1160.0, UNIX_EPOCH + 1160.0, TRUSTED)
    assert removed == [entry]


def test_topology_that_contradicts_the_clock_keeps_everything_that_may_live() -> None:
    doubtful = (55, UNIX_EPOCH + 900.0)
    stock, entry, _, _ = stock_with(100.0, KeyRotation.ODD)
    stock.purge(INFO, 900.0, UNIX_EPOCH + 900.0, doubtful)
    assert entry.held == 5
    # The lifetime of a rotation's packets: three epochs of 400 s.
    stock.purge(INFO, 1301.0, UNIX_EPOCH + 1301.0, doubtful)
    assert entry.held == 0


def test_surb_put_back_is_the_next_one() -> None:
    stock, entry, stats, _ = stock_with(0.0, KeyRotation.ODD)
    taken = stock.take(entry)
    assert isinstance(taken, HeldSurb)
    stock.put_back(entry.sender_tag, taken)
    assert stock.take(entry) is taken
    assert stats.surbs_stock == 4
