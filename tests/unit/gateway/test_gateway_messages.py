"""JSON messages: one table of cases, used in both directions."""

from __future__ import annotations

import json

import pytest

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.gateway import control, messages
from smolmix_web.gateway.binary import open_frame, seal_frame
from smolmix_web.gateway.shared_key import SharedKey

REQUESTS = [
    ('{"type":"supportedProtocol"}', messages.SupportedProtocolRequest()),
    (
        '{"type":"handshakePayload","protocol_version":6,"data":[134,231,0,255]}',
        messages.HandshakePayload(6, bytes([134, 231, 0, 255])),
    ),
    ('{"type":"handshakeError","message":"no"}', messages.HandshakeError("no")),
    (
        '{"type":"authenticateV2","protocolVersion":6,"clientIdentity":'
        + "["
        + ",".join(["7"] * 32)
        + "]"
        + ","
        '"addressCiphertext":"AQI=","nonce":"AwM=","requestUnixTimestamp":1795250746,'
        '"requestSignature":' + "[" + ",".join(["9"] * 64) + "]" + "}",
        messages.AuthenticateV2(6, b"\7" * 32, b"\1\2", b"\3\3", 1795250746, b"\x09" * 64),
    ),
    (
        '{"type":"ecashCredential","enc_credential":[1,2],"iv":[3]}',
        messages.EcashCredential(b"\1\2", b"\3"),
    ),
    ('{"type":"upgradeModeJWT","token":"t"}', messages.UpgradeModeJwt("t")),
    ('{"type":"claimFreeTestnetBandwidth"}', messages.ClaimFreeTestnetBandwidth()),
    (
        '{"type":"encryptedRequest","ciphertext":[1],"nonce":[2]}',
        messages.EncryptedRequest(b"\1", b"\2"),
    ),
]

RESPONSES = [
    ('{"type":"supportedProtocol","version":6}', messages.SupportedProtocolResponse(6)),
    ('{"type":"handshakePayload","protocol_version":5,"data":[1]}', messages.HandshakePayload(5, b"\1")),
    ('{"type":"handshakeError","message":"no"}', messages.HandshakeError("no")),
    (
        '{"type":"register","protocol_version":6,"status":true,"upgrade_mode":false}',
        messages.RegisterResponse(6, True),
    ),
    (
        '{"type":"authenticate","protocol_version":6,"status":true,"bandwidth_remaining":-5,'
        '"upgrade_mode":true}',
        messages.AuthenticateResponse(6, True, -5, True),
    ),
    (
        '{"type":"bandwidth","available_total":68719476736,"upgrade_mode":false}',
        messages.BandwidthResponse(68719476736),
    ),
    (
        '{"type":"send","remaining_bandwidth":68719474323,"upgrade_mode":false}',
        messages.SendResponse(68719474323),
    ),
    (
        '{"type":"encryptedResponse","ciphertext":[1],"nonce":[2]}',
        messages.EncryptedResponse(b"\1", b"\2"),
    ),
    ('{"type":"error","message":"..."}', messages.ErrorResponse("...")),
    (
        '{"type":"typedError","error":{"out_of_bandwidth":{"required":2413,"available":0}}}',
        messages.OutOfBandwidthError(2413, 0),
    ),
    ('{"type":"typedError","error":"ticket_replay"}', messages.TicketReplayError()),
]


@pytest.mark.parametrize(("text", "message"), REQUESTS)
def test_request_both_ways(text, message):
    assert messages.parse_request(text) == message
    assert messages.emit_request(message) == text


@pytest.mark.parametrize(("text", "message"), RESPONSES)
def test_response_both_ways(text, message):
    assert messages.parse_response(text) == message
    assert messages.emit_response(message) == text


def variations(text):
    """The message with each field missing, and of each other type."""
    content = json.loads(text)
    for name in [key for key in content if key != "type"]:
        rest = {key: value for key, value in content.items() if key != name}
        yield name, rest
        for wrong in (None, True, 1.5, -1, 256 << 64, "é", [256], [-1], [True], ["1"], [[]], {}, {"a": 1}):
            if type(wrong) is not type(content[name]) or wrong in ([256], [-1], [True], ["1"], [[]], "é"):
                yield name, {**rest, name: wrong}


TOLERATED = {
    # a missing version is 0, a missing flag is false
    ("handshakePayload", "protocol_version", "missing"),
    ("register", "protocol_version", "missing"),
    ("authenticate", "protocol_version", "missing"),
    *((kind, "upgrade_mode", "missing") for kind in ("register", "authenticate", "bandwidth", "send")),
}


@pytest.mark.parametrize(
    ("text", "parse"),
    [(text, messages.parse_request) for text, _ in REQUESTS]
    + [(text, messages.parse_response) for text, _ in RESPONSES],
)
def test_wrong_types_are_malformed_not_crashes(text, parse):
    kind = json.loads(text)["type"]
    for name, content in variations(text):
        state = "missing" if name not in content else "wrong"
        value = content.get(name)
        legal = (
            (kind, name, state) in TOLERATED
            or (isinstance(value, str) and name in ("message", "token"))
            or (type(value) is int and value == -1 and name in _SIGNED)
        )
        if legal:
            parse(json.dumps(content))
        else:
            with pytest.raises(MalformedError, match=name):
                parse(json.dumps(content))


