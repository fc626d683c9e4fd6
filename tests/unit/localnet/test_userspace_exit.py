"""The user-space exit: a client's stack in front of it, real sockets behind it."""

import asyncio
import gc
import hashlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from exit_bench import CLIENT, Bench, bench
from leaks import nothing_left_behind

from smolmix_web.errors import ConnectionRefused, ConnectionReset, Unreachable
from smolmix_web.localnet import userspace_tcp
from smolmix_web.localnet.address_map import AddressMap, Endpoint, Protocol
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.testnet.tcp import SOURCE_BLOCK, pattern
from smolmix_web.localnet.userspace_exit import UserspaceExit, UserspaceLimits
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import ECHO_REQUEST_V4, ECHO_REQUEST_V6, build_icmp
from smolmix_web.net.ip import ICMP, ICMPV6
from smolmix_web.net.stack import State

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = ("192.0.2.40", "2001:db8::40")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def internet() -> AsyncIterator[TestInternet]:
    async with TestInternet() as running:
        yield running


# --- TCP ---


@pytest.mark.parametrize("address", ECHO)
async def test_bytes_go_both_ways_and_each_side_ends_by_itself(internet: TestInternet, address: str) -> None:
    data = pattern(300_000)
    async with bench(internet) as b:
        connection = await b.connect(address, 7)
        sending = asyncio.create_task(b.send_all(connection, data))
        received = bytearray()

        def drain() -> bool:
            received.extend(connection.recv(1 << 16, b.now))
            return len(received) == len(data)

        await b.until(drain)
        await sending
        assert bytes(received) == data
        connection.shutdown_write(b.now)
        assert await b.read_all(connection) == b""
        await b.until(lambda: not b.way_out.counts()["tcp_connections"])


