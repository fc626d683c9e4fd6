"""The Linux kernel's TCP as the other end of our stack, over a TUN device in a network namespace of its own.

Everything stays inside the namespace; the machine's own network is not touched. Needs root (or CAP_NET_ADMIN
and CAP_SYS_ADMIN), ``/dev/net/tun`` and ``ip``; :func:`why_not` tells what is missing.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import random
import selectors
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

from smolmix_web.net import Stack, StackConfig, TcpOptions
from support.netsim import Direction, Path

KERNEL_V4, OURS_V4 = "10.77.0.1", "10.77.0.2"
KERNEL_V6, OURS_V6 = "fd77::1", "fd77::2"
_CLONE_NEWNET = 0x40000000
_TUNSETIFF = 0x400454CA
_IFF_TUN_NO_PI = 0x1001


def why_not() -> str | None:
    """The reason why the kernel cannot be used here, or ``None``."""
    if not os.path.exists("/dev/net/tun"):
        return "no /dev/net/tun"
    if shutil.which("ip") is None:
        return "no ip command (iproute2)"
    if os.geteuid() != 0:
        return "not root"
    try:
        in_namespace(lambda: None)
    except OSError as error:
        return f"network namespaces: {error}"
    return None


def in_namespace(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a thread that has a fresh network namespace; sockets it makes stay in there."""
    outcome: list[Any] = []

    def body() -> None:
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.unshare(_CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare")
            outcome.append((True, work()))
        except BaseException as error:
            outcome.append((False, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


def open_tun(mtu: int, kernel: tuple[str, str], sysctls: dict[str, str] | None = None) -> int:
    """A TUN device in the current namespace, up, with the kernel's addresses; its non-blocking descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", b"tun0", _IFF_TUN_NO_PI))
    for command in (
        f"addr add {kernel[0]}/24 dev tun0",
        f"link set dev tun0 mtu {mtu} txqueuelen 10000 up",
        f"-6 addr add {kernel[1]}/64 dev tun0 nodad",
        "link set dev lo up",
    ):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    for name, value in (sysctls or {}).items():
        with open(f"/proc/sys/{name.replace('.', '/')}", "w") as file:
            file.write(value)
    return descriptor


class Wire:
    """Two packet ends joined by a faulty path in real time."""

    def __init__(self, path: Path, seed: int) -> None:
        source = random.Random(seed)
        self.directions = (Direction(path, source), Direction(path, source))
        self._flying: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def put(self, end: int, packet: bytes, now: float) -> None:
        """A packet enters at ``end`` (0 or 1) and will come out at the other."""
        for arrival, body in self.directions[end].carry(packet, now):
            self._count += 1
            heappush(self._flying, (arrival, self._count, 1 - end, body))

    def take(self, now: float) -> list[tuple[int, bytes]]:
        """Packets that have arrived: ``(end, packet)``."""
        out = []
        while self._flying and self._flying[0][0] <= now:
            _, _, end, body = heappop(self._flying)
            out.append((end, body))
        return out

    def next_arrival(self) -> float | None:
        return self._flying[0][0] if self._flying else None


class KernelLink:
    """Our stack at one end of a wire, the kernel at the other. Use inside :func:`in_namespace`.

    ``pump`` moves packets for a while; the test's own kernel sockets are non-blocking and served by its
    callback.
    """

    def __init__(
        self,
        path: Path = Path(delay=0.0),  # noqa: B008 - frozen
        *,
        seed: int = 1,
        options: TcpOptions | None = None,
        sysctls: dict[str, str] | None = None,
    ) -> None:
        self.descriptor = open_tun(path.mtu, (KERNEL_V4, KERNEL_V6), sysctls)
        self.stack = Stack(
            ipv4=OURS_V4, ipv6=OURS_V6, mtu=path.mtu, config=StackConfig(tcp=options or TcpOptions())
        )
        self.wire = Wire(path, seed)
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.descriptor, selectors.EVENT_READ)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._selector.close()
        os.close(self.descriptor)

    def listen(self, *, port: int = 8000, ipv6: bool = False, backlog: int = 1024) -> socket.socket:
        """A kernel listener."""
        family, host = (socket.AF_INET6, KERNEL_V6) if ipv6 else (socket.AF_INET, KERNEL_V4)
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.bind((host, port))
        listener.listen(backlog)
        listener.setblocking(False)
        self._sockets.append(listener)
        return listener

    def connect(self, *, port: int = 9000, ipv6: bool = False) -> socket.socket:
        """A kernel socket connecting to our stack."""
        family, host = (socket.AF_INET6, OURS_V6) if ipv6 else (socket.AF_INET, OURS_V4)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.connect_ex((host, port))
        self._sockets.append(sock)
        return sock

    def step(self, longest: float = 0.02) -> None:
        """One turn: what is due now, then wait for the kernel at most ``longest`` seconds."""
        stack, wire = self.stack, self.wire
        now = time.monotonic()
        for _ in range(256):
            try:
                packet = os.read(self.descriptor, 65_536)
            except BlockingIOError:
                break
            wire.put(1, packet, now)
        stack.handle_timer(now)
        for packet in stack.packets_to_send(now):
            wire.put(0, packet, now)
        for end, packet in wire.take(now):
            if end == 0:
                stack.receive_packet(packet, now)
            else:
                with contextlib.suppress(OSError):  # the kernel refuses some corrupted packets outright
                    os.write(self.descriptor, packet)
        for packet in stack.packets_to_send(now):
            wire.put(0, packet, now)
        due = [t for t in (stack.poll_at(), wire.next_arrival()) if t is not None]
        wait = min([longest, *(t - now for t in due)])
        if wait > 0 and not stack.has_packets:
            self._selector.select(wait)

    def until(self, done: Callable[[], Any], *, deadline: float = 60.0) -> Any:
        """Pump until ``done`` gives something true, which is returned. :raises TimeoutError: it did not."""
        end = time.monotonic() + deadline
        while time.monotonic() < end:
            value = done()
            if value:
                return value
            self.step()
        raise TimeoutError("the kernel test made no progress")
