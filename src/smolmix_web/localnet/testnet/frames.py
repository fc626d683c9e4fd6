"""A WebSocket server that sends exactly the bytes it is told to: for frames that no library would send.

The query of the URL says what happens after the upgrade request:

============  ==============================================================================================
``send``      bytes in hexadecimal, sent right behind the handshake
``repeat``    so many times (default 1)
``pause``     seconds before each of them
``then``      ``read`` (default: take what comes, answer nothing), ``close`` (end the connection in order), or
              ``reset``; both wait for ``linger`` seconds (default 0.2)
``status``    of the answer to the upgrade (default 101)
``accept``    the proof of the key, instead of the right one
``header``    a further header line; may be repeated
``delay``     seconds before the answer
``cut=1``     end the connection in the middle of the answer
============  ==============================================================================================
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from urllib.parse import parse_qs, urlsplit

from smolmix_web.localnet.testnet.tcp import reset_connection

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_MAX_SECONDS = 600.0
_MAX_SENT = 64 * 1024 * 1024


async def websocket_frames(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """See the module."""
    head = await reader.readuntil(b"\r\n\r\n")
    query = parse_qs(urlsplit(head.split(b" ", 2)[1].decode("ascii", "replace")).query)

    def number(name: str, default: float) -> float:
        return min(float(query.get(name, [str(default)])[0]), _MAX_SECONDS)

    await asyncio.sleep(number("delay", 0))
    answer = _answer(head, query)
    if query.get("cut"):
        writer.write(answer[: len(answer) // 2])
        return
    writer.write(answer)
    if not answer.startswith(b"HTTP/1.1 101"):
        return
    piece = bytes.fromhex(query.get("send", [""])[0])
    for _ in range(min(int(number("repeat", 1)), _MAX_SENT // max(len(piece), 1))):
        if query.get("pause"):
            await asyncio.sleep(number("pause", 0))
        writer.write(piece)
        await writer.drain()
    then = query.get("then", ["read"])[0]
    if then == "read":
        while await reader.read(65536):
            pass
        return
    await asyncio.sleep(number("linger", 0.2))
    if then == "reset":
        reset_connection(writer.transport)


def _answer(head: bytes, query: dict[str, list[str]]) -> bytes:
    status = query.get("status", ["101"])[0]
    lines = [f"HTTP/1.1 {status} {'Switching Protocols' if status == '101' else 'No'}"]
    if status == "101":
        accept = query.get("accept", [_proof(head)])[0]
        lines += ["Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    else:
        lines += ["Content-Length: 0", "Connection: close"]
    lines += [line.replace("\r", "").replace("\n", "") for line in query.get("header", [])]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _proof(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"sec-websocket-key":
            return base64.b64encode(hashlib.sha1(value.strip() + _GUID).digest()).decode()
    return ""
