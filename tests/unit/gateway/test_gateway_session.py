"""Client engine and gateway engine against each other over a fake wire."""

from __future__ import annotations

import json

import pytest
from gateway_pair import (
    CLIENT_SEED,
    GATEWAY_SEED,
    START,
    Clock,
    Pair,
    drain,
    new_session,
    registered_pair,
    regular_packet,
)

from smolmix_web.crypto import provider
from smolmix_web.errors import DeadlineError, LocalProtocolError
from smolmix_web.gateway import (
    ClientReady,
    Dropped,
    Failed,
    ForgetMeAcknowledged,
    GatewayClient,
    GatewayClosed,
    GatewayComplaint,
    GatewayConfig,
    GatewayRefused,
    HandshakeFailed,
    IncompatibleGateway,
    MessagePushed,
    OutOfBandwidth,
    PacketUploaded,
    Ping,
    Ready,
    Registered,
    RegistrationLost,
    RememberMeAcknowledged,
    SessionBusy,
    error_texts,
    messages,
)
from smolmix_web.gateway.bandwidth import FREE_CLAIM
from smolmix_web.gateway.binary import seal_frame
from smolmix_web.gateway.client import State
from smolmix_web.gateway.refill import MAX_WAITING, REFILL_THRESHOLD
from smolmix_web.gateway.shared_key import SharedKey
from smolmix_web.nym.packets import KeyRotation

IDENTITY = provider().ed25519_public(CLIENT_SEED)


def types(frames) -> list[str]:
    return [json.loads(f)["type"] if isinstance(f, str) else type(f).__name__ for f in frames]


def error_of(pair: Pair) -> Exception:
    return pair.event(Failed).error


def texts(frames) -> list[str]:
    """Texts of the error frames."""
    contents = [json.loads(f) for f in frames if isinstance(f, str)]
    return [content["message"] for content in contents if content["type"] == "error"]


# -- set-up ------------------------------------------------------------------------------------------------


def test_first_connection_registers_claims_and_is_ready():
    pair = Pair().connect()
    assert types(pair.to_gateway) == [
        "supportedProtocol",
        "handshakePayload",
        "handshakePayload",
        "claimFreeTestnetBandwidth",
    ]
    assert types(pair.to_client) == [
        "supportedProtocol",
        "handshakePayload",
        "handshakePayload",
        "register",
        "bandwidth",
    ]
    assert [type(e) for e in pair.client_events] == [Registered, Ready]
    assert pair.event(Ready) == Ready(6, FREE_CLAIM)
    assert pair.server_events == [ClientReady(IDENTITY, 6, registered=True)]
    stored = pair.registry.storage.load_client(IDENTITY)
    assert stored is not None
    assert stored.shared_key == pair.event(Registered).shared_key


def test_second_connection_authenticates_without_asking_for_the_version():
    pair = registered_pair()
    assert types(pair.to_gateway[-1:]) == ["authenticateV2"]
    assert types(pair.to_client[-1:]) == ["authenticate"]
    assert pair.event(Ready) == Ready(6, FREE_CLAIM)
    assert pair.server_events == [ClientReady(IDENTITY, 6, registered=False)]


def test_a_new_engine_with_a_stored_key_asks_for_the_version_and_authenticates():
    first = Pair().connect()
    key = first.event(Registered).shared_key
    first.close()
    first.clock.now += 1
    second = Pair(shared_key=key, registry=first.registry, clock=first.clock).connect()
    assert types(second.to_gateway) == ["supportedProtocol", "authenticateV2"]
    assert second.event(Ready).bandwidth == FREE_CLAIM


@pytest.mark.parametrize(("spoken", "kind"), [(4, 1), (5, 2), (6, 2)])
def test_version_decides_the_kind_of_uploads(spoken, kind):
    for pair in (
        Pair(config=GatewayConfig(protocol_version=spoken)).connect(),
        registered_pair(config=GatewayConfig(protocol_version=spoken)),
    ):
        assert pair.event(Ready).protocol_version == spoken
        pair.client.send_packet(regular_packet())
        pair.run()
        frame = pair.to_gateway[-1]
        assert frame[:2] == bytes([kind, 1])
        assert len(frame) == (2452 if kind == 2 else 2451)
        uploaded = pair.server_events[-1].packet
        assert uploaded.packet == regular_packet().packet
        assert uploaded.rotation is (KeyRotation.ODD if kind == 2 else KeyRotation.UNKNOWN)


def test_gateway_of_a_later_version_is_spoken_to_in_ours():
    pair = Pair(config=GatewayConfig(protocol_version=7)).connect()
    assert pair.event(Ready).protocol_version == 6


@pytest.mark.parametrize("version", [0, 1, 3])
def test_gateway_of_an_old_version_is_left(version):
    pair = Pair(config=GatewayConfig(protocol_version=version)).connect()
    assert isinstance(error_of(pair), IncompatibleGateway)


