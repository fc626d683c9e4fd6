"""The opening handshake (RFC 6455 section 4.1), over a byte stream that is connected."""

from __future__ import annotations

from dataclasses import dataclass

from wsproto import WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, RejectConnection, RejectData, Request
from wsproto.extensions import Extension, PerMessageDeflate
from wsproto.utilities import RemoteProtocolError as WsprotoFault

from smolmix_web.fetch.headers import DEFAULTS, Headers
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.websocket.errors import HandshakeRefused
from smolmix_web.websocket.request import WebSocketRequest

READ_SIZE = 8 * 1024


@dataclass(frozen=True, slots=True)
class Upgraded:
    """What the server agreed to."""

    protocol: str
    """The subprotocol that it chose, or an empty text."""

    extensions: str
    """The extensions in use, in header form."""

    headers: Headers
    """Of its answer, names in lower case."""

    events: list[Event]
    """What came behind the answer already."""


async def upgrade(
    ws: WSConnection, stream: ByteStream, request: WebSocketRequest, *, compression: bool
) -> Upgraded:
    """Ask for the upgrade and wait for the answer. The caller limits the time.

    :raises HandshakeRefused: the server did not upgrade. :raises NetworkError: the connection was lost.
    """
    await stream.write(ws.send(_to_wire(request, compression)))
    while True:
        data = await stream.read(READ_SIZE)
        try:
            ws.receive_data(data or None)
            events = list(ws.events())
        except WsprotoFault as error:
            raise HandshakeRefused(f"not a WebSocket handshake: {error}") from error
        for position, event in enumerate(events):
            if isinstance(event, AcceptConnection):
                return _accepted(event, request, events[position + 1 :])
            if isinstance(event, RejectConnection):
                raise HandshakeRefused(
                    f"the server answered {event.status_code} instead of upgrading", event.status_code
                )
            if isinstance(event, RejectData | CloseConnection):
                raise HandshakeRefused("the server ended the connection during the handshake")
        if not data:
            raise HandshakeRefused("the server ended the connection during the handshake")


def _to_wire(request: WebSocketRequest, compression: bool) -> Request:
    names = {name for name, _ in request.headers}
    own_origin = f"{request.origin.scheme}://{request.origin.authority}"
    headers = [("origin", own_origin)] if "origin" not in names else []
    headers += request.headers
    headers += [(name, value) for name, value in DEFAULTS if name not in ("accept", *names)]
    extensions: list[Extension] = [PerMessageDeflate()] if compression else []
    return Request(
        host=request.origin.authority,
        target=request.target,
        subprotocols=list(request.protocols),
        extensions=extensions,
        extra_headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    )


def _accepted(event: AcceptConnection, request: WebSocketRequest, rest: list[Event]) -> Upgraded:
    if event.subprotocol is not None and event.subprotocol not in request.protocols:
        raise HandshakeRefused(f"the server chose a subprotocol that was not offered: {event.subprotocol}")
    if event.subprotocol is None and request.protocols:
        # RFC 6455 would allow it; the WebSockets standard of browsers does not.
        raise HandshakeRefused("the server chose none of the subprotocols that were offered")
    return Upgraded(
        event.subprotocol or "",
        ", ".join(extension.name for extension in event.extensions if extension.enabled()),
        [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in event.extra_headers],
        rest,
    )
