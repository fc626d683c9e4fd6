"""The IP stack: speed, cost a segment, cost of many connections, memory, and the kernel beside it.

Prints Markdown tables. The comparison runs in real time over an emulated mixnet path (two TUN devices, each
in a network namespace of its own, this process between them), so it takes about three minutes; it is left
out, with the reason, where the machine does not allow it, and with ``--quick``.

Run with ``python bench/bench_net.py [--quick]``.
"""

from __future__ import annotations

import argparse
import gc
import os
import select
import socket
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path as File
from typing import Any

sys.path[:0] = [str(File(__file__).parent.parent / "tests"), str(File(__file__).parent)]

from smolmix_web.net import Stack, StackConfig, TcpConnection, TcpOptions  # noqa: E402
from support.netsim import Path  # noqa: E402
from support.tun import KERNEL_V4, KernelLink, Wire, in_namespace, open_tun, why_not  # noqa: E402
from tcp_simulator import LIMITED  # noqa: E402

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
        start = time.process_time()
        forth = self.client.packets_to_send(self.now)
        middle = time.process_time()
        for packet in forth:
            self.server.receive_packet(packet, self.now)
        back = self.server.packets_to_send(self.now)
        end = time.process_time()
        for packet in back:
            self.client.receive_packet(packet, self.now)
        for stack in (self.client, self.server):
            due = stack.poll_at()
            if due is not None and due <= self.now:
                stack.handle_timer(self.now)
        self.sending += middle - start + time.process_time() - end
        self.receiving += end - middle
        return len(forth)


def one_flow(size: int = 40_000_000) -> tuple[float, float, float]:
    """MB/s with both ends in this process, and microseconds a segment for the sender and for the receiver."""
    pair = Pair()
    ((ours, theirs),) = pair.connect(1)
    pair.sending = pair.receiving = 0.0
    block = bytes(1 << 18)
    written = read = segments = 0
    start = time.process_time()
    while read < size:
        if ours.writable() and written < size:
            written += ours.send(block, pair.now)
        segments += pair.turn()
        read += len(theirs.recv(1 << 20, pair.now))
    elapsed = time.process_time() - start
    return read / elapsed / 1e6, 1e6 * pair.sending / segments, 1e6 * pair.receiving / segments


def many_connections(count: int, segments: int = 20_000) -> float:
    """Microseconds a packet, making and taking it, when ``count`` connections send one segment each in turn.

    Virtual time runs so that each connection sends at the same pace, whatever the count: else delayed ACKs
    would make the mix of packets another.
    """
    pair = Pair()
    pairs = pair.connect(count)
    block, step = bytes(1_448), 0.001 / count
    for ours, theirs in pairs:
        for _ in range(20):
            ours.send(block, pair.now)
            pair.turn(step)
            theirs.recv(1 << 16, pair.now)
    gc.collect()
    before = pair.client.stats.packets_sent + pair.server.stats.packets_sent
    start, done = time.process_time(), 0
    while done < segments:
        for ours, theirs in pairs:
            ours.send(block, pair.now)
            done += pair.turn(step)
            theirs.recv(1 << 16, pair.now)
    packets = pair.client.stats.packets_sent + pair.server.stats.packets_sent - before
    return 1e6 * (time.process_time() - start) / packets


def idle_memory(count: int = 1_000) -> float:
    """Bytes of one idle established connection, one end."""
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


# -- beside the kernel ---------------------------------------------------------------------------------------

PATH = Path(delay=0.5, jitter=0.06, rate=500.0, queue=1_000)
SECONDS = 30.0
COUNT_FROM = 10.0  # the rate after slow start as well as from the first byte
# The kernel's own limits must not decide: buffers for 4 MiB windows, as ours.
SYSCTLS = {
    "net.ipv4.tcp_rmem": "4096 131072 8388608",
    "net.ipv4.tcp_wmem": "4096 131072 8388608",
}


CUBIC = b"cubic"  # the kernel's policy at most servers; set on each socket, as a machine's default may differ


