"""The time stamp inside IPR control requests: Rust's ``time::OffsetDateTime`` in bincode.

Servers of protocol version 8 and later do not check it. Source: ipr.md section 2.
"""

from __future__ import annotations

import calendar
import time
from dataclasses import dataclass

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bincode import (
    U16_MAX,
    U32_MAX,
    pull_i8,
    pull_varint,
    pull_zigzag,
    push_i8,
    push_varint,
    push_zigzag,
)
from smolmix_web.wire import Reader, Writer

_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Timestamp:
    """A civil time with its offset from UTC. ``ordinal`` is the day of the year, 1 to 366."""

    year: int
    ordinal: int
    hour: int
    minute: int
    second: int
    nanosecond: int = 0
    offset_hours: int = 0
    offset_minutes: int = 0
    offset_seconds: int = 0

    def __post_init__(self) -> None:
        """:raises MalformedError: a field is out of range (the reference decoder refuses those too)"""
        offsets = (self.offset_hours, self.offset_minutes, self.offset_seconds)
        days = 366 if calendar.isleap(self.year) else 365
        if not (
            -9999 <= self.year <= 9999
            and 1 <= self.ordinal <= days
            and 0 <= self.hour < 24
            and 0 <= self.minute < 60
            and 0 <= self.second < 60
            and 0 <= self.nanosecond < _NANOSECONDS
            and abs(self.offset_hours) <= 25
            and abs(self.offset_minutes) < 60
            and abs(self.offset_seconds) < 60
            and not (min(offsets) < 0 < max(offsets))
        ):
            raise MalformedError("time stamp is out of range")

    @classmethod
    def from_unix(cls, unix_time: float) -> Timestamp:
        """UTC, cut to whole milliseconds: that is what a browser's clock gives, so all clients look alike."""
        milliseconds = int(unix_time * 1000)
        fields = time.gmtime(milliseconds // 1000)
        return cls(
            fields.tm_year,
            fields.tm_yday,
            fields.tm_hour,
            fields.tm_min,
            fields.tm_sec,
            milliseconds % 1000 * 1_000_000,
        )


def pull_timestamp(reader: Reader) -> Timestamp:
    return Timestamp(
        year=pull_zigzag(reader),
        ordinal=pull_varint(reader, U16_MAX),
        hour=reader.pull_u8(),
        minute=reader.pull_u8(),
        second=reader.pull_u8(),
        nanosecond=pull_varint(reader, U32_MAX),
        offset_hours=pull_i8(reader),
        offset_minutes=pull_i8(reader),
        offset_seconds=pull_i8(reader),
    )


def push_timestamp(writer: Writer, stamp: Timestamp) -> None:
    push_zigzag(writer, stamp.year)
    push_varint(writer, stamp.ordinal)
    writer.push_u8(stamp.hour)
    writer.push_u8(stamp.minute)
    writer.push_u8(stamp.second)
    push_varint(writer, stamp.nanosecond)
    push_i8(writer, stamp.offset_hours)
    push_i8(writer, stamp.offset_minutes)
    push_i8(writer, stamp.offset_seconds)
