"""The test internet as a whole: which hosts exist, what they serve, and where their listeners really are.

::

    async with TestInternet() as internet:
        internet.address_map        # for the exit: (address, port, protocol) -> loopback listener
        internet.hosts              # name -> IPv4 address ("web.test" -> "192.0.2.10")
        internet.trust_anchor_pem   # the root that signs the good hosts' certificates
        print(internet.describe())

Every host has an address in 192.0.2.0/24 and most have one in 2001:db8::/32; names are served by the name
server that stands for the public resolvers. Targets are loopback ports that the system chose.
"""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any

from aiohttp import web
from cryptography.x509.oid import ExtendedKeyUsageOID

from smolmix_web.localnet.address_map import BLACKHOLE, AddressMap, Blackhole, Endpoint, Protocol
from smolmix_web.localnet.testnet import tcp
from smolmix_web.localnet.testnet.certificates import (
    Authority,
    Credential,
    rsa_key,
    self_signed,
    server_context,
)
from smolmix_web.localnet.testnet.dns import Zone
from smolmix_web.localnet.testnet.dns_server import DnsServer
from smolmix_web.localnet.testnet.frames import websocket_frames
from smolmix_web.localnet.testnet.web import WebSite

# Resolvers that clients use unless told otherwise; their port 53 leads to the test internet's name server.
RESOLVERS = (
    "8.8.8.8",
    "8.8.4.4",
    "1.1.1.1",
    "1.0.0.1",
    "9.9.9.9",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2620:fe::fe",
)

# Last byte of the addresses: 192.0.2.N and 2001:db8::N (N written in decimal digits). Two hosts lack a
# family.
_HOST_NUMBERS = {
    "web.test": 10,
    "other.test": 11,
    "www.web.test": 12,
    "v4only.test": 13,
    "v6only.test": 14,
    "deadv6.test": 15,
    "rsa.test": 20,
    "intermediate.test": 21,
    "tls12.test": 22,
    "tls13.test": 23,
    "p384.test": 24,
    "expired.test": 30,
    "notyetvalid.test": 31,
    "wronghost.test": 32,
    "selfsigned.test": 33,
    "unknownroot.test": 34,
    "weakkey.test": 35,
    "nointermediate.test": 36,
    "clientonly.test": 37,
    "lookalike.test": 38,
    "echo.test": 40,
    "malformed.test": 41,
    "closed.test": 42,
    "blackhole.test": 43,
    "frames.test": 44,
    # The documentation's own names (RFC 2606), so that its examples run here as they stand.
    "example.com": 50,
    "www.example.com": 51,
    "ns.test": 53,
}

_WEB_HOSTS = (
    "web.test",
    "other.test",
    "www.web.test",
    "v4only.test",
    "v6only.test",
    "example.com",
    "www.example.com",
)
"""They serve the same web site, under one certificate."""

# What a client that checks certificates must refuse, and why.
BAD_CERTIFICATE_HOSTS = {
    "expired.test": "its validity ended a day ago",
    "notyetvalid.test": "its validity begins in a month",
    "wronghost.test": "it names another host",
    "selfsigned.test": "it vouches for itself",
    "unknownroot.test": "its root is not trusted",
    "weakkey.test": "its RSA key has 1024 bits",
    "nointermediate.test": "the server does not send the intermediate",
    "clientonly.test": "it is for TLS clients only",
    "lookalike.test": "its names only look like the host's",
}

_Adjust = Callable[[ssl.SSLContext], None]


