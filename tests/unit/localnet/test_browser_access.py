"""The local network under the names and over the TLS that Nym's own browser packages insist on."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import aiohttp
import pytest
from leaks import nothing_left_behind, open_files

from smolmix_web.cli.main import main
from smolmix_web.errors import LocalProtocolError
from smolmix_web.localnet.browser_access import DIRECTORY_NAME, chromium_flags, with_tls
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig

DIRECTORY_ONLY = with_tls(LocalNetworkConfig(roles=("directory",)))


def tls_address(net: LocalNetwork) -> tuple[str, int]:
    host, _, port = net.describe()["directory_tls_address"].rpartition(":")
    return host, int(port)


async def get(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session, session.get(url, ssl=False) as answer:
        return answer.status, await answer.read()


async def test_the_directory_answers_under_tls_as_in_the_clear():
    async with LocalNetwork(DIRECTORY_ONLY) as net:
        host, port = tls_address(net)
        path = "v1/epoch/key-rotation-info"
        assert await get(f"https://{host}:{port}/api/{path}") == await get(net.directory_url + path)


async def test_flags_lead_the_name_to_the_directory():
    async with LocalNetwork(DIRECTORY_ONLY) as net:
        host, port = tls_address(net)
        assert chromium_flags(net) == [
            f"--host-resolver-rules=MAP {DIRECTORY_NAME} {host}:{port}",
            "--ignore-certificate-errors",
        ]


async def test_no_flags_without_tls():
    async with LocalNetwork(replace(DIRECTORY_ONLY, tls=None, hostname=None, directory_tls=None)) as net:
        with pytest.raises(LocalProtocolError):
            chromium_flags(net)


async def test_a_restarted_directory_listens_under_tls_at_the_same_port():
    async with nothing_left_behind(), LocalNetwork(DIRECTORY_ONLY) as net:
        before = tls_address(net)
        await net.kill("directory")
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(*before)
        await net.restart("directory")
        assert tls_address(net) == before


async def test_idle_tls_connections_end_with_the_directory():
    """A browser keeps its connections and answers no close_notify; waiting for one took 30 seconds."""
    files = open_files()
    async with LocalNetwork(DIRECTORY_ONLY) as net:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        reader, writer = await asyncio.open_connection(*tls_address(net), ssl=context)
        writer.write(b"GET /api/v1/api-status/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.pause_reading()  # as a browser that looks at the connection when it needs it next
        await net.kill("directory")
        await asyncio.sleep(0.01)
        assert open_files() == files + 1  # ours
        writer.transport.abort()


async def test_the_entry_gateway_is_announced_by_a_name_that_resolves():
    config = with_tls(LocalNetworkConfig(roles=("directory", "entry")))
    async with LocalNetwork(config) as net:
        assert net.describe()["nodes"]["entry"]["secure_websocket"].startswith("wss://localhost:")


def test_the_command_wants_a_directory_for_tls(capsys: pytest.CaptureFixture[str]):
    assert main(["network", "--tls", "--role", "mix1", "--directory", "http://127.0.0.1:1/api/"]) != 0
    assert "--tls" in capsys.readouterr().err
