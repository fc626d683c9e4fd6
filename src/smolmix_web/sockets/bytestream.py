"""The one stream interface that TLS, HTTP and WebSocket are written against.

A TCP connection through the tunnel, a TLS session over it and a native socket in a test all look like this.
"""

from __future__ import annotations

from typing import Protocol


class ByteStream(Protocol):
    """An ordered, reliable byte stream in both directions.

    Reading and writing are independent: one task may read while another writes, and neither waits for the
    other. At most one task reads and at most one writes at a time.
    """

    async def read(self, max_bytes: int = 65536) -> bytes:
        """The next 1 to ``max_bytes`` bytes; ``b""`` once the peer has ended its direction in order.

        :raises SmolmixError: the connection was lost; what arrived before is returned first.
        """
        ...

    async def write(self, data: bytes) -> None:
        """Returns when all of ``data`` has been taken, with back-pressure; not when it has arrived."""
        ...

    async def write_eof(self) -> None:
        """End our direction in order; reading goes on."""
        ...

    async def close(self) -> None:
        """Give the stream up in order: end our direction and stop reading. Calling again does nothing."""
        ...

    def abort(self) -> None:
        """Drop the stream at once, without waiting. Calling again does nothing."""
        ...
