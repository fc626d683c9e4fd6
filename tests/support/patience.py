"""A local network for many tests: nodes stay on its lists though nobody runs their event loop.

The loop of a test session stands still between the tests that use it, and nodes that were silent for half a
minute leave the topology, as they should elsewhere.
"""

from __future__ import annotations

from dataclasses import replace

from smolmix_web.localnet.network import LocalNetworkConfig


def patient(config: LocalNetworkConfig | None = None) -> LocalNetworkConfig:
    """The same network, in which no node ages for an hour."""
    config = config or LocalNetworkConfig()
    return replace(config, directory=replace(config.directory, node_lifetime=3600.0))