def test_authentication_in_the_same_second_waits_for_the_clock():
    pair = Pair().connect()
    pair.close()
    pair.clock.now += 0.25
    pair.client_events.clear()
    pair.connect()
    assert pair.client.state is State.WAIT_CLOCK
    assert pair.client.poll_at() == pytest.approx(1.0)
    pair.advance(0.5)
    assert pair.client.state is State.WAIT_CLOCK
    pair.advance(0.25)
    assert pair.event(Ready)


def test_timestamps_grow_when_the_clock_goes_back():
    pair = registered_pair()
    for _ in range(2):
        pair.close()
        pair.clock.now -= 30
        pair.connect()
        assert pair.client.state is State.READY


def test_wrong_gateway_identity_is_noticed():
    pair = Pair()
    pair.client = GatewayClient(
        CLIENT_SEED,
        provider().ed25519_public(b"\x77" * 32),
        unix_time=pair.clock.unix,
        random_bytes=pair.random.randbytes,
    )
    pair.connect()
    assert isinstance(error_of(pair), HandshakeFailed)
    # The gateway is told, and drops.
    assert types(pair.to_gateway)[-1] == "handshakeError"
    assert isinstance(pair.server_events[-1], Dropped)
    assert texts(pair.to_client)[0].startswith(
        "Failed to perform registration handshake: error on the remote"
    )


def test_refused_login_says_so_twice_and_drops():
    pair = Pair(shared_key=bytes(32)).connect()
    assert texts(pair.to_client) == [error_texts.NOT_REGISTERED] * 2
    assert pair.server_events == [Dropped(error_texts.NOT_REGISTERED)]


def test_a_lost_registration_is_replaced_on_the_next_connection():
    pair = Pair(shared_key=bytes(32)).connect()
    assert isinstance(error_of(pair), RegistrationLost)
    pair.close()
    pair.connect()
    assert pair.event(Registered)
    assert pair.event(Ready)


def test_another_key_for_a_known_client_is_a_lost_registration():
    first = Pair().connect()
    first.close()
    first.clock.now += 2
    second = Pair(shared_key=bytes(32), registry=first.registry, clock=first.clock).connect()
    assert isinstance(error_of(second), RegistrationLost)
    assert texts(second.to_client) == [error_texts.BAD_ADDRESS_CIPHERTEXT] * 2


def test_registering_while_connected_is_refused_before_the_handshake():
    first = Pair().connect()
    second = Pair(registry=first.registry, clock=first.clock).connect()
    assert isinstance(error_of(second), SessionBusy)
    assert types(second.to_client) == ["supportedProtocol", "error", "error"]
    assert first.session.state.name == "AUTHENTICATED"


def test_registering_again_keeps_bandwidth():
    first = Pair().connect()
    first.close()
    second = Pair(registry=first.registry, clock=first.clock, seed=9).connect()
    assert second.event(Registered).shared_key != first.event(Registered).shared_key
    assert second.event(Ready).bandwidth == 2 * FREE_CLAIM  # claimed on top, as its cached balance is 0


# -- deadlines and closing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exchanges", "seconds", "phase"),
    [(0, 20, "gateway protocol version"), (1, 5, "gateway registration"), (2, 5, "gateway registration")],
)
def test_silent_gateway_runs_into_the_deadline_of_its_phase(exchanges, seconds, phase):
    pair = Pair().connect(run=False)
    for _ in range(exchanges):
        pair.client_to_gateway()
        pair.gateway_to_client()
    pair.session = None  # from here on it says nothing
    pair.client.frames_to_send()
    assert pair.client.poll_at() == seconds
    pair.advance(seconds - 0.01)
    assert not pair.client_events
    pair.advance(0.02)
    error = error_of(pair)
    assert isinstance(error, DeadlineError)
    assert (error.phase, error.seconds) == (phase, seconds)


def test_silent_gateway_at_authentication_and_at_the_claim():
    pair = registered_pair()
    pair.close()
    pair.clock.now += 1
    pair.client_events.clear()
    pair.connect(run=False)
    pair.session = None
    pair.advance(21)
    assert error_of(pair).phase == "gateway authentication"

    other = Pair().connect(run=False)
    for _ in range(3):
        other.client_to_gateway()
        other.gateway_to_client()
    assert other.client.state is State.EXPECT_BANDWIDTH
    other.session = None
    other.advance(21)
    assert error_of(other).phase == "bandwidth claim"


def test_uploads_without_any_answer_end_the_session():
    pair = registered_pair()
    assert pair.client.poll_at() is None  # an idle session waits for nothing
    pair.client.send_packet(regular_packet())
    pair.run()
    assert pair.client.poll_at() is None  # answered
    session, pair.session = pair.session, None  # the network is gone, and nobody says so
    start = pair.clock.now
    pair.client.handle_timer(start)
    pair.client_events.clear()
    for _ in range(29):
        pair.client.send_packet(regular_packet())
        assert pair.client.poll_at() == start + 30
        pair.advance(1)
    assert pair.client_events == []
    pair.advance(1)
    error = error_of(pair)
    assert isinstance(error, DeadlineError)
    assert error.phase == "gateway answer to uploads"
    session.receive_closed(pair.clock.now)
    pair.client_events.clear()
    pair.connect()
    assert pair.event(Ready)