async def test_the_client_may_stop_sending_and_still_read(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connection = await b.connect(ECHO[0], 9)
        data = pattern(200_000)
        await b.send_all(connection, data)
        connection.shutdown_write(b.now)
        line = await b.read_all(connection)
        assert line == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode()


async def test_the_server_may_stop_sending_and_still_read(internet: TestInternet) -> None:
    """The server ends its side first and goes on reading what the client sends."""
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.write_eof()
        got.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with bench(_mapped(internet, server)) as b:
        connection = await b.connect("192.0.2.200", 1)
        assert await b.read_all(connection) == b"bye"
        assert connection.state is State.CLOSE_WAIT
        await b.send_all(connection, b"still here")
        connection.shutdown_write(b.now)
        await b.until(got.done)
        assert got.result() == b"still here"
    server.close()
    await server.wait_closed()


async def test_a_large_download_is_byte_exact(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connection = await b.connect(ECHO[0], 19)
        await b.send_all(connection, b"5000000\n")
        connection.shutdown_write(b.now)
        assert await b.read_all(connection, 60) == (SOURCE_BLOCK * 77)[:5_000_000]


async def test_a_client_that_does_not_read_stops_the_server(internet: TestInternet) -> None:
    """Nobody buffers without bound: the window closes, and the real socket's reader pauses."""
    async with bench(internet) as b:
        connection = await b.connect(ECHO[0], 19)
        await b.send_all(connection, b"100000000\n")
        await b.until(lambda: connection.readable() > 0)
        before = -1
        for _ in range(100):
            before = connection.readable()
            with pytest.raises(TimeoutError):
                await b.until(lambda: False, 0.1)
            if connection.readable() == before:
                break
        assert connection.readable() == before
        (relay,) = next(iter(b.way_out._clients.values())).relays.values()
        assert not relay._reading
        assert relay.connection.unsent <= 4 * 1024 * 1024
        connection.abort(b.now)
        await b.until(lambda: not b.way_out.counts()["tcp_connections"])


async def test_a_server_that_does_not_read_stops_the_client(internet: TestInternet) -> None:
    """The stack's window closes when the real socket takes no more."""
    release = asyncio.Event()
    total: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await release.wait()
        total.set_result(len(await reader.read()))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1024)
    server.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    async with bench(_mapped(internet, server)) as b:
        connection = await b.connect("192.0.2.200", 1)
        sent, stuck = 0, 0
        block = bytes(1 << 20)
        while stuck < 10 and sent < 40 << 20:
            taken = connection.send(block, b.now)
            sent += taken
            stuck = 0 if taken else stuck + 1
            with pytest.raises(TimeoutError):
                await b.until(lambda: False, 0.02)
        assert sent < 40 << 20
        assert connection.writable() == 0
        release.set()
        connection.shutdown_write(b.now)
        await b.until(total.done, 30)
        assert total.result() == sent
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("address", ["192.0.2.42", "2001:db8::42"])
async def test_refused_shows_as_refused(internet: TestInternet, address: str) -> None:
    async with bench(internet) as b:
        connection = await b.connect(address, 80)
        assert isinstance(connection.error, ConnectionRefused)
        assert b.way_out.stats.tcp_refused == 1
        assert b.way_out.counts()["tcp_connections"] == 0


@pytest.mark.parametrize(("address", "port"), [("192.0.2.10", 81), ("93.184.216.34", 80), ("127.0.0.1", 80)])
async def test_what_is_not_mapped_is_refused_without_the_internet(
    internet: TestInternet, address: str, port: int
) -> None:
    async with bench(internet) as b:
        connection = await b.connect(address, port)
        assert isinstance(connection.error, ConnectionRefused)


async def test_with_the_internet_unmapped_addresses_are_really_connected_to(internet: TestInternet) -> None:
    """The policy keeps clients from loopback; here, behind it, loopback stands for the Internet."""
    target = internet.address_map.lookup(CLIENT.ipv4.__class__(ECHO[0]), 7, Protocol.TCP)
    assert isinstance(target, Endpoint)
    async with bench(internet, reach_internet=True) as b:
        connection = await b.connect("127.0.0.1", target.port)
        await b.send_all(connection, b"hello")
        connection.shutdown_write(b.now)
        assert await b.read_all(connection) == b"hello"


async def test_ipv6_egress(internet: TestInternet) -> None:
    """An unmapped IPv6 destination is reached by IPv6; ::1 stands for the Internet."""
    try:
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "::1", 0)
    except OSError as error:
        pytest.skip(f"no IPv6 on loopback: {error}")
    loop = asyncio.get_running_loop()
    datagrams, _ = await loop.create_datagram_endpoint(_Echo, ("::1", 0))
    async with bench(internet, reach_internet=True) as b:
        connection = await b.connect("::1", server.sockets[0].getsockname()[1])
        assert await b.read_all(connection) == b""
        sock = b.stack.open_udp(connect=("::1", datagrams.get_extra_info("sockname")[1]))
        sock.send_to(b"hello", None, b.now)
        await b.until(lambda: sock.readable() > 0)
    datagrams.close()
    server.close()
    await server.wait_closed()


class _Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data, addr)  # type: ignore[attr-defined]


