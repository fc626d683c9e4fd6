"""A network between two stacks with a seed and a virtual clock.

A :class:`Path` says what happens to packets; :class:`Simulator` moves them. Nothing here reads a real clock,
so a run of many simulated seconds takes a fraction of one and is the same every time.

    sim = Simulator(Path(delay=0.5, jitter=0.06, loss=0.02, rate=200), seed=1)
    result = sim.transfer(1_000_000)
    assert result.intact
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush

from smolmix_web.net import Stack, StackConfig, State, TcpConnection, TcpListener, TcpOptions

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT_V6, SERVER_V6 = "fd00::1", "fd00::2"


@dataclass(frozen=True)
class Path:
    """One direction's behaviour; both directions are alike but draw their own faults."""

    delay: float = 0.05
    """Fixed one-way delay, seconds: half the round trip."""
    jitter: float = 0.0
    """Mean of an exponential delay added to each packet on its own, seconds; this reorders."""
    loss: float = 0.0
    duplication: float = 0.0
    corruption: float = 0.0
    """Probability that one byte of a packet changes. The Internet checksum finds every such change; several
    changes at once can cancel each other in it, for any TCP, and would test nothing of ours."""
    rate: float | None = None
    """Packets a second, whatever their size; ``None``: no limit."""
    queue: int = 1_000
    """Packets that wait for the rate limit; more are dropped at the tail."""
    mtu: int = 1_500


class Direction:
    """One way of a path."""

    def __init__(self, path: Path, random_source: random.Random) -> None:
        self.path = path
        self._random = random_source
        self._free_at = 0.0
        self.sent = 0
        self.lost = 0
        self.overflowed = 0

    def carry(self, packet: bytes, now: float) -> list[tuple[float, bytes]]:
        """When and as what the packet arrives: nothing, once or twice."""
        path, rnd = self.path, self._random
        self.sent += 1
        leaves = now
        if path.rate is not None:
            if (self._free_at - now) * path.rate > path.queue:
                self.overflowed += 1
                return []
            self._free_at = leaves = max(self._free_at, now) + 1 / path.rate
        if path.loss and rnd.random() < path.loss:
            self.lost += 1
            return []
        copies = 1 + (path.duplication > 0 and rnd.random() < path.duplication)
        arrivals = []
        for _ in range(copies):
            body = packet
            if path.corruption and rnd.random() < path.corruption:
                body = self._corrupt(packet)
            delay = path.delay + (rnd.expovariate(1 / path.jitter) if path.jitter else 0.0)
            arrivals.append((leaves + delay, body))
        return arrivals

    def _corrupt(self, packet: bytes) -> bytes:
        body = bytearray(packet)
        body[self._random.randrange(len(body))] ^= self._random.randint(1, 255)
        return bytes(body)


@dataclass
class Result:
    """Of one transfer. ``seconds`` is virtual time from connect to the last byte read."""

    intact: bool
    size: int
    seconds: float
    data_packets: int
    ack_packets: int
    retransmitted: int
    lost: int
    overflowed: int
    error: Exception | None = None
    timeline: list[tuple[float, int]] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Bytes a second."""
        return self.size / self.seconds if self.seconds else 0.0


class Simulator:
    """Client and server stacks joined by a path."""

    def __init__(
        self,
        path: Path,
        *,
        seed: int = 1,
        client_options: TcpOptions | None = None,
        server_options: TcpOptions | None = None,
        ipv6: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.ipv6 = ipv6
        options = (client_options or TcpOptions(), server_options or client_options or TcpOptions())
        addresses = ((CLIENT, CLIENT_V6), (SERVER, SERVER_V6))
        self.client, self.server = (
            Stack(
                ipv4=v4,
                ipv6=v6,
                mtu=path.mtu,
                config=StackConfig(tcp=tcp),
                random_bytes=self.random.randbytes,
            )
            for (v4, v6), tcp in zip(addresses, options, strict=True)
        )
        self.forth = Direction(path, random.Random(self.random.random()))
        self.back = Direction(path, random.Random(self.random.random()))
        self._flying: list[tuple[float, int, Stack, bytes]] = []
        self._count = 0

    def set_path(self, **changes: object) -> None:
        """From now on the path behaves otherwise."""
        self.forth.path = self.back.path = replace(self.forth.path, **changes)  # type: ignore[arg-type]

    def connect(self, port: int = 80, options: TcpOptions | None = None) -> TcpConnection:
        return self.client.connect_tcp(SERVER_V6 if self.ipv6 else SERVER, port, self.now, options=options)

    def flush(self) -> None:
        """Hand over what the stacks want to send now."""
        for stack, direction, peer in (
            (self.client, self.forth, self.server),
            (self.server, self.back, self.client),
        ):
            for packet in stack.packets_to_send(self.now):
                for arrival, body in direction.carry(packet, self.now):
                    self._count += 1
                    heappush(self._flying, (arrival, self._count, peer, body))

    def step(self, limit: float = float("inf")) -> bool:
        """Advance to the next arrival or timer; ``False``: nothing will ever happen, or not before
        ``limit``."""
        self.flush()
        instants = [
            t
            for t in (
                self.client.poll_at(),
                self.server.poll_at(),
                self._flying[0][0] if self._flying else None,
            )
            if t is not None
        ]
        if not instants or min(instants) > limit:
            return False
        self.now = max(self.now, min(instants))
        while self._flying and self._flying[0][0] <= self.now:
            _, _, peer, body = heappop(self._flying)
            peer.receive_packet(body, self.now)
        self.client.handle_timer(self.now)
        self.server.handle_timer(self.now)
        return True

    def run(self, seconds: float) -> None:
        """Let this much time pass."""
        end = self.now + seconds
        while self.step(end):
            pass
        self.now = end

    def transfer(
        self, size: int, *, download: bool = True, deadline: float = 3_600.0, data: bytes | None = None
    ) -> Result:
        """One bulk transfer over a new connection, closed by both ends, compared byte by byte."""
        port = 80
        listener: TcpListener = self.server.listen_tcp(None, port)
        client = self.connect(port)
        data = data if data is not None else self.random.randbytes(size)
        server: TcpConnection | None = None
        received = bytearray()
        offset, finished, start = 0, 0.0, self.now
        while self.now - start < deadline:
            if server is None:
                server = listener.accept()
            writer, reader = (server, client) if download else (client, server)
            if writer is not None and offset < size and not writer.error and writer.writable():
                offset += writer.send(memoryview(data)[offset : offset + 262_144], self.now)
                if offset == size:
                    writer.shutdown_write(self.now)
            if reader is not None:
                received += reader.recv(1 << 20, self.now)
                if reader.eof_received:
                    finished = finished or self.now
                    reader.close(self.now)
            if finished and writer is not None and writer.eof_received:
                writer.close(self.now)
            states = {client.state, server.state if server else State.LISTEN}
            if states <= {State.CLOSED, State.TIME_WAIT} and (finished or client.error):
                break
            if not self.step():
                break
        listener.close(self.now)
        sender = self.server if download else self.client
        writer = server if download else client
        return Result(
            intact=bytes(received) == data,
            size=len(received),
            seconds=(finished or self.now) - start,
            data_packets=sender.stats.packets_sent,
            ack_packets=(self.client if download else self.server).stats.packets_sent,
            retransmitted=writer._tx.stats_retransmitted if writer else 0,
            lost=self.forth.lost + self.back.lost,
            overflowed=self.forth.overflowed + self.back.overflowed,
            error=client.error or (server.error if server else None),
        )
