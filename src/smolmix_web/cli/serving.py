"""What the commands share that keep a tunnel open and serve local programs."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from smolmix_web.cli.network import until_interrupted
from smolmix_web.cli.progress import ProgressLine
from smolmix_web.errors import OptionError, TunnelClosed
from smolmix_web.platform import Platform
from smolmix_web.platform.native import NativePlatform, default_storage_folder
from smolmix_web.tunnel import Progress, StateChange, TunnelState

_Made = TypeVar("_Made")

_LOOPBACK: Final = ("127.", "::1", "localhost")


def add_listen_argument(parser: argparse.ArgumentParser, port: int) -> None:
    parser.add_argument(
        "--listen",
        metavar="HOST:PORT",
        default=f"127.0.0.1:{port}",
        help=f"where to serve (default: 127.0.0.1:{port}); port 0 is a free one",
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on standard error")


def listen_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:1080`` or ``[::1]:1080``. :raises OptionError: anything else."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise OptionError("--listen", f"{text!r} is not of the form HOST:PORT")
    return host.strip("[]"), int(port)


def warn_unless_loopback(host: str) -> None:
    """Neither SOCKS nor the native interface asks who is there."""
    if not host.startswith(_LOOPBACK):
        print(f"warning: {host} may be reached by others, and there is no authentication", file=sys.stderr)


def url_of(scheme: str, address: tuple[str, int]) -> str:
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class Watched:
    """The events of a tunnel or client that a command serves: a progress line, and its unexpected end."""

    def __init__(self, *, quiet: bool) -> None:
        self._line = ProgressLine(enabled=not quiet and sys.stderr.isatty())
        self._failed = asyncio.Event()
        self._reason = ""

    def show(self, event: object) -> None:
        """For ``on_event``."""
        if isinstance(event, Progress):
            self._line.show(event.fraction, event.detail)
        elif isinstance(event, StateChange) and event.state is TunnelState.FAILED:
            self._reason = event.reason
            self._failed.set()

    async def connect(
        self, connect: Callable[[Platform, Callable[[object], None]], Awaitable[_Made]], *, keep: bool
    ) -> _Made:
        """What ``connect`` makes.

        :param keep: store keys and registration; otherwise the next run is another client.
        """
        try:
            return await connect(NativePlatform(default_storage_folder() if keep else None), self.show)
        finally:
            self._line.clear()

    async def until_over(self) -> None:
        """Wait for Ctrl-C. :raises TunnelClosed: the tunnel failed, and nothing can be served any more."""
        waits = [asyncio.ensure_future(until_interrupted()), asyncio.ensure_future(self._failed.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        if self._failed.is_set():
            raise TunnelClosed(self._reason)