def test_any_frame_counts_as_an_answer():
    pair = registered_pair()
    session, pair.session = pair.session, None
    pair.client.send_packet(regular_packet())
    session.push(b"something from the mixnet")
    pair.clock.now += 20
    for frame in session.frames_to_send():
        pair.client.receive_binary(frame, pair.clock.now)
    pair.client.send_packet(regular_packet())
    assert pair.client.poll_at() == pair.clock.now + 30


@pytest.mark.parametrize("exchanges", range(4))
def test_closing_at_every_step_is_reported_and_recovered_from(exchanges):
    pair = Pair().connect(run=False)
    for _ in range(exchanges):
        pair.client_to_gateway()
        pair.gateway_to_client()
    pair.close()
    assert isinstance(error_of(pair), GatewayClosed)
    assert pair.registry.active == {}
    pair.clock.now += 1
    pair.connect()
    assert pair.event(Ready)


def test_connected_twice_is_misuse():
    pair = Pair().connect()
    with pytest.raises(LocalProtocolError):
        pair.client.connected(0.0)


def test_nothing_is_sent_or_taken_before_ready():
    pair = Pair()
    assert pair.client.writable() == 0
    pair.client.send_packet(regular_packet())
    assert pair.client.stats.packets_dropped == 1
    pair.client.receive_text('{"type":"send","remaining_bandwidth":1}', 0)
    pair.client.receive_binary(b"\1\1" + bytes(40), 0)
    assert drain(pair.client) == []
    with pytest.raises(LocalProtocolError):
        pair.client.forget_me()


# -- pushes ------------------------------------------------------------------------------------------------


def test_live_pushes():
    pair = registered_pair()
    pair.registry.deliver(IDENTITY, b"\xac" * 21, 0.0)
    pair.registry.deliver(IDENTITY, b"m" * 1643, 0.0)
    pair.run()
    assert [e.data for e in pair.client_events if isinstance(e, MessagePushed)] == [b"\xac" * 21, b"m" * 1643]


@pytest.mark.parametrize("by_registration", [False, True])
def test_stored_messages_come_before_the_reply(by_registration):
    pair = Pair()
    if not by_registration:
        pair.connect().close()
        pair.clock.now += 1
    count = 250  # more than two pages
    for number in range(count):
        pair.registry.deliver(IDENTITY, b"message %d" % number, pair.clock.unix())
    pair.client_events.clear()
    pair.to_client.clear()
    pair.connect()
    kinds = types(pair.to_client)
    reply = "register" if by_registration else "authenticate"
    assert kinds.index("bytes") < kinds.index(reply)
    assert "bytes" not in kinds[kinds.index(reply) :]
    received = [event.data for event in pair.client_events if isinstance(event, MessagePushed)]
    assert received == [b"message %d" % number for number in range(count)]
    assert pair.registry.storage.load_messages(IDENTITY) == []


def test_stored_messages_stay_when_the_connection_dies_before_they_are_written():
    pair = Pair().connect()
    pair.close()
    pair.clock.now += 1
    pair.registry.deliver(IDENTITY, b"kept", pair.clock.unix())
    pair.connect(run=False)
    pair.client_to_gateway()  # authenticated, but the driver wrote nothing yet
    assert pair.session.state.name == "AUTHENTICATED"
    pair.close()
    assert [m for _, m in pair.registry.storage.load_messages(IDENTITY)] == [b"kept"]


def test_undecryptable_and_unknown_pushes_are_counted_not_fatal():
    pair = registered_pair()
    key = SharedKey(pair.registry.storage.load_client(IDENTITY).shared_key)
    pair.client.receive_binary(b"", 2)
    pair.client.receive_binary(b"\1\1" + bytes(40), 2)
    pair.client.receive_binary(seal_frame(key, 9, b"?", bytes(12)), 2)
    assert pair.client.stats.undecryptable_pushes == 3
    pair.client.send_packet(regular_packet())
    pair.run()
    assert isinstance(pair.server_events[-1], PacketUploaded)


def test_slow_client_loses_pushes_not_the_gateway_its_memory():
    pair = registered_pair(config=GatewayConfig(push_backlog=10_000))
    for _ in range(10):
        pair.registry.deliver(IDENTITY, bytes(2000), 0.0)
    assert pair.registry.stats.messages_dropped == 6
    pair.run()
    pair.registry.deliver(IDENTITY, bytes(2000), 0.0)
    assert pair.registry.stats.messages_dropped == 6


# -- bandwidth ---------------------------------------------------------------------------------------------


def test_uploads_cost_the_length_of_the_packet():
    pair = registered_pair()
    for _ in range(3):
        pair.client.send_packet(regular_packet())
    pair.run()
    assert pair.client.balance == FREE_CLAIM - 3 * 2413
    assert pair.registry.stats.packets_uploaded == 3


