"""The resolver against servers that behave well and badly; datagrams go through memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import ConnectionRefused, DeadlineError, MalformedError, OptionError
from smolmix_web.resolve import (
    Address,
    NameNotFound,
    NoAddress,
    ResolutionFailed,
    Resolver,
    resolver,
    servers,
)
from smolmix_web.resolve.message import build_query, parse_answer, parse_name
from smolmix_web.sockets.bytestream import ByteStream

PRIMARY = ("192.0.2.53", 53)
FALLBACK = ("198.51.100.53", 53)

Answerer = Callable[[dns.message.Message, bool], "list[bytes]"]


def answer(query: dns.message.Message, *records: str, rcode: int = 0, flags: int = 0) -> bytes:
    response = dns.message.make_response(query)
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.flags |= flags
    for record in records:
        name, ttl, kind, value = record.split(None, 3)
        section = response.authority if kind == "SOA" else response.answer
        section.append(dns.rrset.from_text(name, int(ttl), "IN", kind, value))
    return response.to_wire()


class Server:
    """DNS servers in memory, one answering function per address; counts the questions it saw."""

    def __init__(self, **answerers: Answerer) -> None:
        self.answerers = {PRIMARY: answerers.get("primary"), FALLBACK: answerers.get("fallback")}
        self.questions: list[tuple[tuple[str, int], str, str]] = []
        self.sockets = 0

    def ask(self, server: tuple[str, int], wire: bytes, tcp: bool) -> list[bytes]:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        self.questions.append((server, question.name.to_text(True), question.rdtype.name))
        answerer = self.answerers[server]
        return answerer(query, tcp) if answerer is not None else []

    def resolver(self, timeout: float = 2.0) -> Resolver:
        return Resolver(
            (PRIMARY, FALLBACK),
            timeout=timeout,
            open_udp=lambda: MemoryDatagrams(self),
            open_tcp=self._open_tcp,
            now=time.monotonic,
            random_bytes=os.urandom,
        )

    async def _open_tcp(self, address: str, port: int) -> ByteStream:
        return MemoryTcp(self, (address, port))


class MemoryDatagrams:
    def __init__(self, server: Server) -> None:
        self.server = server
        self.arrived: asyncio.Queue[tuple[bytes, tuple[str, int]]] = asyncio.Queue()
        server.sockets += 1

    def send_to(self, data: bytes, address: tuple[str, int]) -> None:
        for wire in self.server.ask(address, data, False):
            sender = address
            if wire.startswith(b"FORGED"):
                wire, sender = wire[6:], ("203.0.113.66", 53)
            self.arrived.put_nowait((wire, sender))

    async def recv_from(self) -> tuple[bytes, tuple[str, int]]:
        return await self.arrived.get()

    def close(self) -> None:
        self.server.sockets -= 1


class MemoryTcp:
    def __init__(self, server: Server, address: tuple[str, int]) -> None:
        self.server, self.address, self.pending = server, address, b""

    async def read(self, max_bytes: int = 65536) -> bytes:
        piece, self.pending = self.pending[: min(max_bytes, 7)], self.pending[min(max_bytes, 7) :]
        return piece

    async def write(self, data: bytes) -> None:
        for wire in self.server.ask(self.address, data[2:], True):
            self.pending += len(wire).to_bytes(2, "big") + wire

    async def write_eof(self) -> None: ...
    async def close(self) -> None: ...
    def abort(self) -> None: ...


@pytest.fixture(autouse=True)
async def quick(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Repeats and hedging within milliseconds."""
    monkeypatch.setattr(servers, "HEDGE_AFTER", 0.05)
    monkeypatch.setattr(servers, "REPEAT_AFTER", 0.03)
    monkeypatch.setattr(resolver, "GRACE", 0.1)
    yield
    await asyncio.sleep(0.01)
    running = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    assert not [task for task in running if task.get_name().startswith("resolve")], (
        "a look-up was left behind"
    )


def only(kind: str, *records: str) -> Answerer:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return [answer(query, *(records if query.question[0].rdtype.name == kind else ()))]

    return respond


BOTH = [(PRIMARY, "www.test", "A"), (PRIMARY, "www.test", "AAAA")]


def both(query: dns.message.Message, _tcp: bool) -> list[bytes]:
    records = {
        "A": ("www.test. 60 A 192.0.2.1", "www.test. 60 A 192.0.2.2"),
        "AAAA": ("www.test. 90 AAAA 2001:db8::1",),
    }
    return [answer(query, *records[query.question[0].rdtype.name])]