class Meter:
    """Bytes over time: the rate from the start and after the first seconds, KB/s."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.total = self.late = 0

    def add(self, size: int) -> None:
        self.total += size
        if time.monotonic() - self.start >= COUNT_FROM:
            self.late += size

    @property
    def over(self) -> bool:
        return time.monotonic() - self.start >= SECONDS

    def rates(self) -> tuple[float, float]:
        return self.total / SECONDS / 1e3, self.late / (SECONDS - COUNT_FROM) / 1e3


def kernel_to_kernel(path: Path) -> tuple[float, float]:
    """Two kernels with this process as the wire between their TUN devices."""

    def first() -> tuple[int, socket.socket]:
        device = open_tun(path.mtu, ("10.77.0.1", "fd77::1"), SYSCTLS)
        sender = socket.socket()
        sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CUBIC)
        return device, sender

    def second() -> tuple[int, socket.socket]:
        device = open_tun(path.mtu, ("10.77.0.2", "fd77::2"), SYSCTLS)
        listener = socket.socket()
        listener.bind(("10.77.0.2", 8000))
        listener.listen()
        return device, listener

    (device_a, sender), (device_b, listener) = in_namespace(first), in_namespace(second)
    devices, wire, block, meter = (device_a, device_b), Wire(path, 1), bytes(1 << 18), Meter()
    sender.setblocking(False)
    listener.setblocking(False)
    sender.connect_ex(("10.77.0.2", 8000))
    reader: socket.socket | None = None
    while not meter.over:
        now = time.monotonic()
        for end, device in enumerate(devices):
            for packet in read_packets(device):
                wire.put(end, packet, now)
        for end, packet in wire.take(now):
            os.write(devices[end], packet)
        attempt(sender.send, block)
        if reader is None:
            accepted = attempt(listener.accept)
            if accepted is not None:
                reader = accepted[0]
                reader.setblocking(False)
        else:
            meter.add(len(attempt(reader.recv, 1 << 18) or b""))
        wait_for(wire.next_arrival(), devices)
    for sock in (sender, listener, reader):
        if sock is not None:
            sock.close()
    for device in devices:
        os.close(device)
    return meter.rates()


def read_packets(device: int) -> list[bytes]:
    packets = []
    while len(packets) < 256:
        packet = attempt(os.read, device, 65_536)
        if packet is None:
            break
        packets.append(packet)
    return packets


def attempt(call: Callable[..., Any], *arguments: Any) -> Any:
    """``None`` when a non-blocking call has nothing to do now."""
    try:
        return call(*arguments)
    except (BlockingIOError, BrokenPipeError, OSError):
        return None


def wait_for(instant: float | None, devices: tuple[int, int]) -> None:
    pause = 0.01 if instant is None else min(max(instant - time.monotonic(), 0.0), 0.01)
    select.select(devices, [], [], pause)


def ours_with_kernel(path: Path, options: TcpOptions, *, download: bool) -> tuple[float, float]:
    """Our stack at one end: receiving from the kernel (download) or sending to it."""

    def body() -> tuple[float, float]:
        link = KernelLink(path, options=options, sysctls=SYSCTLS)
        listener = link.listen()
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, CUBIC)  # accepted sockets inherit it
        ours = link.stack.connect_tcp(KERNEL_V4, 8000, time.monotonic())
        kernel, block, meter = None, bytes(1 << 18), Meter()
        while not meter.over:
            if kernel is None:
                accepted = attempt(listener.accept)
                if accepted is not None:
                    kernel = accepted[0]
                    kernel.setblocking(False)
            elif download:
                attempt(kernel.send, block)
            else:
                meter.add(len(attempt(kernel.recv, 1 << 18) or b""))
            now = time.monotonic()
            if download:
                meter.add(len(ours.recv(1 << 20, now)))
            elif ours.writable():
                ours.send(block, now)
            link.step(0.01)
        if kernel is not None:
            kernel.close()
        link.close()
        return meter.rates()

    return in_namespace(body)


def comparison() -> None:
    limit = PATH.rate * 1_448 / 1e3 if PATH.rate else 0.0
    print(
        f"\nEmulated path: round trip {2 * PATH.delay:g} s, jitter {1000 * PATH.jitter:g} ms (exponential,"
        f" each packet on its own), {PATH.rate:g} packets/s = {limit:.0f} KB/s; one flow of {SECONDS:g} s.\n"
    )
    print(f"| sender → receiver | KB/s overall | KB/s after {COUNT_FROM:g} s | of the path |")
    print("|---|---|---|---|")
    cases: list[tuple[str, Callable[[], tuple[float, float]]]] = [
        ("kernel (CUBIC) → kernel", lambda: kernel_to_kernel(PATH)),
        ("kernel → ours", lambda: ours_with_kernel(PATH, TcpOptions(), download=True)),
        ("ours → kernel", lambda: ours_with_kernel(PATH, TcpOptions(), download=False)),
        ("kernel → ours limited*", lambda: ours_with_kernel(PATH, LIMITED, download=True)),
        ("ours limited* → kernel", lambda: ours_with_kernel(PATH, LIMITED, download=False)),
    ]
    for name, run in cases:
        overall, late = run()
        print(f"| {name} | {overall:.0f} | {late:.0f} | {100 * late / limit:.0f} % |", flush=True)
    print("\n\\* window 65,535 bytes, no window scaling, SACK, timestamps or RACK; Reno.")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="leave out the comparison with the kernel")
    arguments = parser.parse_args()
    speed, sending, receiving = max(one_flow() for _ in range(3))
    print("CPU time of this process, so that a busy machine does not show.\n")
    print("| one flow in memory, both ends in one process | |\n|---|---|")
    print(f"| goodput | {speed:.1f} MB/s |")
    print(f"| sender, a data segment and its share of ACKs | {sending:.1f} µs |")
    print(f"| receiver, the same | {receiving:.1f} µs |")
    print(f"| memory of an idle connection | {idle_memory():.0f} bytes |")
    print("\n| connections | µs a packet, made and taken |\n|---|---|")
    for count in (1, 10, 100, 1_000):
        print(f"| {count} | {min(many_connections(count) for _ in range(3)):.1f} |", flush=True)
    reason = "--quick" if arguments.quick else why_not()
    if reason is None:
        comparison()
    else:
        print(f"\nThe comparison with the kernel was left out: {reason}.")


if __name__ == "__main__":
    main()
