"""Options of a tunnel from the command line."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from smolmix_web.cli.tunnel_options import add_tunnel_arguments, tunnel_options
from smolmix_web.errors import OptionError
from smolmix_web.options import MAINNET_DIRECTORY, TunnelOptions


def parsed(*arguments: str) -> TunnelOptions:
    parser = argparse.ArgumentParser()
    add_tunnel_arguments(parser)
    return tunnel_options(parser.parse_args(arguments))


def test_defaults_are_those_of_the_table() -> None:
    assert parsed() == TunnelOptions()
    assert parsed().network == MAINNET_DIRECTORY


def test_flags(tmp_path: Path) -> None:
    pem = tmp_path / "root.pem"
    pem.write_text("PEM")
    options = parsed("--no-poisson", "--no-cover", "--client-id", "me", "--trust", str(pem))
    assert options == TunnelOptions(
        disable_poisson_traffic=True, disable_cover_traffic=True, client_id="me", trust_anchors="PEM"
    )


def test_any_option_by_name() -> None:
    options = parsed("-O", "dnsTimeoutMs=60000", "-O", "cookies=true", "-O", "primaryDns=9.9.9.9:53")
    assert options == TunnelOptions(dns_timeout_ms=60_000, cookies=True, primary_dns="9.9.9.9:53")


@pytest.mark.parametrize(
    "text", ["dnsTimeoutMs", "dns=1", "dnsTimeoutMs=soon", "cookies=1", "dnsTimeoutMs=-1", "primaryDns=x"]
)
def test_options_that_are_refused(text: str) -> None:
    with pytest.raises(OptionError):
        parsed("-O", text)


def test_a_file_of_the_network_command(tmp_path: Path) -> None:
    file = tmp_path / "network.json"
    file.write_text(json.dumps({"directory": "http://127.0.0.1:1/api/", "trustAnchors": "PEM"}))
    options = parsed("--network", str(file))
    assert (options.network, options.force_tls, options.trust_anchors) == (
        "http://127.0.0.1:1/api/",
        False,
        "PEM",
    )
    file.write_text("{}")
    with pytest.raises(OptionError, match="does not describe"):
        parsed("--network", str(file))