_SIGNED = ("bandwidth_remaining", "available_total", "remaining_bandwidth")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "1", '"x"', "{}", '{"type":1}', '{"type":null}', "[" * 100_000, "1" * 5000],
)
def test_text_that_is_no_message(text):
    with pytest.raises(MalformedError):
        messages.parse_request(text)
    with pytest.raises(MalformedError):
        messages.parse_response(text)


def test_oversized_text_is_refused_before_it_is_parsed():
    text = '{"type":"error","message":"' + "x" * messages.MAX_TEXT_LENGTH + '"}'
    with pytest.raises(MalformedError, match="at most"):
        messages.parse_response(text)


def test_unknown_type_and_unknown_fields_are_tolerated():
    assert messages.parse_request('{"type":"novelty","a":1}') == messages.UnknownRequest("novelty")
    assert messages.parse_response('{"type":"novelty"}') == messages.UnknownResponse("novelty")
    assert messages.parse_response(
        '{"extra":[1],"type":"send","remaining_bandwidth":5}'
    ) == messages.SendResponse(5)


def test_aliases_of_requests():
    init = messages.parse_request('{"type":"registerHandshakeInitRequest","data":[1]}')
    assert init == messages.HandshakePayload(0, b"\1")
    with_nonce = messages.parse_request('{"type":"ecashCredential","enc_credential":[],"nonce":[3]}')
    assert with_nonce == messages.EcashCredential(b"", b"\3")
    for name in ("bandwidthCredential", "bandwidthCredentialV2"):
        assert messages.parse_request(json.dumps({"type": name})) == messages.LegacyCredential()
    assert messages.parse_request('{"type":"authenticate"}') == messages.LegacyAuthenticate()


@pytest.mark.parametrize("nonce", ["AwM", "Aw=M", "A wM=", "AwM=\n", "é"])
def test_base64_is_strict(nonce):
    content = json.loads(REQUESTS[3][0])
    content["nonce"] = nonce
    with pytest.raises(MalformedError, match="nonce"):
        messages.parse_request(json.dumps(content))


def test_secrets_do_not_show_in_reprs():
    assert "1, 2" not in repr(messages.EcashCredential(b"\1\2", b""))
    assert repr(SharedKey(b"k" * 32)) == "SharedKey(...)"


# -- binary frames ----------------------------------------------------------------------------------------

KEY = SharedKey(b"\x42" * 32)
FRAME = seal_frame(KEY, 2, b"plaintext", b"n" * 12)


def test_binary_frame_layout():
    assert FRAME[:14] == b"\x02\x01" + b"n" * 12
    assert len(FRAME) == 14 + 9 + 16
    assert open_frame(KEY, FRAME) == (2, b"plaintext")


@pytest.mark.parametrize("length", range(30))
def test_short_binary_frames(length):
    with pytest.raises((MalformedError, CryptoError)):
        open_frame(KEY, FRAME[:length])


@pytest.mark.parametrize("position", range(1, len(FRAME)))
def test_every_changed_byte_is_noticed(position):
    damaged = bytearray(FRAME)
    damaged[position] ^= 0x10
    with pytest.raises((MalformedError, CryptoError)):
        open_frame(KEY, bytes(damaged))


def test_plaintext_frame_is_refused():
    with pytest.raises(CryptoError):
        open_frame(KEY, b"\x01\x00" + bytes(12) + b"unencrypted")


def test_another_key_does_not_open():
    with pytest.raises(CryptoError):
        open_frame(SharedKey(bytes(32)), FRAME)


# -- encrypted control requests -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (b'{"ForgetMe":{"client":true,"stats":false}}', control.ForgetMe(True, False)),
        (b'{"RememberMe":{"session_type":"Wasm"}}', control.RememberMe("Wasm")),
    ],
)
def test_control_requests_both_ways(text, request_):
    assert control.parse_control_request(text) == request_
    assert control.emit_control_request(request_) == text


@pytest.mark.parametrize(
    ("text", "response"),
    [(b'{"ForgetMeAck":{}}', control.ForgetMeAck()), (b'{"RememberMeAck":{}}', control.RememberMeAck())],
)
def test_control_responses_both_ways(text, response):
    assert control.parse_control_response(text) == response
    assert control.emit_control_response(response) == text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"{}",
        b"[]",
        b'{"ForgetMe":1}',
        b'{"ForgetMe":{"client":1,"stats":false}}',
        b'{"ForgetMe":{},"RememberMe":{}}',
        b'{"RememberMe":{"session_type":"Submarine"}}',
        b'{"Other":{}}',
    ],
)
def test_malformed_control_messages(text):
    with pytest.raises(MalformedError):
        control.parse_control_request(text)
    with pytest.raises(MalformedError):
        control.parse_control_response(text)
