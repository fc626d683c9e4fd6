"""Serve SOCKS5 (RFC 1928: CONNECT and UDP ASSOCIATE) in front of a tunnel, for programs that know proxies.
Let them hand names over (socks5h): those are resolved through the tunnel."""

from __future__ import annotations

import argparse

from smolmix_web.cli.serving import (
    Watched,
    add_listen_argument,
    listen_address,
    url_of,
    warn_unless_loopback,
)
from smolmix_web.cli.tunnel_options import add_tunnel_arguments, tunnel_options
from smolmix_web.socks import SocksServer
from smolmix_web.tunnel import Tunnel

DEFAULT_PORT = 1080


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_listen_argument(parser, DEFAULT_PORT)
    add_tunnel_arguments(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    host, port = listen_address(chosen.listen)
    options = tunnel_options(chosen)
    warn_unless_loopback(host)
    watched = Watched(quiet=chosen.quiet)
    tunnel = await watched.connect(
        lambda platform, show: Tunnel.connect(options, platform=platform, on_event=show),
        keep=chosen.client_id is not None,
    )
    async with tunnel, SocksServer(tunnel, host=host, port=port) as server:
        print(f"{url_of('socks5h', server.address)}\nCtrl-C ends it.", flush=True)
        await watched.until_over()
    return 0
