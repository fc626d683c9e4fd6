"""The message kinds of raw mixnet messages. Part of :class:`~smolmix_web.bridge.handlers.Handlers`.

As with sockets, the page asks for one message at a time.
"""

from __future__ import annotations

from typing import Protocol

from smolmix_web.bridge.messages import MixReceive, MixReply, MixRequest, MixSend, ResultMessage
from smolmix_web.nym import base58
from smolmix_web.tunnel.messages import MixMessage


class MixClientLike(Protocol):
    """The part of :class:`smolmix_web.tunnel.MixClient` that is used here."""

    async def send(self, recipient: str, data: bytes) -> None: ...

    async def send_anonymous(self, recipient: str, data: bytes, *, reply_surbs: int) -> None: ...

    async def reply(self, sender_tag: str, data: bytes) -> None: ...

    async def receive(self) -> MixMessage: ...


async def serve_mix_request(message: MixRequest, client: MixClientLike) -> ResultMessage:
    """Carry one request out."""
    match message:
        case MixSend(data=data, reply_surbs=None):
            await client.send(message.recipient, data or b"")
        case MixSend(data=data, reply_surbs=int(surbs)):
            await client.send_anonymous(message.recipient, data or b"", reply_surbs=surbs)
        case MixReply():
            await client.reply(message.sender_tag, message.data or b"")
        case MixReceive():
            received = await client.receive()
            tag, sender = received.sender_tag, received.sender
            value = {
                "senderTag": None if tag is None else base58.encode(tag),
                "sender": None if sender is None else str(sender),
            }
            return ResultMessage(message.id, value, received.data)
    return ResultMessage(message.id)