class TestInternet:
    """The servers and what is known of them; an async context manager that leaves nothing behind."""

    __test__ = False  # not a test class, whatever its name looks like

    def __init__(self) -> None:
        self.address_map = AddressMap()
        self.hosts: dict[str, str] = {}
        self.site = WebSite()
        self.clear_origins: dict[str, str] = {}
        """Where origins really listen, for whoever goes there without the mixnet: ``http://web.test`` ->
        ``http://127.0.0.1:<port>``."""
        self.trust_anchor_pem = ""
        self.other_anchor_pem = ""
        self._addresses = {name: _addresses(name, number) for name, number in _HOST_NUMBERS.items()}
        self.hosts = {name: addresses[0] for name, addresses in self._addresses.items()}
        self.zone = Zone(self._addresses)
        self.closed_port: Endpoint | None = None
        self.tcp_services: dict[str, tcp.TcpService] = {}
        self.tls_contexts: dict[str, ssl.SSLContext] = {}
        """Of the hosts that serve HTTPS, for tests that look into handshakes."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> TestInternet:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        try:
            await self._start_dns()
            await self._start_tcp()
            await self._start_web()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Closes every listener and connection. May be called twice."""
        await self._stack.aclose()

    def describe(self) -> str:
        """One line per host: name, addresses, open ports, and what is special about it."""
        lines = []
        for name, addresses in self._addresses.items():
            ports = sorted(
                {(port, how.value) for at, port, how, _ in self.address_map if str(at) in addresses}
            )
            text = " ".join(f"{port}/{how}" for port, how in ports)
            note = (
                f"  (bad certificate: {BAD_CERTIFICATE_HOSTS[name]})" if name in BAD_CERTIFICATE_HOSTS else ""
            )
            lines.append(f"{name:20} {' '.join(addresses):32} {text}{note}")
        lines.append(f"{'resolvers':20} {' '.join(RESOLVERS)}")
        return "\n".join(lines) + "\n"

    # --- servers ---

    async def _start_dns(self) -> None:
        server = DnsServer(self.zone)
        self._stack.push_async_callback(server.stop)
        udp, stream = await server.start()
        for address in (*RESOLVERS, *self._addresses["ns.test"]):
            self.address_map.add(address, 53, Protocol.UDP, Endpoint(*udp))
            self.address_map.add(address, 53, Protocol.TCP, Endpoint(*stream))

    async def _start_tcp(self) -> None:
        for host, port, handler in (
            ("echo.test", 7, tcp.echo),
            ("echo.test", 9, tcp.discard),
            ("echo.test", 19, tcp.source),
            ("echo.test", 20, tcp.reset),
            ("malformed.test", 80, tcp.malformed_http),
            ("frames.test", 80, websocket_frames),
        ):
            service = self.tcp_services[f"{host}:{port}"] = tcp.TcpService(handler)
            self._stack.push_async_callback(service.stop)
            self._map(host, port, Endpoint(*await service.start()))
        await self._start_udp_echo()
        # Bound but not listening: the kernel answers with a reset, and nobody else can take the port.
        closed = socket.socket()
        self._stack.callback(closed.close)
        closed.bind(("127.0.0.1", 0))
        self.closed_port = Endpoint(*closed.getsockname())
        for port in (80, 443):
            self._map("closed.test", port, self.closed_port)
            self._map("blackhole.test", port, BLACKHOLE)
        for address in self._addresses["blackhole.test"]:
            self.address_map.add(address, 53, Protocol.UDP, BLACKHOLE)

    async def _start_udp_echo(self) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(_UdpEcho, ("127.0.0.1", 0))

        async def stop() -> None:
            transport.close()
            await asyncio.sleep(0)

        self._stack.push_async_callback(stop)
        target = Endpoint(*transport.get_extra_info("sockname")[:2])
        for address in self._addresses["echo.test"]:
            self.address_map.add(address, 7, Protocol.UDP, target)

    async def _start_web(self) -> None:
        runner = web.AppRunner(
            self.site.application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True
        )
        self._stack.push_async_callback(runner.cleanup)
        await runner.setup()
        plain = await self._listen(runner, None)
        for host in _WEB_HOSTS:
            self._map(host, 80, plain)
            self._map(host, 8080, plain)
            self.clear_origins[f"http://{host}"] = f"http://{plain.host}:{plain.port}"
        # IPv6 of this host swallows everything, IPv4 works: for clients that race the families.
        v4, v6 = self._addresses["deadv6.test"]
        self.address_map.add(v4, 80, Protocol.TCP, plain)
        self.address_map.add(v6, 80, Protocol.TCP, BLACKHOLE)
        for host, (credential, adjust) in self._credentials().items():
            context = server_context(credential)
            adjust(context)
            self.tls_contexts[host] = context
            self._map(host, 443, await self._listen(runner, context))

    async def _listen(self, runner: web.AppRunner, context: ssl.SSLContext | None) -> Endpoint:
        listener = socket.socket()
        try:
            listener.bind(("127.0.0.1", 0))
            target = Endpoint(*listener.getsockname())
            await web.SockSite(runner, listener, ssl_context=context).start()
        except BaseException:
            listener.close()
            raise
        return target  # from here on the runner owns the socket

    def _map(self, host: str, port: int, target: Endpoint | Blackhole) -> None:
        for address in self._addresses[host]:
            self.address_map.add(address, port, Protocol.TCP, target)

    def _credentials(self) -> dict[str, tuple[Credential, _Adjust]]:
        now = datetime.datetime.now(datetime.UTC)
        root = Authority("Test Internet Root", now)
        intermediate = Authority("Test Internet Intermediate", now, root)
        stranger = Authority("Unknown Root", now)
        self.trust_anchor_pem = root.certificate_pem
        self.other_anchor_pem = stranger.certificate_pem
        web_credential = root.issue([*_WEB_HOSTS, "*.web.test", *self._addresses["web.test"]])
        good: dict[str, tuple[Credential, _Adjust]] = dict.fromkeys(_WEB_HOSTS, (web_credential, _unchanged))
        return good | {
            "rsa.test": (root.issue(["rsa.test"], key=rsa_key(2048)), _unchanged),
            "intermediate.test": (intermediate.issue(["intermediate.test"]), _unchanged),
            "tls12.test": (root.issue(["tls12.test"]), _only_tls12),
            "tls13.test": (root.issue(["tls13.test"]), _only_tls13),
            "p384.test": (root.issue(["p384.test"]), _only_p384),
            "expired.test": (root.issue(["expired.test"], valid_to_days=-1), _unchanged),
            "notyetvalid.test": (root.issue(["notyetvalid.test"], valid_from_days=30), _unchanged),
            "wronghost.test": (root.issue(["right.test"]), _unchanged),
            "lookalike.test": (
                root.issue(["*.lookalike.test", "lookalike.test.other.test", "lookalike-test.test"]),
                _unchanged,
            ),
            "selfsigned.test": (self_signed(["selfsigned.test"], now), _unchanged),
            "unknownroot.test": (stranger.issue(["unknownroot.test"]), _unchanged),
            "weakkey.test": (root.issue(["weakkey.test"], key=rsa_key(1024)), _unchanged),
            "nointermediate.test": (
                intermediate.issue(["nointermediate.test"], send_chain=False),
                _unchanged,
            ),
            "clientonly.test": (
                root.issue(["clientonly.test"], usage=ExtendedKeyUsageOID.CLIENT_AUTH),
                _unchanged,
            ),
        }


class _UdpEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(data, addr)


def _addresses(name: str, number: int) -> tuple[str, ...]:
    v4, v6 = f"192.0.2.{number}", f"2001:db8::{number}"
    if name == "v4only.test":
        return (v4,)
    return (v6,) if name == "v6only.test" else (v4, v6)


def _unchanged(context: ssl.SSLContext) -> None:
    """Most hosts take the defaults: TLS 1.2 and 1.3 with every usual group."""


def _only_tls12(context: ssl.SSLContext) -> None:
    context.maximum_version = ssl.TLSVersion.TLSv1_2


def _only_tls13(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3


def _only_p384(context: ssl.SSLContext) -> None:
    """A client that sends other key shares gets a HelloRetryRequest."""
    context.set_ecdh_curve("secp384r1")
