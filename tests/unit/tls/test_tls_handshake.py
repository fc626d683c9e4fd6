"""Handshakes that succeed: every version, suite, group, key and option, and what the user is told."""

from __future__ import annotations

import pytest

from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.errors import LocalProtocolError, OptionError
from smolmix_web.tls import (
    DataReceived,
    HandshakeComplete,
    PeerClosed,
    ProtocolVersion,
    TlsClient,
    TlsConfig,
    TlsTruncated,
)
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.hello import preferred_suites
from smolmix_web.tls.registry import CipherSuite, ExtensionType, NamedGroup, SignatureScheme
from smolmix_web.tls.schedule import SUITES_12, SUITES_13
from tls_support.pair import NAME, carry, connect, issued, make_client
from tls_support.server import TamperingServer

V12, V13 = ProtocolVersion.TLS_1_2, ProtocolVersion.TLS_1_3
GROUPS_12 = [NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.SECP384R1]


def received(client: TlsClient) -> bytes:
    data = b""
    while (event := client.next_event()) is not None:
        assert isinstance(event, DataReceived)
        data += event.data
    return data


@pytest.mark.parametrize("suite", list(SUITES_13))
@pytest.mark.parametrize("group", [NamedGroup.X25519, NamedGroup.SECP256R1, NamedGroup.X25519MLKEM768])
def test_tls13_suite_and_group(suite: CipherSuite, group: NamedGroup) -> None:
    server = TamperingServer(issued())
    server.suite, server.group = suite, group
    made = connect(server)
    assert (made.info.version, made.info.cipher_suite, made.info.group) == (V13, suite, group)
    assert not made.info.retried
    made.client.send(b"question")
    carry(made.client, server)
    assert server.received == b"question"
    server.send(b"answer" * 10_000)
    carry(made.client, server)
    assert received(made.client) == b"answer" * 10_000


@pytest.mark.parametrize("suite", list(SUITES_12))
@pytest.mark.parametrize("group", GROUPS_12)
def test_tls12_suite_and_group(suite: CipherSuite, group: NamedGroup) -> None:
    server = TamperingServer(issued("rsa2048" if "_RSA_" in suite.name else "p256"), version=V12)
    server.suite, server.group = suite, group
    made = connect(server)
    assert (made.info.version, made.info.cipher_suite, made.info.group) == (V12, suite, group)
    made.client.send(b"question")
    server.send(b"answer" * 10_000)
    carry(made.client, server)
    assert server.received == b"question"
    assert received(made.client) == b"answer" * 10_000


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(
    ("key", "scheme"),
    [
        ("p256", SignatureScheme.ECDSA_SECP256R1_SHA256),
        ("p384", SignatureScheme.ECDSA_SECP384R1_SHA384),
        ("ed25519", SignatureScheme.ED25519),
        ("rsa2048", SignatureScheme.RSA_PSS_RSAE_SHA256),
        ("rsa2048", SignatureScheme.RSA_PSS_RSAE_SHA384),
        ("rsa3072", SignatureScheme.RSA_PSS_RSAE_SHA512),
    ],
)
def test_certificate_key_and_signature_scheme(
    version: ProtocolVersion, key: str, scheme: SignatureScheme
) -> None:
    server = TamperingServer(issued(key), version=version)
    server.scheme = scheme
    made = connect(server)
    assert made.info.signature_scheme == scheme
    assert made.info.peer_certificates == issued(key).chain_der


@pytest.mark.parametrize("version", [V12, V13])
def test_pkcs1_signatures_are_for_tls12_only(version: ProtocolVersion) -> None:
    server = TamperingServer(issued("rsa2048"), version=version)
    server.scheme = SignatureScheme.RSA_PKCS1_SHA256
    if version == V12:
        assert connect(server).info.signature_scheme == SignatureScheme.RSA_PKCS1_SHA256
    else:
        with pytest.raises(Exception, match="not offered"):
            connect(server)


