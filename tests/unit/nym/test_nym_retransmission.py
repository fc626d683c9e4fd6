"""When a fragment counts as lost (spec/sphinx.md 23)."""

from __future__ import annotations

import math

import pytest

from smolmix_web.nym.lanes import GENERAL
from smolmix_web.nym.outgoing import OutgoingFragment, OutgoingMessage
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.retransmission import PendingAcks


def fragment(number: int) -> OutgoingFragment:
    message = OutgoingMessage(number, 1)
    return OutgoingFragment(message, bytes([0, 0, 0, number, 1]), b"", PacketSize.REGULAR, GENERAL, None)


def pending() -> PendingAcks:
    return PendingAcks(1.5, 1.5)


def test_timeout_is_expected_delay_times_multiplier_plus_addition() -> None:
    acks, lost = pending(), fragment(1)
    acks.sent(lost, 100_000_000, 10.0)
    assert acks.poll_at() == pytest.approx(10.0 + 0.150 + 1.5)
    assert acks.take_expired(11.649) == []
    assert acks.take_expired(11.651) == [lost]
    assert acks.poll_at() == math.inf
    assert len(acks) == 1, "it still waits for its ack"


def test_timer_starts_again_when_sent_again() -> None:
    acks, lost = pending(), fragment(1)
    acks.sent(lost, 0, 0.0)
    acks.take_expired(2.0)
    acks.sent(lost, 0, 5.0)
    assert acks.take_expired(6.4) == []
    assert acks.take_expired(6.6) == [lost]


def test_acknowledged_in_time() -> None:
    acks, kept, lost = pending(), fragment(1), fragment(2)
    acks.sent(kept, 0, 0.0)
    acks.sent(lost, 0, 0.0)
    assert acks.acknowledge(kept.identifier) is kept
    assert acks.acknowledge(kept.identifier) is None
    assert acks.take_expired(100.0) == [lost]


def test_acknowledged_late_still_counts() -> None:
    acks, late = pending(), fragment(1)
    acks.sent(late, 0, 0.0)
    assert acks.take_expired(2.0) == [late]
    assert acks.acknowledge(late.identifier) is late
    assert len(acks) == 0


def test_order_of_expiry() -> None:
    acks = pending()
    fragments = [fragment(i) for i in range(1, 6)]
    for i, each in enumerate(reversed(fragments)):
        acks.sent(each, 0, float(i))
    assert acks.take_expired(100.0) == fragments[::-1]


def test_forgotten_fragments_do_not_come_back() -> None:
    acks, gone = pending(), fragment(1)
    acks.sent(gone, 0, 0.0)
    acks.forget(gone)
    assert acks.take_expired(100.0) == []
    assert acks.poll_at() == math.inf
