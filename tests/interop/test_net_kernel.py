"""Our TCP against the Linux kernel's, over a TUN device: byte-exact both ways on good and faulty links."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.errors import ConnectionRefused, ConnectionReset
from smolmix_web.net import State
from support.netsim import Path
from support.tun import KERNEL_V4, KERNEL_V6, KernelLink, in_namespace, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"kernel peer: {why_not()}")

# "make kernel" sets it to 1 for 64 MB each way; the environment variable is read here only.
FULL = os.environ.get("SMOLMIX_NET_FULL") == "1"
BIG = 64_000_000 if FULL else 6_000_000
MEDIUM = 64_000_000 if FULL else 1_500_000
LONG = 3_600 if FULL else 300

FAULTY = Path(delay=0.02, jitter=0.005, loss=0.01, duplication=0.01, corruption=0.01)


class Pattern:
    """A long pseudo-random stream that need not be kept in memory twice."""

    def __init__(self, size: int, seed: int = 1) -> None:
        self.data = random.Random(seed).randbytes(min(size, 1 << 20))
        self.size = size

    def piece(self, offset: int, length: int) -> bytes:
        start = offset % len(self.data)
        return self.data[start : start + min(length, self.size - offset)]

    def digest(self) -> str:
        whole, rest = divmod(self.size, len(self.data))
        digest = hashlib.sha256()
        for _ in range(whole):
            digest.update(self.data)
        digest.update(self.data[:rest])
        return digest.hexdigest()


def we_send(path: Path, size: int, ipv6: bool) -> None:
    link = KernelLink(path)
    listener = link.listen(ipv6=ipv6)
    ours = link.stack.connect_tcp(KERNEL_V6 if ipv6 else KERNEL_V4, 8000, _now())
    kernel = link.until(lambda: _accept(listener))
    pattern, digest = Pattern(size), hashlib.sha256()
    sent = received = 0

    def work() -> bool:
        nonlocal sent, received
        while sent < size and ours.writable():
            sent += ours.send(pattern.piece(sent, 262_144), _now())
            if sent == size:
                ours.shutdown_write(_now())
        while True:
            data = _recv(kernel)
            if data is None:
                return False
            if not data:
                return True
            received += len(data)
            digest.update(data)

    link.until(work, deadline=LONG)
    assert received == size
    assert digest.hexdigest() == pattern.digest()
    kernel.close()
    link.until(lambda: ours.state is State.TIME_WAIT)
    assert ours.error is None
    listener.close()
    link.close()


def kernel_sends(path: Path, size: int, ipv6: bool) -> None:
    link = KernelLink(path)
    listener = link.stack.listen_tcp(None, 9000)
    kernel = link.connect(ipv6=ipv6)
    ours = link.until(listener.accept)
    pattern, digest = Pattern(size), hashlib.sha256()
    sent = received = 0

    def work() -> bool:
        nonlocal sent, received
        while sent < size:
            taken = _send(kernel, pattern.piece(sent, 262_144))
            if taken is None:
                break
            sent += taken
            if sent == size:
                kernel.shutdown(socket.SHUT_WR)
        data = ours.recv(1 << 20, _now())
        received += len(data)
        digest.update(data)
        assert ours.error is None
        return ours.eof_received

    link.until(work, deadline=LONG)
    assert received == size
    assert digest.hexdigest() == pattern.digest()
    ours.close(_now())
    assert link.until(lambda: _recv(kernel) == b"")
    link.until(lambda: ours.state is State.CLOSED)
    kernel.close()
    link.close()


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_we_send_on_a_clean_link(ipv6: bool) -> None:
    in_namespace(lambda: we_send(Path(delay=0.0), BIG, ipv6))


@pytest.mark.parametrize("ipv6", [False, True], ids=["ipv4", "ipv6"])
def test_kernel_sends_on_a_clean_link(ipv6: bool) -> None:
    in_namespace(lambda: kernel_sends(Path(delay=0.0), BIG, ipv6))


def test_we_send_on_a_faulty_link() -> None:
    in_namespace(lambda: we_send(FAULTY, MEDIUM, False))


def test_kernel_sends_on_a_faulty_link() -> None:
    in_namespace(lambda: kernel_sends(FAULTY, MEDIUM, True))


def test_half_close_leaves_the_other_direction_open() -> None:
    def body() -> None:
        link = KernelLink()
        listener = link.listen()
        ours = link.stack.connect_tcp(KERNEL_V4, 8000, _now())
        kernel = link.until(lambda: _accept(listener))
        ours.send(b"question", _now())
        ours.shutdown_write(_now())
        assert link.until(lambda: _recv(kernel)) == b"question"
        assert link.until(lambda: _recv(kernel) == b"")
        link.until(lambda: ours.state is State.FIN_WAIT_2)
        kernel.sendall(b"a late answer")
        link.until(lambda: ours.readable() == 13)
        assert ours.recv(100, _now()) == b"a late answer"
        kernel.close()
        link.until(lambda: ours.eof_received)
        assert ours.state is State.TIME_WAIT
        link.close()

    in_namespace(body)


def test_resets_both_ways() -> None:
    def body() -> None:
        link = KernelLink()
        listener = link.listen()
        ours = link.stack.connect_tcp(KERNEL_V4, 8000, _now())
        kernel = link.until(lambda: _accept(listener))
        # SO_LINGER 0 makes the kernel send RST on close.
        kernel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        kernel.close()
        link.until(lambda: ours.error)
        assert isinstance(ours.error, ConnectionReset)

        ours = link.stack.connect_tcp(KERNEL_V4, 8000, _now())
        kernel = link.until(lambda: _accept(listener))
        link.until(lambda: ours.state is State.ESTABLISHED)
        ours.abort(_now())
        with pytest.raises(ConnectionResetError):
            link.until(lambda: _recv(kernel))
        kernel.close()
        link.close()

    in_namespace(body)


def test_refused_both_ways() -> None:
    def body() -> None:
        link = KernelLink()
        ours = link.stack.connect_tcp(KERNEL_V4, 4444, _now())
        link.until(lambda: ours.error)
        assert isinstance(ours.error, ConnectionRefused)
        kernel = link.connect(port=4445)
        error = link.until(lambda: kernel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        assert error == 111  # ECONNREFUSED
        kernel.close()
        link.close()

    in_namespace(body)


def test_a_reader_that_stops_closes_the_window_and_opens_it_again() -> None:
    """Window exhaustion in both directions: nothing is lost, and the stalled side learns of the opening."""

    def body() -> None:
        link = KernelLink()
        listener = link.stack.listen_tcp(None, 9000)
        kernel = link.connect()
        ours = link.until(listener.accept)
        pattern = Pattern(12_000_000)
        sent = 0

        def fill() -> bool:
            nonlocal sent
            taken = _send(kernel, pattern.piece(sent, 262_144))
            sent += taken or 0
            return taken is None

        for _ in range(40):
            link.until(fill)
            for _ in range(5):
                link.step(0.005)
        stalled = ours.readable()
        assert 100_000 < stalled <= 4 * 1024 * 1024
        digest, received = hashlib.sha256(), 0

        def drain() -> bool:
            nonlocal received, sent
            while sent < pattern.size:
                taken = _send(kernel, pattern.piece(sent, 262_144))
                if taken is None:
                    break
                sent += taken
            data = ours.recv(65_536, _now())
            received += len(data)
            digest.update(data)
            return received == pattern.size

        link.until(drain, deadline=60)
        assert digest.hexdigest() == pattern.digest()

        # And the other way: the kernel's receive buffer is small and nobody reads.
        ours_sent = 0
        for _ in range(200):
            ours_sent += ours.send(bytes(65_536), _now())
            link.step(0.002)
        assert ours.writable() == 0
        kernel_received = 0

        def read_kernel() -> bool:
            nonlocal kernel_received
            kernel_received += len(_recv(kernel) or b"")
            return kernel_received == ours_sent

        link.until(read_kernel, deadline=60)
        kernel.close()
        link.close()

    in_namespace(body)


def test_500_connections_at_once() -> None:
    def body() -> None:
        link = KernelLink(Path(delay=0.005, loss=0.005))
        listener = link.listen()
        count, size = 500, 20_000
        ours = [link.stack.connect_tcp(KERNEL_V4, 8000, _now()) for _ in range(count)]
        payload = random.Random(3).randbytes(size)
        kernels: list[socket.socket] = []
        echoed: dict[socket.socket, bytearray] = {}
        closed: set[socket.socket] = set()
        received = [bytearray() for _ in ours]
        for connection in ours:
            assert connection.send(payload, _now()) == size
            connection.shutdown_write(_now())

        def serve() -> bool:
            while (accepted := _accept(listener)) is not None:
                kernels.append(accepted)
                echoed[accepted] = bytearray()
            for kernel in kernels:
                if kernel in closed:
                    continue
                data = _recv(kernel)
                if data:
                    echoed[kernel] += data
                elif data == b"":
                    kernel.sendall(echoed[kernel])
                    kernel.close()
                    closed.add(kernel)
            for index, connection in enumerate(ours):
                received[index] += connection.recv(1 << 20, _now())
            return all(connection.eof_received for connection in ours)

        link.until(serve, deadline=100)
        assert all(bytes(data) == payload for data in received)
        listener.close()
        link.close()

    in_namespace(body)


def test_udp_and_echo() -> None:
    def body() -> None:
        link = KernelLink()
        kernel = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        kernel.bind((KERNEL_V6, 5353))
        kernel.setblocking(False)
        ours = link.stack.open_udp()

        def asked(question: bytes, destination: tuple[str, int], answer: Callable[[], Any]) -> Any:
            """UDP promises nothing (a device that is just coming up drops), so ask until something comes."""
            for _ in range(20):
                ours.send_to(question, destination, _now())
                with contextlib.suppress(TimeoutError):
                    return link.until(answer, deadline=1.0)
            raise TimeoutError("no answer to twenty datagrams")

        data, peer = asked(b"hello", (KERNEL_V6, 5353), lambda: _recvfrom(kernel))
        assert data == b"hello"
        kernel.sendto(b"back", peer)
        link.until(ours.readable)
        assert ours.recv_from() == (b"back", (KERNEL_V6, 5353))
        # A closed port: the kernel answers with ICMP, which reaches the socket.
        error, destination = asked(b"nobody", (KERNEL_V4, 5999), ours.next_error)
        assert destination == (KERNEL_V4, 5999)
        assert "port unreachable" in str(error)
        kernel.close()
        link.close()

    in_namespace(body)


def _now() -> float:
    return time.monotonic()


def _accept(listener: socket.socket) -> socket.socket | None:
    try:
        sock, _ = listener.accept()
    except BlockingIOError:
        return None
    sock.setblocking(False)
    return sock


def _recv(sock: socket.socket) -> bytes | None:
    """Bytes, ``b""`` at the end, ``None`` when there is nothing yet."""
    try:
        return sock.recv(1 << 18)
    except BlockingIOError:
        return None


def _recvfrom(sock: socket.socket) -> tuple[bytes, tuple[str, int]] | None:
    try:
        data, peer = sock.recvfrom(65_536)
    except BlockingIOError:
        return None
    return data, (peer[0], peer[1])


def _send(sock: socket.socket, data: bytes) -> int | None:
    try:
        return sock.send(data)
    except (BlockingIOError, BrokenPipeError):
        return None