def test_one_round_trip_before_the_first_request_byte() -> None:
    client, server = make_client(), TamperingServer(issued())
    server.receive(client.data_to_send())
    client.receive_data(server.take())
    client.send(b"GET /")  # after one flight each way
    server.receive(client.data_to_send())
    assert server.received == b"GET /"


@pytest.mark.parametrize("portion", [1, 2, 5, 6, 1000])
@pytest.mark.parametrize("version", [V12, V13])
def test_bytes_may_come_in_any_portions(version: ProtocolVersion, portion: int) -> None:
    client, server = make_client(), TamperingServer(issued(), version=version)
    carry(client, server, portion=portion)
    assert client.connected
    server.send(b"x" * 3000)
    client.next_event()
    carry(client, server, portion=portion)
    assert received(client) == b"x" * 3000


@pytest.mark.parametrize("version", [V12, V13])
def test_messages_may_share_a_record(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    server.coalesce = True
    assert connect(server).info.version == version


@pytest.mark.parametrize("version", [V12, V13])
def test_messages_may_be_spread_over_one_byte_records(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    server.records.max_fragment = 1
    made = connect(server)
    server.send(b"slow")
    carry(made.client, server)
    assert received(made.client) == b"slow"


def test_hello_retry_request_costs_a_round_trip_and_is_reported() -> None:
    server = TamperingServer(issued())
    server.retry_group = NamedGroup.SECP384R1
    made = connect(server)
    assert made.info.retried
    assert made.info.group == NamedGroup.SECP384R1
    first, second = server.hellos
    assert second.random == first.random
    assert second.session_id == first.session_id
    changed = {k for k in first.extensions if first.extensions[k] != second.extensions.get(k)}
    assert changed == {ExtensionType.KEY_SHARE}


def test_cookie_is_given_back() -> None:
    server = TamperingServer(issued())
    server.cookie = b"remember me"
    made = connect(server)
    assert made.info.retried
    assert ext.pull_cookie(server.hellos[1].extensions[ExtensionType.COOKIE]) == b"remember me"
    assert (
        server.hellos[1].extensions[ExtensionType.KEY_SHARE]
        == server.hellos[0].extensions[ExtensionType.KEY_SHARE]
    )


@pytest.mark.parametrize("version", [V12, V13])
def test_alpn(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    answer = {ExtensionType.ALPN: ext.push_alpn([b"http/1.1"])}
    if version == V13:
        server.encrypted_extensions = answer
    else:
        server.hello_extensions = answer
    made = connect(server, alpn=("h2", "http/1.1"))
    assert made.info.alpn == "http/1.1"
    assert server.hello is not None
    assert ext.pull_alpn(server.hello.extensions[ExtensionType.ALPN]) == [b"h2", b"http/1.1"]


def test_no_alpn_unless_asked_for() -> None:
    made = connect()
    assert made.info.alpn is None
    assert made.server.hello is not None
    assert ExtensionType.ALPN not in made.server.hello.extensions


def test_server_name_is_sent_for_names_and_not_for_addresses() -> None:
    made = connect()
    assert made.server.hello is not None
    assert ext.pull_server_name(made.server.hello.extensions[ExtensionType.SERVER_NAME]) == NAME
    by_address = connect(client=make_client(name="192.0.2.7"))
    assert by_address.server.hello is not None
    assert ExtensionType.SERVER_NAME not in by_address.server.hello.extensions


@pytest.mark.parametrize("name", ["WWW.Example.COM", "www.example.com."])
def test_server_name_in_other_spellings(name: str) -> None:
    made = connect(client=make_client(name=name))
    assert made.server.hello is not None
    assert ext.pull_server_name(made.server.hello.extensions[ExtensionType.SERVER_NAME]) == NAME


@pytest.mark.parametrize(
    "name", ["", ".", "exa mple.com", "münchen.example", "-", "a" * 64 + ".com", "1.2.3.4.5", "[::1"]
)
def test_impossible_server_names_are_misuse(name: str) -> None:
    with pytest.raises(OptionError):
        make_client(name=name)


@pytest.mark.parametrize("version", [V12, V13])
def test_request_for_a_client_certificate_is_answered_by_none(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    server.request_certificate = True
    connect(server)
    assert server.client_certificate == (b"\0\0\0\0" if version == V13 else b"\0\0\0")


def test_tls12_without_extended_master_secret_is_reported() -> None:
    server = TamperingServer(issued(), version=V12)
    server.omit_hello_extensions = {ExtensionType.EXTENDED_MASTER_SECRET}
    assert not connect(server).info.extended_master_secret
    assert connect(TamperingServer(issued(), version=V12)).info.extended_master_secret


def test_versions_can_be_restricted() -> None:
    made = connect(TamperingServer(issued(), version=V12), maximum_version=V12)
    assert made.server.hello is not None
    assert ExtensionType.SUPPORTED_VERSIONS not in made.server.hello.extensions
    made = connect(minimum_version=V13)
    assert made.server.hello is not None
    assert not set(made.server.hello.cipher_suites) & set(SUITES_12)


def test_hello_offers_hybrid_first_and_nothing_weak() -> None:
    hello = connect().server.hello
    assert hello is not None
    groups = ext.pull_u16_list(hello.extensions[ExtensionType.SUPPORTED_GROUPS])
    assert groups == [
        NamedGroup.X25519MLKEM768,
        NamedGroup.X25519,
        NamedGroup.SECP256R1,
        NamedGroup.SECP384R1,
    ]
    assert hello.compression_methods == b"\0"
    assert set(hello.cipher_suites) == set(SUITES_12) | set(SUITES_13)
    schemes = ext.pull_u16_list(hello.extensions[ExtensionType.SIGNATURE_ALGORITHMS])
    assert not [s for s in schemes if s >> 8 == 2], "no SHA-1"


def test_hybrid_group_is_not_offered_without_ml_kem() -> None:
    class Old(PycaProvider):
        def mlkem768(self, seed: bytes | None = None) -> None:
            return None

    config = TlsConfig()
    client = TlsClient(NAME, config, unix_time=lambda: 0.0, provider=Old())
    client.start()
    server = TamperingServer(issued())
    server.receive(client.data_to_send())
    assert server.hello is not None
    groups = ext.pull_u16_list(server.hello.extensions[ExtensionType.SUPPORTED_GROUPS])
    assert NamedGroup.X25519MLKEM768 not in groups
    assert len(client._core.records.take_output()) < 700


def test_webassembly_prefers_chacha() -> None:
    assert "CHACHA20" in preferred_suites("emscripten")[0].name
    assert preferred_suites("linux")[0] == CipherSuite.TLS_AES_128_GCM_SHA256
    assert set(preferred_suites("emscripten")) == set(preferred_suites("linux"))


# -- keys, closing, misuse -----------------------------------------------------------------------------


def test_key_updates_in_both_directions() -> None:
    made = connect()
    client, server = made.client, made.server
    for round_number in range(3):
        server.send_key_update(request=round_number == 1)
        server.send(b"down")
        carry(client, server)
        assert received(client) == b"down"
        client.update_keys(request_peer=round_number == 2)
        client.send(b"up")
        carry(client, server)
    assert server.received == b"up" * 3
    assert server.key_updates == [0, 0, 0, 1]  # one is the answer to the server's request


def test_many_key_update_requests_get_one_answer() -> None:
    made = connect()
    for _ in range(10):
        made.server.send_key_update(request=True)
    made.client.receive_data(made.server.take())
    made.server.receive(made.client.data_to_send())
    assert made.server.key_updates == [0]


def test_sending_keys_change_by_themselves_before_their_limit() -> None:
    from smolmix_web.tls.record import REKEY_AFTER

    made = connect()
    made.client._core.records._write.sequence = made.server.records._read.sequence = REKEY_AFTER
    made.client.send(b"fresh")
    carry(made.client, made.server)
    assert made.server.key_updates == [0]
    assert made.server.received == b"fresh"


@pytest.mark.parametrize("version", [V12, V13])
def test_half_close_still_receives(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.client.send(b"last words")
    made.client.close()
    made.client.close()
    carry(made.client, made.server)
    assert made.server.alerts == [0]
    with pytest.raises(LocalProtocolError):
        made.client.send(b"more")
    made.server.send(b"answer")
    made.server.send_close()
    carry(made.client, made.server)
    assert made.client.next_event() == DataReceived(b"answer")
    assert isinstance(made.client.next_event(), PeerClosed)
    made.client.receive_eof()  # in order


@pytest.mark.parametrize("version", [V12, V13])
def test_end_without_close_notify_is_truncation(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.send(b"half of it")
    carry(made.client, made.server)
    with pytest.raises(TlsTruncated) as caught:
        made.client.receive_eof()
    assert caught.value.code == "TLS_TRUNCATED"
    assert made.client.next_event() == DataReceived(b"half of it")


def test_end_in_the_middle_of_a_handshake_is_truncation() -> None:
    client, server = make_client(), TamperingServer(issued())
    server.receive(client.data_to_send())
    client.receive_data(server.take()[:200])
    with pytest.raises(TlsTruncated):
        client.receive_eof()


def test_data_after_close_notify_is_ignored() -> None:
    made = connect()
    made.server.send_close()
    made.server.send(b"ghost")
    carry(made.client, made.server)
    assert isinstance(made.client.next_event(), PeerClosed)
    made.client.receive_data(b"garbage")
    assert made.client.next_event() is None


def test_misuse_is_told_apart() -> None:
    client = TlsClient(NAME, TlsConfig(), unix_time=lambda: 0.0)
    with pytest.raises(LocalProtocolError):
        client.receive_data(b"x")
    with pytest.raises(LocalProtocolError):
        client.send(b"x")
    with pytest.raises(LocalProtocolError):
        client.update_keys()
    client.start()
    with pytest.raises(LocalProtocolError):
        client.start()
    with pytest.raises(LocalProtocolError):
        client.send(b"x")
    with pytest.raises(LocalProtocolError):
        connect(TamperingServer(issued(), version=V12)).client.update_keys()


def test_padded_records_are_read() -> None:
    made = connect()
    server = made.server
    # A record of type 23 whose content already ends in type and zeros, as section 5.4 draws it.
    write = server.records._write
    assert write.aead is not None
    for content in (b"hello\x17" + bytes(500), b"\x17" + bytes(100), bytes(16370) + b"\x17" + bytes(14)):
        header = b"\x17\x03\x03" + (len(content) + 16).to_bytes(2, "big")
        nonce = (write.iv ^ write.sequence).to_bytes(12, "big")
        made.client.receive_data(header + write.aead.seal(nonce, content, header))
        write.sequence += 1
    assert received(made.client) == b"hello" + bytes(16370)


def test_server_may_limit_our_records() -> None:
    server = TamperingServer(issued())
    server.encrypted_extensions = {ExtensionType.RECORD_SIZE_LIMIT: ext.push_u16(101)}
    made = connect(server)
    made.client.send(b"x" * 250)
    sent = made.client.data_to_send()
    assert [sent[3] << 8 | sent[4], len(sent)] == [100 + 1 + 16, 250 + 3 * (5 + 1 + 16)]
    server.receive(sent)
    assert server.received == b"x" * 250


def test_large_data_is_cut_into_full_records() -> None:
    made = connect()
    made.client.send(bytes(40_000))
    assert len(made.client.data_to_send()) == 40_000 + 3 * 22


def test_nothing_secret_in_reprs() -> None:
    made = connect()
    client = made.client
    text = repr(client) + repr(client._core.records) + repr(made.info)
    assert "CONNECTED" in text
    assert made.info.peer_certificates[0].hex() not in text


def test_event_order_is_handshake_then_data() -> None:
    """A server that speaks first, in the same bytes as its Finished."""
    client, server = make_client(), TamperingServer(issued())
    server.receive(client.data_to_send())
    flight = server.take()
    client.receive_data(flight)
    server.receive(client.data_to_send())
    server.send(b"220 ready")
    client.receive_data(server.take())
    assert isinstance(client.next_event(), HandshakeComplete)
    assert client.next_event() == DataReceived(b"220 ready")
