"""The IP stack: speed, cost a segment, cost of many connections, memory, and the kernel beside it.

Prints Markdown tables. The comparison runs in real time over an emulated mixnet path (two TUN devices, each
in a network namespace of its own, this process between them), so it takes about three minutes; it is left
out, with the reason, where the machine does not allow it, and with ``--quick``.

Run with ``python bench/bench_net.py [--quick]``.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path as File
from typing import Any

sys.path[:0] = [str(File(__file__).parent.parent / "tests"), str(File(__file__).parent)]

from smolmix_web.net import TcpOptions  # noqa: E402
from support.netsim import Path  # noqa: E402
from support.tun import KERNEL_V4, KernelLink, Wire, in_namespace, open_tun, why_not  # noqa: E402
from tcp_memory import idle_memory, measure, table  # noqa: E402
from tcp_simulator import LIMITED  # noqa: E402

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
    print("CPU time of this process, so that a busy machine shows less.\n")
    print(table(measure()), flush=True)
    print(f"\nMemory of an idle connection: {idle_memory():.0f} bytes.", flush=True)
    reason = "--quick" if arguments.quick else why_not()
    if reason is None:
        comparison()
    else:
        print(f"\nThe comparison with the kernel was left out: {reason}.")


if __name__ == "__main__":
    main()
