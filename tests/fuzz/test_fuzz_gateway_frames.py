"""Invariant: whatever text or bytes one end of a gateway connection is given in whatever state, it neither
raises nor grows; it answers, counts, or ends the session."""

from __future__ import annotations

import contextlib
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.gateway import control, messages
from smolmix_web.gateway.binary import open_frame, seal_frame
from smolmix_web.gateway.shared_key import SharedKey
from unit.gateway.gateway_pair import Pair, drain, registered_pair

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.binary(max_size=4).map(list),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
TYPES = [*messages._REQUEST_PARSERS, *messages._RESPONSE_PARSERS, "novelty"]
FIELDS = [
    "protocol_version",
    "data",
    "message",
    "protocolVersion",
    "clientIdentity",
    "addressCiphertext",
    "nonce",
    "requestUnixTimestamp",
    "requestSignature",
    "enc_credential",
    "iv",
    "token",
    "ciphertext",
    "version",
    "status",
    "upgrade_mode",
    "bandwidth_remaining",
    "available_total",
    "remaining_bandwidth",
    "error",
]
LIKELY = st.sampled_from(
    [
        0,
        1,
        6,
        7,
        2**63,
        2**64,
        True,
        False,
        None,
        [],
        [0] * 32,
        [1] * 64,
        [0] * 80,
        [0] * 92,
        [0] * 124,
        "",
        "AAAA",
    ]
)
OBJECTS = st.builds(
    lambda kind, content: json.dumps({**content, "type": kind}),
    st.sampled_from(TYPES),
    st.dictionaries(st.sampled_from(FIELDS), LIKELY | JSON, max_size=8),
)
TEXTS = st.text(max_size=60) | JSON.map(json.dumps) | OBJECTS
BINARIES = st.binary(max_size=80) | st.binary(max_size=60).map(lambda rest: b"\x02\x01" + rest)
FRAMES = st.lists(TEXTS | BINARIES, min_size=1, max_size=6)


@QUICK
@given(TEXTS)
def test_parsers_raise_malformed_or_give_what_is_emitted_alike(text):
    for parse, emit in (
        (messages.parse_request, messages.emit_request),
        (messages.parse_response, messages.emit_response),
    ):
        try:
            message = parse(text)
        except MalformedError:
            continue
        assert parse(emit(message)) == message


@QUICK
@given(st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()))
def test_control_parsers(data):
    for parse in (control.parse_control_request, control.parse_control_response):
        try:
            parse(data)
        except MalformedError:
            continue


@QUICK
@given(BINARIES, st.integers(0, 3), st.binary(max_size=60))
def test_binary_frames(frame, kind, plaintext):
    key = SharedKey(b"k" * 32)
    with contextlib.suppress(MalformedError, CryptoError):
        open_frame(key, frame)
    assert open_frame(key, seal_frame(key, kind, plaintext, bytes(12))) == (kind, plaintext)


@settings(QUICK, max_examples=60)
@given(FRAMES, st.integers(0, 3))
def test_session_in_every_state(frames, exchanges):
    pair = Pair().connect(run=False)
    for _ in range(exchanges):
        pair.client_to_gateway()
        pair.gateway_to_client()
    session = pair.session
    assert session is not None
    for frame in frames:
        if isinstance(frame, str):
            session.receive_text(frame, 1.0)
        else:
            session.receive_binary(frame, 1.0)
    assert session.unsent() <= 4 * len(frames) + 4
    session.frames_to_send()
    drain(session)
    session.handle_timer(100.0)
    session.receive_closed(100.0)
    assert pair.registry.active == {}


@settings(QUICK, max_examples=60)
@given(FRAMES, st.integers(0, 3))
def test_client_in_every_state(frames, exchanges):
    pair = Pair().connect(run=False)
    for _ in range(exchanges):
        pair.client_to_gateway()
        pair.gateway_to_client()
    for frame in frames:
        if isinstance(frame, str):
            pair.client.receive_text(frame, 1.0)
        else:
            pair.client.receive_binary(frame, 1.0)
    pair.client.frames_to_send()
    drain(pair.client)
    pair.client.handle_timer(1000.0)
    pair.client.receive_closed(1000.0)
    drain(pair.client)
    pair.session.receive_closed(1000.0)
    pair.clock.now = 2000.0
    pair.client_events.clear()
    pair.connect()  # nothing it was told keeps it from starting anew
    assert pair.client_events


@settings(QUICK, max_examples=60)
@given(st.integers(0, 4), st.binary(max_size=60), st.sampled_from([386, 2413, 0]))
def test_well_sealed_uploads(kind, head, length):
    pair = registered_pair()
    client = next(iter(pair.registry.active))
    key = SharedKey(pair.registry.storage.load_client(client).shared_key)
    assert pair.session is not None
    pair.session.receive_binary(seal_frame(key, kind, head + bytes(length), bytes(12)), 2.0)
    assert len(pair.session.frames_to_send()) == 1
