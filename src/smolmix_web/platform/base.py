"""What the tunnel needs from the place it runs in.

Only :mod:`smolmix_web.platform` and the worker's bridge know more than this.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Protocol

from smolmix_web.errors import MalformedError


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An answer to a plain HTTP GET made outside the tunnel (only the directory is asked that way)."""

    status: int
    content_type: str
    body: bytes

    def json(self) -> Any:
        """:raises MalformedError: the body is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise MalformedError("the answer is not JSON") from error


class WebSocketLink(Protocol):
    """One open WebSocket to the entry gateway."""

    async def receive(self) -> str | bytes | None:
        """The next message; None once the connection has ended, for whatever reason."""
        ...

    def send(self, message: str | bytes) -> None:
        """Queue a message; never blocks. Messages sent after the end are dropped."""
        ...

    def buffered(self) -> int:
        """Bytes accepted by :meth:`send` that have not left this machine yet."""
        ...

    async def close(self) -> None: ...


class Storage(Protocol):
    """Small named blobs that outlive the process (keys and gateway registrations of one ``clientId``)."""

    async def load(self, name: str) -> bytes | None: ...

    async def save(self, name: str, value: bytes) -> None: ...

    async def delete(self, name: str) -> None: ...


class Platform(Protocol):
    """The runtime: clocks, randomness, the two ways out, and storage."""

    name: str

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        ...

    def unix_time(self) -> float:
        """Seconds since 1970-01-01 UTC."""
        ...

    def random_bytes(self, count: int) -> bytes:
        """``count`` bytes of the system's CSPRNG."""
        ...

    async def http_get(self, url: str, headers: dict[str, str], timeout: float) -> HttpAnswer:
        """GET ``url``. :raises DeadlineError: after ``timeout`` seconds. :raises NetworkError: no answer."""
        ...

    async def open_websocket(self, url: str, timeout: float) -> WebSocketLink:
        """Connect to ``url``.

        :raises DeadlineError: after ``timeout`` seconds. :raises NetworkError: refused.
        """
        ...

    def storage(self, client_id: str) -> Storage:
        """The store of this client id."""
        ...

    async def aclose(self) -> None:
        """Free what the platform itself holds (connection pools)."""
        ...
