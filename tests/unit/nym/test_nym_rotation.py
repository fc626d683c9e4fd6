"""Epochs and rotations by the clock (spec/sphinx.md 26)."""

from __future__ import annotations

import math

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.nym.rotation import KeyRotationInfo, SurbRefresh

START = 1_755_691_200.0
HOUR = 3600.0
INFO = KeyRotationInfo(
    validity_epochs=24,
    initial_epoch_id=76,
    current_absolute_epoch_id=110,
    current_epoch_start=START,
    epoch_duration=HOUR,
)


def test_epoch_and_rotation_follow_the_clock() -> None:
    assert INFO.epoch_at(START - 10_000) == 110, "the past is not told by the answer"
    assert INFO.epoch_at(START + 3599) == 110
    assert INFO.epoch_at(START + 3600) == 111
    assert [INFO.rotation_of(e) for e in (0, 76, 99, 100, 123, 124)] == [0, 0, 0, 1, 1, 2]
    assert INFO.rotation_at(START) == 1
    assert INFO.rotation_at(START + 14 * HOUR) == 2


def test_start_of_a_rotation() -> None:
    assert INFO.rotation_start(1) == START - 10 * HOUR
    assert INFO.rotation_start(2) == START + 14 * HOUR
    assert INFO.rotation_at(INFO.rotation_start(2)) == 2
    assert INFO.rotation_at(INFO.rotation_start(2) - 1) == 1


def test_lifetime_and_poll_interval() -> None:
    assert INFO.packet_lifetime == 25 * HOUR
    assert INFO.poll_interval == 450.0


def test_topology_that_contradicts_the_clock() -> None:
    assert INFO.agrees_with(110, START + 100)
    assert INFO.agrees_with(110, START + HOUR + 1)
    assert INFO.agrees_with(111, START + HOUR - 1)
    assert not INFO.agrees_with(111, START + 100)
    assert not INFO.agrees_with(0, START)


@pytest.mark.parametrize(
    "change", [{"validity_epochs": 0}, {"epoch_duration": 0.0}, {"epoch_duration": math.inf},
               {"current_epoch_start": math.nan}]
)  # fmt: skip
def test_impossible_answers(change: dict[str, float]) -> None:
    values = {"validity_epochs": 24, "initial_epoch_id": 0, "current_absolute_epoch_id": 0,
              "current_epoch_start": START, "epoch_duration": HOUR, **change}  # fmt: skip
    with pytest.raises(MalformedError):
        KeyRotationInfo(**values)  # type: ignore[arg-type]


def test_refresh_one_poll_after_the_change() -> None:
    refresh = SurbRefresh(1)
    assert [refresh.poll(r) for r in (1, 1, 2, 2, 2, 2, 3, 3, 3)] == [
        False, False, False, True, False, False, False, True, False,
    ]  # fmt: skip
