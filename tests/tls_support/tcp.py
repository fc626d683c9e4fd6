"""A kernel TCP connection as a ByteStream, and servers as child processes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest


class TcpStream:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> TcpStream:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def read(self, max_bytes: int = 65536) -> bytes:
        try:
            return await self._reader.read(max_bytes)
        except ConnectionResetError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def write_eof(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    def abort(self) -> None:
        self._writer.transport.abort()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def program(name: str, package: str) -> str:
    """Its path; skips the test, naming what is missing."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/local/go/bin")
    if found is None:
        pytest.skip(f"{name} is not installed (Debian package {package}; see scripts/ensure_tls_servers.sh)")
    return found


@contextlib.contextmanager
def running(
    arguments: Sequence[str], port: int, *, cwd: Path | None = None, stdin: int | None = subprocess.DEVNULL
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, once it accepts connections on ``port``."""
    process = subprocess.Popen(
        list(arguments), cwd=cwd, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        _wait_for_port(process, port)
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def _wait_for_port(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if process.poll() is not None:
            assert process.stdout is not None
            raise RuntimeError(process.stdout.read().decode(errors="replace"))
        if _listens(port):
            return
        time.sleep(0.02)
    raise RuntimeError("the server did not start")


def _listens(port: int) -> bool:
    """Looks into the kernel's table, because a test connection would disturb one-shot servers."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    wanted = f":{port:04X} "
    tables = table.read_text() + Path("/proc/net/tcp6").read_text()
    return any(
        wanted in line.split("00000000:0000")[0] + " " and " 0A " in line for line in tables.splitlines()
    )
