"""Congestion control policies: Reno (RFC 5681), CUBIC (RFC 9438), and the path model for mixnets."""

from __future__ import annotations

import pytest

from smolmix_web.errors import OptionError
from smolmix_web.net.tcp.congestion import AckSample, CongestionControl, create
from smolmix_web.net.tcp.delivery import DeliveryRate
from smolmix_web.net.tcp.mixnet import Mixnet
from smolmix_web.net.tcp.scoreboard import Sent

MSS = 1_000


def sample(now: float = 1.0, acked: int = MSS, **more: object) -> AckSample:
    made = AckSample()
    made.now, made.acked, made.window_limited, made.smoothed_rtt = now, acked, True, 0.1
    for name, value in more.items():
        setattr(made, name, value)
    if made.rtt is not None:
        made.rtt_sum, made.rtt_count = 4 * made.rtt, 4
    return made


def policy(name: str) -> CongestionControl:
    return create(name, MSS, 10)


@pytest.mark.parametrize("name", ["reno", "cubic", "mixnet"])
def test_every_policy_starts_with_ten_segments_and_survives_everything(name: str) -> None:
    cc = policy(name)
    assert cc.window == 10 * MSS
    cc.undo(1.0)
    for step in range(300):
        now = 1 + step / 10
        cc.on_ack(sample(now, rtt=0.1, delivery_rate=50_000.0, round_start=step % 10 == 0, in_flight=5_000))
        if step % 50 == 7:
            cc.on_loss(5_000, now)
        if step % 90 == 9:
            cc.on_timeout(5_000, now)
        if step % 70 == 11:
            cc.undo(now)
        cc.on_idle(0.1, 1.0)
        assert cc.window >= MSS
        assert cc.pacing_rate is None or cc.pacing_rate > 0
    cc.set_mss(500)
    cc.on_ack(sample(40.0))
    assert cc.window >= 500


def test_unknown_policy() -> None:
    with pytest.raises(OptionError, match="cubic, mixnet, reno"):
        policy("vegas")


@pytest.mark.parametrize("name", ["reno", "cubic"])
def test_slow_start_doubles_and_a_window_that_does_not_limit_does_not_grow(name: str) -> None:
    cc = policy(name)
    for _ in range(10):
        cc.on_ack(sample())
    assert cc.window == 20 * MSS
    cc.on_ack(sample(acked=5_000, window_limited=False))
    cc.on_ack(sample(acked=5_000, in_recovery=True))
    assert cc.window == 20 * MSS


@pytest.mark.parametrize(("name", "factor"), [("reno", 0.5), ("cubic", 0.7)])
def test_reduction_and_undo(name: str, factor: float) -> None:
    cc = policy(name)
    cc.on_ack(sample(acked=90 * MSS))
    cc.on_loss(0, 1.0)
    assert cc.window == pytest.approx(100 * MSS * factor)
    cc.undo(1.1)
    assert cc.window == 100 * MSS
    cc.on_timeout(0, 2.0)
    assert cc.window == MSS
    assert cc.slow_start_threshold == pytest.approx(100 * MSS * factor)


def test_reno_grows_by_one_segment_a_window() -> None:
    cc = policy("reno")
    cc.on_loss(0, 1.0)
    assert cc.window == 5 * MSS
    for _ in range(5):
        cc.on_ack(sample())
    assert cc.window == 6 * MSS
    for _ in range(6):
        cc.on_ack(sample())
    assert cc.window == 7 * MSS


def test_an_idle_connection_restarts_from_the_initial_window() -> None:
    for name in ("reno", "cubic"):
        cc = policy(name)
        cc.on_ack(sample(acked=90 * MSS))
        cc.on_idle(0.5, 1.0)
        assert cc.window == 100 * MSS
        cc.on_idle(1.5, 1.0)
        assert cc.window == 10 * MSS


