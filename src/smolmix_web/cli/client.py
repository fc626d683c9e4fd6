"""Serve the WebSocket interface of Nym's native client (nym-client): raw mixnet messages for local programs,
as JSON or as bytes."""

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
from smolmix_web.native_api import NativeApiServer
from smolmix_web.tunnel import MixClient

DEFAULT_PORT = 1977


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_listen_argument(parser, DEFAULT_PORT)
    parser.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let web pages of this origin connect (may be repeated; default: no page)",
    )
    add_tunnel_arguments(parser)


async def run(chosen: argparse.Namespace) -> int:
    """Carry the command out; returns the exit code."""
    host, port = listen_address(chosen.listen)
    options = tunnel_options(chosen)
    warn_unless_loopback(host)
    watched = Watched(quiet=chosen.quiet)
    client = await watched.connect(
        lambda platform, show: MixClient.connect(options, platform=platform, on_event=show),
        keep=chosen.client_id is not None,
    )
    async with client, NativeApiServer(client, host=host, port=port, origins=chosen.allow_origin) as server:
        print(f"{client.self_address}\n{url_of('ws', server.address)}\nCtrl-C ends it.", flush=True)
        await watched.until_over()
    return 0