@pytest.mark.parametrize(("balance", "claims"), [(REFILL_THRESHOLD, 0), (REFILL_THRESHOLD - 1, 1)])
def test_client_claims_below_the_threshold_only(balance, claims):
    pair = registered_pair()
    before = pair.client.stats.claims
    pair.client._refill.balance = balance
    pair.client.send_packet(regular_packet())
    pair.client.send_packet(regular_packet())
    assert pair.client.stats.claims - before == claims
    pair.run()
    assert pair.registry.stats.packets_uploaded == 2
    assert pair.client.balance == FREE_CLAIM * (1 + claims) - 2 * 2413


def test_out_of_bandwidth_discards_the_packet_then_the_client_claims_and_goes_on():
    pair = registered_pair()
    pair.clock.now += 86_400  # free bandwidth expires at the end of the day
    pair.client.send_packet(regular_packet(1))
    pair.run()
    assert pair.event(OutOfBandwidth) == OutOfBandwidth(2413, 0)
    assert pair.client.balance == FREE_CLAIM
    assert not any(isinstance(e, PacketUploaded) for e in pair.server_events)
    pair.client.send_packet(regular_packet(2))
    pair.run()
    assert pair.server_events[-1].packet.packet == regular_packet(2).packet


def test_packets_wait_for_a_claim_when_the_balance_is_empty():
    pair = registered_pair()
    pair.client._refill.balance = 0
    for fill in range(5):
        pair.client.send_packet(regular_packet(fill))
    assert types(pair.client.frames_to_send()) == ["claimFreeTestnetBandwidth"]
    assert pair.client.writable() == MAX_WAITING - 5
    pair.client.receive_text('{"type":"bandwidth","available_total":5000}', pair.clock.now)
    assert types(pair.client.frames_to_send()) == ["bytes", "bytes"]  # what 5,000 bytes cover
    # A claim that did not help is repeated after a pause, not at once.
    assert pair.client.poll_at() == pair.clock.now + 5.0
    pair.client.handle_timer(pair.clock.now + 4.9)
    assert pair.client.frames_to_send() == []
    pair.client.handle_timer(pair.clock.now + 5.0)
    assert types(pair.client.frames_to_send()) == ["claimFreeTestnetBandwidth"]
    pair.client.receive_text('{"type":"bandwidth","available_total":50000000}', pair.clock.now + 5.0)
    assert types(pair.client.frames_to_send()) == ["bytes", "bytes", "bytes"]


def test_waiting_packets_are_bounded():
    pair = registered_pair()
    pair.client._refill.balance = 0
    for _ in range(MAX_WAITING + 10):
        pair.client.send_packet(regular_packet())
    assert pair.client.writable() == 0
    assert pair.client.stats.packets_dropped == 10


def test_gateway_without_free_bandwidth():
    pair = Pair(config=GatewayConfig(enforce_zk_nyms=True)).connect()
    error = error_of(pair)
    assert isinstance(error, GatewayRefused)
    assert error.step == "the bandwidth claim"
    assert error.reason == error_texts.FREE_CLAIM_REFUSED


def test_refused_claim_with_bandwidth_left_is_a_complaint():
    pair = registered_pair()
    pair.session._service._config = GatewayConfig(enforce_zk_nyms=True)
    pair.client._refill.balance = 1_000_000
    pair.client.send_packet(regular_packet())
    pair.run()
    assert pair.event(GatewayComplaint).message == error_texts.FREE_CLAIM_REFUSED
    assert pair.registry.stats.packets_uploaded == 1
    assert pair.client.state is State.READY


def test_balance_survives_the_session():
    pair = registered_pair()
    for _ in range(4):
        pair.client.send_packet(regular_packet())
    pair.run()
    pair.close()
    pair.clock.now += 1
    pair.connect()
    assert pair.event(Ready).bandwidth == FREE_CLAIM - 4 * 2413


def test_upgrade_mode_suspends_metering():
    pair = registered_pair(config=GatewayConfig(upgrade_mode=True))
    pair.clock.now += 86_400
    pair.client.send_packet(regular_packet())
    pair.run()
    assert isinstance(pair.server_events[-1], PacketUploaded)
    assert json.loads(pair.to_client[-1]) == {
        "type": "send",
        "remaining_bandwidth": 40_000_001,
        "upgrade_mode": True,
    }


# -- control requests --------------------------------------------------------------------------------------


def test_forget_me_deletes_everything_but_the_session_goes_on():
    pair = registered_pair()
    pair.client.forget_me()
    pair.run()
    assert pair.event(ForgetMeAcknowledged)
    assert pair.registry.storage.load_client(IDENTITY) is None
    pair.client.send_packet(regular_packet())
    pair.run()
    assert isinstance(pair.server_events[-1], PacketUploaded)
    pair.close()
    pair.clock.now += 1
    pair.client_events.clear()
    pair.connect()
    assert isinstance(error_of(pair), RegistrationLost)
    assert pair.registry.storage.load_bandwidth(IDENTITY) == (0, 0)


def test_remember_me():
    pair = registered_pair()
    pair.client.remember_me("Wasm")
    pair.run()
    assert pair.event(RememberMeAcknowledged)


