"""Fetch a URL through the mixnet, as a page would. The body goes to standard output or a file."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

from smolmix_web.cli.progress import ProgressLine
from smolmix_web.cli.tunnel_options import add_tunnel_arguments, tunnel_options
from smolmix_web.errors import OptionError
from smolmix_web.fetch import FetchResponse
from smolmix_web.platform.native import NativePlatform, default_storage_folder
from smolmix_web.tunnel import Progress, Tunnel

EXIT_HTTP_ERROR = 22
UPLOAD_PIECE = 64 * 1024


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL")
    parser.add_argument("-X", "--method", help="GET, or POST with a body, unless given")
    parser.add_argument(
        "-H", "--header", metavar="'NAME: VALUE'", action="append", default=[], help="may be repeated"
    )
    parser.add_argument("-d", "--data", help="request body; @FILE sends a file, @- standard input")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write the body to FILE")
    parser.add_argument("-i", "--include", action="store_true", help="show status line and headers too")
    parser.add_argument("--fail", action="store_true", help="exit with 22 for a status of 400 or more")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="until the response's head")
    parser.add_argument(
        "--redirect", choices=("follow", "error", "manual"), default="follow", help="default: follow"
    )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on standard error")
    parser.add_argument("--timing", action="store_true", help="say on standard error how long it took")
    add_tunnel_arguments(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    options = tunnel_options(chosen)
    body = _body(chosen.data)
    headers = [_header(text) for text in chosen.header]
    # Without a client id nothing is kept: the next call is another client.
    platform = NativePlatform(default_storage_folder() if chosen.client_id else None)
    line = ProgressLine(enabled=not chosen.quiet and sys.stderr.isatty())
    started = time.monotonic()

    def show(event: object) -> None:
        if isinstance(event, Progress):
            line.show(event.fraction, event.detail)

    async with await Tunnel.connect(options, platform=platform, on_event=show) as tunnel:
        ready = time.monotonic()
        response = await tunnel.fetch(
            chosen.url,
            method=chosen.method or ("GET" if chosen.data is None else "POST"),
            headers=headers,
            body=body,
            redirect=chosen.redirect,
            timeout=chosen.timeout,
        )
        head = time.monotonic()
        async with response:
            if chosen.output is not None:
                with chosen.output.open("wb") as file:
                    received = await _write(response, file, chosen.include, line)
            else:
                received = await _write(response, sys.stdout.buffer, chosen.include, line)
    line.clear()
    if chosen.timing:
        total = time.monotonic() - head
        print(
            f"ready {ready - started:.2f} s, head {head - ready:.2f} s, body {total:.2f} s, {received} bytes",
            file=sys.stderr,
        )
    return EXIT_HTTP_ERROR if chosen.fail and response.status >= 400 else 0


async def _write(response: FetchResponse, file: BinaryIO, include: bool, line: ProgressLine) -> int:
    if include:
        head = f"HTTP/1.1 {response.status} {response.reason}\n"
        head += "".join(f"{name}: {value}\n" for name, value in response.headers)
        file.write(head.encode("latin-1") + b"\n")
    lengths = response.header_values("content-length")
    expected = int(lengths[0]) if lengths and lengths[0].isdigit() else None
    received = 0
    async for piece in response:
        file.write(piece)
        received += len(piece)
        line.show(min(1.0, received / expected) if expected else None, f"{received} bytes")
    file.flush()
    return received


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise OptionError("--header", f"{text!r} is not of the form 'Name: value'")
    return name, value.strip()


def _body(data: str | None) -> bytes | AsyncIterator[bytes] | None:
    if data is None:
        return None
    if not data.startswith("@"):
        return os.fsencode(data)
    try:
        file = sys.stdin.buffer if data == "@-" else Path(data[1:]).open("rb")  # noqa: SIM115 (_pieces closes)
    except OSError as error:
        raise OptionError("--data", f"cannot read {data[1:]}: {error}") from error
    return _pieces(file)


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := file.read(UPLOAD_PIECE):
            yield piece
