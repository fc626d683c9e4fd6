"""The engine reproduces the traces of RFC 8448 byte for byte: every record it sends, every byte it reads.

The hello of those traces is NSS's, so its list of extensions is laid into the engine; key shares, binder,
records and all that follows are our own. The server's certificate is a self-signed one with a 1,024-bit RSA
key, which our verifiers refuse as they should: here, and nowhere else, a stand-in takes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smolmix_web.tls import DataReceived, HandshakeComplete, PeerClosed, ProtocolVersion, TlsClient, TlsConfig
from smolmix_web.tls import extensions as ext
from smolmix_web.tls import hello as hello_module
from smolmix_web.tls.certificates.certificate import Certificate
from smolmix_web.tls.messages import ClientHello
from smolmix_web.tls.registry import CipherSuite, ExtensionType, NamedGroup
from smolmix_web.tls.tickets import TicketStore
from smolmix_web.tls.verify import VerifiedPeer
from smolmix_web.wire import Reader

FILE = Path(__file__).parents[2] / "vectors" / "tls" / "rfc8448.json"
TRACES = {trace["section"]: trace for trace in json.loads(FILE.read_text())["traces"]}


class TakesAnyKey:
    def verify(self, chain: tuple[bytes, ...], name: Any, unix_time: float) -> VerifiedPeer:
        return VerifiedPeer(chain, Certificate(chain[0]).public_key, 2e9)


def octets(trace: dict[str, str], field: str) -> bytes:
    return bytes.fromhex(trace.get(field, ""))


def parse_hello(record: bytes) -> ClientHello:
    return ClientHello.pull_body(Reader(record[9:]))


def scripted(*values: bytes) -> Any:
    left = list(values)

    def random_bytes(length: int) -> bytes:
        return left.pop(0)

    return random_bytes


def engine(
    trace: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    store: TicketStore | None = None,
    unix_time: float = 1_700_000_000.0,
) -> TlsClient:
    hellos = [octets(trace, "client_hello_record"), octets(trace, "second_client_hello_record")]
    wanted: Iterator[ClientHello] = iter([parse_hello(record) for record in hellos if record])

    def extensions(self: Any) -> ext.Extensions:
        found = dict(next(wanted).extensions)
        shares = [(group, self._keys.share(group).public) for group in self._shares]
        found[ExtensionType.KEY_SHARE] = ext.push_key_shares(shares)
        if ExtensionType.PRE_SHARED_KEY in found:
            _, age, binder = ext.pull_offered_psk(found[ExtensionType.PRE_SHARED_KEY])
            offer = ext.push_offered_psk(self._ticket.identity, age, bytes(len(binder)))
            found[ExtensionType.PRE_SHARED_KEY] = offer
        return found

    suites = [CipherSuite(number) for number in parse_hello(hellos[0]).cipher_suites]
    monkeypatch.setattr(hello_module, "preferred_suites", lambda: suites)
    monkeypatch.setattr(hello_module, "_GROUPS", (NamedGroup.X25519, NamedGroup.SECP256R1))
    monkeypatch.setattr(hello_module, "_SHARED_AT_ONCE", (NamedGroup.X25519,))
    monkeypatch.setattr(hello_module.HelloExchange, "_extensions", extensions)
    client = TlsClient(
        "server",
        TlsConfig(minimum_version=ProtocolVersion.TLS_1_3, resumption=store),
        unix_time=lambda: unix_time,
        random_bytes=scripted(
            octets(trace, "client_random"),
            octets(trace, "session_id"),
            octets(trace, "client_x25519_private"),
            octets(trace, "client_p256_private"),
        ),
    )
    client._core.verifier = TakesAnyKey()
    client.start()
    return client


@pytest.mark.parametrize("section", ["3", "5", "7"])
@pytest.mark.parametrize("portion", [1, 7, 100_000])
def test_trace_is_reproduced(section: str, portion: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = TRACES[section]
    client = engine(trace, monkeypatch)

    def feed(field: str) -> None:
        data = octets(trace, field)
        for start in range(0, len(data), portion):
            client.receive_data(data[start : start + portion])

    assert client.data_to_send() == octets(trace, "client_hello_record")
    if section == "5":
        feed("hello_retry_request_record")
        assert client.data_to_send() == octets(trace, "second_client_hello_record")
    feed("server_hello_record")
    feed("server_flight_record")
    assert client.data_to_send() == octets(trace, "client_finished_record")
    event = client.next_event()
    assert isinstance(event, HandshakeComplete)
    assert event.version == ProtocolVersion.TLS_1_3
    assert event.cipher_suite == CipherSuite.TLS_AES_128_GCM_SHA256
    assert event.retried == (section == "5")
    if section == "3":
        feed("new_session_ticket_record")
        client.send(octets(trace, "client_data"))
        assert client.data_to_send() == octets(trace, "client_data_record")
        feed("server_data_record")
        received = client.next_event()
        assert isinstance(received, DataReceived)
        assert received.data == octets(trace, "server_data")
    client.close()
    assert client.data_to_send() == octets(trace, "client_close_notify_record")
    feed("server_close_notify_record")
    assert isinstance(client.next_event(), PeerClosed)


def test_resumed_hello_has_the_binder_of_the_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 4 resumes section 3's session: PSK, ticket and binder all come out of our key schedule."""
    store, first = TicketStore(), TRACES["3"]
    client = engine(first, monkeypatch, store=store)
    for field in ("server_hello_record", "server_flight_record", "new_session_ticket_record"):
        client.receive_data(octets(first, field))
    resumed = engine(TRACES["4"], monkeypatch, store=store, unix_time=1_700_000_001.0)
    assert resumed.data_to_send() == octets(TRACES["4"], "client_hello_record")