# -- duplicate logins --------------------------------------------------------------------------------------


def duplicate(old: Pair, *, seconds: float = 1.0) -> Pair:
    """A second connection of the same identity, from another engine, while the first is alive."""
    key = old.registry.storage.load_client(IDENTITY).shared_key
    old.clock.now += seconds
    new = Pair(shared_key=key, registry=old.registry, clock=old.clock, seed=5)
    new.connect()
    return new


def test_duplicate_login_is_refused_while_the_old_one_answers_pings():
    old = registered_pair()
    new = duplicate(old)
    assert new.session.state.name == "PROBING"
    old.run()  # delivers the Ping; the fake wire answers it
    assert any(isinstance(frame, Ping) and len(frame.payload) == 8 for frame in old.to_client)
    new.run()
    assert isinstance(error_of(new), SessionBusy)
    assert texts(new.to_client) == [error_texts.ALREADY_OPEN] * 2
    assert old.session.state.name == "AUTHENTICATED"


def test_duplicate_login_evicts_a_dead_session():
    old = registered_pair()
    new = duplicate(old)
    session = old.session
    assert session.poll_at() == pytest.approx(old.clock.now + 1.0)
    session.handle_timer(old.clock.now + 1.0)
    new.run()
    assert new.event(Ready)
    assert old.registry.active[IDENTITY] is new.session
    assert session.state.name == "CLOSED"
    assert isinstance(drain(session)[-1], Dropped)
    assert old.registry.stats.evicted == 1
    # The old connection's end does not touch the new one.
    session.receive_closed(old.clock.now + 2)
    assert old.registry.active[IDENTITY] is new.session


def test_duplicate_login_goes_on_when_the_old_one_closes_or_nobody_answers():
    for how in ("close", "two seconds"):
        old = registered_pair()
        new = duplicate(old)
        if how == "close":
            old.close()
            new.run()
        else:
            new.advance(2.0)  # the old session's driver is stuck: its timer never runs
        assert new.event(Ready), how


def test_third_login_during_a_probe_is_refused():
    old = registered_pair()
    second = duplicate(old)
    third = duplicate(old)
    assert isinstance(error_of(third), SessionBusy)
    assert second.session.state.name == "PROBING"


def test_pong_with_another_payload_does_not_count():
    old = registered_pair()
    new = duplicate(old)
    for payload in (b"", bytes(8), bytes(7), b"x" * 100):
        old.session.receive_pong(payload, old.clock.now)
    assert new.session.state.name == "PROBING"


def test_duplicate_closing_during_the_probe_leaves_the_old_one_alone():
    old = registered_pair()
    new = duplicate(old)
    new.close()
    old.session.handle_timer(old.clock.now + 1.5)
    assert old.registry.active[IDENTITY] is old.session
    assert old.session.state.name == "AUTHENTICATED"


def test_authentication_in_the_second_of_a_live_registration_is_stale():
    pair = Pair()
    pair.clock.now = 0.5  # the registration is stamped with a fraction of a second
    pair.connect()
    key = pair.event(Registered).shared_key
    new = Pair(shared_key=key, registry=pair.registry, clock=Clock(), seed=5).connect()
    assert texts(new.to_client) == [error_texts.STALE_AUTHENTICATION] * 2
    assert isinstance(error_of(new), SessionBusy)


def test_output_without_a_call_of_the_driver_is_announced():
    """A probe makes the old session speak, and its outcome the new one."""
    old = registered_pair()
    woken = []
    old.session._on_output = lambda: woken.append("old")
    new = duplicate(old)
    new.session._on_output = lambda: woken.append("new")
    assert woken == ["old"]
    old.session.handle_timer(old.clock.now + 1.0)
    assert "new" in woken


# -- abuse of the gateway ----------------------------------------------------------------------------------


def fresh(config: GatewayConfig | None = None):
    pair = Pair(config=config)
    return new_session(pair.registry, pair.clock, config), pair


FRESH_CASES = [
    ("", error_texts.ONLY_REGISTER),
    ("not json", error_texts.ONLY_REGISTER),
    ('{"type":"claimFreeTestnetBandwidth"}', error_texts.ONLY_REGISTER),
    ('{"type":"handshakeError","message":"x"}', error_texts.ONLY_REGISTER),
    ('{"type":"encryptedRequest","ciphertext":[],"nonce":[]}', error_texts.ONLY_REGISTER),
    ('{"type":"novelty"}', error_texts.ONLY_REGISTER),
    ('{"type":"authenticate","address":"a","enc_address":"b","iv":"c"}', error_texts.LEGACY_AUTHENTICATION),
    (b"", error_texts.UNAUTHENTICATED_PACKET),
    (b"\2\1" + bytes(2450), error_texts.UNAUTHENTICATED_PACKET),
]


@pytest.mark.parametrize(("frame", "text"), FRESH_CASES)
def test_fresh_session_refuses_and_drops(frame, text):
    session, _ = fresh()
    if isinstance(frame, str):
        session.receive_text(frame, 0.0)
    else:
        session.receive_binary(frame, 0.0)
    assert texts(session.frames_to_send()) == [text]
    assert drain(session) == [Dropped(text)]
    session.receive_text('{"type":"supportedProtocol"}', 0.1)
    assert session.frames_to_send() == []