def test_cubic_returns_to_its_old_window_after_k_seconds() -> None:
    """RFC 9438 section 4.2: K = cbrt((W_max - cwnd) / C); concave before, convex behind."""
    cc = policy("cubic")
    cc.on_ack(sample(acked=990 * MSS))
    cc.on_loss(0, 1.0)
    k = ((1_000 - 700) / 0.4) ** (1 / 3)
    at = {}
    now = 1.0
    while now < 1.0 + 2 * k:
        cc.on_ack(sample(now, acked=cc.window // 10))
        at[round((now - 1.0) / k, 1)] = cc.window / MSS
        now += 0.01
    assert at[0.5] == pytest.approx(1_000 - 300 / 8, rel=0.02)
    assert at[1.0] == pytest.approx(1_000, rel=0.01)
    assert at[1.5] == pytest.approx(1_000 + 300 / 8, rel=0.02)


def test_cubic_fast_convergence() -> None:
    """Section 4.7: a second reduction below the last maximum makes room for others."""
    cc = policy("cubic")
    cc.on_ack(sample(acked=90 * MSS))
    cc.on_loss(0, 1.0)
    cc.on_loss(0, 2.0)
    assert cc._w_max == pytest.approx(70 * 0.85)  # type: ignore[attr-defined]


# -- the mixnet policy -----------------------------------------------------------------------------


def driven(rate: float, round_trip: float, rounds: int, *, loss: float = 0.0) -> Mixnet:
    """The policy on a path of ``rate`` bytes/s that delivers what it may send, in eight ACKs a round."""
    cc = policy("mixnet")
    assert isinstance(cc, Mixnet)
    now, delivered = 1.0, 0
    for _ in range(rounds):
        flight = min(cc.window, (cc.pacing_rate or float("inf")) * round_trip)
        arriving = min(flight, rate * round_trip)
        queue = max(flight / rate - round_trip, 0.0)
        for part in range(8):
            now += max(round_trip, flight / rate) / 8
            delivered += int(arriving / 8)
            cc.on_ack(
                sample(
                    now,
                    acked=int(arriving / 8 * (1 - loss)),
                    lost=int(arriving / 8 * loss),
                    rtt=round_trip + queue,
                    delivery_rate=min(flight / round_trip, rate) * (1 - loss),
                    round_start=part == 0,
                    in_flight=int(flight),
                    in_flight_prior=int(flight),
                    delivered=delivered,
                )
            )
    return cc


def test_mixnet_finds_rate_and_round_trip_and_bounds_the_queue() -> None:
    cc = driven(200_000.0, 1.0, 40)
    assert cc.bandwidth == pytest.approx(200_000, rel=0.05)
    assert cc.base == pytest.approx(1.0, rel=0.1)
    assert 1.0 * cc.capacity <= cc.window <= 2.2 * cc.capacity
    assert cc.pacing_rate == pytest.approx(cc.bandwidth, rel=0.26)


def test_mixnet_does_not_slow_down_for_random_loss() -> None:
    assert driven(200_000.0, 1.0, 40, loss=0.1).window >= 0.85 * driven(200_000.0, 1.0, 40).window


def test_mixnet_yields_to_an_overflowing_queue() -> None:
    cc = driven(200_000.0, 0.5, 20, loss=0.4)
    assert cc.window <= 1.6 * cc.capacity


def test_mixnet_probes_with_one_segment_after_a_timeout_and_comes_back() -> None:
    cc = driven(200_000.0, 1.0, 20)
    before = cc.window
    cc.on_timeout(0, 50.0)
    assert cc.window == MSS
    cc.undo(50.1)
    assert cc.window == before
    cc.on_timeout(0, 60.0)
    cc.on_ack(sample(61.0, rtt=1.0, delivery_rate=1_000.0))
    assert cc.window >= 0.5 * before


# -- delivery rate ---------------------------------------------------------------------------------


def test_delivery_rate_is_what_arrived_over_the_longer_of_sending_and_acknowledging() -> None:
    rate, taken = DeliveryRate(), AckSample()
    records = []
    for index in range(10):
        record = Sent(index * MSS, (index + 1) * MSS, 1.0 + index / 100)
        rate.sent(record, record.sent_at, index == 0)
        records.append(record)
    for index, record in enumerate(records):
        rate.arrived(record, MSS, 2.0 + index / 10, 0.5)
        rate.fill(taken, 0.5)
    # The last was sent at 1.09, when nothing had arrived: 10 segments in 1.9 s.
    assert taken.delivery_rate == pytest.approx(10 * MSS / 1.9, rel=0.01)


def test_app_limited_samples_are_marked() -> None:
    rate, taken = DeliveryRate(), AckSample()
    first = Sent(0, MSS, 1.0)
    rate.sent(first, 1.0, True)
    rate.app_limited(MSS)
    second = Sent(MSS, 2 * MSS, 1.1)
    rate.sent(second, 1.1, False)
    rate.arrived(first, MSS, 2.0, 0.5)
    rate.fill(taken, 0.5)
    assert not taken.app_limited
    rate.arrived(second, MSS, 2.1, 0.5)
    rate.fill(taken, 0.5)
    assert taken.app_limited
    third = Sent(2 * MSS, 3 * MSS, 2.2)
    rate.sent(third, 2.2, True)
    assert not third.app_limited