async def test_a_black_hole_says_nothing(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connection = b.stack.connect_tcp("192.0.2.43", 80, b.now)
        with pytest.raises(TimeoutError):
            await b.until(lambda: connection.state is not State.SYN_SENT, 0.3)
        assert b.way_out.stats.swallowed >= 1
        assert b.way_out.counts()["tcp_connections"] == 0
        assert not next(iter(b.way_out._clients.values())).stack._connections


async def test_the_syn_is_answered_only_after_the_real_connect(
    internet: TestInternet, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    release = asyncio.Event()
    really_connect = loop.create_connection

    async def slow_connect(*arguments: object, **keywords: object) -> object:
        await release.wait()
        return await really_connect(*arguments, **keywords)  # type: ignore[arg-type, call-overload]

    monkeypatch.setattr(loop, "create_connection", slow_connect)
    async with bench(internet) as b:
        connection = b.stack.connect_tcp(ECHO[0], 7, b.now)
        with pytest.raises(TimeoutError):
            await b.until(lambda: connection.state is not State.SYN_SENT, 0.3)
        release.set()
        await b.until(lambda: connection.state is State.ESTABLISHED)


async def test_a_connect_that_takes_too_long_is_refused(
    internet: TestInternet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*arguments: object, **keywords: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    async with bench(internet, limits=UserspaceLimits(connect_timeout=0.1)) as b:
        connection = await b.connect(ECHO[0], 7)
        assert isinstance(connection.error, ConnectionRefused)


async def test_a_reset_of_the_server_reaches_the_client(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connection = await b.connect(ECHO[0], 20)
        await b.send_all(connection, b"x")
        with pytest.raises(ConnectionReset):
            await b.read_all(connection)


async def test_a_reset_of_the_client_reaches_the_server(internet: TestInternet) -> None:
    ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read()
            ended.set_result(None)
        except OSError as error:
            ended.set_result(error)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with bench(_mapped(internet, server)) as b:
        connection = await b.connect("192.0.2.200", 1)
        connection.abort(b.now)
        await b.until(ended.done)
        assert isinstance(ended.result(), ConnectionResetError)
    server.close()
    await server.wait_closed()


async def test_connections_over_the_limit_are_refused_and_others_go_on(internet: TestInternet) -> None:
    async with bench(internet, limits=UserspaceLimits(max_tcp_connections=3)) as b:
        connections = [await b.connect(ECHO[0], 7) for _ in range(4)]
        assert [connection.error is None for connection in connections] == [True, True, True, False]
        connections[0].close(b.now)
        await b.until(lambda: b.way_out.counts()["tcp_connections"] == 2)
        again = await b.connect(ECHO[0], 7)
        assert again.error is None


async def test_all_clients_together_have_a_limit_too(internet: TestInternet) -> None:
    async with bench(internet, limits=UserspaceLimits(max_sockets=2)) as b:
        first = await b.connect(ECHO[0], 7)
        sock = b.stack.open_udp(connect=(ECHO[0], 7))
        sock.send_to(b"x", None, b.now)
        await b.until(lambda: sock.readable() > 0)
        assert isinstance((await b.connect(ECHO[0], 7)).error, ConnectionRefused)
        other = b.stack.open_udp(connect=(ECHO[0], 7))
        other.send_to(b"y", None, b.now)
        sock.send_to(b"z", None, b.now)  # an open flow goes on
        await b.until(lambda: sock.readable() > 1)
        assert other.readable() == 0
        assert b.way_out.stats.udp_over_limit == 1
        first.abort(b.now)
        await b.until(lambda: b.way_out.counts()["tcp_connections"] == 0)
        assert (await b.connect(ECHO[0], 7)).error is None


@pytest.mark.parametrize("limited", [True, False])
async def test_a_client_over_its_memory_limit_gets_little_read_ahead(
    internet: TestInternet, monkeypatch: pytest.MonkeyPatch, limited: bool
) -> None:
    """Above the limit a connection holds its own small share at most, and goes on none the less."""
    monkeypatch.setattr(userspace_tcp, "_OWN_SHARE", 16 * 1024)
    limits = UserspaceLimits(send_memory=1 if limited else 1 << 40)
    held: list[int] = []
    take = userspace_tcp.TcpRelay.buffer_updated

    def take_and_look(self: userspace_tcp.TcpRelay, nbytes: int) -> None:
        take(self, nbytes)
        held.append(self.connection.unsent)

    monkeypatch.setattr(userspace_tcp.TcpRelay, "buffer_updated", take_and_look)
    received = bytearray()
    async with bench(internet, limits=limits) as b:
        connection = await b.connect(ECHO[0], 19)
        connection.send(b"4000000\n", b.now)

        def drain() -> bool:
            received.extend(connection.recv(1 << 20, b.now))
            return len(received) == 4_000_000

        await b.until(drain, 30)
    assert bytes(received) == (SOURCE_BLOCK * 62)[:4_000_000]
    assert (max(held) <= (16 + 64) * 1024) == limited


async def test_many_connections_at_once(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connections = [b.stack.connect_tcp(ECHO[number % 2], 7, b.now) for number in range(100)]
        await b.until(lambda: all(one.state is State.ESTABLISHED for one in connections))
        for number, connection in enumerate(connections):
            connection.send(b"%d" % number, b.now)
            connection.shutdown_write(b.now)
        for number, connection in enumerate(connections):
            assert await b.read_all(connection) == b"%d" % number


async def test_nothing_is_taken_while_a_client_has_no_room(internet: TestInternet) -> None:
    async with bench(internet) as b:
        connection = await b.connect(ECHO[0], 19)
        b.room = 0
        received = b.stack.stats.packets_received
        connection.send(b"1000\n", b.now)
        connection.shutdown_write(b.now)
        with pytest.raises(TimeoutError):
            await b.until(lambda: False, 0.2)
        assert b.stack.stats.packets_received == received
        b.room = 1
        assert await b.read_all(connection) == SOURCE_BLOCK[:1000]


# --- UDP and ICMP ---


@pytest.mark.parametrize("address", ECHO)
async def test_udp_echo(internet: TestInternet, address: str) -> None:
    async with bench(internet) as b:
        sock = b.stack.open_udp(connect=(address, 7))
        for payload in (b"hello", bytes(1300)):
            sock.send_to(payload, None, b.now)
            await b.until(lambda: sock.readable() > 0)
            assert sock.recv_from() == (payload, (address, 7))
        assert b.way_out.counts()["udp_flows"] == 1


@pytest.mark.parametrize("resolver", ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111"])
async def test_the_public_resolvers_lead_to_the_test_name_server(
    internet: TestInternet, resolver: str
) -> None:
    import dns.message

    query = dns.message.make_query("web.test", "A")
    async with bench(internet) as b:
        sock = b.stack.open_udp(connect=(resolver, 53))
        sock.send_to(query.to_wire(), None, b.now)
        await b.until(lambda: sock.readable() > 0)
        datagram = sock.recv_from()
        assert datagram is not None
        answer = dns.message.from_wire(datagram[0])
        assert query.is_response(answer)
        assert "192.0.2.10" in answer.to_text()


@pytest.mark.parametrize("address", ["192.0.2.10", "2001:db8::10"])
async def test_udp_to_a_closed_port_is_unreachable(internet: TestInternet, address: str) -> None:
    async with bench(internet) as b:
        sock = b.stack.open_udp(connect=(address, 9999))
        sock.send_to(b"x", None, b.now)
        b.pump()
        error = sock.next_error()
        assert error is not None
        assert isinstance(error[0], Unreachable)


async def test_a_refusal_by_the_real_host_reaches_the_client(internet: TestInternet) -> None:
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.bind(("127.0.0.1", 0))
    address_map = AddressMap()
    address_map.add("192.0.2.200", 1, Protocol.UDP, Endpoint(*closed.getsockname()))
    closed.close()
    way_out = UserspaceExit(address_map)
    b = Bench(way_out)
    await way_out.start(b.wake)
    way_out.client_connected(CLIENT, b.now)
    sock = b.stack.open_udp(connect=("192.0.2.200", 1))
    sock.send_to(b"x", None, b.now)
    errors: list[object] = []

    def told() -> bool:
        errors.append(sock.next_error())
        return errors[-1] is not None

    await b.until(told)
    await way_out.stop()


async def test_udp_flows_are_limited_and_expire(internet: TestInternet) -> None:
    async with bench(internet, limits=UserspaceLimits(max_udp_flows=4)) as b:
        sockets = [b.stack.open_udp(connect=(ECHO[0], 7)) for _ in range(8)]
        for sock in sockets:
            sock.send_to(b"x", None, b.now)
            await b.until(lambda sock=sock: sock.readable() > 0)
        assert b.way_out.counts()["udp_flows"] == 4
        sockets[0].send_to(b"again", None, b.now)  # pushed out, so it gets a new flow
        await b.until(lambda: sockets[0].readable() > 1)
        client = next(iter(b.way_out._clients.values()))
        client.udp.expire(b.now + 119)
        assert len(client.udp) == 4
        client.udp.expire(b.now + 121)
        assert len(client.udp) == 0


async def test_two_clients_with_the_same_ports_do_not_meet(internet: TestInternet) -> None:
    async with bench(internet) as one:
        other_client = CLIENT._replace(tag=b"d" * 16, ipv4=CLIENT.ipv4 + 1, ipv6=CLIENT.ipv6 + 1)
        one.way_out.client_connected(other_client, one.now)
        other = Bench(one.way_out, other_client)
        first = one.stack.connect_tcp(ECHO[0], 7, one.now, local_port=40000)
        await one.until(lambda: first.state is State.ESTABLISHED)
        packets = []
        second = other.stack.connect_tcp(ECHO[0], 7, one.now, local_port=40000)
        from smolmix_web.ipr.packetinfo import inspect_packet

        for packet in other.stack.packets_to_send(one.now):
            one.way_out.receive_packet(other_client, packet, inspect_packet(packet), one.now)
        for _ in range(20):
            await asyncio.sleep(0.01)
            packets += one.way_out.packets_to_send(one.now, lambda tag: 64)
        assert {packet[16:20] for packet in packets} == {other_client.ipv4.packed}
        for packet in packets:
            other.stack.receive_packet(packet, one.now)
        assert second.state is State.ESTABLISHED
        assert first.state is State.ESTABLISHED
        one.way_out.client_gone(other_client, one.now)
        assert one.way_out.counts()["tcp_connections"] == 1


@pytest.mark.parametrize(
    ("destination", "answered"),
    [
        ("192.0.2.10", True),
        ("8.8.8.8", True),
        ("192.0.2.43", False),
        ("2001:db8::10", True),
        ("2001:db8::43", False),
    ],
)
async def test_pings(internet: TestInternet, destination: str, answered: bool) -> None:
    import ipaddress

    to = ipaddress.ip_address(destination)
    source = CLIENT.ipv4 if to.version == 4 else CLIENT.ipv6
    kind, protocol = (ECHO_REQUEST_V4, ICMP) if to.version == 4 else (ECHO_REQUEST_V6, ICMPV6)
    message = build_icmp(source.packed, to.packed, kind, 0, 0x00010002, b"payload")
    packet = ip_packet(source.packed, to.packed, protocol, message)
    from smolmix_web.ipr.packetinfo import inspect_packet

    async with bench(internet) as b:
        b.way_out.receive_packet(CLIENT, packet, inspect_packet(packet), b.now)
        replies = b.way_out.packets_to_send(b.now, lambda tag: 10)
        assert len(replies) == answered
        if answered:
            assert replies[0].endswith(struct.pack(">I", 0x00010002) + b"payload")


# --- the end ---


async def test_stopping_leaves_nothing_behind(internet: TestInternet) -> None:
    async with nothing_left_behind():
        async with bench(internet) as b:
            for _ in range(5):
                await b.connect(ECHO[0], 7)
            b.stack.connect_tcp(ECHO[0], 7, b.now)
            sock = b.stack.open_udp(connect=(ECHO[0], 7))
            sock.send_to(b"x", None, b.now)
            b.pump()
            assert b.way_out.counts() == {"clients": 1, "tcp_connections": 6, "udp_flows": 1}
        assert not any(b.way_out.counts().values())
        await asyncio.sleep(0.05)


async def test_a_client_that_goes_takes_its_connections_with_it(internet: TestInternet) -> None:
    service = internet.tcp_services["echo.test:7"]
    async with bench(internet) as b:
        await b.connect(ECHO[0], 7)
        await b.until(lambda: bool(service._connections))
        b.way_out.client_gone(CLIENT, b.now)
        await b.until(lambda: not service._connections)
        assert not any(b.way_out.counts().values())
        assert b.way_out.poll_at() is None
    gc.collect()


def _mapped(internet: TestInternet, server: asyncio.Server) -> TestInternet:
    """The test internet with one more host, 192.0.2.200 port 1, that leads to ``server``."""
    internet.address_map.add("192.0.2.200", 1, Protocol.TCP, Endpoint(*server.sockets[0].getsockname()))
    return internet
