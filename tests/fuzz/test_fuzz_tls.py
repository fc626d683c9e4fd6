"""Invariant: whatever a server sends, in any state and any portions, the client raises TlsError or goes
on; no application byte comes out before the handshake is complete, and memory stays bounded."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.tls import ProtocolVersion, TlsClient, TlsError
from smolmix_web.tls import extensions as ext
from smolmix_web.tls import messages as m
from smolmix_web.tls.messages import encode_message
from smolmix_web.tls.registry import ContentType, HandshakeType
from smolmix_web.wire import Reader, Writer
from tls_support.pair import NAME, carry, issued, make_client
from tls_support.server import TamperingServer

V12, V13 = ProtocolVersion.TLS_1_2, ProtocolVersion.TLS_1_3
STATES = [
    (V13, "hello_retry_request"),
    (V13, "server_hello"),
    (V13, "encrypted_extensions"),
    (V13, "certificate"),
    (V13, "certificate_verify"),
    (V13, "finished"),
    (V13, "connected"),
    (V12, "server_hello"),
    (V12, "certificate"),
    (V12, "server_key_exchange"),
    (V12, "server_hello_done"),
    (V12, "finished"),
    (V12, "connected"),
]


def in_state(version: ProtocolVersion, state: str) -> tuple[TlsClient, TamperingServer]:
    """A client that waits for the message ``state``, and a server that can still send protected records."""
    client = make_client()
    sent = [False]

    def tamper(name: str, raw: bytes) -> list[bytes]:
        sent[0] = sent[0] or name == state
        return [] if sent[0] else [raw]

    server = TamperingServer(issued(), version=version, tamper=tamper)
    if state == "connected":
        server.tamper = lambda name, raw: [raw]
    if state == "hello_retry_request":
        client.data_to_send()
        return client, server
    carry(client, server)
    while client.next_event() is not None:
        pass
    return client, server


def survive(client: TlsClient, feed: Callable[[], None]) -> None:
    connected = client.connected
    with suppress(TlsError):
        feed()
    with pytest.raises(TlsError) as caught:
        client.receive_eof()
    assert caught.value.host == NAME
    assert caught.value.code.startswith("TLS_")
    if not connected and not client._core.connected:
        assert client.next_event() is None
    assert len(client._core.handshake_buffer) < 1 << 18
    assert client._core.records.buffered < 1 << 17


@pytest.mark.parametrize(("version", "state"), STATES)
def test_a_megabyte_of_noise_in_any_state(version: ProtocolVersion, state: str) -> None:
    noise = random.Random(f"{version} {state}")
    for portion in (1 << 20, 1 << 14):
        client, _ = in_state(version, state)
        data = noise.randbytes(1 << 20)

        def feed(client: TlsClient = client, data: bytes = data, portion: int = portion) -> None:
            for start in range(0, len(data), portion):
                client.receive_data(data[start : start + portion])

        survive(client, feed)


@pytest.mark.parametrize(("version", "state"), STATES)
def test_a_megabyte_of_noise_in_well_formed_records(version: ProtocolVersion, state: str) -> None:
    """The noise gets past the record layer: as handshake data, properly protected where keys are on."""
    noise = random.Random(f"records {version} {state}")
    client, server = in_state(version, state)

    def feed() -> None:
        for _ in range(64):
            server.send_raw(ContentType.HANDSHAKE, noise.randbytes(1 << 14))
            client.receive_data(server.take())

    survive(client, feed)


KINDS = sorted({*HandshakeType, 3, 99})


@pytest.mark.parametrize(("version", "state"), STATES)
@settings(max_examples=40, deadline=None)
@given(kind=st.sampled_from(KINDS), body=st.binary(max_size=300), portion=st.integers(1, 400))
def test_framed_noise(version: ProtocolVersion, state: str, kind: int, body: bytes, portion: int) -> None:
    client, server = in_state(version, state)

    def feed() -> None:
        server.records.max_fragment = portion
        server.send_raw(ContentType.HANDSHAKE, encode_message(kind, body))
        data = server.take()
        for start in range(0, len(data), portion):
            client.receive_data(data[start : start + portion])

    survive(client, feed)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([V12, V13]),
    st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True),
            st.sampled_from(["set", "cut", "grow"]),
            st.integers(0, 255),
            st.binary(max_size=50),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_damaged_flights(version: ProtocolVersion, changes: list[tuple[float, str, int, bytes]]) -> None:
    """A real flight, damaged in a few places, cut and grown."""
    client, server = make_client(), TamperingServer(issued(), version=version)
    server.receive(client.data_to_send())
    flight = bytearray(server.take())
    # Signatures differ in length from run to run, so places are drawn as fractions.
    for place, action, byte, inserted in changes:
        start = int(place * len(flight))
        if action == "set" and flight:
            flight[start] = byte
        elif action == "cut":
            del flight[start : start + byte]
        else:
            flight[start:start] = inserted
    survive(client, lambda: client.receive_data(bytes(flight)))


PULLS = [
    m.ClientHello,
    m.ServerHello,
    m.EncryptedExtensions,
    m.CertificateRequest,
    m.Certificate,
    m.Certificate12,
    m.CertificateVerify,
    m.Finished,
    m.NewSessionTicket,
    m.KeyUpdate,
    m.ServerKeyExchange,
    m.CertificateRequest12,
    m.ServerHelloDone,
    m.ClientKeyExchange,
]


@pytest.mark.parametrize("message", PULLS)
@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_message_parsers(message: type[m.Message], body: bytes) -> None:
    """MalformedError, or a value that is written as it was read."""
    try:
        parsed = message.pull_body(Reader(body))  # type: ignore[attr-defined]
    except MalformedError:
        return
    writer = Writer()
    parsed.push_body(writer)
    again = message.pull_body(Reader(writer.getvalue()))  # type: ignore[attr-defined]
    assert again == parsed


@pytest.mark.parametrize(
    "pull",
    [
        ext.pull_u16_list,
        ext.pull_u16,
        ext.pull_server_name,
        ext.pull_alpn,
        ext.pull_key_share_entry,
        ext.pull_key_shares,
        ext.pull_cookie,
        ext.pull_offered_psk,
    ],
)
@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=60))
def test_extension_parsers(pull: Callable[[bytes], object], contents: bytes) -> None:
    with suppress(MalformedError):
        pull(contents)
