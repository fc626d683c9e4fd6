"""What the test of the TUN exit runs in network namespaces of its own, so that the machine's network stays as
it is.

This process is the exit's machine; a child in another namespace is the Internet. Between them is one link,
and the Internet knows no way to the exit's client network: only what was translated by NAT is answered. The
result is JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path

from exit_bench import CLIENT, Bench

from smolmix_web.ipr.keepalive import keepalive_packet
from smolmix_web.ipr.packetinfo import inspect_packet
from smolmix_web.localnet.address_map import AddressMap, Endpoint, Protocol
from smolmix_web.localnet.tun_exit import TunExit
from smolmix_web.net.flow import ip_packet
from smolmix_web.net.icmp import ECHO_REQUEST_V4, Kind, build_icmp, parse_icmp
from smolmix_web.net.ip import ICMP

OUTSIDE = ("198.51.100.2", "2001:db8:77::2")
PORT = 7000


def ip(*arguments: str) -> str:
    return subprocess.run(("ip", *arguments), check=True, capture_output=True, text=True).stdout


async def internet() -> None:
    """Answers every connection and datagram with the sender's address and what it sent."""
    sys.stdin.readline()  # the link has been moved here
    ip("link", "set", "lo", "up")
    ip("address", "add", "198.51.100.2/24", "dev", "veth1")
    ip("address", "add", "2001:db8:77::2/64", "dev", "veth1", "nodad")
    ip("link", "set", "veth1", "up")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        data = await reader.read()
        writer.write(f"{writer.get_extra_info('peername')[0]} ".encode() + data)
        writer.close()

    class Datagrams(asyncio.DatagramProtocol):
        def connection_made(self, transport) -> None:  # type: ignore[no-untyped-def]
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.transport.sendto(f"{addr[0]} ".encode() + data, addr)

    await asyncio.start_server(serve, None, PORT)
    for host in OUTSIDE:
        await asyncio.get_running_loop().create_datagram_endpoint(Datagrams, (host, PORT))
    print("ready", flush=True)
    await asyncio.Event().wait()


async def exit_side() -> dict[str, object]:
    loop = asyncio.get_running_loop()
    local = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    address_map = AddressMap()
    address_map.add("192.0.2.10", 80, Protocol.TCP, Endpoint(*local.sockets[0].getsockname()))
    way_out = TunExit(address_map)
    bench = Bench(way_out)  # type: ignore[arg-type]
    await way_out.start(bench.wake)
    way_out.client_connected(CLIENT, loop.time())
    result: dict[str, object] = {"interface": way_out.device.name, "mtu": _mtu(way_out.device.name)}
    try:
        for address in OUTSIDE:
            connection = await bench.connect(address, PORT)
            await bench.send_all(connection, b"hello")
            connection.shutdown_write(bench.now)
            result[f"tcp {address}"] = (await bench.read_all(connection)).decode()
            sock = bench.stack.open_udp(connect=(address, PORT))
            sock.send_to(b"hello", None, bench.now)
            await bench.until(lambda sock=sock: sock.readable() > 0)
            datagram = sock.recv_from()
            result[f"udp {address}"] = datagram[0].decode() if datagram else None
        result["refused"] = type((await bench.connect(OUTSIDE[0], 1)).error).__name__
        mapped = await bench.connect("192.0.2.10", 80)
        result["mapped"] = (await bench.read_all(mapped)).decode()
        result["ping"] = (await _exchange(way_out, _ping(OUTSIDE[0]))).name
        result["keep-alive"] = (await _exchange(way_out, keepalive_packet(CLIENT.ipv4, 1))).name
        large = bytes(200_000)
        connection = await bench.connect(OUTSIDE[0], PORT)
        await bench.send_all(connection, large)
        connection.shutdown_write(bench.now)
        result["large"] = len(await bench.read_all(connection)) - len("198.51.100.1 ")
        result["gone"] = await _client_gone(way_out)
    finally:
        await way_out.stop()
        local.close()
    return result


def _mtu(interface: str) -> int:
    (link,) = json.loads(ip("-json", "link", "show", "dev", interface))
    mtu: int = link["mtu"]
    return mtu


def _ping(destination: str) -> bytes:
    to = ip_address(destination).packed
    message = build_icmp(CLIENT.ipv4.packed, to, ECHO_REQUEST_V4, 0, 0x00010001, b"ping")
    return ip_packet(CLIENT.ipv4.packed, to, ICMP, message)


async def _exchange(way_out: TunExit, packet: bytes) -> Kind:
    """Kind of the ICMP message that comes back for a packet."""
    now = asyncio.get_running_loop().time()
    way_out.receive_packet(CLIENT, packet, inspect_packet(packet), now)
    for _ in range(200):
        for answer in way_out.packets_to_send(now, lambda tag: 10):
            info = inspect_packet(answer)
            if info.protocol == ICMP:
                return parse_icmp(answer[info.transport :], info.source, info.destination).kind
        await asyncio.sleep(0.01)
    raise TimeoutError


async def _client_gone(way_out: TunExit) -> int:
    """Packets that still come for a client that has gone: they must be nobody's."""
    now = asyncio.get_running_loop().time()
    packet = _ping(OUTSIDE[0])
    way_out.receive_packet(CLIENT, packet, inspect_packet(packet), now)
    way_out.client_gone(CLIENT, now)
    await asyncio.sleep(0.2)
    return len(way_out.packets_to_send(now, lambda tag: 10))


def main() -> None:
    if sys.argv[1:] == ["internet"]:
        asyncio.run(internet())
        return
    command = ("unshare", "--net", sys.executable, __file__, "internet")
    outside = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert outside.stdin is not None
    assert outside.stdout is not None
    try:
        ip("link", "set", "lo", "up")
        ip("link", "add", "veth0", "type", "veth", "peer", "name", "veth1")
        ip("address", "add", "198.51.100.1/24", "dev", "veth0")
        ip("address", "add", "2001:db8:77::1/64", "dev", "veth0", "nodad")
        ip("link", "set", "veth0", "up")
        while os.readlink(f"/proc/{outside.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            pass  # the child is about to enter its namespace
        ip("link", "set", "veth1", "netns", str(outside.pid))
        outside.stdin.write("go\n")
        outside.stdin.flush()
        assert outside.stdout.readline() == "ready\n"
        ip("route", "add", "default", "via", "198.51.100.2")
        result = asyncio.run(exit_side())
        result["links left"] = [link["ifname"] for link in json.loads(ip("-json", "link", "show"))]
        tables = subprocess.run(("nft", "list", "tables"), check=True, capture_output=True, text=True).stdout
        result["tables left"] = tables
        result["forwarding left"] = Path("/proc/sys/net/ipv4/ip_forward").read_text().strip()
        print(json.dumps(result))
    finally:
        outside.kill()
        outside.wait()


if __name__ == "__main__":
    main()
