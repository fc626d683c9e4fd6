"""Rates that a page shows: right over the window, and never nonsense."""

from __future__ import annotations

from smolmix_web.nym.stats import ClientStats
from smolmix_web.tunnel.rates import WINDOW, PacketRates

NONE = dict.fromkeys(("real", "retransmissions", "cover", "received", "coverReceived", "acks"), 0.0)


def test_rates_are_differences_over_the_window() -> None:
    rates, stats = PacketRates(), ClientStats(real_sent=1000)
    assert rates.rates(stats, 10.0) == NONE
    for second in range(11, 31):
        stats.real_sent += 50 if second > 20 else 10
        stats.cover_sent += 4
        stats.acks_received += 3
        stats.acks_cover += 4
        seen = rates.rates(stats, float(second))
        if second <= 20:
            assert (seen["real"], seen["cover"], seen["acks"]) == (10.0, 4.0, 7.0)
    assert (seen["real"], seen["cover"], seen["acks"]) == (50.0, 4.0, 7.0)


def test_questions_in_quick_succession_and_rare_ones() -> None:
    rates, stats = PacketRates(), ClientStats()
    assert rates.rates(stats, 1.0) == NONE
    assert rates.rates(stats, 1.0) == NONE
    for tick in range(1, 1001):
        stats.fragments_received += 1
        seen = rates.rates(stats, 1.0 + tick / 100)
    assert abs(seen["received"] - 100.0) < 1.0
    stats.fragments_received += 1000
    assert rates.rates(stats, 11.0 + 20 * WINDOW)["received"] < 20.0


def test_a_client_made_anew_starts_at_zero() -> None:
    rates = PacketRates()
    rates.rates(ClientStats(real_sent=500, acks_received=400), 1.0)
    assert rates.rates(ClientStats(real_sent=3), 2.0) == NONE
    assert rates.rates(ClientStats(real_sent=5), 3.0)["real"] == 2.0
