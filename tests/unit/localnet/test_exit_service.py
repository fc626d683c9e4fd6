"""The exit service as a client meets it: through Sphinx packets and reply SURBs, to real servers."""

import asyncio
import hashlib
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import dns.message
import pytest
import pytest_asyncio
from exit_network import ExitNetwork, NetworkClient, exit_network
from leaks import nothing_left_behind

from smolmix_web.errors import ConnectionRefused
from smolmix_web.ipr.bundle import join_bundle, split_bundle
from smolmix_web.ipr.client import IprClientConfig
from smolmix_web.ipr.events import PolicyDenied
from smolmix_web.ipr.policy import parse_policy
from smolmix_web.ipr.requests import (
    ConnectRequest,
    DataRequest,
    DisconnectRequest,
    HealthRequest,
    Request,
    emit_request,
)
from smolmix_web.ipr.responses import (
    ConnectSuccess,
    DataResponse,
    DisconnectSuccess,
    Health,
    Response,
    parse_response,
)
from smolmix_web.ipr.server import IprServerConfig
from smolmix_web.ipr.timestamp import Timestamp
from smolmix_web.localnet.exit_service import DEFAULT_POLICY, ExitConfig
from smolmix_web.localnet.testnet import TestInternet
from smolmix_web.localnet.testnet.tcp import SOURCE_BLOCK, pattern
from smolmix_web.localnet.tun_device import TunUnavailable
from smolmix_web.net.stack import Stack, State

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = "192.0.2.40"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def internet() -> AsyncIterator[TestInternet]:
    async with TestInternet() as running:
        yield running


@pytest.fixture
def config(internet: TestInternet) -> ExitConfig:
    return ExitConfig(address_map=internet.address_map, reach_internet=False)


