"""Limits as a page gives them (milliseconds, camelCase) to those of the engines (seconds)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from smolmix_web.errors import OptionError
from smolmix_web.fetch.timeouts import FetchTimeouts
from smolmix_web.websocket.settings import WebSocketSettings

_FETCH: Final = {
    "resolve": "resolve",
    "connect": "connect",
    "tls": "tls",
    "queue": "queue",
    "firstByte": "first_byte",
    "idle": "idle",
}
_SOCKET: Final = {
    "resolve": "resolve_timeout",
    "connect": "connect_timeout",
    "tls": "tls_timeout",
    "firstByte": "handshake_timeout",
    "idle": "idle_timeout",
    "close": "close_timeout",
    "pong": "ping_timeout",
}


def fetch_timeouts(given: Mapping[str, Any] | None, total: int | None) -> FetchTimeouts:
    """:raises OptionError: an unknown name, or not a number greater than zero."""
    return FetchTimeouts(**_seconds(given, _FETCH), total=None if total is None else total / 1000)


def socket_settings(
    given: Mapping[str, Any] | None, ping_interval: float | None, max_message_size: int | None
) -> WebSocketSettings:
    """:raises OptionError: an unknown name, or not a number greater than zero."""
    chosen: dict[str, Any] = _seconds(given, _SOCKET)
    if ping_interval is not None:
        chosen["ping_interval"] = _to_seconds("pingInterval", ping_interval)
    if max_message_size is not None:
        chosen["max_message_size"] = max_message_size
    return WebSocketSettings(**chosen)


def _seconds(given: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, float]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise OptionError("timeouts", "an object with milliseconds by phase is wanted")
    chosen = {}
    for name, value in given.items():
        if name not in names:
            raise OptionError(f"timeouts.{name}", f"unknown; known are {', '.join(names)}")
        if value is not None:
            chosen[names[name]] = _to_seconds(f"timeouts.{name}", value)
    return chosen


def _to_seconds(name: str, milliseconds: object) -> float:
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or not milliseconds > 0:
        raise OptionError(name, f"{milliseconds!r} is not a number of milliseconds greater than zero")
    return milliseconds / 1000