def test_fresh_session_refuses_ping_and_pong():
    for kind in ("ping", "pong"):
        session, _ = fresh()
        session.receive_ping(0.0) if kind == "ping" else session.receive_pong(b"", 0.0)
        assert texts(session.frames_to_send()) == [error_texts.UNEXPECTED_MESSAGE.format(kind=kind)]


def test_fresh_session_times_out_and_asking_the_version_restarts_the_clock():
    session, pair = fresh()
    assert session.poll_at() == 10.0
    session.receive_text('{"type":"supportedProtocol"}', 9.0)
    session.handle_timer(10.0)
    assert drain(session) == []
    assert session.poll_at() == 19.0
    session.handle_timer(19.0)
    assert drain(session) == [Dropped(error_texts.TIMED_OUT)]
    assert pair.registry.stats.refused == 1


@pytest.mark.parametrize("length", [0, 1, 79, 81, 5000])
def test_handshake_opening_of_a_wrong_length(length):
    session, _ = fresh()
    session.receive_text(messages.emit_request(messages.HandshakePayload(6, bytes(length))), 0.0)
    frames = session.frames_to_send()
    assert types(frames) == ["handshakeError", "error", "error"]
    assert texts(frames)[0].endswith(error_texts.HANDSHAKE_MALFORMED_REQUEST)
    assert isinstance(drain(session)[-1], Dropped)


def begun_handshake():
    pair = Pair().connect(run=False)
    pair.client_to_gateway()
    pair.gateway_to_client()
    pair.client_to_gateway()
    pair.gateway_to_client()
    assert pair.session.state.name == "HANDSHAKE"
    return pair


def test_slow_handshake_times_out_whatever_is_sent_meanwhile():
    pair = begun_handshake()
    session = pair.session
    for step in range(1, 5):
        session.receive_text("garbage", step)
        session.receive_text('{"type":"claimFreeTestnetBandwidth"}', step)
        session.receive_binary(bytes(100), step)
        session.receive_ping(step)
    assert session.frames_to_send() == []
    assert session.poll_at() == 5.0
    session.handle_timer(5.0)
    frames = session.frames_to_send()
    assert types(frames) == ["handshakeError", "error", "error"]
    assert error_texts.HANDSHAKE_TIMED_OUT in texts(frames)[0]


@pytest.mark.parametrize("data", [b"", bytes(92), bytes(91), bytes(124)])
def test_wrong_client_material(data):
    pair = begun_handshake()
    pair.session.receive_text(messages.emit_request(messages.HandshakePayload(6, data)), 0.0)
    assert types(pair.session.frames_to_send()) == ["handshakeError", "error", "error"]
    assert pair.registry.storage.load_client(IDENTITY) is None


def authentication(pair: Pair) -> dict:
    """The JSON of the client's last authentication."""
    return json.loads([f for f in pair.to_gateway if isinstance(f, str) and "authenticateV2" in f][-1])


def try_authentication(pair: Pair, request: dict) -> list[str]:
    session = new_session(pair.registry, pair.clock, pair.config)
    session.receive_text(json.dumps(request), pair.clock.now)
    return texts(session.frames_to_send())


def test_replayed_authentication_is_refused():
    pair = registered_pair()
    pair.close()
    pair.clock.now += 5
    refused = try_authentication(pair, authentication(pair))
    assert refused == [error_texts.TIMESTAMP_NOT_INCREASING] * 2


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("protocolVersion", 3, error_texts.INCOMPATIBLE_VERSION.format(ours=6, theirs=3)),
        ("protocolVersion", 7, error_texts.INCOMPATIBLE_VERSION.format(ours=6, theirs=7)),
        ("protocolVersion", 5, error_texts.BAD_SIGNATURE),
        ("requestUnixTimestamp", int(START) + 3, error_texts.BAD_SIGNATURE),
        ("clientIdentity", [3] * 32, error_texts.BAD_SIGNATURE),
        ("requestSignature", [0] * 64, error_texts.BAD_SIGNATURE),
        ("addressCiphertext", "AAAA", error_texts.BAD_SIGNATURE),
        ("nonce", "AAAA", error_texts.BAD_SIGNATURE),
        (
            "requestUnixTimestamp",
            int(START) - 121,
            error_texts.TIMESTAMP_SKEWED.format(theirs=int(START) - 121, ours=int(START) + 1),
        ),
        (
            "requestUnixTimestamp",
            2**64 - 1,
            error_texts.TIMESTAMP_SKEWED.format(theirs=2**64 - 1, ours=int(START) + 1),
        ),
        ("clientIdentity", [1], error_texts.ONLY_REGISTER),
    ],
)
def test_forged_authentication(field, value, text):
    pair = registered_pair()
    pair.close()
    refused = try_authentication(pair, {**authentication(pair), field: value})
    assert set(refused) == {text}


