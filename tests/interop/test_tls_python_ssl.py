"""Our client against Python's ``ssl`` as a server: what the command-line servers cannot be told to do.

One-byte records, server that speaks first, half-close in both orders, truncation, many tickets, SNI.
"""

from __future__ import annotations

import ssl
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest

from smolmix_web.tls import (
    DataReceived,
    HandshakeComplete,
    PeerClosed,
    TicketStore,
    TlsClient,
    TlsConfig,
    TlsTruncated,
)
from tls_support.certificates import Authority

NAME = "python.example.com"
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@cache
def root() -> Authority:
    return Authority("Python Root", not_before=datetime.now(UTC) - timedelta(days=9))


@pytest.fixture(params=VERSIONS, ids=lambda version: version.name)
def context(request: pytest.FixtureRequest, tmp_path: Path) -> ssl.SSLContext:
    issued = root().issue(NAME, not_before=datetime.now(UTC) - timedelta(days=8))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*issued.write(tmp_path))
    made.minimum_version = made.maximum_version = request.param
    return made


class Pair:
    """Client and server over memory, the handshake done."""

    def __init__(self, context: ssl.SSLContext, **options: object) -> None:
        self.to_server, self.to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.server = context.wrap_bio(self.to_server, self.to_client, server_side=True)
        config = TlsConfig(trust_anchors=root().pem, bundled_roots=False, **options)  # type: ignore[arg-type]
        self.client = TlsClient(NAME, config, unix_time=time.time)
        self.client.start()
        done = False
        while not (done and self.client.connected):
            self.to_server.write(self.client.data_to_send())
            try:
                self.server.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            self.client.receive_data(self.to_client.read())
        self.to_server.write(self.client.data_to_send())
        event = self.client.next_event()
        assert isinstance(event, HandshakeComplete)
        self.info = event

    def down(self) -> None:
        self.client.receive_data(self.to_client.read())

    def up(self) -> None:
        self.to_server.write(self.client.data_to_send())

    def received(self) -> bytes:
        data = b""
        while isinstance(event := self.client.next_event(), DataReceived):
            data += event.data
        return data


def test_one_byte_records(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    text = b"every byte in a record of its own"
    for byte in text:
        pair.server.write(bytes((byte,)))
    pair.down()
    assert pair.received() == text


def test_full_records_in_both_directions(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    blob = bytes(range(256)) * 1024
    pair.server.write(blob)
    pair.down()
    assert pair.received() == blob
    pair.client.send(blob)
    pair.up()
    read = b""
    while len(read) < len(blob):
        read += pair.server.read(65536)
    assert read == blob


def test_client_ends_first(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    pair.client.send(b"request")
    pair.client.close()
    pair.up()
    assert pair.server.read() == b"request"
    assert pair.server.read() == b"", "our close_notify"
    pair.server.write(b"response")
    pair.down()
    assert pair.received() == b"response"


def test_server_ends_first(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    pair.server.write(b"bye")
    with pytest.raises(ssl.SSLWantReadError):
        pair.server.unwrap()
    pair.down()
    assert pair.client.next_event() == DataReceived(b"bye")
    assert isinstance(pair.client.next_event(), PeerClosed)
    pair.client.close()
    pair.up()
    pair.server.unwrap()
    pair.client.receive_eof()


def test_truncation(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    pair.server.write(b"half")
    pair.down()
    with pytest.raises(TlsTruncated):
        pair.client.receive_eof()
    assert pair.received() == b"half"


def test_tickets_are_parsed_and_ignored_unless_wanted(context: ssl.SSLContext) -> None:
    pair = Pair(context)
    pair.server.write(b"x")
    pair.down()
    assert pair.received() == b"x"
    assert not Pair(context).info.resumed


def test_resumption_uses_each_ticket_once(context: ssl.SSLContext) -> None:
    if context.maximum_version != ssl.TLSVersion.TLSv1_3:
        pytest.skip("TLS 1.2 sessions are not resumed")
    store = TicketStore()
    context.num_tickets = 2
    first = Pair(context, resumption=store)
    first.server.write(b"tickets come with data")
    first.down()
    context.num_tickets = 0
    resumed = []
    for _ in range(3):
        again = Pair(context, resumption=store)
        resumed.append(again.info.resumed)
        assert again.server.session_reused == again.info.resumed
    assert resumed == [True, True, False]


def test_server_name_reaches_the_server(context: ssl.SSLContext) -> None:
    seen: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: seen.append(name)
    Pair(context)
    assert seen == [NAME]
