"""Lanes are served fairly, and each keeps its order (spec/sphinx.md 24)."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

from smolmix_web.nym.lanes import (
    GENERAL,
    IDLE_LIFETIME,
    RETRANSMISSION,
    SURB_REQUEST,
    Lane,
    LaneQueue,
    connection_lane,
)


@dataclass
class Item:
    lane: Lane
    number: int
    cancelled: bool = False


def queue(seed: int = 1) -> LaneQueue[Item]:
    return LaneQueue(random.Random(seed).randbytes)


def fill(lanes: LaneQueue[Item], lane: Lane, count: int) -> list[Item]:
    items = [Item(lane, i) for i in range(count)]
    for item in items:
        lanes.push(item, 0.0)
    return items


def drain(lanes: LaneQueue[Item], count: int | None = None) -> list[Item]:
    taken: list[Item] = []
    while (count is None or len(taken) < count) and (item := lanes.pop(0.0)) is not None:
        taken.append(item)
    return taken


def test_each_lane_is_first_in_first_out() -> None:
    lanes = queue()
    for lane in (GENERAL, RETRANSMISSION, connection_lane(0), connection_lane(1)):
        fill(lanes, lane, 150)
    assert len(lanes) == 600
    taken = drain(lanes)
    for lane in (GENERAL, RETRANSMISSION, connection_lane(0), connection_lane(1)):
        assert [item.number for item in taken if item.lane == lane] == list(range(150))
    assert len(lanes) == 0
    assert lanes.pop(0.0) is None


def test_connection_lanes_do_not_collide_with_the_others() -> None:
    lanes = {connection_lane(i) for i in range(100)}
    assert len(lanes) == 100
    assert not lanes & {GENERAL, SURB_REQUEST, RETRANSMISSION}


def test_a_few_packets_do_not_wait_behind_many() -> None:
    lanes = queue()
    fill(lanes, connection_lane(1), 5000)
    fill(lanes, connection_lane(2), 5)
    assert [item.lane for item in drain(lanes, 5)] == [connection_lane(2)] * 5


def test_small_lanes_share_evenly() -> None:
    lanes = queue()
    for connection in range(3):
        fill(lanes, connection_lane(connection), 99)
    shares = Counter(item.lane for item in drain(lanes, 150))
    # 50 each on average; five standard deviations of a binomial are 29.
    assert all(21 < shares[connection_lane(i)] < 79 for i in range(3))


def test_among_large_lanes_the_busy_ones_come_first() -> None:
    lanes = queue()
    for connection in range(4):
        fill(lanes, connection_lane(connection), 300)
    drain(lanes, 400)
    for connection in range(10):
        fill(lanes, connection_lane(100 + connection), 300)
    shares = Counter(item.lane < connection_lane(100) for item in drain(lanes, 300))
    # 2/3 + 1/3 * 4/14 = 76 % of 300 for the four old lanes.
    assert 190 < shares[True] < 270


def test_cancelled_items_are_not_handed_out() -> None:
    lanes = queue()
    items = fill(lanes, GENERAL, 5)
    for number in (0, 2, 4):
        lanes.cancel(items[number])
    assert len(lanes) == 2
    assert lanes.counts() == {GENERAL: 2}
    assert [item.number for item in lanes] == [1, 3]
    assert [item.number for item in drain(lanes)] == [1, 3]
    fill(lanes, GENERAL, 1)
    assert len(drain(lanes)) == 1


def test_counts_per_lane() -> None:
    lanes = queue()
    fill(lanes, GENERAL, 3)
    fill(lanes, connection_lane(7), 2)
    assert lanes.counts() == {GENERAL: 3, connection_lane(7): 2}
    assert lanes.waiting(connection_lane(7)) == 2
    assert lanes.waiting(connection_lane(8)) == 0


def test_lanes_that_stay_empty_are_forgotten() -> None:
    lanes = queue()
    for connection in range(1000):
        now = connection * IDLE_LIFETIME / 10
        lanes.push(Item(connection_lane(connection), 0), now)
        assert lanes.pop(now) is not None
    assert len(lanes._lanes) <= 12