async def test_both_questions_leave_together_and_answers_are_kept_for_their_ttl() -> None:
    server = Server(primary=both)
    names = server.resolver()
    assert await names.resolve("www.test") == "192.0.2.1"
    found = await names.resolve_all("WWW.test.")
    assert [(one.address, one.family) for one in found] == [
        ("192.0.2.1", 4),
        ("192.0.2.2", 4),
        ("2001:db8::1", 6),
    ]
    ttls = [one.ttl for one in found if one.ttl is not None]
    assert [round(ttl) for ttl in ttls] == [60, 60, 90]
    assert server.questions == BOTH
    assert server.sockets == 0


async def test_the_family_can_be_chosen() -> None:
    server = Server(primary=both)
    assert await server.resolver().resolve("www.test", family=6) == "2001:db8::1"
    assert [question[2] for question in server.questions] == ["AAAA"]
    assert [one.family for one in await server.resolver().resolve_all("www.test", family=4)] == [4, 4]
    with pytest.raises(OptionError, match="family"):
        await server.resolver().resolve("www.test", family=5)  # type: ignore[arg-type]
    assert await server.resolver().resolve_all("192.0.2.9", family=4) == (Address("192.0.2.9", 4, None),)
    with pytest.raises(NoAddress):
        await server.resolver().resolve("192.0.2.9", family=6)


async def test_a_name_without_an_address_of_the_family_exists_all_the_same() -> None:
    server = Server(primary=only("A", "www.test. 60 A 192.0.2.1"))
    with pytest.raises(NoAddress):
        await server.resolver().resolve("www.test", family=6)
    with pytest.raises(NoAddress):
        await Server(primary=only("TXT")).resolver().resolve("www.test")


