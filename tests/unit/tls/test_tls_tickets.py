"""Session tickets: off by default, apart by origin and tunnel, used once, never for too long."""

from __future__ import annotations

import pytest

from smolmix_web.tls import ProtocolVersion, TicketStore, TlsConfig
from smolmix_web.tls import errors as e
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.messages import ServerHello
from smolmix_web.tls.registry import CipherSuite, ExtensionType, NamedGroup
from smolmix_web.tls.tickets import MAX_LIFETIME, Ticket
from smolmix_web.wire import Reader
from tls_support.pair import TIME, authority, carry, connect, issued, make_client
from tls_support.server import TamperingServer

PSK = ExtensionType.PRE_SHARED_KEY


def with_ticket(
    store: TicketStore, *, lifetime: int = 3600, count: int = 1, **options: object
) -> TamperingServer:
    """A server that gave out tickets and knows them again."""
    made = connect(client=make_client(resumption=store, **options))
    for _ in range(count):
        made.server.send_ticket(lifetime=lifetime)
    carry(made.client, made.server)
    return made.server


def again(store: TicketStore | None, known: TamperingServer, *, unix_time: float = TIME, **options: object):  # type: ignore[no-untyped-def]
    server = TamperingServer(issued())
    server.resumable = known.resumable
    return connect(server, make_client(resumption=store, unix_time=unix_time, **options))


def offers(made) -> bool:  # type: ignore[no-untyped-def]
    return PSK in made.server.hello.extensions


def test_resumption_skips_the_certificate_and_keeps_the_proof() -> None:
    store = TicketStore()
    made = again(store, with_ticket(store))
    assert made.info.resumed
    assert made.server.resumed
    assert made.info.peer_certificates == issued().chain_der
    assert made.info.signature_scheme is None
    made.client.send(b"resumed")
    carry(made.client, made.server)
    assert made.server.received == b"resumed"


def test_psk_comes_last_and_with_a_fresh_key_exchange() -> None:
    store = TicketStore()
    made = again(store, with_ticket(store))
    assert made.server.hello is not None
    assert list(made.server.hello.extensions)[-1] == PSK
    assert made.server.hello.extensions[ExtensionType.PSK_KEY_EXCHANGE_MODES] == b"\1\1"
    assert made.info.group == NamedGroup.X25519


def test_off_by_default() -> None:
    store = TicketStore()
    known = with_ticket(store)
    made = again(None, known)
    assert not offers(made)
    assert made.server.hello is not None
    assert ExtensionType.PSK_KEY_EXCHANGE_MODES not in made.server.hello.extensions
    assert not made.info.resumed


def test_each_ticket_is_used_once() -> None:
    store = TicketStore()
    known = with_ticket(store, count=2)
    assert [again(store, known).info.resumed for _ in range(3)] == [True, True, False]


def test_tickets_stay_apart() -> None:
    store = TicketStore()
    known = with_ticket(store, resumption_partition="https://a.example")
    assert not offers(again(store, known))
    assert not offers(again(store, known, resumption_partition="https://b.example"))
    assert not offers(again(TicketStore(), known, resumption_partition="https://a.example")), "another tunnel"
    assert not offers(
        again(store, known, resumption_partition="https://a.example", trust_anchors=authority().pem + "\n")
    ), "another idea of whom to trust"
    assert offers(again(store, known, resumption_partition="https://a.example"))


def test_expired_tickets_are_not_offered() -> None:
    store = TicketStore()
    assert not offers(again(store, with_ticket(store, lifetime=60), unix_time=TIME + 61))
    assert offers(again(store, with_ticket(store, lifetime=60), unix_time=TIME + 59))


def test_lifetime_zero_and_lifetimes_beyond_a_week() -> None:
    store = TicketStore()
    assert not offers(again(store, with_ticket(store, lifetime=0)))
    known = with_ticket(store, lifetime=1 << 31)
    assert not offers(again(store, known, unix_time=TIME + MAX_LIFETIME + 1))


def test_clock_that_went_backwards_gives_no_ticket() -> None:
    store = TicketStore()
    assert not offers(again(store, with_ticket(store), unix_time=TIME - 10))


def test_refused_ticket_falls_back_to_a_full_handshake() -> None:
    store = TicketStore()
    known = with_ticket(store)
    known.resumable.clear()
    made = again(store, known)
    assert offers(made)
    assert not made.info.resumed
    assert made.info.signature_scheme is not None


def test_resumption_through_a_hello_retry_request() -> None:
    store = TicketStore()
    known = with_ticket(store)
    server = TamperingServer(issued())
    server.resumable, server.retry_group = known.resumable, NamedGroup.SECP384R1
    made = connect(server, make_client(resumption=store))
    assert made.info.resumed
    assert made.info.retried


