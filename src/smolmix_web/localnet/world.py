"""The local network together with the test internet behind its exit: what the demo, the tests and the
``network`` command run."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType
from typing import Any

from smolmix_web.localnet.exit_service import ExitConfig
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig
from smolmix_web.localnet.testnet import TestInternet


class LocalWorld:
    """``async with LocalWorld(config) as world`` runs both; afterwards nothing of them is left."""

    def __init__(self, config: LocalNetworkConfig | None = None) -> None:
        self._config = config or LocalNetworkConfig()
        self.internet = TestInternet()
        self.network = LocalNetwork(self._config)

    async def start(self) -> None:
        """:raises OSError: a port cannot be bound; nothing is left running then."""
        await self.internet.start()
        try:
            exit_config = replace(self._config.exit or ExitConfig(), address_map=self.internet.address_map)
            self.network = LocalNetwork(replace(self._config, exit=exit_config))
            await self.network.start()
        except BaseException:
            await self.internet.stop()
            raise

    async def stop(self) -> None:
        """Stop both; may be called twice."""
        await self.network.stop()
        await self.internet.stop()

    async def __aenter__(self) -> LocalWorld:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def describe(self) -> dict[str, Any]:
        """Everything a client needs to know, JSON-able; ``--network FILE`` reads it."""
        addresses = self.network.describe()
        return {
            "directory": addresses["directory_url"],
            "status": self.network.status_url,
            "exit": addresses["exit_address"],
            "nodes": addresses["nodes"],
            "hosts": self.internet.hosts,
            "clear": self.internet.clear_origins,
            "trustAnchors": self.internet.trust_anchor_pem,
        }
