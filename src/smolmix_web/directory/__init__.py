"""The Nym directory: what clients ask, how they read it, and a directory of our own for local networks."""

from __future__ import annotations

from smolmix_web.directory.client import (
    fetch_described,
    fetch_exits,
    fetch_gateways,
    fetch_key_rotation,
    fetch_network,
    fetch_topology,
)
from smolmix_web.directory.errors import (
    DirectoryError,
    DirectoryUnavailable,
    InsufficientTopology,
    NoExitError,
    NoGatewayError,
)
from smolmix_web.directory.selection import (
    ExitChoice,
    choose_exit,
    choose_gateway,
    gateway_url,
    preferred_exit,
)

__all__ = [
    "DirectoryError",
    "DirectoryUnavailable",
    "ExitChoice",
    "InsufficientTopology",
    "NoExitError",
    "NoGatewayError",
    "choose_exit",
    "choose_gateway",
    "fetch_described",
    "fetch_exits",
    "fetch_gateways",
    "fetch_key_rotation",
    "fetch_network",
    "fetch_topology",
    "gateway_url",
    "preferred_exit",
]
