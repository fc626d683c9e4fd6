"""Rewarded set and key rotation (spec directory.md 3.2, 3.3): who does what in this epoch, by which keys."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web import json_fields as fields
from smolmix_web.directory import timestamps
from smolmix_web.errors import MalformedError
from smolmix_web.json_fields import JsonObject
from smolmix_web.nym.rotation import KeyRotationInfo as EpochClock

NodeIds = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RewardedSet:
    """Node ids by role. Routes are made from the three layers and nothing else."""

    epoch_id: int
    entry_gateways: NodeIds
    exit_gateways: NodeIds
    layer1: NodeIds
    layer2: NodeIds
    layer3: NodeIds
    standby: NodeIds = ()


_ID_LISTS = ("entry_gateways", "exit_gateways", "layer1", "layer2", "layer3", "standby")


def parse_rewarded_set(message: JsonObject) -> RewardedSet:
    """:raises MalformedError: names the field that does not fit."""
    return RewardedSet(
        fields.uint(message, "epoch_id", 32, default=0), *(_parse_ids(message, name) for name in _ID_LISTS)
    )


def emit_rewarded_set(rewarded: RewardedSet) -> JsonObject:
    return {
        "epoch_id": rewarded.epoch_id,
        **{name: list(getattr(rewarded, name)) for name in _ID_LISTS},
    }


def _parse_ids(message: JsonObject, name: str) -> NodeIds:
    ids = fields.array(message, name)
    if not all(type(node_id) is int and 0 <= node_id < 1 << 32 for node_id in ids):
        raise MalformedError(f"{name}: node ids are wanted")
    return tuple(ids)


@dataclass(frozen=True, slots=True)
class KeyRotationInfo:
    """Where the network stands in its sequence of epochs and key rotations.

    :ivar current_epoch_start: unix seconds.
    :ivar epoch_duration: seconds, above 0.
    """

    validity_epochs: int
    initial_epoch_id: int
    current_absolute_epoch_id: int
    current_epoch_start: float
    epoch_duration: float
    current_key_rotation_id: int
    current_rotation_starting_epoch: int
    current_rotation_ending_epoch: int

    @classmethod
    def at_epoch(
        cls,
        epoch_id: int,
        *,
        epoch_start: float,
        epoch_duration: float,
        validity_epochs: int,
        initial_epoch_id: int,
    ) -> KeyRotationInfo:
        """With the progress that follows from the epoch (directory.md 3.3)."""
        rotation = max(0, epoch_id - initial_epoch_id) // validity_epochs
        starting = initial_epoch_id + validity_epochs * rotation
        return cls(
            validity_epochs=validity_epochs,
            initial_epoch_id=initial_epoch_id,
            current_absolute_epoch_id=epoch_id,
            current_epoch_start=epoch_start,
            epoch_duration=epoch_duration,
            current_key_rotation_id=rotation,
            current_rotation_starting_epoch=starting,
            current_rotation_ending_epoch=starting + validity_epochs - 1,
        )

    @property
    def clock(self) -> EpochClock:
        """What follows from this answer at any later time."""
        return EpochClock(
            self.validity_epochs,
            self.initial_epoch_id,
            self.current_absolute_epoch_id,
            self.current_epoch_start,
            self.epoch_duration,
        )


def parse_key_rotation(message: JsonObject) -> KeyRotationInfo:
    """:raises MalformedError: names the field that does not fit."""
    state = fields.child(message, "key_rotation_state")
    duration = fields.child(message, "epoch_duration")
    progress = fields.child(message, "progress")
    seconds = fields.uint(duration, "secs", 64) + fields.uint(duration, "nanos", 32) / 1e9
    validity = fields.uint(state, "validity_epochs", 32)
    if seconds <= 0 or validity == 0:
        raise MalformedError("epoch_duration, validity_epochs: must not be 0")
    return KeyRotationInfo(
        validity_epochs=validity,
        initial_epoch_id=fields.uint(state, "initial_epoch_id", 32),
        current_absolute_epoch_id=fields.uint(message, "current_absolute_epoch_id", 32),
        current_epoch_start=timestamps.parse_rfc3339(fields.string(message, "current_epoch_start")),
        epoch_duration=seconds,
        current_key_rotation_id=fields.uint(progress, "current_key_rotation_id", 32),
        current_rotation_starting_epoch=fields.uint(progress, "current_rotation_starting_epoch", 32),
        current_rotation_ending_epoch=fields.uint(progress, "current_rotation_ending_epoch", 32),
    )


def emit_key_rotation(info: KeyRotationInfo) -> JsonObject:
    secs, nanos = divmod(round(info.epoch_duration * 1_000_000_000), 1_000_000_000)
    return {
        "key_rotation_state": {
            "validity_epochs": info.validity_epochs,
            "initial_epoch_id": info.initial_epoch_id,
        },
        "current_absolute_epoch_id": info.current_absolute_epoch_id,
        "current_epoch_start": timestamps.emit_rfc3339(info.current_epoch_start),
        "epoch_duration": {"secs": secs, "nanos": nanos},
        "progress": {
            "current_key_rotation_id": info.current_key_rotation_id,
            "current_rotation_starting_epoch": info.current_rotation_starting_epoch,
            "current_rotation_ending_epoch": info.current_rotation_ending_epoch,
        },
    }
