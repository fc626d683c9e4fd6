"""When a fragment counts as lost (spec/sphinx.md 23)."""

from __future__ import annotations

import math

import pytest

from smolmix_web.nym.ack_timing import MAX_ADDITION, AckTiming
from smolmix_web.nym.lanes import GENERAL
from smolmix_web.nym.outgoing import OutgoingFragment, OutgoingMessage
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.retransmission import PendingAcks


def fragment(number: int) -> OutgoingFragment:
    message = OutgoingMessage(number, 1)
    return OutgoingFragment(message, bytes([0, 0, 0, number, 1]), b"", PacketSize.REGULAR, GENERAL, None)


def pending() -> PendingAcks:
    return PendingAcks(AckTiming(1.5, 1.5))


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
    assert acks.acknowledge(kept.identifier, 1.0) is kept
    assert acks.acknowledge(kept.identifier, 1.0) is None
    assert acks.take_expired(100.0) == [lost]


def test_acknowledged_late_still_counts() -> None:
    acks, late = pending(), fragment(1)
    acks.sent(late, 0, 0.0)
    assert acks.take_expired(2.0) == [late]
    assert acks.acknowledge(late.identifier, 2.1) is late
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


# Networks slower than the formula -------------------------------------------------------------------------


def transmit(timing: AckTiming, round_trip: float, lost: int = 0) -> int:
    """Transmissions of one fragment on a network with that round trip, the first ``lost`` of them lost."""
    now, times = 0.0, [0.0]
    while times[lost:] == [] or now < times[lost] + round_trip:
        now = times[-1] + timing.wait(0.0)
        if times[lost:] == [] or now < times[lost] + round_trip:
            times.append(now)
    arrival = times[lost] + round_trip
    before = arrival - times[-2] if len(times) > 1 else None
    timing.acknowledged(arrival - times[-1], before)
    return len(times)


def test_fast_network_keeps_the_published_wait() -> None:
    timing = AckTiming(1.5, 1.5)
    assert [transmit(timing, 0.08) for _ in range(50)] == [1] * 50
    assert timing.wait(0.2) == pytest.approx(1.8)


@pytest.mark.parametrize("round_trip", [1.6, 2.5, 4.0, 7.0])
def test_slow_network_is_learned(round_trip: float) -> None:
    timing = AckTiming(1.5, 1.5)
    counts = [transmit(timing, round_trip) for _ in range(60)]
    assert counts[0] > 1, "the formula sends too early"
    assert counts[10:] == [1] * 50
    assert timing.addition < 2 * round_trip


def test_losses_on_a_fast_network_are_not_taken_for_slowness() -> None:
    timing = AckTiming(1.5, 1.5)
    for number in range(200):
        transmit(timing, 0.08, lost=1 if number % 4 == 3 else 0)
    assert timing.addition == 1.5


def test_an_outage_is_forgotten_again() -> None:
    timing = AckTiming(1.5, 1.5)
    transmit(timing, 0.08)
    timing.acknowledged(3600.0, None)
    assert 1.5 < timing.addition <= MAX_ADDITION
    for _ in range(30):
        transmit(timing, 0.08)
    assert timing.addition == 1.5
