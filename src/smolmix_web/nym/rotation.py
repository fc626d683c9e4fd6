"""Epochs, key rotations, and when held reply SURBs get too old (sphinx.md 26)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from smolmix_web.errors import MalformedError

POLLS_PER_EPOCH = 8


@dataclass(frozen=True, slots=True)
class KeyRotationInfo:
    """The directory's answer at start-up; every later epoch follows from it and the clock.

    :ivar validity_epochs: epochs that a rotation lasts, at least 1.
    :ivar current_epoch_start: seconds since 1970.
    :ivar epoch_duration: seconds, above zero.
    :raises MalformedError: numbers no clock can run on.
    """

    validity_epochs: int
    initial_epoch_id: int
    current_absolute_epoch_id: int
    current_epoch_start: float
    epoch_duration: float

    def __post_init__(self) -> None:
        if self.validity_epochs < 1 or not 0 < self.epoch_duration < math.inf:
            raise MalformedError("a key rotation lasts at least one epoch, and an epoch some time")
        if not math.isfinite(self.current_epoch_start):
            raise MalformedError("the current epoch has no start")

    def epoch_at(self, unix_time: float) -> int:
        passed = math.floor((unix_time - self.current_epoch_start) / self.epoch_duration)
        return self.current_absolute_epoch_id + max(0, passed)

    def rotation_of(self, epoch_id: int) -> int:
        return max(0, epoch_id - self.initial_epoch_id) // self.validity_epochs

    def rotation_at(self, unix_time: float) -> int:
        """The id that the directory should be giving."""
        return self.rotation_of(self.epoch_at(unix_time))

    def rotation_start(self, rotation_id: int) -> float:
        """Seconds since 1970."""
        since_initial = (self.current_absolute_epoch_id - self.initial_epoch_id) * self.epoch_duration
        rotations = rotation_id * self.validity_epochs * self.epoch_duration
        return self.current_epoch_start - since_initial + rotations

    @property
    def packet_lifetime(self) -> float:
        """Seconds that packets of a rotation can live: its length and one epoch of overlap."""
        return (self.validity_epochs + 1) * self.epoch_duration

    @property
    def poll_interval(self) -> float:
        """Seconds between two looks at the topology and the held SURBs."""
        return self.epoch_duration / POLLS_PER_EPOCH

    def agrees_with(self, epoch_id: int, refreshed_at: float) -> bool:
        """Whether a topology of that epoch can be as old as it says, give or take two seconds."""
        return epoch_id in (self.epoch_at(refreshed_at - 2), self.epoch_at(refreshed_at + 2))


class SurbRefresh:
    """Decides when held SURBs become stale because the network changed its keys.

    A change of the topology's rotation is noticed at one poll and acted upon at the next, so that not all
    clients of the network ask for new SURBs in the moment of the change.
    """

    def __init__(self, rotation_id: int) -> None:
        self._known = rotation_id
        self._scheduled = False

    def poll(self, rotation_id: int) -> bool:
        """Whether to replace the held SURBs now; ``rotation_id`` is the topology's."""
        if self._scheduled:
            self._scheduled = False
            self._known = rotation_id
            return True
        self._scheduled = rotation_id != self._known
        return False
