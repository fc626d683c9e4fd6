"""Both forms of the native client's interface, as spec/native-clients.md part 1 spells them."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.native_api import binary, text
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
    SelfAddress,
    Send,
    SendAnonymous,
)
from smolmix_web.nym import base58
from smolmix_web.nym.keys import ClientKeys

ADDRESS = ClientKeys.generate(lambda count: bytes(range(1, count + 1))).recipient(bytes(32))
TAG = bytes(range(16))


def u64(number: int) -> bytes:
    return struct.pack("!Q", number)


@pytest.mark.parametrize(
    ("frame", "request_"),
    [
        (b"\0" + ADDRESS.to_bytes() + u64(0) + u64(2) + b"hi", Send(ADDRESS, b"hi")),
        (b"\0" + ADDRESS.to_bytes() + u64(7) + u64(0), Send(ADDRESS, b"", 7)),
        (
            b"\1" + struct.pack("!I", 5) + ADDRESS.to_bytes() + u64(1) + u64(3) + b"\0\1\2",
            SendAnonymous(ADDRESS, b"\0\1\2", 5, 1),
        ),
        (b"\2" + TAG + u64(0) + u64(1) + b"x", Reply(TAG, b"x")),
        (b"\3 whatever follows", GetSelfAddress()),
        (b"\4" + u64(9), ClosedConnection(9)),
        (b"\5" + u64(0), GetLaneQueueLength(0)),
    ],
)
def test_binary_requests(frame: bytes, request_: object) -> None:
    assert binary.parse_request(frame) == request_


@pytest.mark.parametrize(
    ("frame", "kind", "detail"),
    [
        (b"", ErrorKind.EMPTY_REQUEST, "no data provided"),
        (b"\6", ErrorKind.UNKNOWN_REQUEST, "6 does not correspond to any valid request tag"),
        (b"\0" + bytes(111), ErrorKind.TOO_SHORT_REQUEST, "not enough data provided to recover 'send'"),
        (b"\1\0", ErrorKind.TOO_SHORT_REQUEST, "not enough data provided to recover 'send_anonymous'"),
        (b"\2" + TAG, ErrorKind.TOO_SHORT_REQUEST, "not enough data provided to recover 'reply'"),
        (
            b"\0" + ADDRESS.to_bytes() + u64(0) + u64(5) + b"hi",
            ErrorKind.MALFORMED_REQUEST,
            "data len has inconsistent length. specified: 5 got: 2",
        ),
        (
            b"\2" + TAG + u64(0) + u64(0) + b"x",
            ErrorKind.MALFORMED_REQUEST,
            "message len has inconsistent length. specified: 0 got: 1",
        ),
        (b"\4", ErrorKind.MALFORMED_REQUEST, "The received closed connection has invalid length"),
        (
            b"\5" + bytes(9),
            ErrorKind.MALFORMED_REQUEST,
            "The received get lane queue lengths has invalid length",
        ),
    ],
)
def test_binary_requests_that_are_refused(frame: bytes, kind: ErrorKind, detail: str) -> None:
    with pytest.raises(BadRequest) as caught:
        binary.parse_request(frame)
    assert caught.value.failure == Failure(kind, detail)


def test_binary_responses() -> None:
    assert binary.emit_response(Failure(ErrorKind.OTHER, "é")) == b"\0\xff" + u64(2) + b"\xc3\xa9"
    assert binary.emit_response(Received(b"hi")) == b"\1\0" + u64(2) + b"hi"
    assert binary.emit_response(Received(b"", TAG)) == b"\1\1" + TAG + u64(0)
    assert binary.emit_response(SelfAddress(ADDRESS)) == b"\2" + ADDRESS.to_bytes()
    assert binary.emit_response(LaneQueueLength(3, 40)) == b"\3" + u64(3) + u64(40)


def test_text_requests() -> None:
    send = {"type": "send", "message": "ü", "recipient": str(ADDRESS), "more": 1}
    assert text.parse_request(json.dumps(send)) == Send(ADDRESS, "ü".encode())
    assert text.parse_request(json.dumps(send | {"connectionId": None})) == Send(ADDRESS, "ü".encode())
    assert text.parse_request(json.dumps(send | {"connectionId": 0})) == Send(ADDRESS, "ü".encode(), 0)
    anonymous = send | {"type": "sendAnonymous", "replySurbs": 3}
    assert text.parse_request(json.dumps(anonymous)) == SendAnonymous(ADDRESS, "ü".encode(), 3)
    reply = {"type": "reply", "message": "", "senderTag": base58.encode(TAG)}
    assert text.parse_request(json.dumps(reply)) == Reply(TAG, b"")
    assert text.parse_request('{"type":"selfAddress"}') == GetSelfAddress()


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"type":"nothing"}',
        '{"type":["send"]}',
        '{"type":"send","message":{"a":1},"recipient":"x"}',
        '{"type":"send","message":"x","recipient":"nobody"}',
        '{"type":"send","message":"\\ud800","recipient":"ADDRESS"}',
        '{"type":"send","message":"x","recipient":"ADDRESS","connectionId":true}',
        '{"type":"sendAnonymous","message":"x","recipient":"ADDRESS"}',
        '{"type":"sendAnonymous","message":"x","recipient":"ADDRESS","replySurbs":4294967296}',
        '{"type":"reply","message":"x","senderTag":"0"}',
        '{"type":"closedConnection","connectionId":1}',
    ],
)
def test_text_requests_that_are_refused(frame: str) -> None:
    with pytest.raises(BadRequest) as caught:
        text.parse_request(frame.replace("ADDRESS", str(ADDRESS)))
    assert caught.value.failure.kind is ErrorKind.MALFORMED_REQUEST


def test_text_responses() -> None:
    assert (
        text.emit_response(Received(b"a\xffb")) == '{"type":"received","message":"a\ufffdb","senderTag":null}'
    )
    assert text.emit_response(Received(b"x", TAG)) == (
        f'{{"type":"received","message":"x","senderTag":"{base58.encode(TAG)}"}}'
    )
    assert text.emit_response(SelfAddress(ADDRESS)) == f'{{"type":"selfAddress","address":"{ADDRESS}"}}'
    assert text.emit_response(LaneQueueLength(0, 2)) == '{"type":"laneQueueLength","lane":0,"queue_length":2}'
    assert text.emit_response(Failure(ErrorKind.MALFORMED_REQUEST, "why")) == (
        '{"type":"error","message":"malformed request:why"}'
    )


@given(st.binary(max_size=300))
def test_no_bytes_break_the_binary_parser(frame: bytes) -> None:
    with contextlib.suppress(BadRequest):
        assert binary.parse_request(frame) is not None


@given(st.text(max_size=300))
def test_no_text_breaks_the_text_parser(frame: str) -> None:
    with pytest.raises(BadRequest):
        text.parse_request(frame)
