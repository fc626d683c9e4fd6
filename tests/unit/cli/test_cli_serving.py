"""Commands that serve local programs: where they listen, and how they end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from smolmix_web.cli.serving import Watched, listen_address, url_of, warn_unless_loopback
from smolmix_web.errors import OptionError, TunnelClosed
from smolmix_web.tunnel import StateChange, TunnelState


def test_where_to_listen() -> None:
    assert listen_address("127.0.0.1:1080") == ("127.0.0.1", 1080)
    assert listen_address("[::1]:0") == ("::1", 0)
    assert listen_address("localhost:65535") == ("localhost", 65535)
    for text in ("1080", ":1080", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1"):
        with pytest.raises(OptionError, match="--listen"):
            listen_address(text)
    assert url_of("socks5h", ("::1", 1080)) == "socks5h://[::1]:1080"
    assert url_of("ws", ("127.0.0.1", 1977)) == "ws://127.0.0.1:1977"


def test_a_warning_where_others_can_come(capsys: pytest.CaptureFixture[str]) -> None:
    for host in ("127.0.0.1", "127.0.0.2", "::1", "localhost"):
        warn_unless_loopback(host)
    assert capsys.readouterr().err == ""
    warn_unless_loopback("0.0.0.0")
    assert "no authentication" in capsys.readouterr().err


async def test_a_command_ends_with_its_tunnel() -> None:
    watched = Watched(quiet=True)
    waiting = asyncio.create_task(watched.until_over())
    await asyncio.sleep(0)
    watched.show(StateChange(TunnelState.RECONNECTING, "the gateway is away"))
    await asyncio.sleep(0)
    assert not waiting.done()
    watched.show(StateChange(TunnelState.FAILED, "a defect"))
    with pytest.raises(TunnelClosed, match="a defect"):
        async with asyncio.timeout(10):
            await waiting


async def test_a_command_ends_with_an_interrupt() -> None:
    watched = Watched(quiet=True)
    waiting = asyncio.create_task(watched.until_over())
    await asyncio.sleep(0.01)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await waiting
