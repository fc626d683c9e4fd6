"""The JSON form of requests and responses (1.3). Pure."""

from __future__ import annotations

import json
from typing import Any, Final

from smolmix_web.errors import MalformedError
from smolmix_web.native_api.messages import (
    BadRequest,
    ErrorKind,
    Failure,
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
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient

_TAG: Final = 16


def parse_request(frame: str) -> Request:
    """:raises BadRequest: not JSON, an unknown type, or a field that is missing or does not fit."""
    try:
        given = json.loads(frame)
    except (ValueError, RecursionError) as error:
        raise _malformed("not JSON") from error
    if not isinstance(given, dict):
        raise _malformed("an object is wanted")
    kind = given.get("type")
    if kind == "selfAddress":
        return GetSelfAddress()
    if kind == "send":
        return Send(_recipient(given), _message(given), _lane(given))
    if kind == "sendAnonymous":
        surbs = _number(given, "replySurbs", 2**32)
        return SendAnonymous(_recipient(given), _message(given), surbs, _lane(given))
    if kind == "reply":
        return Reply(_sender_tag(given), _message(given), _lane(given))
    raise _malformed(f"unknown type {str(kind)[:40]!r}")


def _text(given: dict[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise _malformed(f"{name}: a text is wanted")
    return value


def _message(given: dict[str, Any]) -> bytes:
    try:
        return _text(given, "message").encode()
    except UnicodeEncodeError as error:
        raise _malformed("message: an unpaired surrogate") from error


def _number(given: dict[str, Any], name: str, above: int) -> int:
    value = given.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < above:
        raise _malformed(f"{name}: a whole number below {above} is wanted")
    return value


def _lane(given: dict[str, Any]) -> int | None:
    return None if given.get("connectionId") is None else _number(given, "connectionId", 2**64)


def _recipient(given: dict[str, Any]) -> Recipient:
    try:
        return Recipient.parse(_text(given, "recipient"))
    except BadRequest:
        raise
    except MalformedError as error:
        raise _malformed(f"recipient: {error}") from error


def _sender_tag(given: dict[str, Any]) -> bytes:
    try:
        return base58.decode(_text(given, "senderTag"), _TAG)
    except BadRequest:
        raise
    except MalformedError as error:
        raise _malformed(f"senderTag: {error}") from error


def _malformed(detail: str) -> BadRequest:
    return BadRequest(ErrorKind.MALFORMED_REQUEST, detail)


def emit_response(response: Response) -> str:
    """One text frame; a message that is not UTF-8 loses what is not."""
    fields: dict[str, Any]
    if isinstance(response, Failure):
        fields = {"type": "error", "message": f"{response.kind.text}:{response.detail}"}
    elif isinstance(response, Received):
        tag = response.sender_tag
        fields = {
            "type": "received",
            "message": response.data.decode("utf-8", "replace"),
            "senderTag": None if tag is None else base58.encode(tag),
        }
    elif isinstance(response, SelfAddress):
        fields = {"type": "selfAddress", "address": str(response.address)}
    else:
        assert isinstance(response, LaneQueueLength)
        fields = {
            "type": "laneQueueLength",
            "lane": response.connection_id,
            "queue_length": response.length,  # snake_case here alone, in the published client too
        }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
