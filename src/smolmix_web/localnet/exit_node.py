"""An exit gateway: a gateway with an IP packet router inside (spec nodes.md 14)."""

from __future__ import annotations

from typing import Any

from smolmix_web.gateway import GatewayStorage
from smolmix_web.localnet.exit_service import ExitConfig, ExitService
from smolmix_web.localnet.gateway_node import GatewayNode, GatewayNodeConfig
from smolmix_web.localnet.node_identity import NodeIdentity


class ExitNode(GatewayNode):
    """The router is an ordinary Nym client that needs no WebSocket: its packets go straight to the forwarder,
    and final hops for its identity come straight back."""

    def __init__(
        self,
        config: GatewayNodeConfig,
        identity: NodeIdentity | None = None,
        storage: GatewayStorage | None = None,
        *,
        exit_config: ExitConfig | None = None,
    ) -> None:
        super().__init__(config, identity, storage)
        self.service = ExitService(
            self.identity.service_keys, self.identity.identity, exit_config or ExitConfig()
        )
        self.service_address = str(self.service.address)

    async def start(self) -> None:
        await self.service.start(self.forward_mix_packet)
        self.register_local(self.service.address.identity, self.service.receive_push)
        try:
            await super().start()
        except BaseException:
            await self.service.stop()
            raise

    async def _shut_down(self, *, silently: bool) -> None:
        if not self.is_running:
            return
        self.unregister_local(self.service.address.identity)
        await self.service.stop()
        await super()._shut_down(silently=silently)

    def as_dict(self) -> dict[str, Any]:
        details = super().as_dict()
        if self.is_running:
            details["service"] = self.service.snapshot()
        return details

    def sees(self) -> dict[str, list[str]]:
        return {**super().sees(), "destinations": self.service.destinations()} if self.is_running else {}

    async def _refresh(self) -> None:
        await super()._refresh()
        if self._directory is not None:
            rotation, topology = await self._directory.key_rotation(), await self._directory.topology()
            unix_time = self.config.unix_time()
            self.service.set_key_rotation(rotation, unix_time)
            self.service.set_topology(topology, unix_time)
