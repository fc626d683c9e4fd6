"""The demo: a network whose nodes can be told apart, and a command that leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from urllib.parse import urlsplit

import aiohttp
import pytest

from smolmix_web.cli.demo import default_processes, demo_network
from smolmix_web.cli.main import EXIT_USAGE, main
from smolmix_web.localnet.loopback import NODE_ADDRESSES, can_listen, spread_over_loopback
from smolmix_web.localnet.network import LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.options import TunnelOptions
from smolmix_web.tunnel import Tunnel

pytestmark = pytest.mark.timeout(120)

needs_addresses = pytest.mark.skipif(
    not can_listen(NODE_ADDRESSES["exit"]), reason="this system has one loopback address only"
)


def test_without_more_loopback_addresses_everything_stays_at_one() -> None:
    config = LocalNetworkConfig()
    assert spread_over_loopback(config, usable=lambda address: address != "127.0.0.31") == config


@needs_addresses
async def test_each_party_sees_what_it_should_and_the_destination_sees_the_exit() -> None:
    async with LocalWorld(demo_network()) as world:
        network = world.describe()
        options = TunnelOptions(
            network=network["directory"],
            preferred_gateway=network["nodes"]["entry"]["identity"],
            force_tls=False,
            trust_anchors=network["trustAnchors"],
        )
        async with await Tunnel.connect(options) as tunnel, aiohttp.ClientSession() as clear:
            hidden = json.loads(await (await tunnel.fetch("https://web.test/whoami")).read())
            async with clear.get(f"{network['clear']['http://web.test']}/whoami") as response:
                open_ = await response.json()
            sees = {name: node["sees"] for name, node in world.network.stats()["nodes"].items()}
    assert open_["address"] == "127.0.0.1"
    assert hidden["address"] == NODE_ADDRESSES["exit"]
    # The gateway knows us and the first mix node, not the way beyond.
    assert sees["entry"]["clients"] == ["127.0.0.1"]
    assert sees["entry"]["next"] == [NODE_ADDRESSES["mix1"]]
    # A mix node knows its neighbours. The first one is fed by both gateways, which send through the mixnet.
    assert set(sees["mix1"]["nodes"]) == {NODE_ADDRESSES["entry"], NODE_ADDRESSES["exit"]}
    assert sees["mix2"] == {"nodes": [NODE_ADDRESSES["mix1"]], "next": [NODE_ADDRESSES["mix3"]]}
    # The exit knows the destination, and nobody's address.
    assert sees["exit"]["destinations"] == [f"{network['hosts']['web.test']}:443"]
    assert sees["exit"]["clients"] == []


async def test_a_network_shows_no_connections_unless_asked_to() -> None:
    async with LocalWorld() as world:
        assert not any("sees" in node for node in world.network.stats()["nodes"].values())


@pytest.mark.parametrize(
    "arguments",
    [["--port", "70000"], ["--port", "x"], ["--network", "no-url"], ["--nonsense"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = main(["demo", *arguments])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == EXIT_USAGE
    assert "smolmix-web" in capsys.readouterr().err


@pytest.mark.parametrize(("cores", "processes"), [(None, 1), (1, 1), (2, 1), (4, 2), (8, 4), (64, 4)])
def test_the_network_takes_half_of_the_cores(cores: int | None, processes: int) -> None:
    assert default_processes(cores) == processes


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["demo", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for option in ("--port", "--no-open", "--network", "--processes", "--pyodide-dist"):
        assert option in text


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for a child there")
async def test_ctrl_c_ends_the_demo_and_leaves_nothing() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smolmix_web", "demo", "--port", "0", "--no-open", "--processes", "2"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(100):
            first = (await process.stdout.readline()).decode()
            assert first.startswith("playground  http://127.0.0.1:"), first
            url = first.split()[1]
            async with aiohttp.ClientSession() as http:
                async with http.get(f"{url}config.json") as response:
                    config = await response.json()
                async with http.get(config["status"]) as response:
                    status = await response.json()
            assert all(node["running"] for node in status["nodes"].values())
            assert list(status["nodes"]) == ["mix1", "mix2", "mix3", "entry", "exit"]
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the nodes' process gets it too
            _, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, errors.decode()
    assert "Traceback" not in errors.decode()
    for address in (url, config["options"]["network"]):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", urlsplit(address).port)) != 0
