"""What a server, or somebody on the way, can do wrong: the right alert, a typed error, no data, no hang.

First every handshake message is dropped, repeated, swapped, truncated, grown and bit-flipped by rule, then
the single offences follow, each with the alert that the RFCs name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from smolmix_web.tls import DataReceived, HandshakeComplete, ProtocolVersion, TlsClient, TlsError
from smolmix_web.tls import errors as e
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.messages import HELLO_RETRY_RANDOM, Certificate12, encode_message
from smolmix_web.tls.registry import (
    Alert,
    CipherSuite,
    ContentType,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    SignatureScheme,
)
from tls_support.certificates import Authority, self_signed
from tls_support.pair import NAME, authority, carry, connect, issued, make_client
from tls_support.server import TamperingServer, rewrite_extensions

V12, V13 = ProtocolVersion.TLS_1_2, ProtocolVersion.TLS_1_3
MESSAGES = {
    V13: ["server_hello", "encrypted_extensions", "certificate", "certificate_verify", "finished"],
    V12: ["server_hello", "certificate", "server_key_exchange", "server_hello_done", "finished"],
}
ALL = [(version, name) for version in (V12, V13) for name in MESSAGES[version]]
Tamper = Callable[[str, bytes], Sequence[bytes]]


def only(name: str, change: Callable[[bytes], Sequence[bytes]]) -> Tamper:
    return lambda seen, raw: change(raw) if seen == name else [raw]


def fails(server: TamperingServer, client: TlsClient | None = None) -> TlsError:
    """The error that ends the handshake; nothing may have been given to the user by then."""
    client = client or make_client()
    server_saw_garbage = False
    try:
        carry(client, server)
    except TlsError as found:
        server_saw_garbage = found.host != NAME  # the server's own records raise the same classes
    with pytest.raises(TlsError) as caught:
        client.receive_eof()  # the end at last; or the error once more
    error = caught.value
    assert not client.connected
    assert client.next_event() is None, "nothing reaches the user from an unauthenticated server"
    assert error.host == NAME
    assert NAME in str(error)
    if error.alert is not None and not error.received and not server_saw_garbage:
        assert server.alerts == [error.alert]
    with pytest.raises(TlsError) as again:
        client.receive_data(b"more")
    assert again.value is error
    assert client.data_to_send() == b""
    return error


# -- by rule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "name"), ALL)
@pytest.mark.parametrize("coalesce", [False, True])
def test_dropped_message(version: ProtocolVersion, name: str, coalesce: bool) -> None:
    server = TamperingServer(issued(), version=version, tamper=only(name, lambda raw: []))
    server.coalesce, server.honest_transcript = coalesce, False
    if name == MESSAGES[version][-1] or (version, name) == (V12, "server_hello_done"):
        assert isinstance(fails(server), e.TlsTruncated)  # nothing comes after it: the wait ends with EOF
    else:
        assert isinstance(fails(server), e.UnexpectedMessage)


@pytest.mark.parametrize(("version", "name"), ALL)
@pytest.mark.parametrize("coalesce", [False, True])
def test_repeated_message(version: ProtocolVersion, name: str, coalesce: bool) -> None:
    server = TamperingServer(issued(), version=version, tamper=only(name, lambda raw: [raw, raw]))
    server.coalesce = coalesce
    if name == "finished" and not (version == V13 and coalesce):
        # After the first Finished the handshake is complete; what follows kills the connection.
        client = make_client()
        with pytest.raises(TlsError) as caught:
            carry(client, server)
        assert isinstance(caught.value, e.BadRecordMac if version == V13 else e.UnexpectedMessage)
        assert not client.connected
        return
    if (version, name) == (V13, "server_hello") and not coalesce:
        assert isinstance(fails(server), e.UnexpectedMessage)  # unprotected record under keys
        return
    assert isinstance(fails(server), e.UnexpectedMessage)


@pytest.mark.parametrize(("version", "name"), [pair for pair in ALL if pair[1] not in ("finished",)])
def test_swapped_messages(version: ProtocolVersion, name: str) -> None:
    """Each message changes places with the next one of its flight."""
    names = MESSAGES[version]
    following = names[names.index(name) + 1]
    if (version, name) in ((V12, "server_hello_done"), (V13, "server_hello")):
        pytest.skip("the next message belongs to another flight or other keys")
    held: list[bytes] = []

    def tamper(seen: str, raw: bytes) -> list[bytes]:
        if seen == name:
            held.append(raw)
            return []
        return [raw, *held] if seen == following else [raw]

    server = TamperingServer(issued(), version=version, tamper=tamper)
    assert isinstance(fails(server), e.UnexpectedMessage)


@pytest.mark.parametrize(("version", "name"), ALL)
def test_truncated_message(version: ProtocolVersion, name: str) -> None:
    def shorten(raw: bytes) -> list[bytes]:
        return [encode_message(raw[0], raw[4:-1])] if len(raw) > 4 else [raw + b"\0"]

    server = TamperingServer(issued(), version=version, tamper=only(name, shorten))
    error = fails(server)
    wanted: tuple[type[TlsError], ...] = (e.DecodeError,)
    if name == "finished":
        wanted = (e.DecryptError,)  # a verify_data of another length is simply not the right one
    elif name == "server_hello_done":
        wanted = (e.UnexpectedMessage, e.DecodeError)
    assert isinstance(error, wanted)


@pytest.mark.parametrize(("version", "name"), ALL)
def test_grown_message(version: ProtocolVersion, name: str) -> None:
    grow = only(name, lambda raw: [encode_message(raw[0], raw[4:] + b"\0")])
    error = fails(TamperingServer(issued(), version=version, tamper=grow))
    assert isinstance(error, e.DecryptError if name == "finished" else e.DecodeError)


@pytest.mark.parametrize(("version", "name"), ALL)
def test_flipped_bits(version: ProtocolVersion, name: str) -> None:
    """An attacker on the way flips one bit anywhere: there is never a connection, nor another exception."""
    seen: list[int] = []
    connect(
        TamperingServer(
            issued(), version=version, tamper=only(name, lambda raw: [seen.append(len(raw)) or raw])
        )
    )
    for place in range(0, seen[0], max(1, seen[0] // 40)):

        def flip(raw: bytes, place: int = place) -> list[bytes]:
            damaged = bytearray(raw)
            damaged[place % len(damaged)] ^= 1 << (place % 8)
            return [bytes(damaged)]

        fails(TamperingServer(issued(), version=version, tamper=only(name, flip)))


@pytest.mark.parametrize("version", [V12, V13])
def test_flipped_bits_in_records(version: ProtocolVersion) -> None:
    """The same on the bytes of the wire."""
    for place in range(0, 700, 23):
        client, server = make_client(), TamperingServer(issued(), version=version)
        server.receive(client.data_to_send())
        flight = bytearray(server.take())
        place %= len(flight)
        flight[place + 3 if place in version_bytes(flight) else place] ^= 0x10
        try:
            client.receive_data(bytes(flight))
            carry(client, server)
        except TlsError:
            pass  # the client's, or the server's at what the client then sends
        with pytest.raises(TlsError):
            client.receive_eof()
        assert not client.connected
        assert client.next_event() is None


def version_bytes(flight: bytes) -> set[int]:
    """Where records say 0x0303: to be ignored, says RFC 8446 section 5.1, and not authenticated."""
    places, start = set(), 0
    while start < len(flight):
        places |= {start + 1, start + 2}
        start += 5 + (flight[start + 3] << 8 | flight[start + 4])
    return places


# -- authentication ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("key", ["p256", "ed25519", "rsa2048"])
def test_wrong_transcript_in_the_signature(version: ProtocolVersion, key: str) -> None:
    server = TamperingServer(issued(key), version=version)
    server.sign_extra = b"something else"
    assert isinstance(fails(server), e.DecryptError)


@pytest.mark.parametrize("version", [V12, V13])
def test_signature_by_another_key_than_the_certificate_s(version: ProtocolVersion) -> None:
    server = TamperingServer(authority().issue(NAME, serial=7), version=version)
    server.chain = issued().chain_der
    assert isinstance(fails(server), e.DecryptError)


@pytest.mark.parametrize("version", [V12, V13])
def test_wrong_finished(version: ProtocolVersion) -> None:
    wrong = only("finished", lambda raw: [raw[:-1] + bytes((raw[-1] ^ 1,))])
    assert isinstance(fails(TamperingServer(issued(), version=version, tamper=wrong)), e.DecryptError)


@pytest.mark.parametrize("version", [V12, V13])
def test_application_data_before_the_finished_is_not_released(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    server.early_data_leak = b"trust me"
    assert isinstance(fails(server), e.UnexpectedMessage | e.BadRecordMac)


@pytest.mark.parametrize(
    ("scheme", "wanted"),
    [
        (SignatureScheme.RSA_PSS_RSAE_SHA256, e.IllegalParameter),  # offered, but not for this key
        (SignatureScheme.ECDSA_SECP384R1_SHA384, e.IllegalParameter),  # in 1.3 the curve is bound
        (0x0203, e.IllegalParameter),  # ecdsa_sha1
        (0x0603, e.IllegalParameter),  # ecdsa_secp521r1_sha512
    ],
)
def test_signature_scheme_that_does_not_fit(scheme: int, wanted: type[TlsError]) -> None:
    server = TamperingServer(issued())
    server.scheme = scheme
    assert isinstance(fails(server), wanted)


def test_certificate_of_the_wrong_kind_for_the_tls12_suite() -> None:
    server = TamperingServer(issued("rsa2048"), version=V12)
    server.suite = CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
    assert isinstance(fails(server), e.IllegalParameter)


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        (lambda: self_signed(NAME), e.CertificateSelfSigned),
        (lambda: Authority("Stranger").issue(NAME), e.UnknownCa),
        (lambda: authority().issue("other.example.com"), e.CertificateWrongHost),
    ],
)
def test_wrong_certificate(
    version: ProtocolVersion, chain: Callable[[], object], wanted: type[TlsError]
) -> None:
    server = TamperingServer(chain(), version=version)  # type: ignore[arg-type]
    assert type(fails(server)) is wanted


@pytest.mark.parametrize("version", [V12, V13])
def test_empty_certificate_list(version: ProtocolVersion) -> None:
    server = TamperingServer(issued(), version=version)
    server.chain = ()
    assert isinstance(fails(server), e.DecodeError)


def test_certificate_that_is_no_certificate() -> None:
    server = TamperingServer(issued())
    server.chain = (b"garbage",)
    assert isinstance(fails(server), e.CertificateMalformed)


# -- downgrade and parameters --------------------------------------------------------------------------


@pytest.mark.parametrize("sentinel", [b"DOWNGRD\x01", b"DOWNGRD\x00"])
def test_downgrade_sentinel(sentinel: bytes) -> None:
    server = TamperingServer(issued(), version=V12)
    server.random = bytes(24) + sentinel
    assert isinstance(fails(server), e.IllegalParameter)


def test_downgrade_sentinel_of_13_is_no_matter_when_12_was_asked_for() -> None:
    server = TamperingServer(issued(), version=V12)
    server.random = bytes(24) + b"DOWNGRD\x01"
    connect(server, maximum_version=V12)


def test_server_of_an_older_version_than_accepted() -> None:
    client = make_client(minimum_version=V13)
    assert isinstance(fails(TamperingServer(issued(), version=V12), client), e.ProtocolVersionError)


def patch_hello(change: Callable[[bytearray], object]) -> Tamper:
    def patched(raw: bytes) -> list[bytes]:
        hello = bytearray(raw)
        change(hello)
        return [bytes(hello)]

    return only("server_hello", patched)


def put(start: int, value: bytes) -> Callable[[bytearray], object]:
    def change(hello: bytearray) -> None:
        hello[start : start + len(value)] = value

    return change


@pytest.mark.parametrize(
    ("version", "change", "wanted"),
    [
        (V12, put(4, b"\x03\x02"), e.ProtocolVersionError),  # TLS 1.1
        (V12, put(4, b"\x03\x04"), e.ProtocolVersionError),
        (V13, put(4, b"\x03\x02"), e.IllegalParameter),
        (V13, put(39, bytes(32)), e.IllegalParameter),  # session id not echoed
        (V13, put(71, b"\x13\x07"), e.IllegalParameter),  # cipher suite not offered
        (V13, put(71, b"\xc0\x2b"), e.IllegalParameter),  # one of TLS 1.2
        (V12, put(39, b"\x00\x9c"), e.IllegalParameter),  # RSA key exchange
        (V12, put(39, b"\x13\x01"), e.IllegalParameter),  # one of TLS 1.3
        (V13, put(73, b"\x01"), e.IllegalParameter),  # compression
        (V12, put(41, b"\x01"), e.IllegalParameter),
    ],
)
def test_server_hello_fields(
    version: ProtocolVersion, change: Callable[[bytearray], object], wanted: type[TlsError]
) -> None:
    server = TamperingServer(issued(), version=version, tamper=patch_hello(change))
    assert type(fails(server)) is wanted


@pytest.mark.parametrize(
    ("version", "extensions", "wanted"),
    [
        (V13, {ExtensionType.SUPPORTED_VERSIONS: b"\x03\x03"}, e.IllegalParameter),
        (V13, {ExtensionType.SUPPORTED_VERSIONS: b"\x7f\x1c"}, e.IllegalParameter),
        (V13, {ExtensionType.SERVER_NAME: b""}, e.IllegalParameter),  # belongs elsewhere
        (V13, {ExtensionType.COOKIE: b"\0\1x"}, e.UnsupportedExtension),
        (V13, {ExtensionType.PRE_SHARED_KEY: b"\0\0"}, e.UnsupportedExtension),
        (V13, {0x1234: b""}, e.UnsupportedExtension),
        (V13, {ExtensionType.KEY_SHARE: ext.push_key_share_entry(24, b"x" * 97)}, e.IllegalParameter),
        (V13, {ExtensionType.KEY_SHARE: ext.push_key_share_entry(0x0100, b"x")}, e.IllegalParameter),
        (V13, {ExtensionType.KEY_SHARE: ext.push_key_share_entry(29, bytes(32))}, e.IllegalParameter),
        (V13, {ExtensionType.KEY_SHARE: ext.push_key_share_entry(29, b"x" * 31)}, e.IllegalParameter),
        (
            V13,
            {ExtensionType.KEY_SHARE: ext.push_key_share_entry(23, b"\x04" + bytes(64))},
            e.IllegalParameter,
        ),
        (V13, {ExtensionType.KEY_SHARE: ext.push_key_share_entry(0x11EC, bytes(1120))}, e.IllegalParameter),
        (V12, {ExtensionType.RENEGOTIATION_INFO: b"\x01x"}, e.HandshakeFailure),
        (V12, {ExtensionType.EXTENDED_MASTER_SECRET: b"x"}, e.DecodeError),
        (V12, {ExtensionType.EC_POINT_FORMATS: b"\x01\x01"}, e.IllegalParameter),
        (V12, {ExtensionType.SUPPORTED_VERSIONS: b"\x03\x03"}, e.IllegalParameter),
        (V12, {ExtensionType.KEY_SHARE: b""}, e.IllegalParameter),
        (V12, {35: b""}, e.UnsupportedExtension),  # session_ticket
        (V12, {ExtensionType.SERVER_NAME: b"x"}, e.DecodeError),
        (V12, {ExtensionType.RECORD_SIZE_LIMIT: b"\0\x3f"}, e.IllegalParameter),
    ],
)
def test_extensions_of_the_server_hello(
    version: ProtocolVersion, extensions: ext.Extensions, wanted: type[TlsError]
) -> None:
    server = TamperingServer(issued(), version=version)
    server.hello_extensions = extensions
    assert type(fails(server)) is wanted


def test_tls12_without_secure_renegotiation() -> None:
    server = TamperingServer(issued(), version=V12)
    server.omit_hello_extensions = {ExtensionType.RENEGOTIATION_INFO}
    assert isinstance(fails(server), e.HandshakeFailure)


def test_tls13_without_a_key_share() -> None:
    server = TamperingServer(issued())
    server.omit_hello_extensions = {ExtensionType.KEY_SHARE}
    assert isinstance(fails(server), e.MissingExtension)


@pytest.mark.parametrize(
    ("extensions", "wanted"),
    [
        ({ExtensionType.ALPN: ext.push_alpn([b"spdy/3"])}, e.IllegalParameter),
        ({ExtensionType.ALPN: ext.push_alpn([b"h2", b"http/1.1"])}, e.DecodeError),
        ({ExtensionType.ALPN: b"\0\0"}, e.DecodeError),
        ({ExtensionType.KEY_SHARE: b""}, e.IllegalParameter),
        ({ExtensionType.SUPPORTED_VERSIONS: b"\x03\x04"}, e.IllegalParameter),
        ({ExtensionType.EARLY_DATA: b""}, e.UnsupportedExtension),
        ({0x4567: b"?"}, e.UnsupportedExtension),
        ({ExtensionType.SERVER_NAME: b"x"}, e.DecodeError),
        ({ExtensionType.RECORD_SIZE_LIMIT: b"\0\x3f"}, e.IllegalParameter),
        ({ExtensionType.RECORD_SIZE_LIMIT: b"\0"}, e.DecodeError),
    ],
)
def test_encrypted_extensions(extensions: ext.Extensions, wanted: type[TlsError]) -> None:
    server = TamperingServer(issued())
    server.encrypted_extensions = extensions
    assert type(fails(server, make_client(alpn=("h2", "http/1.1")))) is wanted


def test_alpn_that_was_not_offered_at_all() -> None:
    server = TamperingServer(issued())
    server.encrypted_extensions = {ExtensionType.ALPN: ext.push_alpn([b"h2"])}
    assert isinstance(fails(server), e.UnsupportedExtension)


def test_extension_twice() -> None:
    def double(raw: bytes) -> list[bytes]:
        once = b"\0\0\0\0"
        return [encode_message(raw[0], (2 * len(once)).to_bytes(2, "big") + once + once)]

    server = TamperingServer(issued(), tamper=only("encrypted_extensions", double))
    assert isinstance(fails(server), e.DecodeError)
    assert rewrite_extensions(b"\x08\0\0\2\0\0", lambda found: {**found, 0: b""})[-4:] == bytes(4)


def test_extension_in_a_certificate_entry() -> None:
    server = TamperingServer(issued())
    server.certificate_extensions = {5: b"\1\0\0\0"}
    assert isinstance(fails(server), e.UnsupportedExtension)


# -- HelloRetryRequest ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        (NamedGroup.X25519, e.IllegalParameter),  # its share was sent already
        (0x0100, e.IllegalParameter),  # ffdhe2048, never offered
    ],
)
def test_hello_retry_request_for_a_senseless_group(group: int, wanted: type[TlsError]) -> None:
    server = TamperingServer(issued())
    server.retry_group = group
    assert type(fails(server)) is wanted


def test_hello_retry_request_that_changes_nothing() -> None:
    retry = only("server_hello", lambda raw: [raw[:6] + HELLO_RETRY_RANDOM + raw[38:]])
    server = TamperingServer(issued(), tamper=retry)
    server.omit_hello_extensions = {ExtensionType.KEY_SHARE}
    assert isinstance(fails(server), e.IllegalParameter)


def test_second_hello_retry_request() -> None:
    held: list[bytes] = []

    def tamper(name: str, raw: bytes) -> list[bytes]:
        if name == "hello_retry_request":
            held.append(raw)
        return held if name == "server_hello" else [raw]

    server = TamperingServer(issued(), tamper=tamper)
    server.retry_group = NamedGroup.SECP384R1
    assert isinstance(fails(server), e.UnexpectedMessage)


def test_cipher_suite_changed_after_hello_retry_request() -> None:
    change = only("server_hello", lambda raw: [raw[:71] + b"\x13\x03" + raw[73:]])
    server = TamperingServer(issued(), tamper=change)
    server.retry_group = NamedGroup.SECP384R1
    assert isinstance(fails(server), e.IllegalParameter)


def test_other_group_than_hello_retry_request_asked_for() -> None:
    server = TamperingServer(issued())
    server.retry_group = NamedGroup.SECP384R1
    wrong = ext.push_key_share_entry(NamedGroup.X25519, b"\x09" + bytes(31))
    server.tamper = only(
        "server_hello", lambda raw: [raw.replace(b"\x00\x33\x00\x65", b"\x00\x33\x00\x24")[:-65] + wrong[-1:]]
    )
    assert isinstance(fails(server), TlsError)


# -- messages in the wrong place -----------------------------------------------------------------------

STRAY = {
    "hello_request": encode_message(HandshakeType.HELLO_REQUEST, b""),
    "server_hello": encode_message(HandshakeType.SERVER_HELLO, bytes(38)),
    "new_session_ticket": encode_message(HandshakeType.NEW_SESSION_TICKET, bytes(9) + b"\0\1x\0\0"),
    "key_update": encode_message(HandshakeType.KEY_UPDATE, b"\0"),
    "finished": encode_message(HandshakeType.FINISHED, bytes(32)),
    "client_hello": encode_message(HandshakeType.CLIENT_HELLO, b""),
    "certificate_12": Certificate12((b"x",)).to_bytes(),
    "unknown": encode_message(99, b"?"),
}


@pytest.mark.parametrize("stray", sorted(STRAY))
@pytest.mark.parametrize(("version", "name"), ALL)
def test_unexpected_message_in_each_state(version: ProtocolVersion, name: str, stray: str) -> None:
    before = only(name, lambda raw: [STRAY[stray], raw])
    server = TamperingServer(issued(), version=version, tamper=before)
    error = fails_or_connects(server)
    if version == V12 and stray == "hello_request" and name != "server_hello":
        assert error is None, "HelloRequest is ignored while negotiating"
        return
    if (name, stray) in (("server_hello", "server_hello"), ("certificate", "certificate_12")):
        assert error is not None  # the right type, but wrong contents
    elif name == "finished" and stray == "finished":
        assert isinstance(error, e.DecryptError)
    else:
        assert isinstance(error, e.UnexpectedMessage)


def fails_or_connects(server: TamperingServer) -> TlsError | None:
    client = make_client()
    try:
        carry(client, server)
        client.receive_eof()
    except TlsError as error:
        if client._core.connected:
            return None
        assert client.next_event() is None
        return error
    raise AssertionError("neither")


@pytest.mark.parametrize("stray", sorted(set(STRAY) - {"new_session_ticket", "key_update"}))
def test_unexpected_message_after_the_handshake(stray: str) -> None:
    made = connect()
    made.server.send_raw(ContentType.HANDSHAKE, STRAY[stray])
    with pytest.raises(e.UnexpectedMessage):
        carry(made.client, made.server)
    assert made.server.alerts == [Alert.UNEXPECTED_MESSAGE]


def test_renegotiation_is_refused_and_the_connection_goes_on() -> None:
    made = connect(TamperingServer(issued(), version=V12))
    made.server.send_raw(ContentType.HANDSHAKE, STRAY["hello_request"])
    made.server.send(b"still here")
    carry(made.client, made.server)
    assert made.server.alerts == [Alert.NO_RENEGOTIATION]
    assert made.client.next_event() == DataReceived(b"still here")


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (encode_message(24, b"\2"), e.IllegalParameter),
        (encode_message(24, b""), e.DecodeError),
        (encode_message(24, b"\0\0"), e.DecodeError),
        (encode_message(24, b"\0") + b"\x04", e.UnexpectedMessage),  # across a change of keys
        (encode_message(4, bytes(9) + b"\0\0\0\0"), e.DecodeError),  # empty ticket
        (b"\x04\x01\x00\x01" + bytes(100), e.DecodeError),  # longer than any
        (b"", e.UnexpectedMessage),  # empty handshake record
    ],
)
def test_bad_messages_after_the_handshake(content: bytes, wanted: type[TlsError]) -> None:
    made = connect()
    made.server.send_raw(ContentType.HANDSHAKE, content)
    with pytest.raises(wanted):
        carry(made.client, made.server)
    assert made.server.alerts == [wanted.alert]


# -- records and alerts --------------------------------------------------------------------------------


def test_something_else_than_tls() -> None:
    client = make_client()
    client.data_to_send()
    with pytest.raises(e.UnexpectedMessage, match="does not speak TLS"):
        client.receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    assert client.data_to_send() == b"\x15\x03\x03\x00\x02\x02\x0a"


@pytest.mark.parametrize("version", [V12, V13])
def test_record_that_is_too_long(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    length = (1 << 14) + (257 if version == V13 else 2049)
    with pytest.raises(e.RecordOverflow):
        made.client.receive_data(b"\x17\x03\x03" + length.to_bytes(2, "big"))


def test_unprotected_record_that_is_too_long() -> None:
    with pytest.raises(e.RecordOverflow):
        make_client().receive_data(b"\x16\x03\x03\x40\x01")


@pytest.mark.parametrize("version", [V12, V13])
def test_record_content_that_is_too_long(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.records.max_fragment = (1 << 14) + 1
    made.server.send(bytes((1 << 14) + 1))
    with pytest.raises(e.RecordOverflow):
        carry(made.client, made.server)


@pytest.mark.parametrize("version", [V12, V13])
def test_damaged_record(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.send(b"good")
    made.server.send(b"damaged")
    data = bytearray(made.server.take())
    data[-1] ^= 1
    with pytest.raises(e.BadRecordMac):
        made.client.receive_data(bytes(data))
    assert made.client.next_event() == DataReceived(b"good"), "what was authenticated counts"
    assert made.client.next_event() is None


@pytest.mark.parametrize("version", [V12, V13])
def test_replayed_and_reordered_records(version: ProtocolVersion) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.send(b"one")
    record = made.server.take()
    made.client.receive_data(record)
    with pytest.raises(e.BadRecordMac):
        made.client.receive_data(record)


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("kind", [0, 19, 24, 255])
def test_record_of_unknown_type(version: ProtocolVersion, kind: int) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.send_raw(kind, b"?")
    with pytest.raises(e.UnexpectedMessage):
        carry(made.client, made.server)


def test_record_without_a_type() -> None:
    made = connect()
    write = made.server.records._write
    assert write.aead is not None
    header = b"\x17\x03\x03\x00\x14"
    nonce = (write.iv ^ write.sequence).to_bytes(12, "big")
    with pytest.raises(e.UnexpectedMessage):
        made.client.receive_data(header + write.aead.seal(nonce, bytes(4), header))


@pytest.mark.parametrize("length", [0, 1, 15, 16])
def test_protected_record_that_is_too_short(length: int) -> None:
    made = connect()
    with pytest.raises(e.BadRecordMac):
        made.client.receive_data(b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length))


@pytest.mark.parametrize("kind", [20, 21, 22])
def test_unprotected_record_once_connected(kind: int) -> None:
    made = connect()
    with pytest.raises(e.UnexpectedMessage):
        made.client.receive_data(bytes((kind, 3, 3, 0, 1, 1)))


def test_change_cipher_spec_is_dropped_during_a_tls13_handshake() -> None:
    client, server = make_client(), TamperingServer(issued())
    server.receive(client.data_to_send())
    flight = server.take()
    dummy = b"\x14\x03\x03\x00\x01\x01"
    size = 5 + (flight[3] << 8 | flight[4])
    client.receive_data(dummy + flight[:size] + dummy + flight[size:])
    assert client.connected


@pytest.mark.parametrize("content", [b"\x02", b"\x01\x01", b""])
def test_malformed_change_cipher_spec(content: bytes) -> None:
    client, server = make_client(), TamperingServer(issued())
    server.receive(client.data_to_send())
    with pytest.raises(e.UnexpectedMessage):
        client.receive_data(b"\x14\x03\x03" + len(content).to_bytes(2, "big") + content)


def test_change_cipher_spec_too_early_in_tls12() -> None:
    """The injection of CVE-2014-0224: keys must not be switched before there are any."""
    client, server = make_client(maximum_version=V12), TamperingServer(issued(), version=V12)
    server.receive(client.data_to_send())
    with pytest.raises(e.UnexpectedMessage):
        client.receive_data(b"\x14\x03\x03\x00\x01\x01")
    client, server = make_client(), TamperingServer(issued(), version=V12)
    server.receive(client.data_to_send())
    flight = server.take()
    size = 5 + (flight[3] << 8 | flight[4])
    with pytest.raises(e.UnexpectedMessage):
        client.receive_data(flight[:size] + b"\x14\x03\x03\x00\x01\x01" + flight[size:])


@pytest.mark.parametrize("change", [[], [b"\x01", b"\x01"]])
def test_change_cipher_spec_missing_or_twice_in_tls12(change: list[bytes]) -> None:
    server = TamperingServer(issued(), version=V12, tamper=only("change_cipher_spec", lambda raw: change))
    assert isinstance(fails(server), e.UnexpectedMessage | e.DecodeError | e.BadRecordMac)


def test_record_between_the_pieces_of_a_message() -> None:
    made = connect()
    made.server.send_raw(ContentType.HANDSHAKE, STRAY["new_session_ticket"][:5])
    made.server.send(b"in between")
    with pytest.raises(e.UnexpectedMessage):
        carry(made.client, made.server)
    assert made.client.next_event() is None


@pytest.mark.parametrize("version", [V12, V13])
@pytest.mark.parametrize("description", sorted(set(Alert) - {Alert.CLOSE_NOTIFY}))
def test_alert_of_the_server(version: ProtocolVersion, description: Alert) -> None:
    made = connect(TamperingServer(issued(), version=version))
    made.server.send_raw(ContentType.ALERT, bytes((2, description)))
    if version == V13 and description == Alert.USER_CANCELED:
        carry(made.client, made.server)
        assert made.client.connected
        return
    with pytest.raises(TlsError) as caught:
        carry(made.client, made.server)
    assert caught.value.alert == description
    assert caught.value.received
    assert caught.value.code.startswith("TLS_")
    assert made.server.alerts == [], "an alert is not answered by one"


@pytest.mark.parametrize("content", [b"", b"\x02", b"\x02\x28\x00"])
def test_malformed_alert(content: bytes) -> None:
    made = connect()
    made.server.send_raw(ContentType.ALERT, content)
    with pytest.raises(e.DecodeError):
        carry(made.client, made.server)


def test_alert_with_an_unknown_number() -> None:
    made = connect()
    made.server.send_raw(ContentType.ALERT, b"\x02\xee")
    with pytest.raises(e.UnknownAlert, match="238"):
        carry(made.client, made.server)


def test_alert_instead_of_a_server_hello() -> None:
    client = make_client()
    with pytest.raises(e.HandshakeFailure) as caught:
        client.receive_data(b"\x15\x03\x01\x00\x02\x02\x28")
    assert caught.value.received


def test_warning_about_the_name_is_ignored_by_tls12() -> None:
    client, server = make_client(), TamperingServer(issued(), version=V12)
    client.receive_data(b"\x15\x03\x03\x00\x02\x01\x70")
    carry(client, server)
    assert isinstance(client.next_event(), HandshakeComplete)


def test_close_notify_during_the_handshake() -> None:
    client = make_client()
    with pytest.raises(e.TlsTruncated):
        client.receive_data(b"\x15\x03\x03\x00\x02\x01\x00")


@pytest.mark.parametrize(
    "flood",
    [
        lambda server: server.send_key_update(request=True),
        lambda server: server.send_raw(ContentType.HANDSHAKE, STRAY["new_session_ticket"]),
        lambda server: server.send_raw(ContentType.ALERT, bytes((1, Alert.USER_CANCELED))),
    ],
)
def test_endless_administration_is_refused(flood: Callable[[TamperingServer], None]) -> None:
    made = connect()
    for _ in range(60):
        flood(made.server)
        carry(made.client, made.server)
    for _ in range(60):
        flood(made.server)
    with pytest.raises(e.UnexpectedMessage):
        carry(made.client, made.server)


def test_endless_empty_records_are_refused() -> None:
    made = connect()
    for _ in range(10_000):
        made.server.records.push(ContentType.APPLICATION_DATA, b"")
    with pytest.raises(e.UnexpectedMessage):
        made.client.receive_data(made.server.take())


def test_handshake_message_longer_than_any() -> None:
    client = make_client()
    with pytest.raises(e.DecodeError):
        client.receive_data(b"\x16\x03\x03\x00\x04\x02\x01\x00\x01")