@pytest.mark.parametrize(("skew", "accepted"), [(-120, True), (-121, False), (120, True), (121, False)])
def test_clock_skew_is_tolerated_up_to_two_minutes(skew, accepted):
    first = Pair().connect()
    key = first.event(Registered).shared_key
    first.close()
    first.clock.now += 1
    clock = Clock()
    clock.now = first.clock.now + skew
    client = GatewayClient(
        CLIENT_SEED, provider().ed25519_public(GATEWAY_SEED), shared_key=key, unix_time=clock.unix
    )
    second = Pair(registry=first.registry, clock=first.clock)
    second.client = client
    second.connect()
    assert (client.state is State.READY) is accepted


def test_own_nonce_length_is_checked_even_when_signed():
    from smolmix_web.gateway.authenticate import signed_message

    pair = registered_pair()
    pair.close()
    timestamp = int(pair.clock.unix()) + 5
    nonce, ciphertext = bytes(11), bytes(48)
    signed = signed_message(6, IDENTITY, ciphertext, nonce, timestamp)
    request = messages.AuthenticateV2(
        6, IDENTITY, ciphertext, nonce, timestamp, provider().ed25519_sign(CLIENT_SEED, signed)
    )
    assert try_authentication(pair, json.loads(messages.emit_request(request))) == [error_texts.BAD_NONCE] * 2


AUTHENTICATED_CASES = [
    ("nonsense", "Provided text request was malformed - not JSON: JSONDecodeError"),
    ('{"type":"novelty"}', error_texts.UNKNOWN_TYPE),
    ('{"type":"handshakeError","message":"x"}', error_texts.UNKNOWN_TYPE),
    (
        '{"type":"registerHandshakeInitRequest","protocol_version":6,"data":[]}',
        error_texts.ILLEGAL_NOW.format(
            detail=error_texts.ILLEGAL_TYPE.format(name="RegisterHandshakeInitRequest")
        ),
    ),
    (
        '{"type":"authenticate"}',
        error_texts.ILLEGAL_NOW.format(detail=error_texts.ILLEGAL_TYPE.format(name="Authenticate")),
    ),
    (
        '{"type":"bandwidthCredential"}',
        error_texts.ILLEGAL_NOW.format(detail=error_texts.COCONUT_UNSUPPORTED),
    ),
    (
        '{"type":"encryptedRequest","ciphertext":[1,2,3],"nonce":[0,0,0,0,0,0,0,0,0,0,0,0]}',
        error_texts.UNDECRYPTABLE_REQUEST,
    ),
    ('{"type":"encryptedRequest","ciphertext":[],"nonce":[]}', error_texts.UNDECRYPTABLE_REQUEST),
    ('{"type":"upgradeModeJWT","token":"x"}', error_texts.UPGRADE_MODE_UNSUPPORTED),
    ('{"type":"ecashCredential","enc_credential":[],"iv":[]}', error_texts.CREDENTIALS_UNSUPPORTED),
    (b"", error_texts.MALFORMED_BINARY.format(detail="the request is too short")),
    (
        b"\2\7" + bytes(60),
        error_texts.MALFORMED_BINARY.format(detail="the encryption flag had an unexpected value"),
    ),
    (b"\2\1" + bytes(60), error_texts.MALFORMED_BINARY.format(detail=error_texts.CIPHER_FAILURE)),
]


@pytest.mark.parametrize(("frame", "text"), AUTHENTICATED_CASES)
def test_authenticated_session_answers_errors_and_goes_on(frame, text):
    pair = registered_pair()
    if isinstance(frame, str):
        pair.session.receive_text(frame, 2.0)
    else:
        pair.session.receive_binary(frame, 2.0)
    assert texts(pair.session.frames_to_send()) == [text]
    pair.client.send_packet(regular_packet())
    pair.run()
    assert isinstance(pair.server_events[-1], PacketUploaded)


def test_authenticating_again_on_the_same_connection():
    pair = registered_pair()
    pair.session.receive_text(json.dumps(authentication(pair)), 2.0)
    assert texts(pair.session.frames_to_send()) == [error_texts.UNKNOWN_TYPE]


def test_asking_the_version_is_legal_at_any_time():
    pair = registered_pair()
    pair.session.receive_text('{"type":"supportedProtocol"}', 2.0)
    assert pair.session.frames_to_send() == ['{"type":"supportedProtocol","version":6}']