@pytest.mark.parametrize(("version", "mtu"), [("1.37.0", 1500), ("1.36.0", 1420)])
async def test_connect_resolve_and_fetch(config: ExitConfig, version: str, mtu: int) -> None:
    async with exit_network(config) as network:
        client = network.add_client(version=version)
        connected = await client.connect_exit()
        assert connected.mtu == mtu
        assert client.stack is not None
        query = dns.message.make_query("web.test", "A")
        sock = client.stack.open_udp(connect=("8.8.8.8", 53))
        sock.send_to(query.to_wire(), None, client.now)
        await client.until(lambda: sock.readable() > 0)
        datagram = sock.recv_from()
        assert datagram is not None
        address = dns.message.from_wire(datagram[0]).answer[0][0].address
        connection = await client.connect_tcp(address, 80)
        connection.send(
            b"GET /bytes/100000 HTTP/1.1\r\nHost: web.test\r\nConnection: close\r\n\r\n", client.now
        )
        head, _, body = (await client.read_all(connection)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK")
        assert body == pattern(100_000)


@pytest.mark.parametrize("address", [ECHO, "2001:db8::40"])
async def test_upload_is_byte_exact(config: ExitConfig, address: str) -> None:
    data = pattern(150_000)
    async with exit_network(config) as network:
        client = network.add_client(IprClientConfig(bundling=True))
        await client.connect_exit()
        connection = await client.connect_tcp(address, 9)
        view = memoryview(data)
        while view:
            await client.until(lambda: connection.writable() > 0)
            view = view[connection.send(view, client.now) :]
        connection.shutdown_write(client.now)
        line = await client.read_all(connection)
        assert line == f"{len(data)} {hashlib.sha256(data).hexdigest()}\n".encode()


async def test_lost_packets_are_repaired(config: ExitConfig) -> None:
    """Data replies are not retransmitted by the mixnet client, TCP repairs them; uplink packets are."""
    async with exit_network(config) as network:
        client = network.add_client()
        await client.connect_exit()
        connection = await client.connect_tcp(ECHO, 19)
        counter = itertools.count(1)
        network.lose = lambda packet: next(counter) % 15 == 0
        connection.send(b"60000\n", client.now)
        connection.shutdown_write(client.now)
        assert await client.read_all(connection) == SOURCE_BLOCK[:60_000]


async def test_refusals_and_denials_reach_the_client(config: ExitConfig) -> None:
    policy = parse_policy("ExitPolicy reject *:19\n" + DEFAULT_POLICY)
    async with exit_network(replace(config, policy=policy)) as network:
        client = network.add_client()
        await client.connect_exit()
        refused = await client.connect_tcp("192.0.2.42", 80)
        assert isinstance(refused.error, ConnectionRefused)
        assert client.stack is not None
        for address, port in [
            (ECHO, 19),  # mapped, but the policy says no
            (ECHO, 25),
            ("192.0.2.99", 80),  # a documentation address that nobody has
            ("127.0.0.1", 80),
            ("10.0.0.1", 22),
            ("192.168.1.1", 80),
            ("169.254.169.254", 80),
            ("fe80::1", 80),
            ("2001:db8::99", 80),
            ("::ffff:7f00:1", 80),
        ]:
            connection = client.stack.connect_tcp(address, port, client.now)
            await client.until(
                lambda address=address: any(
                    isinstance(event, PolicyDenied) and str(event.address) == address
                    for event in client.events
                )
            )
            connection.abort(client.now)  # or its SYN is repeated, and denied again
            client.events.clear()


async def test_two_clients_share_the_exit(config: ExitConfig) -> None:
    async with exit_network(config) as network:
        clients = [network.add_client(), network.add_client()]
        first, second = [await client.connect_exit() for client in clients]
        assert first.ipv4 != second.ipv4

        async def fetch(client: NetworkClient, text: bytes) -> bytes:
            connection = await client.connect_tcp(ECHO, 7)
            connection.send(text, client.now)
            connection.shutdown_write(client.now)
            return await client.read_all(connection)

        answers = await asyncio.gather(fetch(clients[0], b"one"), fetch(clients[1], b"two"))
        assert answers == [b"one", b"two"]


async def test_disconnecting_ends_the_connections_of_the_client(
    config: ExitConfig, internet: TestInternet
) -> None:
    service = internet.tcp_services["echo.test:7"]
    async with exit_network(config) as network:
        client = network.add_client()
        await client.connect_exit()
        await client.connect_tcp(ECHO, 7)
        assert len(service._connections) == 1
        client.ipr.close(client.now)
        await client.until(lambda: len(network.service.ipr) == 0 and not service._connections)


async def test_an_idle_client_is_dropped_and_may_come_back(
    config: ExitConfig, internet: TestInternet
) -> None:
    service = internet.tcp_services["echo.test:7"]
    ipr = IprServerConfig(idle_timeout=0.3, cleanup_interval=0.1)
    async with exit_network(replace(config, ipr=ipr)) as network:
        client = network.add_client(IprClientConfig(keepalive_interval=None))
        await client.connect_exit()
        connection = await client.connect_tcp(ECHO, 7)
        await client.until(lambda: len(network.service.ipr) == 0)
        await client.until(lambda: not service._connections)
        assert connection.state is State.ESTABLISHED  # nobody told the client
        client.ipr.close(client.now)
        await client.connect_exit()
        again = await client.connect_tcp(ECHO, 7)
        assert again.state is State.ESTABLISHED


async def test_a_client_that_gives_no_surbs_holds_back_only_itself(config: ExitConfig) -> None:
    """Its downloads stop when its SURBs are spent; another client's go on."""
    async with exit_network(config) as network:
        poor, rich = network.add_client(), network.add_client()
        for client in (poor, rich):
            await client.connect_exit()
        poor_tag, _ = network.service._clients
        nym = network.service.nym
        assert nym is not None
        connection = await poor.connect_tcp(ECHO, 19)
        poor.nym._issuer.order = lambda peer, amount: False  # type: ignore[method-assign]
        poor.ipr.config = replace(poor.ipr.config, data_reply_surbs=0)
        connection.send(b"10000000\n", poor.now)
        await poor.until(lambda: nym.surbs_held(poor_tag) <= 10 and nym.waiting_for_surbs(poor_tag) > 0)
        other = await rich.connect_tcp(ECHO, 19)
        other.send(b"100000\n", rich.now)
        other.shutdown_write(rich.now)
        assert await rich.read_all(other) == (SOURCE_BLOCK * 2)[:100_000]
        assert nym.waiting_for_surbs(poor_tag) <= 64
        assert not other.error


async def test_version_8_goes_without_frames(config: ExitConfig) -> None:
    """An older client: plain messages, no stream; connect, one datagram to the name server, health,
    disconnect."""
    async with exit_network(config) as network:
        client = network.add_client()

        async def ask(request: Request) -> Response:
            client.nym.send(network.service.address, emit_request(request), client.now, reply_surbs=12)
            await client.until(lambda: bool(client.unframed))
            return parse_response(client.unframed.pop())

        stamp = Timestamp.from_unix(1.8e9)
        connected = await ask(ConnectRequest(8, 77, stamp))
        assert isinstance(connected, ConnectSuccess)
        assert (connected.version, connected.request_id, connected.mtu) == (8, 77, None)
        stack = Stack(ipv4=str(connected.ips.ipv4), ipv6=str(connected.ips.ipv6), mtu=1420)
        sock = stack.open_udp(connect=("1.1.1.1", 53))
        sock.send_to(dns.message.make_query("web.test", "AAAA").to_wire(), None, client.now)
        packets = stack.packets_to_send(client.now)
        data = await ask(DataRequest(8, join_bundle(packets)))
        assert isinstance(data, DataResponse)
        for packet in split_bundle(data.bundle).packets:
            stack.receive_packet(packet, client.now)
        datagram = sock.recv_from()
        assert datagram is not None
        assert "2001:db8::10" in dns.message.from_wire(datagram[0]).to_text()
        health = await ask(HealthRequest(8, 78, stamp))
        assert isinstance(health, Health)
        assert health.build_info.binary_name == "smolmix-web"
        assert await ask(DisconnectRequest(8, 79, stamp)) == DisconnectSuccess(8, 79)


async def test_the_status_tells_numbers_and_no_client(config: ExitConfig) -> None:
    async with exit_network(config) as network:
        client = network.add_client()
        connected = await client.connect_exit()
        await client.connect_tcp(ECHO, 7)
        snapshot = network.service.snapshot()
        assert snapshot["clients"] == 1
        assert snapshot["router"]["connects"] == 1
        assert snapshot["way_out"]["tcp_opened"] == snapshot["way_out"]["tcp_connections"] == 1
        text = json.dumps(snapshot)
        assert str(connected.ipv4) not in text
        assert ECHO not in text


async def test_without_the_rights_a_tun_exit_says_what_is_missing(
    config: ExitConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda program: None)
    network = ExitNetwork(replace(config, tun=True))
    with pytest.raises(TunUnavailable, match="'ip' is not installed"):
        await network.start()
    await network.service.stop()


async def test_a_defect_in_one_turn_does_not_silence_the_exit(
    config: ExitConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with exit_network(config) as network:
        client = network.add_client()
        await client.connect_exit()
        handle = network.service.ipr.receive_message
        calls = itertools.count()

        def fails_once(tag: bytes | None, data: bytes, now: float) -> None:
            if next(calls) == 0:
                raise RuntimeError("a defect")
            handle(tag, data, now)

        monkeypatch.setattr(network.service.ipr, "receive_message", fails_once)
        connection = await client.connect_tcp(ECHO, 7)  # the first SYN is lost to the defect
        assert connection.state is State.ESTABLISHED
        assert "the exit's loop failed" in caplog.text


async def test_rubbish_is_survived(config: ExitConfig) -> None:
    async with exit_network(config) as network:
        client = network.add_client()
        for length in (0, 1, 21, 1643, 5000):
            network.service.receive_push(bytes(length))
        client.nym.send(network.service.address, b"no request", client.now, anonymous=False)
        client.nym.send(network.service.address, b"\x09\x01\xff", client.now, reply_surbs=2)
        client.nym.send(network.service.address, b"", client.now, reply_surbs=0)
        await client.until(lambda: client.nym.unacknowledged() == 0 and client.nym.queued() == 0)
        await client.connect_exit()
        assert network.service.ipr.stats.malformed >= 2


async def test_a_restarted_exit_knows_nobody_and_serves_again(config: ExitConfig) -> None:
    async with exit_network(config) as network:
        client = network.add_client()
        await client.connect_exit()
        old = await client.connect_tcp(ECHO, 7)
        await network.service.stop()
        await network.start()
        old.send(b"anybody there?", client.now)
        await client.until(lambda: network.service.ipr.stats.unknown_source > 0)
        client.ipr.close(client.now)
        await client.connect_exit()
        assert (await client.connect_tcp(ECHO, 7)).state is State.ESTABLISHED


async def test_stopping_leaves_nothing_behind(config: ExitConfig) -> None:
    async with nothing_left_behind():
        async with exit_network(config) as network:
            client = network.add_client()
            await client.connect_exit()
            await client.connect_tcp(ECHO, 7)
        network.service.receive_push(b"late")
        network.service.set_topology(network.mixnet.topology())
        await network.service.stop()
        await asyncio.sleep(0.05)
