"""Streams keep their statistics whatever is in them (spec/sphinx.md 24)."""

from __future__ import annotations

import itertools
import math
import random
import statistics

import pytest

from smolmix_web.errors import OptionError
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.pacing import AdaptiveRate, PoissonMainStream, PoissonStream, UnpacedMainStream
from smolmix_web.nym.packets import PacketSize


def ticks(stream: PoissonStream, count: int) -> list[float]:
    """Instants of the ticks, for a driver that is always on time."""
    times = []
    for _ in range(count):
        now = stream.tick_at
        times.append(now)
        stream.advance(now)
    return times


def test_intervals_are_exponential() -> None:
    stream = PoissonStream(0.020, random.Random(1).randbytes)
    stream.start(5.0)
    times = [5.0, *ticks(stream, 20_000)]
    intervals = [b - a for a, b in itertools.pairwise(times)]
    mean = statistics.fmean(intervals)
    assert mean == pytest.approx(0.020, rel=0.04)
    # For an exponential distribution the deviation equals the mean, and 1/e of all are longer than it.
    assert statistics.pstdev(intervals) == pytest.approx(0.020, rel=0.05)
    assert sum(i > 0.020 for i in intervals) / len(intervals) == pytest.approx(1 / math.e, abs=0.02)
    assert min(intervals) >= 0


def test_a_late_driver_does_not_slow_the_stream_down() -> None:
    stream = PoissonStream(0.020, random.Random(2).randbytes)
    stream.start(0.0)
    count, now = 0, 0.0
    while now < 60.0:
        now += 0.25
        while stream.tick_at <= now:
            stream.advance(now)
            count += 1
    assert count == pytest.approx(3000, rel=0.08)


def test_after_a_long_sleep_the_stream_does_not_burst() -> None:
    stream = PoissonStream(0.020, random.Random(3).randbytes, max_catch_up=1.0)
    stream.start(0.0)
    count = 0
    while stream.tick_at <= 3600.0:
        stream.advance(3600.0)
        count += 1
    assert count < 80, "one second's worth, not one hour's"


def test_unpaced_stream_is_due_whenever_something_waits() -> None:
    stream = UnpacedMainStream()
    stream.start(0.0)
    assert stream.next_at(0, 7.0) == math.inf
    assert stream.next_at(1, 7.0) == 7.0
    assert not stream.fills_with_cover


def test_back_pressure_slows_down_step_by_step() -> None:
    rate = AdaptiveRate()
    now = 0.0
    for expected in (2, 3, 4, 5, 6, 6):
        now += 1.1
        rate.observe(32, now)
        rate.observe(32, now + 0.5)  # too soon for another step
        assert rate.multiplier == expected


def test_calm_speeds_up_again() -> None:
    rate = AdaptiveRate()
    rate.observe(32, 0.0)
    rate.observe(32, 1.5)
    assert rate.multiplier == 3
    rate.observe(11, 3.0)
    rate.observe(0, 4.9)
    assert rate.multiplier == 3, "pressure was seen less than two seconds ago"
    rate.observe(10, 5.1)
    assert rate.multiplier == 2
    rate.observe(0, 7.0)
    assert rate.multiplier == 2, "the last step was less than two seconds ago"
    rate.observe(0, 7.2)
    assert rate.multiplier == 1
    rate.observe(0, 20.0)
    assert rate.multiplier == 1


def test_multiplier_stretches_the_mean() -> None:
    stream = PoissonMainStream(0.020, random.Random(4).randbytes)
    stream.start(0.0)
    stream.observe(32, 0.0)
    assert stream.rate.multiplier == 2
    times = ticks(stream, 5000)
    assert (times[-1] - times[0]) / 4999 == pytest.approx(0.040, rel=0.08)


@pytest.mark.parametrize(
    "change",
    [
        {"main_interval": 0},
        {"cover_interval": -1.0},
        {"average_packet_delay": -0.1},
        {"ack_wait_multiplier": -1},
        {"primary_size": PacketSize.ACK},
        {"secondary_size": PacketSize.OUTFOX_REGULAR},
        {"cover_primary_ratio": 1.5},
    ],
)
def test_config_refuses_nonsense(change: dict[str, float]) -> None:
    (name,) = change
    with pytest.raises(OptionError, match=name):
        ClientConfig(**change)  # type: ignore[arg-type]


def test_presets_of_the_published_clients() -> None:
    fast = ClientConfig().fast()
    assert (fast.average_packet_delay, fast.main_interval, fast.cover_interval) == (0.010, 0.004, 2000.0)
    quiet = ClientConfig().no_cover()
    assert quiet.disable_poisson
    assert quiet.disable_cover
    medium = ClientConfig().medium()
    assert (medium.disable_poisson, medium.cover_interval, medium.average_packet_delay) == (True, 5.0, 0.0)
    assert medium.secondary_size is PacketSize.EXTENDED16
