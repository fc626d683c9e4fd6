"""Fair queueing of outgoing packets: one first-in-first-out queue per lane (sphinx.md 24).

Not visible on the wire. Lanes with little to send are served alike, so that a request of a few packets does
not wait behind an upload.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, NewType, Protocol, TypeVar

from smolmix_web.nym.randomness import RandomBytes, random_below, random_choice

Lane = NewType("Lane", int)

GENERAL = Lane(0)
SURB_REQUEST = Lane(1)
ADDITIONAL_SURBS = Lane(2)
RETRANSMISSION = Lane(3)

SMALL_LANE = 100
"""Items below which a lane is small."""
_OLD_LANES = 4
IDLE_LIFETIME = 600.0
"""Seconds after which a lane that stayed empty is forgotten."""


def connection_lane(connection_id: int) -> Lane:
    """A lane of its own for a connection (any id from 0 up)."""
    return Lane(16 + connection_id)


class Queueable(Protocol):
    """An item can be cancelled while it waits; see :meth:`LaneQueue.cancel`."""

    lane: Lane
    cancelled: bool


_T = TypeVar("_T", bound=Queueable)


@dataclass(slots=True)
class _LaneState(Generic[_T]):
    items: deque[_T] = field(default_factory=deque)
    waiting: int = 0
    """Items that are not cancelled."""
    sent: int = 0
    used_at: float = 0.0


class LaneQueue(Generic[_T]):
    """Order of calls: ``push`` and ``push_front`` in, ``pop`` out, ``cancel`` in between."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._lanes: dict[Lane, _LaneState[_T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def __iter__(self) -> Iterator[_T]:
        for state in self._lanes.values():
            yield from (item for item in state.items if not item.cancelled)

    def counts(self) -> dict[Lane, int]:
        """Items waiting per lane, empty lanes left out."""
        return {lane: state.waiting for lane, state in self._lanes.items() if state.waiting}

    def waiting(self, lane: Lane) -> int:
        state = self._lanes.get(lane)
        return state.waiting if state is not None else 0

    def push(self, item: _T, now: float) -> None:
        self._state(item.lane, now).items.append(item)

    def push_front(self, item: _T, now: float) -> None:
        """Back to where it was taken from."""
        self._state(item.lane, now).items.appendleft(item)

    def _state(self, lane: Lane, now: float) -> _LaneState[_T]:
        state = self._lanes.get(lane)
        if state is None:
            self._drop_idle(now)
            state = self._lanes[lane] = _LaneState()
        state.used_at = now
        state.waiting += 1
        self._waiting += 1
        return state

    def cancel(self, item: _T) -> None:
        """A waiting item will not be handed out."""
        item.cancelled = True
        self._lanes[item.lane].waiting -= 1
        self._waiting -= 1

    def pop(self, now: float) -> _T | None:
        """The next item of a lane picked by the rules of the published client, or None."""
        if not self._waiting:
            return None
        state = self._pick()
        while True:
            item = state.items.popleft()
            if not item.cancelled:
                break
        state.waiting -= 1
        self._waiting -= 1
        state.sent += 1
        state.used_at = now
        return item

    def _pick(self) -> _LaneState[_T]:
        candidates = [state for state in self._lanes.values() if state.waiting]
        if len(candidates) == 1:
            return candidates[0]
        small = [state for state in candidates if state.waiting < SMALL_LANE]
        if small:
            return random_choice(self._random_bytes, small)
        if random_below(self._random_bytes, 3) < 2:
            candidates.sort(key=lambda state: state.sent, reverse=True)
            return random_choice(self._random_bytes, candidates[:_OLD_LANES])
        return random_choice(self._random_bytes, candidates)

    def _drop_idle(self, now: float) -> None:
        idle = [
            lane
            for lane, state in self._lanes.items()
            if not state.waiting and now - state.used_at > IDLE_LIFETIME
        ]
        for lane in idle:
            del self._lanes[lane]
