"""Addresses of their own for the nodes of a network on one machine.

With one address for all, no node could tell another from a client. Linux answers at all of 127.0.0.0/8; other
systems only at 127.0.0.1, and there everything stays at that address.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace

from smolmix_web.localnet.network import LocalNetworkConfig

NODE_ADDRESSES = {
    "entry": "127.0.0.11",
    "entry2": "127.0.0.12",
    "mix1": "127.0.0.21",
    "mix2": "127.0.0.22",
    "mix3": "127.0.0.23",
    "exit": "127.0.0.31",
    "exit2": "127.0.0.32",
}


def can_listen(address: str) -> bool:
    """Whether this machine answers at an IPv4 address."""
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def spread_over_loopback(
    config: LocalNetworkConfig, usable: Callable[[str], bool] = can_listen
) -> LocalNetworkConfig:
    """The same network with an address per node, where the system allows it; else the same network.

    The exit's connections to the test internet then come from the exit's address.
    """
    if not all(usable(address) for address in NODE_ADDRESSES.values()):
        return config
    exit_config = replace(config.exit, source=NODE_ADDRESSES["exit"])
    return replace(config, hosts={**NODE_ADDRESSES, **config.hosts}, exit=exit_config)
