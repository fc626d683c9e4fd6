"""Received messages on their way from the connection to whoever reads them."""

from __future__ import annotations

import asyncio

from wsproto.events import BytesMessage, TextMessage


class Assembly:
    """Joins the pieces that wsproto gives of a message, up to a limit.

    :param limit: bytes of a binary message, characters of a text.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._size = 0
        self._texts: list[str] = []
        self._bytes = bytearray()

    def add(self, event: TextMessage | BytesMessage) -> str | bytes | None:
        """The whole message with its last piece. :raises OverflowError: larger than the limit."""
        data = event.data
        self._size += len(data)
        if self._size > self._limit:
            raise OverflowError
        if isinstance(data, str):
            self._texts.append(data)
        else:
            self._bytes += data
        if not event.message_finished:
            return None
        whole: str | bytes = "".join(self._texts) if isinstance(data, str) else bytes(self._bytes)
        self._size = 0
        self._texts.clear()
        self._bytes.clear()
        return whole


class Inbox:
    """Room for one message, and an end behind it."""

    def __init__(self) -> None:
        self._message: str | bytes | None = None
        self._ended = False
        self._waiting: list[asyncio.Future[None]] = []
        self.is_blocked = False
        """Whether :meth:`put` waits for a reader."""

    async def put(self, message: str | bytes) -> None:
        """Hand a message over, once the one before it was taken. After the end it is dropped."""
        self.is_blocked = True
        try:
            while self._message is not None and not self._ended:
                await self._change()
        finally:
            self.is_blocked = False
        if not self._ended:
            self._message = message
            self._wake()

    async def get(self) -> str | bytes | None:
        """The next message; None behind the last one, as often as it is asked for."""
        while self._message is None and not self._ended:
            await self._change()
        message, self._message = self._message, None
        self._wake()
        return message

    def end(self) -> None:
        """Nothing more will come. Idempotent."""
        self._ended = True
        self._wake()

    async def _change(self) -> None:
        change: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(change)
        await change

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)