async def test_a_silent_question_for_one_family_does_not_hold_up_the_other() -> None:
    def only_v6(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return both(query, False) if query.question[0].rdtype.name == "AAAA" else []

    def only_v4(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return both(query, False) if query.question[0].rdtype.name == "A" else []

    for answerer, first in ((only_v6, "2001:db8::1"), (only_v4, "192.0.2.1")):
        names = Server(primary=answerer, fallback=answerer).resolver(timeout=30)
        async with asyncio.timeout(1):
            assert await names.resolve("www.test") == first
            assert (await names.resolve_all("www.test"))[0].address == first


async def test_ipv4_goes_first_even_if_ipv6_is_known_sooner() -> None:
    server = Server(primary=both)
    late = asyncio.Event()

    class LateV4(MemoryDatagrams):
        async def recv_from(self) -> tuple[bytes, tuple[str, int]]:
            received = await super().recv_from()
            if dns.message.from_wire(received[0]).question[0].rdtype.name == "A":
                await late.wait()
            return received

    names = server.resolver()
    names.servers._open_udp = lambda: LateV4(server)
    asyncio.get_running_loop().call_later(0.03, late.set)
    assert await names.resolve("www.test") == "192.0.2.1"


async def test_a_failing_family_does_not_spoil_the_other() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        if query.question[0].rdtype.name == "A":
            return [answer(query, rcode=2)]
        return both(query, False)

    names = Server(primary=respond, fallback=respond).resolver()
    assert await names.resolve("www.test") == "2001:db8::1"
    nothing = only("TXT")

    def no_v6(query: dns.message.Message, tcp: bool) -> list[bytes]:
        return respond(query, tcp) if query.question[0].rdtype.name == "A" else nothing(query, tcp)

    with pytest.raises(ResolutionFailed, match="SERVFAIL"):
        await Server(primary=no_v6, fallback=no_v6).resolver().resolve("www.test")


async def test_a_look_up_has_a_limit_of_its_own() -> None:
    server = Server()
    with pytest.raises(DeadlineError, match=r"addresses of www\.test"):
        await server.resolver(timeout=30).resolve("www.test", timeout=0.1)
    await asyncio.sleep(0.01)
    assert server.sockets == 0


async def test_candidates_give_the_rest_later() -> None:
    names = Server(primary=both).resolver()
    async with names.candidates("www.test") as candidates:
        assert [one.address for one in await candidates.first()] == ["192.0.2.1", "192.0.2.2"]
        assert [one.address for one in await candidates.rest()] == ["2001:db8::1"]


async def test_a_server_without_edns_is_asked_again_without() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        if query.edns >= 0:
            return [answer(dns.message.make_query(query.question[0].name, "A", id=query.id), rcode=1)]
        return [answer(query, "www.test. 60 A 192.0.2.1")]

    assert await Server(primary=respond).resolver().resolve("www.test", family=4) == "192.0.2.1"


async def test_a_zero_ttl_is_not_kept() -> None:
    server = Server(primary=only("A", "www.test. 0 A 192.0.2.1"))
    names = server.resolver()
    await names.resolve("www.test", family=4)
    await names.resolve("www.test", family=4)
    assert len(server.questions) == 2


async def test_aaaa_is_asked_where_there_is_no_a() -> None:
    server = Server(primary=only("AAAA", "six.test. 60 AAAA 2001:db8::6"))
    assert await server.resolver().resolve("six.test") == "2001:db8::6"
    assert [question[2] for question in server.questions] == ["A", "AAAA"]


@pytest.mark.parametrize(
    ("literal", "address"), [("192.0.2.7", "192.0.2.7"), ("2001:DB8::7", "2001:db8::7"), ("[::1]", "::1")]
)
async def test_address_literals_are_not_asked_for(literal: str, address: str) -> None:
    server = Server()
    assert await server.resolver().resolve(literal) == address
    assert server.questions == []


async def test_an_alias_with_its_address_in_the_same_answer() -> None:
    records = ("a.test. 60 CNAME b.test.", "b.test. 60 CNAME c.test.", "c.test. 60 A 192.0.2.3")
    server = Server(primary=only("A", *records))
    assert await server.resolver().resolve("a.test") == "192.0.2.3"
    assert len(server.questions) == 2


async def test_an_alias_without_address_is_asked_for_again() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        name = query.question[0].name.to_text()
        return [answer(query, "a.test. 60 CNAME b.test." if name == "a.test." else "b.test. 60 A 192.0.2.4")]

    assert await Server(primary=respond).resolver().resolve("a.test") == "192.0.2.4"


async def test_alias_loops_end_in_an_error() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return [answer(query, "a.test. 60 CNAME b.test.", "b.test. 60 CNAME a.test.")]

    with pytest.raises(ResolutionFailed, match="CNAME loop"):
        await Server(primary=respond, fallback=respond).resolver().resolve("a.test")


async def test_alias_loops_over_several_answers_end_with_the_first_round() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        name = query.question[0].name.to_text()
        return [answer(query, f"{name} 60 CNAME {'b.test.' if name == 'a.test.' else 'A.test.'}")]

    server = Server(primary=respond)
    with pytest.raises(ResolutionFailed, match="CNAME loop"):
        await server.resolver().resolve("a.test", family=4)
    assert len(server.questions) == 2


async def test_endless_aliases_end_in_an_error() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        name = query.question[0].name.to_text()
        return [answer(query, f"{name} 60 CNAME x{name}")]

    with pytest.raises(ResolutionFailed, match="8 aliases"):
        await Server(primary=respond).resolver().resolve("a.test")


async def test_a_name_that_does_not_exist_is_final_and_kept_as_long_as_its_soa_says() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return [answer(query, "test. 30 SOA ns.test. me.test. 1 2 3 4 20", rcode=3)]

    server = Server(primary=respond)
    names = server.resolver()
    for family in (0, 4, 6, 0):
        with pytest.raises(NameNotFound, match=r"no\.test") as caught:
            await names.resolve("no.test", family=family)  # type: ignore[arg-type]
        assert not isinstance(caught.value, NoAddress)
    assert len(server.questions) == 2


@pytest.mark.parametrize("rcode", [2, 5])
async def test_a_failing_server_is_replaced_at_once(rcode: int) -> None:
    server = Server(
        primary=lambda query, _tcp: [answer(query, rcode=rcode)],
        fallback=only("A", "www.test. 60 A 192.0.2.5"),
    )
    assert await server.resolver().resolve("www.test") == "192.0.2.5"


async def test_all_servers_failing_is_reported_with_their_reasons() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        return [answer(query, rcode=2)]

    with pytest.raises(ResolutionFailed, match="SERVFAIL; SERVFAIL"):
        await Server(primary=respond, fallback=respond).resolver().resolve("www.test")


async def test_the_second_server_joins_after_a_short_silence() -> None:
    server = Server(fallback=only("A", "www.test. 60 A 192.0.2.6"))
    started = time.monotonic()
    assert await server.resolver(timeout=5).resolve("www.test") == "192.0.2.6"
    assert time.monotonic() - started < 2
    assert server.sockets == 0


async def test_a_lost_datagram_is_repeated() -> None:
    seen: list[int] = []

    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        seen.append(1)
        return [answer(query, "www.test. 60 A 192.0.2.8")] if len(seen) == 2 else []

    assert await Server(primary=respond).resolver().resolve("www.test", family=4) == "192.0.2.8"


async def test_silence_ends_in_a_deadline() -> None:
    server = Server()
    with pytest.raises(DeadlineError, match=r"DNS query for www\.test"):
        await server.resolver(timeout=0.2).resolve("www.test")
    assert server.sockets == 0


async def test_foreign_and_damaged_answers_are_passed_over() -> None:
    def respond(query: dns.message.Message, _tcp: bool) -> list[bytes]:
        good = answer(query, "www.test. 60 A 192.0.2.9")
        wrong_id = bytes([good[0] ^ 1]) + good[1:]
        other = dns.message.make_query("other.test", "A", id=query.id)
        return [
            b"",
            b"garbage",
            wrong_id,
            query.to_wire(),
            answer(other, "other.test. 60 A 203.0.113.1"),
            b"FORGED" + answer(query, "www.test. 60 A 203.0.113.2"),
            good,
        ]

    assert await Server(primary=respond).resolver().resolve("www.test") == "192.0.2.9"


async def test_a_truncated_answer_is_asked_for_over_tcp() -> None:
    def respond(query: dns.message.Message, tcp: bool) -> list[bytes]:
        if not tcp:
            return [answer(query, flags=dns.flags.TC)]
        return [answer(query, "www.test. 60 A 192.0.2.10")]

    assert await Server(primary=respond).resolver().resolve("www.test") == "192.0.2.10"


async def test_one_question_serves_everybody_and_one_who_leaves_does_not_disturb() -> None:
    release = asyncio.Event()
    server = Server()

    class Slow(MemoryDatagrams):
        async def recv_from(self) -> tuple[bytes, tuple[str, int]]:
            await release.wait()
            return await super().recv_from()

    server.answerers[PRIMARY] = only("A", "www.test. 60 A 192.0.2.11")
    names = server.resolver(timeout=5)
    names.servers._open_udp = lambda: Slow(server)
    tasks = [asyncio.ensure_future(names.resolve("www.test")) for _ in range(3)]
    await asyncio.sleep(0.01)
    tasks[0].cancel()
    release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1:] == ["192.0.2.11", "192.0.2.11"]


async def test_the_last_one_to_leave_ends_the_look_up() -> None:
    server = Server()
    task = asyncio.ensure_future(server.resolver(timeout=60).resolve("www.test"))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert server.sockets == 0


async def test_a_broken_tcp_retry_is_a_failed_resolution() -> None:
    server = Server(primary=lambda query, tcp: [] if tcp else [answer(query, flags=dns.flags.TC)])
    server.answerers[FALLBACK] = server.answerers[PRIMARY]
    with pytest.raises(ResolutionFailed, match="closed the connection"):
        await server.resolver().resolve("www.test")

    async def refused(_address: str, _port: int) -> ByteStream:
        raise ConnectionRefused("refused")

    names = server.resolver()
    names.servers._open_tcp = refused
    with pytest.raises(ResolutionFailed, match="refused"):
        await names.resolve("www.test")


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "a..b",
        "a b.test",
        "a/b.test",
        "a\x00.test",
        "a%.test",
        "x" * 64 + ".test",
        "a" * 300,
        "\ud800.test",
    ],
)
async def test_what_is_not_a_host_name_is_refused_by_name(host: str) -> None:
    with pytest.raises(OptionError, match="host"):
        await Server().resolver().resolve(host)


NAME = parse_name("www.test")
QUERY = dns.message.from_wire(build_query(NAME, "A", 7))
GOOD = answer(QUERY, "www.test. 60 CNAME b.test.", "b.test. 60 A 192.0.2.1")


@given(st.binary(max_size=300))
def test_any_bytes_as_answer_are_malformed_or_foreign(data: bytes) -> None:
    """Invariant: parse_answer returns or raises MalformedError, whatever the bytes."""
    with contextlib.suppress(MalformedError):
        parse_answer(data, NAME, "A", 7)


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), max_size=6))
def test_any_damage_to_an_answer_is_survived(damage: list[tuple[int, int]]) -> None:
    """Invariant: parse_answer returns or raises MalformedError, whatever the damage."""
    wire = bytearray(GOOD)
    for position, value in damage:
        wire[position] = value
    with contextlib.suppress(MalformedError):
        parse_answer(bytes(wire), NAME, "A", 7)
