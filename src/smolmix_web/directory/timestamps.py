"""Times as the directory writes them (spec directory.md 3.1, 3.3). Here they are unix seconds (float)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from smolmix_web.errors import MalformedError

_OFFSET_DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[ Tt](\d\d:\d\d:\d\d)(\.\d+)? ?([Zz]|[+-]\d\d:\d\d)(?::\d\d)?", re.ASCII
)


def parse_rfc3339(text: str) -> float:
    """:raises MalformedError: not a date and time of RFC 3339, or no such instant."""
    if "T" not in text.upper():
        raise MalformedError("not an RFC 3339 time")
    return _parse(text)


def parse_lenient(text: str) -> float:
    """Either of the two forms of ``refreshed_at``; anything else is 1970, as the published client has it."""
    try:
        return _parse(text)
    except MalformedError:
        return 0.0


def _parse(text: str) -> float:
    matched = _OFFSET_DATE_TIME.fullmatch(text)
    if matched is None:
        raise MalformedError("not a date and time with offset")
    date, time, fraction, offset = matched.groups()
    try:
        whole = datetime.fromisoformat(f"{date}T{time}{'+00:00' if offset in 'Zz' else offset}")
        return whole.timestamp() + float(f"0{(fraction or '.0')[:12]}")
    except (ValueError, OverflowError):
        raise MalformedError("no such instant") from None


def emit_rfc3339(unix_time: float) -> str:
    """With ``Z``; milliseconds only where there are any."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    milliseconds = moment.microsecond // 1000
    return f"{moment:%Y-%m-%dT%H:%M:%S}{f'.{milliseconds:03d}' if milliseconds else ''}Z"


def emit_offset_date_time(unix_time: float) -> str:
    """``2026-08-20 12:00:00.0 +00:00:00``, milliseconds with trailing zeros cut."""
    moment = datetime.fromtimestamp(unix_time, UTC)
    fraction = f"{moment.microsecond // 1000:03d}".rstrip("0") or "0"
    return f"{moment:%Y-%m-%d %H:%M:%S}.{fraction} +00:00:00"
