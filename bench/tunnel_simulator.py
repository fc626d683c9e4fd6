"""A download through the whole chain in virtual time: TCP, IP packet router, Nym client, Sphinx, mix nodes.

Every engine is the real one, client's and exit's, and every Sphinx packet is made and opened; only the wires
are simulated (tests/support/mixnet.py), so the pace is that of the protocols and not of the machine. Each
reply uses up one reply SURB that the client sent before: "SURBs used of supplied" says whether downloads run
at the pace of the packets.

    python bench/tunnel_simulator.py [--megabytes 20]
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from heapq import heappop
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "tests"), str(ROOT / "bench")]

from smolmix_web.ipr.client import IprClient, IprClientConfig  # noqa: E402
from smolmix_web.ipr.events import Connected, PacketFromClient, PacketReceived  # noqa: E402
from smolmix_web.ipr.server import IprServer  # noqa: E402
from smolmix_web.localnet.exit_service import router_client_config  # noqa: E402
from smolmix_web.net import Stack, StackConfig, TcpConnection, TcpOptions  # noqa: E402
from smolmix_web.net.pure_acks import drop_superseded  # noqa: E402
from smolmix_web.nym.config import ClientConfig  # noqa: E402
from smolmix_web.nym.events import MessageReceived  # noqa: E402
from smolmix_web.sockets.driver import NYM_QUEUE_TARGET, UPLINK_TARGET  # noqa: E402
from support.mixnet import Mixnet  # noqa: E402
from tcp_simulator import LIMITED  # noqa: E402

SERVER = "198.51.100.1"
_QUEUE_TARGET, _CLIENT_TARGET = 256, 32  # of localnet/exit_service.py


class Chain:
    """A client with an IP stack, and an exit, at two gateways of a mixnet."""

    def __init__(
        self, traffic: ClientConfig, options: TcpOptions, *, loss: float = 0.0, seed: int = 1
    ) -> None:
        self.net = net = Mixnet(seed=seed, loss=loss)
        self.client = net.add_client("client", config=traffic)
        self.exit = net.add_client("exit", gateway=1, config=router_client_config())
        self._target = UPLINK_TARGET if traffic.disable_poisson else NYM_QUEUE_TARGET
        self._options = options
        self.ipr = IprClient(
            exit_version="1.30.0",
            unix_time=lambda: net.unix_time,
            config=IprClientConfig(bundling=True, thrifty_surbs=True, session_probe=True),
            random_bytes=net.random.randbytes,
            thin=drop_superseded,
        )
        self.router = IprServer(allows=lambda *_: True, random_bytes=net.random.randbytes)
        self.stack: Stack | None = None
        self.far: Stack | None = None
        self._tags: list[bytes] = []
        self.ipr.start(net.now)

    def step(self) -> None:
        """Advance to the next instant at which anything happens."""
        net = self.net
        self._turn()
        instants = [net._heap[0][0]] if net._heap else []
        engines = (self.client, self.exit, self.ipr, self.router, self.stack, self.far)
        instants += [at for one in engines if one is not None and (at := one.poll_at()) is not None]
        net.now = max(net.now, min(instants))
        while net._heap and net._heap[0][0] <= net.now:
            heappop(net._heap)[2]()

    def _turn(self) -> None:
        net, now = self.net, self.net.now
        net._flush_clients()
        for event in self._messages("client"):
            self.ipr.receive_message(event.data, now)
        for event in self._messages("exit"):
            self.router.receive_message(event.sender_tag, event.data, now)
        self.ipr.handle_timer(now)
        self.router.handle_timer(now)
        for stack in (self.stack, self.far):
            if stack is not None:
                stack.handle_timer(now)
        while (event := self.ipr.next_event()) is not None:
            if isinstance(event, Connected):
                self._connected(event)
            elif isinstance(event, PacketReceived) and self.stack is not None:
                self.stack.receive_packet(event.packet, now)
        while (said := self.router.next_event()) is not None:
            if isinstance(said, PacketFromClient) and self.far is not None:
                self._tags[:] = [said.client]
                self.far.receive_packet(said.packet, now)
        self._uplink(now)
        self._downlink(now)
        net._flush_clients()

    def _messages(self, name: str) -> list[MessageReceived]:
        events, self.net.events[name] = self.net.events[name], []
        return [event for event in events if isinstance(event, MessageReceived)]

    def _connected(self, answer: Connected) -> None:
        config = StackConfig(tcp=self._options)
        rnd = self.net.random.randbytes
        self.stack = Stack(ipv4=str(answer.ipv4), ipv6=None, mtu=answer.mtu, config=config, random_bytes=rnd)
        self.far = Stack(
            ipv4=SERVER, ipv6=None, mtu=answer.mtu, config=config, random_bytes=rnd, accept_any=True
        )

    def _uplink(self, now: float) -> None:
        """As the driver does it."""
        if self.stack is not None:
            room = UPLINK_TARGET - self.client.queued() - self.ipr.queued()
            if room > 0 and (packets := self.stack.packets_to_send(now, room)):
                self.ipr.send_packets(packets, now)
        for message in self.ipr.messages_to_send(now, self._target - self.client.queued()):
            self.client.send(
                self.exit.address, message.data, now, reply_surbs=message.reply_surbs, anonymous=True
            )

    def _downlink(self, now: float) -> None:
        """As the exit does it."""
        if self.far is not None and self._tags:
            waiting = self.exit.waiting_for_surbs(self._tags[0])
            room = min(_QUEUE_TARGET - self.exit.queued(), _CLIENT_TARGET - waiting)
            if room > 0:
                for packet in self.far.packets_to_send(now, room):
                    self.router.send_packet(packet, now)
        for reply in self.router.replies_to_send():
            if reply.max_retransmissions is None:
                self.exit.reply(reply.sender_tag, reply.data, now)
            else:
                self.exit.reply(
                    reply.sender_tag, reply.data, now, max_retransmissions=reply.max_retransmissions
                )


@dataclass(frozen=True)
class Download:
    """Of one run, ``seconds`` being virtual and from the connect on; rates are those after slow start."""

    seconds: float
    goodput: float
    steady: float
    supplied: float
    used: float
    real: float
    cover: float
    round_trip: float
    window: int
    retransmitted: int


def download(
    size: int, traffic: ClientConfig, options: TcpOptions, *, loss: float = 0.0, settle: float = 10.0
) -> Download:
    """One download, compared byte for byte at its end."""
    chain = Chain(traffic, options, loss=loss)
    while chain.stack is None or chain.far is None:
        chain.step()
    net, near, far = chain.net, chain.stack, chain.far
    listener = far.listen_tcp(None, None)
    start = net.now
    ours = near.connect_tcp(SERVER, 80, start)
    theirs: TcpConnection | None = None
    sent = got = 0
    mark = SimpleNamespace(at=start, got=0, supplied=0, used=0, real=0, cover=0)
    block = net.random.randbytes(1 << 16)
    while got < size:
        theirs = theirs or listener.accept()
        while theirs is not None and sent < size and theirs.writable():
            at = sent % len(block)
            sent += theirs.send(block[at : at + min(len(block) - at, size - sent)], net.now)
        data = ours.recv(1 << 16, net.now)
        at = got % len(block)
        assert data == (block + block)[at : at + len(data)]
        got += len(data)
        if ours.error is not None:
            raise ours.error
        if mark.at == start and net.now > start + settle:
            stats = chain.client.stats
            mark = SimpleNamespace(
                at=net.now,
                got=got,
                supplied=stats.surbs_issued,
                used=stats.surbs_answered,
                real=stats.real_sent,
                cover=stats.cover_sent,
            )
        chain.step()
    assert theirs is not None
    stats, span = chain.client.stats, max(net.now - mark.at, 1e-9)
    return Download(
        seconds=net.now - start,
        goodput=size / (net.now - start),
        steady=(got - mark.got) / span,
        supplied=(stats.surbs_issued - mark.supplied) / span,
        used=(stats.surbs_answered - mark.used) / span,
        real=(stats.real_sent - mark.real) / span,
        cover=(stats.cover_sent - mark.cover) / span,
        round_trip=ours._acks.rtt,
        window=ours._rx.capacity,
        retransmitted=theirs._tx.stats_retransmitted,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=20.0)
    size = int(parser.parse_args().megabytes * 1_000_000)
    defaults = ClientConfig(fill_surbs=True)
    slow = ClientConfig(fill_surbs=True, average_packet_delay=0.12, average_ack_delay=0.12)
    cases = [
        ("15 ms at each mix (the default)", defaults, TcpOptions(), 0.0, size),
        ("the same, 0.5 % loss on each link", defaults, TcpOptions(), 0.005, size),
        ("120 ms at each mix", slow, TcpOptions(), 0.0, size),
        ("120 ms, limited*", slow, LIMITED, 0.0, size // 40),
    ]
    print(f"{size / 1e6:g} MB, one packet every 20 ms as by default, virtual time\n")
    columns = (
        "",
        "seconds",
        "KB/s",
        "KB/s after 10 s",
        "SURBs used of supplied /s",
        "our packets, real and cover /s",
        "round trip",
        "resent by TCP",
    )
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for name, traffic, options, loss, amount in cases:
        one = download(amount, traffic, options, loss=loss)
        cells = (
            name,
            f"{one.seconds:.0f}",
            f"{one.goodput / 1e3:.0f}",
            f"{one.steady / 1e3:.0f}",
            f"{one.used:.0f} of {one.supplied:.0f}",
            f"{one.real:.0f}, {one.cover:.0f}",
            f"{one.round_trip:.2f} s",
            f"{one.retransmitted}",
        )
        print("| " + " | ".join(cells) + " |", flush=True)
    print("\n\\* window 65,535 bytes, no window scaling, SACK, timestamps or RACK; a fortieth of the size.")


if __name__ == "__main__":
    main()
