"""Formats of messages and extensions: each case is written and read, whole and cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.tls import extensions as ext
from smolmix_web.tls import messages as m
from smolmix_web.wire import Reader

CASES: list[tuple[m.Message, str]] = [
    (
        m.ServerHello(bytes(range(32)), b"\xaa", 0x1301, {43: b"\x03\x04"}),
        "02 00002f 0303 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f 01 aa 1301 00"
        "0006 002b 0002 0304",
    ),
    (
        m.ClientHello(bytes(32), b"", (0x1301, 0xC02B), {0: b"x"}),
        "01 000032 0303" + "00" * 32 + "00 0004 1301 c02b 01 00 0005 0000 0001 78",
    ),
    (m.EncryptedExtensions({}), "08 000002 0000"),
    (m.EncryptedExtensions({16: b"ab"}), "08 000008 0006 0010 0002 6162"),
    (m.CertificateRequest(b"\x07", {13: b""}), "0d 000008 01 07 0004 000d 0000"),
    (
        m.Certificate(b"", ((b"leaf", {}), (b"ca", {5: b"?"}))),
        "0b 000019 00 000015 000004 6c656166 0000 000002 6361 0005 0005 0001 3f",
    ),
    (m.Certificate12((b"leaf", b"ca")), "0b 00000f 00000c 000004 6c656166 000002 6361"),
    (m.CertificateVerify(0x0807, b"sig"), "0f 000007 0807 0003 736967"),
    (m.Finished(b"1234"), "14 000004 31323334"),
    (
        m.NewSessionTicket(3600, 0xDEADBEEF, b"\x01", b"tick", {}),
        "04 000012 00000e10 deadbeef 01 01 0004 7469636b 0000",
    ),
    (m.KeyUpdate(1), "18 000001 01"),
    (
        m.ServerKeyExchange(3, 29, b"point", 0x0403, b"s"),
        "0c 00000e 03 001d 05 706f696e74 0403 0001 73",
    ),
    (m.CertificateRequest12(b"\x40", (0x0403,), b""), "0d 000008 01 40 0002 0403 0000"),
    (m.ServerHelloDone(), "0e 000000"),
    (m.ClientKeyExchange(b"pt"), "10 000003 02 7074"),
]


@pytest.mark.parametrize(("message", "encoded"), CASES)
def test_message(message: Any, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert message.to_bytes() == raw
    assert type(message).pull_body(Reader(raw[4:])) == message


@pytest.mark.parametrize(
    ("message", "encoded"), [case for case in CASES if not isinstance(case[0], m.Finished)]
)
def test_message_cut_or_grown(message: Any, encoded: str) -> None:
    body = bytes.fromhex(encoded)[4:]
    for end in range(len(body)):
        try:
            short = type(message).pull_body(Reader(body[:end]))
        except MalformedError:
            continue
        # Extensions may be absent as a whole in a hello (RFC 5246 section 7.4.1.2).
        assert isinstance(short, m.ServerHello | m.ClientHello)
        assert short.extensions == {}
    with pytest.raises(MalformedError):
        type(message).pull_body(Reader(body + b"\0"))


@pytest.mark.parametrize(
    ("push", "pull", "value", "encoded"),
    [
        (ext.push_u16_list, ext.pull_u16_list, [29, 23], "0004 001d 0017"),
        (ext.push_server_name, ext.pull_server_name, "a.example", "000c 00 0009 612e6578616d706c65"),
        (ext.push_alpn, ext.pull_alpn, [b"h2", b"http/1.1"], "000c 02 6832 08 687474702f312e31"),
        (ext.push_cookie, ext.pull_cookie, b"c", "0001 63"),
        (ext.push_u16, ext.pull_u16, 16385, "4001"),
        (
            ext.push_key_shares,
            ext.pull_key_shares,
            [(29, b"k"), (23, b"p")],
            "000a 001d 0001 6b 0017 0001 70",
        ),
    ],
)
def test_extension(
    push: Callable[[Any], bytes], pull: Callable[[bytes], Any], value: Any, encoded: str
) -> None:
    contents = bytes.fromhex(encoded)
    assert push(value) == contents
    assert pull(contents) == value
    for end in range(len(contents)):
        with pytest.raises(MalformedError):
            pull(contents[:end])
    with pytest.raises(MalformedError):
        pull(contents + b"\0")


def test_key_share_and_psk() -> None:
    assert ext.pull_key_share_entry(ext.push_key_share_entry(29, b"key")) == (29, b"key")
    assert ext.pull_offered_psk(ext.push_offered_psk(b"id", 7, b"binder")) == (b"id", 7, b"binder")


@pytest.mark.parametrize(
    ("pull", "encoded"),
    [
        (ext.pull_u16_list, "0000"),
        (ext.pull_u16_list, "0003 001d00"),
        (ext.pull_alpn, "0000"),
        (ext.pull_alpn, "0001 00"),
        (ext.pull_cookie, "0000"),
        (ext.pull_key_share_entry, "001d 0000"),
        (ext.pull_server_name, "0004 01 0001 61"),
        (ext.pull_server_name, "0004 00 0001 ff"),
    ],
)
def test_malformed_extension(pull: Callable[[bytes], Any], encoded: str) -> None:
    with pytest.raises(MalformedError):
        pull(bytes.fromhex(encoded))


def test_unknown_extensions_survive_and_repeated_ones_do_not() -> None:
    block = bytes.fromhex("000a ffee 0002 0102 0a0a 0000")
    assert ext.pull_extensions(Reader(block)) == {0xFFEE: b"\1\2", 0x0A0A: b""}
    with pytest.raises(MalformedError):
        ext.pull_extensions(Reader(bytes.fromhex("0008 0a0a 0000 0a0a 0000")))


def test_nothing_secret_in_reprs() -> None:
    ticket = m.NewSessionTicket(1, 99, b"nonce", b"ticket", {})
    assert "nonce" not in repr(ticket)
    assert "ticket" not in repr(ticket).replace("NewSessionTicket", "")
    assert "1234" not in repr(m.Finished(b"1234"))
