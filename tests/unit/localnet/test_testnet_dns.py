"""The test internet's name server, asked over real UDP and TCP sockets with dnspython's client."""

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator

import dns.asyncquery
import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest
import pytest_asyncio
from leaks import nothing_left_behind

from smolmix_web.localnet.address_map import Endpoint, Protocol
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.testnet.dns import WRONG_ADDRESS

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB_V4, WEB_V6 = "192.0.2.10", "2001:db8::10"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def internet() -> AsyncIterator[TestInternet]:
    async with TestInternet() as running:
        yield running


def resolver(internet: TestInternet, protocol: Protocol, address: str = "8.8.8.8") -> Endpoint:
    target = internet.address_map.lookup(ipaddress.ip_address(address), 53, protocol)
    assert isinstance(target, Endpoint)
    return target


async def ask(
    internet: TestInternet,
    name: str,
    kind: str = "A",
    *,
    tcp: bool = False,
    timeout: float = 1.0,
    payload: int = 0,
) -> dns.message.Message:
    query = dns.message.make_query(name, kind, use_edns=0 if payload else -1, payload=payload or None)
    if tcp:
        to = resolver(internet, Protocol.TCP)
        return await dns.asyncquery.tcp(query, to.host, timeout, to.port)
    to = resolver(internet, Protocol.UDP)
    return await dns.asyncquery.udp(query, to.host, timeout, to.port)


def addresses(message: dns.message.Message) -> list[str]:
    return [
        item.address
        for records in message.answer
        if records.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        for item in records
    ]


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.test", "A", [WEB_V4]),
        ("WEB.Test", "AAAA", [WEB_V6]),
        ("v4only.test", "A", ["192.0.2.13"]),
        ("v4only.test", "AAAA", []),
        ("v6only.test", "A", []),
        ("v6only.test", "AAAA", ["2001:db8::14"]),
        ("web.test", "TXT", []),
        ("slow-20.test", "A", [WEB_V4]),
        ("ttl-5.test", "AAAA", [WEB_V6]),
    ],
)
async def test_hosts(internet: TestInternet, tcp: bool, name: str, kind: str, expected: list[str]) -> None:
    answer = await ask(internet, name, kind, tcp=tcp)
    assert answer.rcode() == dns.rcode.NOERROR
    assert addresses(answer) == expected
    assert bool(answer.authority) == (not expected), "an empty answer carries the SOA"


async def test_every_host_of_the_test_internet_has_its_name(internet: TestInternet) -> None:
    for name, address in internet.hosts.items():
        kind = "AAAA" if ":" in address else "A"
        assert addresses(await ask(internet, name, kind)) == [address]


@pytest.mark.parametrize(
    ("name", "rcode"),
    [
        ("missing.test", dns.rcode.NXDOMAIN),
        ("a.b.c.test", dns.rcode.NXDOMAIN),
        ("example.org", dns.rcode.REFUSED),
        ("servfail.test", dns.rcode.SERVFAIL),
        ("dnsrefused.test", dns.rcode.REFUSED),
    ],
)
async def test_refusals(internet: TestInternet, name: str, rcode: dns.rcode.Rcode) -> None:
    answer = await ask(internet, name)
    assert answer.rcode() == rcode
    assert not answer.answer
    assert bool(answer.authority) == (rcode == dns.rcode.NXDOMAIN)


async def test_aliases(internet: TestInternet) -> None:
    whole = await ask(internet, "cname.test")
    assert [records.rdtype for records in whole.answer] == [dns.rdatatype.CNAME, dns.rdatatype.A]
    assert addresses(whole) == [WEB_V4]
    for name, target in [
        ("cname-only.test", "web.test."),
        ("chain-3.test", "chain-2.test."),
        ("chain-1.test", "web.test."),
        ("loop.test", "loop2.test."),
        ("loop2.test", "loop.test."),
    ]:
        (records,) = (await ask(internet, name)).answer
        assert [item.target.to_text() for item in records] == [target]


async def test_truncation(internet: TestInternet) -> None:
    truncated = await ask(internet, "truncated.test")
    assert truncated.flags & dns.flags.TC
    assert not truncated.answer
    assert addresses(await ask(internet, "truncated.test", tcp=True)) == [WEB_V4]
    many = await ask(internet, "many.test")
    assert many.flags & dns.flags.TC
    assert len(addresses(await ask(internet, "many.test", payload=4096))) == 64
    assert len(addresses(await ask(internet, "many.test", tcp=True))) == 64


async def test_slow_silent_and_lost_answers(internet: TestInternet) -> None:
    started = time.monotonic()
    assert addresses(await ask(internet, "slow-200.test")) == [WEB_V4]
    assert time.monotonic() - started >= 0.2
    for _ in range(2):
        with pytest.raises(dns.exception.Timeout):
            await ask(internet, "lost-2.test", timeout=0.1)
    assert addresses(await ask(internet, "lost-2.test")) == [WEB_V4]
    with pytest.raises(dns.exception.Timeout):
        await ask(internet, "silent.test", timeout=0.1)


async def test_forged_answers(internet: TestInternet) -> None:
    received: asyncio.Queue[bytes] = asyncio.Queue()

    class Client(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, addr: object) -> None:
            received.put_nowait(data)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Client, remote_addr=resolver(internet, Protocol.UDP))
    query = dns.message.make_query("spoofed.test", "A")
    transport.sendto(query.to_wire())
    wrong = dns.message.from_wire(await asyncio.wait_for(received.get(), 1))
    right = dns.message.from_wire(await asyncio.wait_for(received.get(), 1))
    assert wrong.id != query.id
    assert addresses(wrong) == [WRONG_ADDRESS]
    assert query.is_response(right)
    assert addresses(right) == [WEB_V4]
    query = dns.message.make_query("wrongname.test", "A")
    transport.sendto(query.to_wire())
    other = dns.message.from_wire(await asyncio.wait_for(received.get(), 1))
    assert other.id == query.id
    assert not query.is_response(other)
    query = dns.message.make_query("garbage.test", "A")
    transport.sendto(query.to_wire())
    with pytest.raises(dns.exception.DNSException):
        dns.message.from_wire(await asyncio.wait_for(received.get(), 1))
    transport.sendto(b"no question at all")
    transport.sendto(dns.message.make_response(query).to_wire())
    await asyncio.sleep(0.05)
    assert received.empty()
    transport.close()
    await asyncio.sleep(0)


async def test_several_questions_share_a_tcp_connection(internet: TestInternet) -> None:
    reader, writer = await asyncio.open_connection(*resolver(internet, Protocol.TCP))
    for name in ("web.test", "other.test"):
        wire = dns.message.make_query(name, "A").to_wire()
        writer.write(len(wire).to_bytes(2, "big") + wire)
    answers = []
    for _ in range(2):
        length = int.from_bytes(await reader.readexactly(2), "big")
        answers += addresses(dns.message.from_wire(await reader.readexactly(length)))
    assert answers == [WEB_V4, "192.0.2.11"]
    writer.close()
    await writer.wait_closed()


async def test_questions_are_remembered(internet: TestInternet) -> None:
    await ask(internet, "web.test", "AAAA", tcp=True)
    assert internet.zone.questions[-1] == ("web.test", "AAAA", "tcp")


async def test_pending_answers_do_not_outlive_the_server() -> None:
    async with nothing_left_behind(), TestInternet() as internet:
        with pytest.raises(dns.exception.Timeout):
            await ask(internet, "slow-60000.test", timeout=0.1)