def test_ticket_of_another_hash_is_left_out_after_a_retry() -> None:
    store = TicketStore()
    known = with_ticket(store)
    server = TamperingServer(issued())
    server.suite, server.retry_group = CipherSuite.TLS_AES_256_GCM_SHA384, NamedGroup.SECP384R1
    server.resumable = {}
    made = connect(server, make_client(resumption=store))
    assert [PSK in hello.extensions for hello in server.hellos] == [True, False]
    assert not made.info.resumed
    assert known.resumable


@pytest.mark.parametrize("identity", [b"\0\1", b"\0"])
def test_server_that_picks_what_was_not_offered(identity: bytes) -> None:
    store = TicketStore()
    with_ticket(store)
    server = TamperingServer(issued())
    server.hello_extensions = {PSK: identity}
    with pytest.raises(e.IllegalParameter if len(identity) == 2 else e.DecodeError):
        connect(server, make_client(resumption=store))


def test_server_that_resumes_with_another_hash() -> None:
    store = TicketStore()
    with_ticket(store)
    server = TamperingServer(issued())
    server.suite = CipherSuite.TLS_AES_256_GCM_SHA384
    server.hello_extensions = {PSK: b"\0\0"}
    with pytest.raises(e.IllegalParameter):
        connect(server, make_client(resumption=store))


def test_server_that_pretends_to_resume_and_knows_no_key() -> None:
    store = TicketStore()
    with_ticket(store)
    server = TamperingServer(issued())
    server.hello_extensions = {PSK: b"\0\0"}
    with pytest.raises(e.BadRecordMac):
        connect(server, make_client(resumption=store))


def test_certificate_after_a_resumption_is_unexpected() -> None:
    store = TicketStore()
    known = with_ticket(store)
    server = TamperingServer(
        issued(), tamper=lambda name, raw: [b"\x0b\0\0\4\0\0\0\0", raw] if name == "finished" else [raw]
    )
    server.resumable = known.resumable
    with pytest.raises(e.UnexpectedMessage):
        connect(server, make_client(resumption=store))


def test_tickets_of_a_resumed_session_end_with_the_first_certificate() -> None:
    store = TicketStore()
    made = again(store, with_ticket(store))
    made.server.send_ticket(lifetime=MAX_LIFETIME)
    carry(made.client, made.server)
    third = again(store, made.server)
    assert third.info.resumed
    ticket_end = issued().certificate.not_valid_after_utc.timestamp()
    made.server.send_ticket(lifetime=MAX_LIFETIME)
    carry(made.client, made.server)
    (held,) = store._tickets.values()
    assert all(ticket.certificate_not_after == ticket_end for ticket in held)


def test_tls12_offers_no_tickets() -> None:
    made = connect(TamperingServer(issued(), version=ProtocolVersion.TLS_1_2), resumption=TicketStore())
    assert made.server.hello is not None
    assert 35 not in made.server.hello.extensions


def make_ticket(number: int = 0) -> Ticket:
    return Ticket(
        identity=b"ticket%d" % number,
        psk=b"very secret",
        age_add=0xFFFFFFFF,
        cipher_suite=CipherSuite.TLS_AES_128_GCM_SHA256,
        received_at=100.0,
        expires_at=200.0,
        certificate_not_after=200.0,
        peer_certificates=(),
    )


def test_store_is_bounded_and_forgets_the_oldest() -> None:
    store = TicketStore(per_key=2, keys=3)
    for number in range(5):
        store.put("a", make_ticket(number))
    assert [t.identity for t in iter(lambda: store.take("a", 150.0), None)] == [b"ticket4", b"ticket3"]
    for key in "abcd":
        store.put(key, make_ticket())
    assert store.take("a", 150.0) is None
    assert store.take("d", 150.0) is not None
    store.clear()
    assert store.take("c", 150.0) is None


def test_age_is_obfuscated() -> None:
    assert make_ticket().obfuscated_age(101.5) == (1500 - 1) % (1 << 32)
    assert make_ticket().obfuscated_age(50.0) == 0xFFFFFFFF


def test_nothing_secret_in_reprs() -> None:
    ticket, store = make_ticket(), TicketStore()
    store.put("origin", ticket)
    text = repr(ticket) + repr(store) + repr(TlsConfig(resumption=store))
    assert "secret" not in text
    assert "ticket0" not in text
    assert "origin" not in text


def test_server_hello_of_the_pair_is_real() -> None:
    """The stand-in server writes the message that the engine parses."""
    server = TamperingServer(issued())
    seen: list[bytes] = []
    server.tamper = lambda name, raw: [seen.append(raw) or raw] if name == "server_hello" else [raw]
    connect(server)
    hello = ServerHello.pull_body(Reader(seen[0][4:]))
    assert ext.pull_u16(hello.extensions[ExtensionType.SUPPORTED_VERSIONS]) == ProtocolVersion.TLS_1_3
