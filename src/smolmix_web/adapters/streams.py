"""asyncio's own shapes of a connection through the tunnel: the stream pair, and transports for protocols.

::

    reader, writer = await open_connection(tunnel, "example.com", 443, tls=True)
    transport, protocol = await create_connection(tunnel, MyProtocol, "example.com", 6667)
    transport, protocol = await create_datagram_endpoint(tunnel, MyDatagrams, ("192.0.2.1", 123))

For libraries and code that were written against asyncio; new code has less between it and the network with
the streams of :meth:`Tunnel.open_connection <smolmix_web.tunnel.Tunnel.open_connection>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from smolmix_web.sockets import transports
from smolmix_web.sockets.bytestream import ByteStream
from smolmix_web.sockets.transports import DatagramTransport, StreamTransport
from smolmix_web.tunnel import Tunnel

LIMIT: Final = 2**16
"""asyncio's own default: bytes that a reader holds before the sender has to wait (twice that at most)."""

_P = TypeVar("_P", bound=asyncio.Protocol | asyncio.BufferedProtocol)
_D = TypeVar("_D", bound=asyncio.DatagramProtocol)


async def open_connection(
    tunnel: Tunnel, host: str, port: int, *, tls: bool = False, timeout: float = 30.0, limit: int = LIMIT
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect through the tunnel, with TLS where wanted (always verified).

    :param timeout: seconds for the TCP handshake, and again for TLS's.
    :param limit: see :func:`asyncio.open_connection`.

    Errors: see :meth:`Tunnel.open_connection <smolmix_web.tunnel.Tunnel.open_connection>`.
    """
    stream = await tunnel.open_connection(host, port, tls=tls, timeout=timeout)
    return wrap(stream, limit=limit, extra={"peername": (host, port)})


def wrap(
    stream: ByteStream, *, limit: int = LIMIT, extra: dict[str, Any] | None = None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """The pair over any byte stream, which then belongs to it."""
    return transports.open_streams(stream, limit=limit, extra=extra)


async def create_connection(
    tunnel: Tunnel,
    protocol_factory: Callable[[], _P],
    host: str,
    port: int,
    *,
    tls: bool = False,
    timeout: float = 30.0,
) -> tuple[StreamTransport, _P]:
    """As ``loop.create_connection``, through the tunnel; arguments and errors as :func:`open_connection`.

    Without ``tls`` the transport may be given to ``loop.start_tls`` later.
    """
    stream = await tunnel.open_connection(host, port, tls=tls, timeout=timeout)
    return transports.create_connection(stream, protocol_factory, {"peername": (host, port)})


async def create_datagram_endpoint(
    tunnel: Tunnel, protocol_factory: Callable[[], _D], remote: tuple[str, int] | None = None
) -> tuple[DatagramTransport, _D]:
    """As ``loop.create_datagram_endpoint``, through the tunnel.

    :param remote: IP address and port to which the transport is connected.
    :raises TunnelStateError: there is no exit at the moment.
    """
    return transports.create_datagram_endpoint(tunnel.open_udp(), protocol_factory, remote)
