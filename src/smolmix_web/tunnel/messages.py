"""Raw mixnet messages as a user of :class:`~smolmix_web.tunnel.mix_client.MixClient` meets them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.events import MessageReceived

MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one message; receivers put them together in memory."""

MAX_HELD_MESSAGES = 1024
MAX_HELD_BYTES = 16 * 1024 * 1024
"""Of messages that nobody has taken yet. Anybody may send to an address, so later ones are dropped."""

SENDER_TAG_SIZE = 16


@dataclass(frozen=True, slots=True)
class MixMessage:
    """A message that arrived.

    :ivar sender_tag: 16 bytes to :meth:`~smolmix_web.tunnel.mix_client.MixClient.reply` to; None for plain
        messages and for replies.
    :ivar sender: for a reply: the address we had written to. Everybody else stays unknown.
    """

    kind: ClassVar[str] = "message"
    data: bytes = field(repr=False)
    sender_tag: bytes | None = None
    sender: Recipient | None = None

    @classmethod
    def of(cls, event: MessageReceived) -> MixMessage:
        return cls(event.data, event.sender_tag, event.peer)


class HeldMessages:
    """Messages between their arrival and whoever takes them: a callback, or a queue of bounded size."""

    def __init__(self) -> None:
        self.on_message: Callable[[MixMessage], None] | None = None
        self.dropped = 0
        self.received = 0
        self._queue: deque[MixMessage] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: MixMessage) -> bool:
        """Whether there was room, or a callback that took it."""
        self.received += 1
        if self.on_message is not None:
            self.on_message(message)
            return True
        if len(self._queue) >= MAX_HELD_MESSAGES or self._bytes + len(message.data) > MAX_HELD_BYTES:
            self.dropped += 1
            return False
        self._queue.append(message)
        self._bytes += len(message.data)
        return True

    def take(self) -> MixMessage | None:
        """The oldest message held, or None."""
        if not self._queue:
            return None
        message = self._queue.popleft()
        self._bytes -= len(message.data)
        return message


def parse_recipient(recipient: str | Recipient) -> Recipient:
    """:raises OptionError: not a Nym address."""
    if isinstance(recipient, Recipient):
        return recipient
    try:
        return Recipient.parse(recipient)
    except (MalformedError, AttributeError) as error:
        raise OptionError("recipient", f"not a Nym address: {error}") from error


def parse_sender_tag(tag: str | bytes) -> bytes:
    """16 bytes, or their base58 text. :raises OptionError: neither."""
    try:
        data = base58.decode(tag, SENDER_TAG_SIZE) if isinstance(tag, str) else bytes(tag)
    except (MalformedError, TypeError) as error:
        raise OptionError("senderTag", f"not a sender tag: {error}") from error
    if len(data) != SENDER_TAG_SIZE:
        raise OptionError("senderTag", f"{len(data)} bytes, {SENDER_TAG_SIZE} are wanted")
    return data


def check_data(data: bytes, *, may_be_empty: bool = True) -> bytes:
    """:raises OptionError: not bytes, or too many, or none where some are needed."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise OptionError("data", f"bytes are wanted, not {type(data).__name__}")
    if len(data) > MAX_MESSAGE:
        raise OptionError("data", f"{len(data)} bytes, at most {MAX_MESSAGE} are possible")
    if not data and not may_be_empty:
        raise OptionError("data", "a reply cannot be empty")
    return bytes(data)