@pytest.mark.parametrize(
    ("kind", "plaintext", "reason"),
    [
        (3, b"", error_texts.UNKNOWN_KIND.format(kind=3)),
        (0, b"", error_texts.UNKNOWN_KIND.format(kind=0)),
        (2, b"", "failed to serialise created sphinx packet"),
        (2, b"\0\1\4\x06\xfd\x7f\0\0\1" + bytes(2412), "failed to serialise created sphinx packet"),
        (2, b"\1\1\4\x06\xfd\x7f\0\0\1" + bytes(2413), "failed to serialise created sphinx packet"),
        (2, b"\0\3\4\x06\xfd\x7f\0\0\1" + bytes(2413), "failed to serialise created sphinx packet"),
        (2, b"\0\1\5\x06\xfd\x7f\0\0\1" + bytes(2413), "failed to serialise created sphinx packet"),
        (1, b"\0\4\x06\xfd\x7f\0\0\1" + bytes(2), "failed to serialise created sphinx packet"),
    ],
)
def test_well_encrypted_nonsense(kind, plaintext, reason):
    pair = registered_pair()
    key = SharedKey(pair.registry.storage.load_client(IDENTITY).shared_key)
    pair.session.receive_binary(seal_frame(key, kind, plaintext, bytes(12)), 2.0)
    answer = texts(pair.session.frames_to_send())[0]
    assert answer.startswith("Provided binary request was malformed - ")
    assert reason in answer
    assert pair.registry.stats.malformed_uploads == 1


def test_mock_credentials():
    pair = registered_pair(config=GatewayConfig(mock_credentials=True))
    key = SharedKey(pair.registry.storage.load_client(IDENTITY).shared_key)
    ticket = messages.EcashCredential(key.seal(bytes(12), b"ticket"), bytes(12))
    pair.session.receive_text(messages.emit_request(ticket), 2.0)
    assert pair.session.frames_to_send() == [
        '{"type":"bandwidth","available_total":2122317824,"upgrade_mode":false}'
    ]


# -- a gateway that misbehaves -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        '{"type":"handshakePayload","protocol_version":6,"data":[1]}',
        '{"type":"handshakePayload","protocol_version":7,"data":[1]}',
        '{"type":"handshakeError","message":"no"}',
        '{"type":"error","message":"no"}',
        '{"type":"typedError","error":"ticket_replay"}',
    ],
)
def test_handshake_ends_at_the_first_wrong_word(text):
    pair = begun_handshake()
    pair.client.frames_to_send()
    assert pair.client.state is State.EXPECT_FINALISATION
    pair.client.receive_text(text, 0.0)
    assert pair.client.state is (State.EXPECT_REGISTER if text.endswith('"data":[1]}') else State.FAILED)


def test_registered_with_status_false():
    pair = Pair().connect(run=False)
    for _ in range(2):
        pair.client_to_gateway()
        pair.gateway_to_client()
    pair.client_to_gateway()
    frames = pair.session.frames_to_send()
    pair.client.receive_text(frames[0], 0.0)
    pair.client.receive_text('{"type":"register","protocol_version":6,"status":false}', 0.0)
    assert isinstance(drain(pair.client)[-1].error, GatewayRefused)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            '{"type":"authenticate","protocol_version":7,"status":true,"bandwidth_remaining":0}',
            IncompatibleGateway,
        ),
        (
            '{"type":"authenticate","protocol_version":6,"status":false,"bandwidth_remaining":0}',
            GatewayRefused,
        ),
        ('{"type":"error","message":"something else"}', GatewayRefused),
        ('{"type":"authenticate"}', Exception),
    ],
)
def test_authentication_answered_badly(text, error):
    pair = registered_pair()
    pair.close()
    pair.clock.now += 1
    pair.client_events.clear()
    pair.connect(run=False)
    pair.client.receive_text(text, pair.clock.now)
    failure = drain(pair.client)[-1].error
    assert isinstance(failure, error)
    # After such a failure the next session asks for the version again.
    pair.session.receive_closed(pair.clock.now)
    pair.client.receive_closed(pair.clock.now)
    pair.clock.now += 1
    pair.to_gateway.clear()
    pair.connect()
    assert types(pair.to_gateway)[0] == "supportedProtocol"
    assert pair.client.state is State.READY


def test_gateway_that_does_not_say_its_version_gets_kind_1():
    pair = registered_pair()
    pair.close()
    pair.clock.now += 1
    pair.connect(run=False)
    pair.client.frames_to_send()
    pair.client.receive_text('{"type":"authenticate","status":true,"bandwidth_remaining":50000000}', 2.0)
    pair.client.send_packet(regular_packet())
    assert pair.client.frames_to_send()[0][0] == 1


@pytest.mark.parametrize(
    "text",
    [
        "garbage",
        '{"type":"register","protocol_version":6,"status":true}',
        '{"type":"authenticate","protocol_version":6,"status":true,"bandwidth_remaining":0}',
        '{"type":"bandwidth","available_total":1}',
        '{"type":"supportedProtocol","version":2}',
        '{"type":"handshakePayload","protocol_version":6,"data":[]}',
        '{"type":"handshakeError","message":""}',
        '{"type":"encryptedResponse","ciphertext":[],"nonce":[]}',
        '{"type":"novelty"}',
        '{"type":"error","message":"whatever"}',
    ],
)
def test_ready_client_survives_any_text(text):
    """The official client stops receiving at some of these; ours does not."""
    pair = registered_pair()
    balance = pair.client.balance
    pair.client.receive_text(text, 2.0)
    assert pair.client.state is State.READY
    assert pair.client.balance == balance
    pair.client.send_packet(regular_packet())
    pair.run()
    assert isinstance(pair.server_events[-1], PacketUploaded)
