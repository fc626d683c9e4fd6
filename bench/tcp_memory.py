"""TCP in memory: two stacks without a path between them, for speed, cost a segment and memory.

:func:`measure` needs nothing but the stack, so it also runs where the tunnel runs: in Pyodide, in a worker
(``bench_net_browser.py``). Clocks of workers are coarse, so there "sender" and "receiver" say little.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

from smolmix_web.net import Stack, StackConfig, TcpConnection, TcpOptions

# CPU time, so that a busy machine shows less; a worker has wall time only.
clock = time.perf_counter if sys.platform == "emscripten" else time.process_time

COUNTS = (1, 10, 100, 1_000)

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"


class Pair:
    """Two stacks joined without any path; the time spent in each is added up."""

    def __init__(self, options: TcpOptions | None = None) -> None:
        config = StackConfig(tcp=options or TcpOptions())
        self.client = Stack(ipv4=CLIENT, ipv6=None, mtu=1500, config=config)
        self.server = Stack(ipv4=SERVER, ipv6=None, mtu=1500, config=config)
        self.listener = self.server.listen_tcp(None, 80, backlog=100_000)
        self.sending = self.receiving = 0.0
        self.now = 0.0

    def connect(self, count: int) -> list[tuple[TcpConnection, TcpConnection]]:
        pairs = []
        for _ in range(count):
            ours = self.client.connect_tcp(SERVER, 80, self.now)
            self.turn()
            self.turn()
            theirs = self.listener.accept()
            assert theirs is not None
            pairs.append((ours, theirs))
        return pairs

    def turn(self, step: float = 0.0001) -> int:
        """Packets of the client to the server, and the answers back; the number of the former."""
        self.now += step
        start = clock()
        forth = self.client.packets_to_send(self.now)
        middle = clock()
        for packet in forth:
            self.server.receive_packet(packet, self.now)
        back = self.server.packets_to_send(self.now)
        end = clock()
        for packet in back:
            self.client.receive_packet(packet, self.now)
        for stack in (self.client, self.server):
            due = stack.poll_at()
            if due is not None and due <= self.now:
                stack.handle_timer(self.now)
        self.sending += middle - start + clock() - end
        self.receiving += end - middle
        return len(forth)


def one_flow(size: int = 40_000_000) -> tuple[float, float, float]:
    """MB/s with both ends in this process, and microseconds a segment for the sender and for the receiver."""
    pair = Pair()
    ((ours, theirs),) = pair.connect(1)
    pair.sending = pair.receiving = 0.0
    block = bytes(1 << 18)
    written = read = segments = 0
    start = clock()
    while read < size:
        if ours.writable() and written < size:
            written += ours.send(block, pair.now)
        segments += pair.turn()
        read += len(theirs.recv(1 << 20, pair.now))
    elapsed = clock() - start
    return read / elapsed / 1e6, 1e6 * pair.sending / segments, 1e6 * pair.receiving / segments


def many_connections(count: int, segments: int = 20_000, idle: int = 0) -> float:
    """Microseconds a packet, making and taking it, when ``count`` connections send one segment each in turn
    and ``idle`` more are open.

    Virtual time runs so that each connection sends at the same pace, whatever the count: else delayed ACKs
    would make the mix of packets another.
    """
    pair = Pair()
    pairs = pair.connect(count)
    kept = pair.connect(idle)
    block, step = bytes(1_448), 0.001 / count
    for ours, theirs in pairs:
        for _ in range(20):
            ours.send(block, pair.now)
            pair.turn(step)
            theirs.recv(1 << 16, pair.now)
    gc.collect()
    before = pair.client.stats.packets_sent + pair.server.stats.packets_sent
    start, done = clock(), 0
    while done < segments:
        for ours, theirs in pairs:
            ours.send(block, pair.now)
            done += pair.turn(step)
            theirs.recv(1 << 16, pair.now)
    packets = pair.client.stats.packets_sent + pair.server.stats.packets_sent - before
    assert len(kept) == idle
    return 1e6 * (clock() - start) / packets


def idle_memory(count: int = 1_000) -> float:
    """Bytes of one idle established connection, one end."""
    import tracemalloc  # Pyodide has none

    pair = Pair()
    pair.connect(1)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = pair.connect(count)
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(kept) == count
    return (after - before) / count / 2


def measure(size: int = 40_000_000, segments: int = 20_000, rounds: int = 3) -> dict[str, Any]:
    """All figures; ``curve`` is microseconds a packet by number of connections, ``one_of_many`` the same when
    one of a thousand connections is busy."""
    speed, sending, receiving = max(one_flow(size) for _ in range(rounds))
    return {
        "megabytes_per_s": speed,
        "sender_us": sending,
        "receiver_us": receiving,
        "curve": {count: min(many_connections(count, segments) for _ in range(rounds)) for count in COUNTS},
        "one_of_many": min(many_connections(1, segments, idle=999) for _ in range(rounds)),
    }


def table(figures: dict[str, Any]) -> str:
    """As Markdown."""
    lines = [
        "| one flow in memory, both ends in one thread | |",
        "|---|---|",
        f"| goodput | {figures['megabytes_per_s']:.1f} MB/s |",
        f"| sender, a data segment and its share of ACKs | {figures['sender_us']:.1f} µs |",
        f"| receiver, the same | {figures['receiver_us']:.1f} µs |",
        "",
        "| connections, each sending in turn | µs a packet, made and taken |",
        "|---|---|",
        *(f"| {count} | {micros:.1f} |" for count, micros in figures["curve"].items()),
        f"| one of 1,000, the others idle | {figures['one_of_many']:.1f} |",
    ]
    return "\n".join(lines)
