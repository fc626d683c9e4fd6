"""When a fragment counts as lost (spec/sphinx.md 23)."""

from __future__ import annotations

import math
import random

import pytest

from smolmix_web.nym.ack_timing import MAX_ADDITION, AckTiming
from smolmix_web.nym.lanes import GENERAL
from smolmix_web.nym.outgoing import OutgoingFragment, OutgoingMessage
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.retransmission import MAX_DOUBTFUL, PendingAcks


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


class Path:
    """Sends one fragment after the other. Each transmission that arrives brings an ack."""

    def __init__(self) -> None:
        self.timing = AckTiming(1.5, 1.5)
        self._acks = PendingAcks(self.timing)
        self._now = 0.0
        self._number = 0

    def transmit(self, *round_trips: float | None) -> int:
        """Transmissions until the ack came. The n-th takes the n-th round trip, later ones the last; None: it
        is lost.
        """
        self._number = self._number % 250 + 1
        sent, count = fragment(self._number), 0
        arrivals: list[float] = []
        acknowledged = False
        while arrivals or not acknowledged:
            if not acknowledged and (count == 0 or self._acks.poll_at() <= min(arrivals, default=math.inf)):
                if count:
                    self._now = self._acks.poll_at()
                    assert self._acks.take_expired(self._now) == [sent]
                self._acks.sent(sent, 0, self._now)
                round_trip = round_trips[min(count, len(round_trips) - 1)]
                count += 1
                if round_trip is not None:
                    arrivals.append(self._now + round_trip)
                continue
            self._now = min(arrivals)
            arrivals.remove(self._now)
            acknowledged = self._acks.acknowledge(sent.identifier, self._now) is sent or acknowledged
        return count


def test_fast_network_keeps_the_published_wait() -> None:
    path = Path()
    assert [path.transmit(0.08) for _ in range(50)] == [1] * 50
    assert path.timing.wait(0.2) == pytest.approx(1.8)


@pytest.mark.parametrize("round_trip", [1.6, 2.5, 4.0, 7.0])
def test_slow_network_is_learned(round_trip: float) -> None:
    path = Path()
    counts = [path.transmit(round_trip) for _ in range(60)]
    assert counts[0] > 1, "the formula sends too early"
    assert counts[15:] == [1] * 45
    assert path.timing.addition < 2 * round_trip


def test_a_slow_network_that_loses_is_learned_too() -> None:
    path, chance = Path(), random.Random(4)
    counts = [path.transmit(*(None if chance.random() < 0.2 else 4.0 for _ in range(50))) for _ in range(60)]
    assert sum(counts[30:]) < 1.7 * 30
    assert path.timing.addition < 8.0


@pytest.mark.parametrize("loss", [0.05, 0.2, 0.4])
def test_losses_on_a_fast_network_are_not_taken_for_slowness(loss: float) -> None:
    """Not even when round trips vary, so that some acks come sooner than ever after a retransmission."""
    path, chance = Path(), random.Random(7)

    def round_trip() -> float | None:
        return None if chance.random() < loss else chance.expovariate(10.0)

    for _ in range(500):
        path.transmit(*(round_trip() for _ in range(50)))
        assert path.timing.addition == 1.5


def test_an_outage_is_forgotten_again() -> None:
    path = Path()
    path.transmit(0.08)
    path.timing.acknowledged(3600.0)
    assert 1.5 < path.timing.addition <= MAX_ADDITION
    for _ in range(30):
        path.transmit(0.08)
    assert path.timing.addition == 1.5


def test_what_is_remembered_of_acknowledged_fragments_is_bounded() -> None:
    acks = pending()
    for number in range(3 * MAX_DOUBTFUL):
        identifier = number.to_bytes(5, "big")
        twice = OutgoingFragment(
            OutgoingMessage(number, 1), identifier, b"", PacketSize.REGULAR, GENERAL, None
        )
        acks.sent(twice, 0, 0.0)
        acks.take_expired(2.0)
        acks.sent(twice, 0, 2.0)
        assert acks.acknowledge(identifier, 2.1) is twice
    assert len(acks._doubtful) == MAX_DOUBTFUL
