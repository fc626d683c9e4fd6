"""The switches of ``smolmix-web network`` do what they say; what makes no sense is named."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from smolmix_web.cli.main import EXIT_USAGE, main
from smolmix_web.cli.network_options import add_network_arguments, network_config
from smolmix_web.localnet.loopback import NODE_ADDRESSES, can_listen
from smolmix_web.localnet.network import ALL_ROLES, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.packets import PacketVersion
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import Tunnel

pytestmark = pytest.mark.timeout(120)


def config_of(*arguments: str) -> LocalNetworkConfig:
    parser = argparse.ArgumentParser()
    add_network_arguments(parser)
    return network_config(parser.parse_args(arguments))


def test_without_switches_it_is_the_network_of_the_tests() -> None:
    chosen, default = config_of(), LocalNetworkConfig()
    assert replace(chosen.exit, address_map=default.exit.address_map) == default.exit
    assert replace(chosen, exit=default.exit) == default


def test_every_switch_reaches_its_setting(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text("ExitPolicy accept *:443\n")
    config = config_of(
        *("--add", "exit2", "--port", "directory=8123", "--state", str(tmp_path)),
        *("--noise", "--frames", "8", "--gateway-protocol", "5", "--release", "1.36.0"),
        *("--epoch", "20", "--rotation", "2", "--announce", "0.5", "--lifetime", "3"),
        *("--tun", "--policy", str(policy), "--allow-local"),
        *("--loss", "0.1", "--duplicate", "0.2", "--reorder", "0.3", "--processes", "2"),
        *("--delay", "0.01", "--jitter", "0.02", "--seed", "5"),
    )
    assert (config.roles, config.processes) == ((*ALL_ROLES, "exit2"), 2)
    assert (config.ports, config.state_dir) == ({"directory": 8123}, tmp_path)
    assert config.noise == {"mix1", "mix2", "mix3", "entry", "exit", "entry2", "exit2"}
    assert config.frame_version is PacketVersion.KEY_ROTATION
    assert (config.gateway.protocol_version, config.build_version) == (5, "1.36.0")
    assert (config.directory.epoch_duration, config.directory.validity_epochs) == (20, 2)
    assert (config.announce_interval, config.directory.node_lifetime) == (0.5, 3)
    assert (config.exit.tun, config.exit.allow_local_ips, len(config.exit.policy.rules)) == (True, True, 1)
    faults = config.impairment
    assert (faults.loss, faults.duplicate, faults.reorder, faults.seed) == (0.1, 0.2, 0.3, 5)
    assert (faults.delay, faults.jitter) == (0.01, 0.02)
    assert config_of("--no-internet").exit.reach_internet is False
    assert len(config_of("--open-proxy").exit.policy.rules) == 1


def test_parts_and_additions() -> None:
    assert config_of("--role", "mix1", "--directory", "http://127.0.0.1:1/api/").roles == ("mix1",)
    assert config_of("--role", "entry2", "--directory", "http://127.0.0.1:1/api/").roles == ("entry2",)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--role", "mix1"], "--role"),
        (["--host", "localhost"], "--host"),
        (["--port", "directory"], "--port"),
        (["--port", "directory=70000"], "--port"),
        (["--noise", "mix1"], "--noise"),
        (["--policy", "no such file"], "--policy"),
        (["--policy", __file__], "--policy"),
        (["--policy", __file__, "--open-proxy"], "--open-proxy"),
        (["--tun", "--no-internet"], "--no-internet"),
        (["--epoch", "0"], "--epoch"),
        (["--rotation", "0"], "--rotation"),
        (["--loss", "1"], "--loss"),
        (["--delay", "-1"], "--delay"),
        (["--frames", "9"], "--frames"),
        (["--processes", "5"], "--processes"),
        (["--gateway-protocol", "3"], "--gateway-protocol"),
        (["--noise", "directory"], "--noise"),
    ],
)
def test_what_cannot_be_is_named(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["network", *arguments])
    except SystemExit as ended:  # argparse
        code = int(str(ended.code))
    assert code == EXIT_USAGE
    assert field in capsys.readouterr().err


@pytest.mark.skipif(not can_listen(NODE_ADDRESSES["exit"]), reason="only one loopback address here")
async def test_a_network_made_of_switches_carries_a_fetch() -> None:
    config = config_of(
        *("--spread", "--noise", "mix1", "--noise", "mix3", "--frames", "8", "--add", "entry2"),
        *("--gateway-protocol", "4", "--release", "1.36.9", "--reorder", "0.1", "--no-internet"),
    )
    async with LocalWorld(config) as world, aiohttp.ClientSession() as http:
        network = world.describe()
        options = TunnelOptions(network=network["directory"], force_tls=False)
        async with await Tunnel.connect(options, platform=NativePlatform()) as tunnel:
            response = await tunnel.fetch("http://web.test/bytes/5000")
            assert len(await response.read()) == 5000
            assert tunnel.info()["iprVersion"] == 9
        async with http.get(network["status"]) as response:
            status = json.loads(await response.read())
    nodes = status["nodes"]
    assert nodes["mix1"]["sees"]["next"] == [NODE_ADDRESSES["mix2"]]
    assert nodes["mix3"]["ingress_mixing"]["forward_hop_packets_received"] > 3
    assert "entry2" in nodes
