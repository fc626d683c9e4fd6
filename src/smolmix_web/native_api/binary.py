"""The binary form of requests and responses (1.4). All numbers are big-endian. Pure."""

from __future__ import annotations

import struct
from typing import Final

from smolmix_web.errors import MalformedError
from smolmix_web.native_api.messages import (
    BadRequest,
    ClosedConnection,
    ErrorKind,
    Failure,
    GetLaneQueueLength,
    GetSelfAddress,
    LaneQueueLength,
    Received,
    Reply,
    Request,
    Response,
    SelfAddress,
    Send,
    SendAnonymous,
)
from smolmix_web.nym.addresses import Recipient

_RECIPIENT: Final = 96
_TAG: Final = 16


def parse_request(frame: bytes) -> Request:
    """:raises BadRequest: what it is not, in the words of the published client."""
    if not frame:
        raise BadRequest(ErrorKind.EMPTY_REQUEST, "no data provided")
    tag, body = frame[0], frame[1:]
    if tag == 0:
        recipient, lane, data = _fields(body, _RECIPIENT, "send", "data")
        return Send(_recipient(recipient), data, lane)
    if tag == 1:
        if len(body) < 4:
            raise _too_short("send_anonymous")
        (surbs,) = struct.unpack_from("!I", body)
        recipient, lane, data = _fields(body[4:], _RECIPIENT, "send_anonymous", "data")
        return SendAnonymous(_recipient(recipient), data, surbs, lane)
    if tag == 2:
        sender_tag, lane, data = _fields(body, _TAG, "reply", "message")
        return Reply(sender_tag, data, lane)
    if tag == 3:
        return GetSelfAddress()
    if tag == 4:
        return ClosedConnection(_lane(body, "closed connection"))
    if tag == 5:
        return GetLaneQueueLength(_lane(body, "get lane queue lengths"))
    raise BadRequest(ErrorKind.UNKNOWN_REQUEST, f"{tag} does not correspond to any valid request tag")


def _fields(body: bytes, first: int, request: str, what: str) -> tuple[bytes, int | None, bytes]:
    """A first field of fixed length, a connection id (0 is none), and data with its length before it."""
    if len(body) < first + 16:
        raise _too_short(request)
    connection_id, length = struct.unpack_from("!QQ", body, first)
    data = body[first + 16 :]
    if length != len(data):
        raise BadRequest(
            ErrorKind.MALFORMED_REQUEST,
            f"{what} len has inconsistent length. specified: {length} got: {len(data)}",
        )
    return body[:first], connection_id or None, data


def _lane(body: bytes, what: str) -> int:
    if len(body) != 8:
        raise BadRequest(ErrorKind.MALFORMED_REQUEST, f"The received {what} has invalid length")
    return int.from_bytes(body, "big")


def _recipient(data: bytes) -> Recipient:
    try:
        return Recipient.from_bytes(data)
    except MalformedError as error:
        raise BadRequest(ErrorKind.MALFORMED_REQUEST, f"malformed recipient: {error}") from error


def _too_short(request: str) -> BadRequest:
    return BadRequest(ErrorKind.TOO_SHORT_REQUEST, f"not enough data provided to recover '{request}'")


def emit_response(response: Response) -> bytes:
    """One binary frame."""
    if isinstance(response, Failure):
        text = response.detail.encode()
        return bytes([0, response.kind]) + struct.pack("!Q", len(text)) + text
    if isinstance(response, Received):
        tag = b"\0" if response.sender_tag is None else b"\1" + response.sender_tag
        return b"\1" + tag + struct.pack("!Q", len(response.data)) + response.data
    if isinstance(response, SelfAddress):
        return b"\2" + response.address.to_bytes()
    assert isinstance(response, LaneQueueLength)
    return b"\3" + struct.pack("!QQ", response.connection_id, response.length)
