"""SOCKS5 messages, byte for byte (RFC 1928)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import ConnectionRefused, DeadlineError, SmolmixError, TunnelClosed, Unreachable
from smolmix_web.resolve import NameNotFound
from smolmix_web.socks.messages import (
    Destination,
    Reply,
    SocksError,
    choose_method,
    emit_datagram,
    emit_reply,
    parse_datagram,
    parse_destination,
    reply_for,
)


def test_methods() -> None:
    assert choose_method(b"\x02\x00") == 0
    assert choose_method(b"\x02\x01") == 0xFF
    assert choose_method(b"") == 0xFF


@pytest.mark.parametrize(
    ("kind", "data", "destination"),
    [
        (1, bytes([192, 0, 2, 10, 0, 80]), Destination("192.0.2.10", 80)),
        (3, b"\x08web.test\x01\xbb", Destination("web.test", 443)),
        (4, bytes.fromhex("20010db8000000000000000000000010 0035"), Destination("2001:db8::10", 53)),
    ],
)
def test_destinations(kind: int, data: bytes, destination: Destination) -> None:
    assert parse_destination(kind, data + b"rest") == (destination, len(data))
    for length in range(len(data)):
        with pytest.raises(SocksError):
            parse_destination(kind, data[:length])


@pytest.mark.parametrize("data", [b"\x00\x00\x50", b"\x02\xc3\xbc\x00\x50", b"\x03a\x00b\x00\x50"])
def test_names_that_are_none(data: bytes) -> None:
    with pytest.raises(SocksError, match="name"):
        parse_destination(3, data)


def test_an_unknown_address_type_has_its_own_reply() -> None:
    with pytest.raises(SocksError) as caught:
        parse_destination(2, b"x")
    assert caught.value.reply is Reply.ADDRESS_TYPE_NOT_SUPPORTED


def test_replies() -> None:
    assert emit_reply(Reply.SUCCEEDED) == bytes.fromhex("05000001 00000000 0000")
    assert emit_reply(Reply.SUCCEEDED, "::1", 1080) == bytes.fromhex("05000004") + bytes(15) + b"\x01\x04\x38"


def test_datagrams() -> None:
    wire = emit_datagram("192.0.2.40", 7, b"hello")
    assert wire == bytes.fromhex("00000001 c0000228 0007") + b"hello"
    assert parse_datagram(wire) == (Destination("192.0.2.40", 7), b"hello")
    with pytest.raises(SocksError, match="fragment"):
        parse_datagram(b"\0\0\1" + wire[3:])


@given(st.binary(max_size=300))
def test_no_bytes_break_the_parser(data: bytes) -> None:
    try:
        destination, payload = parse_datagram(data)
    except SocksError:
        return
    assert destination.host
    assert data.endswith(payload)


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (ConnectionRefused("no"), Reply.REFUSED),
        (Unreachable("no"), Reply.HOST_UNREACHABLE),
        (NameNotFound("no"), Reply.HOST_UNREACHABLE),
        (DeadlineError("connect", 1), Reply.TTL_EXPIRED),
        (TunnelClosed("no"), Reply.NETWORK_UNREACHABLE),
        (SmolmixError("no"), Reply.GENERAL_FAILURE),
    ],
)
def test_what_a_client_is_told(error: SmolmixError, reply: Reply) -> None:
    assert reply_for(error) is reply
