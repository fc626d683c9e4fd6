"""A client that may send as fast as it can uses times of quiet to prepare for the next burst."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.stockpile import BEFORE_CHANGE, INTEREST, PAUSE, QUIET, SLICE
from support.mixnet import UNIX_EPOCH, Mixnet

STOCK = 40
CONFIG = replace(
    ClientConfig().no_cover(), prepared_headers=3, prepared_surbs=5, burst_headers=10, burst_surbs=10
)
"""Ten of each: headers of packets and of acks, fragment keys, reply SURBs; forty altogether."""


def pair(net: Mixnet, config: ClientConfig = CONFIG) -> tuple[NymClient, NymClient]:
    return net.add_client("alice", config=config), net.add_client("bob", gateway=1)


def exchange(net: Mixnet, sender: NymClient, receiver: NymClient, packets: int = 1) -> None:
    """A message with a reply SURB; afterwards all is acknowledged."""
    sender.send(receiver.address, bytes(1604 * (packets - 1) + 1), net.now, reply_surbs=1)
    net.run(0.5)
    assert sender.unacknowledged() == 0


def prepared(client: NymClient) -> int:
    return client._preparer.prepared


def test_stock_grows_in_quiet_to_its_full_height_and_no_further() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    exchange(net, alice, bob)
    assert prepared(alice) == 0, "right after the last packet more of them may come"
    net.run(QUIET + 0.5)
    assert prepared(alice) == STOCK
    assert alice._stockpile.due_at == math.inf, "a full stock wakes nobody up"
    net.run(10.0)
    assert prepared(alice) == STOCK


def test_slices_are_small_and_leave_the_processor_to_others() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    exchange(net, alice, bob)
    due = alice.poll_at()
    assert due is not None
    assert due >= net.now
    made: deque[int] = deque([0])
    while made[-1] < STOCK:
        due = alice.poll_at()
        assert due is not None
        alice.handle_timer(due - PAUSE / 2)
        assert prepared(alice) == made[-1], "not before its time"
        alice.handle_timer(due)
        made.append(prepared(alice))
        assert made[-1] - made[-2] <= SLICE


def test_traffic_puts_the_work_off() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    for _ in range(10):
        exchange(net, alice, bob)
    assert prepared(alice) == 0


def test_a_burst_is_served_from_the_stock() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    exchange(net, alice, bob)
    net.run(2.0)
    alice.send(bob.address, b"x", net.now, reply_surbs=9)
    packets = alice.packets_to_send(net.now, 32)
    assert prepared(alice) == STOCK - 9 - 3 * len(packets)
    for packet in packets:
        net._submit(packet)
    net.run(2.0)
    assert [len(message) for message in net.messages("bob")] == [1, 1], "prepared packets arrive"
    assert prepared(alice) == STOCK


def test_client_without_a_wish_for_it_stocks_nothing() -> None:
    net = Mixnet()
    alice, bob = pair(net, ClientConfig().no_cover())
    exchange(net, alice, bob)
    net.run(10.0)
    assert prepared(alice) == 0


def test_nothing_is_stocked_after_long_disuse() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    exchange(net, alice, bob)
    net.run(INTEREST + 10.0)
    net.rotate_keys()
    alice.set_topology(net.topology(), net.now)
    bob.set_topology(net.topology(), net.now)
    net.run(10.0)
    assert prepared(alice) == 0, "the keys changed, but nobody has sent anything for a long time"
    exchange(net, alice, bob)
    net.run(10.0)
    assert prepared(alice) == 0, "a message now and then is no burst"
    exchange(net, alice, bob, packets=20)
    net.run(2.0)
    assert prepared(alice) == STOCK


def test_stock_is_renewed_with_the_keys_but_not_shortly_before_they_change() -> None:
    net = Mixnet()
    alice, bob = pair(net)
    epoch = 3 * BEFORE_CHANGE
    info = KeyRotationInfo(
        validity_epochs=1,
        initial_epoch_id=1,
        current_absolute_epoch_id=1,
        current_epoch_start=UNIX_EPOCH,
        epoch_duration=epoch,
    )
    alice.set_key_rotation(info, net.now, net.unix_time)
    net.run(epoch - BEFORE_CHANGE / 2)
    exchange(net, alice, bob, packets=20)
    net.run(3.0)
    assert prepared(alice) == 0, "it would be thrown away half a minute later"
    net.run(BEFORE_CHANGE / 2)
    net.rotate_keys()
    for client in (alice, bob):
        client.set_topology(net.topology(), net.now, unix_time=net.unix_time)
    net.run(3.0)
    assert prepared(alice) == STOCK
