"""A whole Nym network on one machine: directory, three mix nodes, entry gateway, exit gateway.

All of it in one asyncio process, or any part of it: a process that plays ``roles=("mix2",)`` joins the
directory named by ``directory_url``. With ``processes`` above one a network starts such processes by itself.
Every role listens on real sockets and speaks the real protocols either way.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.directory.server import DirectoryState
from smolmix_web.errors import LocalProtocolError, NetworkError
from smolmix_web.gateway import GatewayConfig, GatewayStorage, MemoryStorage
from smolmix_web.localnet.client_listener import ClientListenerConfig
from smolmix_web.localnet.directory_node import DirectoryNode
from smolmix_web.localnet.exit_node import ExitNode
from smolmix_web.localnet.exit_service import ExitConfig
from smolmix_web.localnet.gateway_node import GatewayNode, GatewayNodeConfig
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.links import LinkConfig
from smolmix_web.localnet.mixnode import MixNode
from smolmix_web.localnet.node import BUILD_VERSION, MixnetNode, NodeConfig
from smolmix_web.localnet.node_identity import NodeIdentity
from smolmix_web.localnet.node_processes import NodeProcess, share_out
from smolmix_web.localnet.rates import RateMeter
from smolmix_web.localnet.sqlite_storage import SqliteStorage
from smolmix_web.nym.packets import PacketVersion

log = logging.getLogger(__name__)

DIRECTORY = "directory"
MIX_NODES = ("mix1", "mix2", "mix3")
EXITS = ("exit", "exit2")
ALL_ROLES = (DIRECTORY, *MIX_NODES, "entry", "exit")
"""A whole network."""
MORE_ROLES = ("entry2", "exit2")
"""Played only when asked for: somewhere to go when the first one is lost."""

MAX_PROCESSES = 1 + len(MIX_NODES)

STATUS_PATH = "/api/local/status"
"""Where the directory shows :meth:`LocalNetwork.stats` of its process as JSON."""


@dataclass(frozen=True, slots=True)
class LocalNetworkConfig:
    """What to play and how.

    :ivar host: IP address that everything listens on and announces.
    :ivar ports: by listener name: ``directory``, ``mix1`` to ``mix3``, ``entry``, ``exit``, ``entry.ws``,
        ``entry.wss``, ``exit.ws``, ``directory.tls``. Missing ones are chosen by the system.
    :ivar roles: the parts that this process plays, of ``ALL_ROLES`` and ``MORE_ROLES``.
    :ivar processes: 1 to 4 that share the roles: with 2 the mix nodes have one of their own, with 4 each has.
        They cannot be killed or restarted by name then, and their numbers are up to a second old.
    :ivar directory_url: needed when the directory is not among the roles.
    :ivar tls: server context of the entry's WSS listener; ``hostname`` must match its certificate.
    :ivar directory_tls: server context of a second listener of the directory, under TLS.
    :ivar noise: roles that offer encrypted links to other nodes. On one IP address all nodes or none, as
        among official nodes.
    :ivar build_version: nym-node release that the nodes announce.
    :ivar show_connections: tell on the status page who is connected to each node, and where the exit's
        connections lead: to show what each party knows, where one person is all of them.
    :ivar hosts: IP addresses of single roles that differ from ``host``.
    :ivar unix_time: the clock of epochs and announcements, in seconds since 1970.
    :ivar state_dir: keys and gateway databases persist here; None keeps all in memory.
    """

    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    roles: tuple[str, ...] = ALL_ROLES
    processes: int = 1
    directory_url: str | None = None
    directory: DirectoryConfig = field(default_factory=DirectoryConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    exit: ExitConfig = field(default_factory=ExitConfig)
    links: LinkConfig = field(default_factory=LinkConfig)
    impairment: ImpairmentConfig = field(default_factory=ImpairmentConfig)
    noise: frozenset[str] = frozenset()
    hosts: Mapping[str, str] = field(default_factory=dict)
    show_connections: bool = False
    frame_version: PacketVersion = PacketVersion.LEGACY
    build_version: str = BUILD_VERSION
    announce_interval: float = 5.0
    hostname: str | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    directory_tls: ssl.SSLContext | None = field(default=None, repr=False)
    unix_time: Callable[[], float] = time.time
    state_dir: Path | None = None

    def __post_init__(self) -> None:
        unknown = set(self.roles) - {*ALL_ROLES, *MORE_ROLES}
        if unknown:
            raise LocalProtocolError(f"unknown roles: {', '.join(sorted(unknown))}")
        if DIRECTORY not in self.roles and self.directory_url is None:
            raise LocalProtocolError("without the directory role a directory_url is needed")
        if not 1 <= self.processes <= MAX_PROCESSES:
            raise LocalProtocolError(f"a network runs in 1 to {MAX_PROCESSES} processes")
        if (self.tls is None) != (self.hostname is None):
            raise LocalProtocolError("tls and hostname belong together")


class LocalNetwork:
    """``async with LocalNetwork(config) as net`` runs the network; afterwards nothing of it is left."""

    def __init__(self, config: LocalNetworkConfig | None = None) -> None:
        self.config = config or LocalNetworkConfig()
        self.nodes: dict[str, MixnetNode] = {}
        self.directory: DirectoryNode | None = None
        self.processes: list[NodeProcess] = []
        """Those that play some of the roles for us."""
        self._ports = dict(self.config.ports)
        self._identities: dict[str, NodeIdentity] = {}
        self._storages: dict[str, GatewayStorage] = {}
        self._rates: dict[str, RateMeter] = {}
        self._sampler: asyncio.Task[None] | None = None
        self._started_at = 0.0

    async def __aenter__(self) -> LocalNetwork:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all roles; returns when the nodes that were started know each other.

        :raises OSError: a port cannot be bound; nothing is left running then.
        :raises NetworkError: the same of another process, or it did not come up.
        """
        self._started_at = time.time()
        try:
            if DIRECTORY in self.config.roles:
                self.directory = self._make_directory(None)
                await self._start_directory(self.directory)
            elsewhere = await self._start_processes()
            for name in self.config.roles:
                if name != DIRECTORY and name not in elsewhere:
                    await self._start_node(name)
            for node in self.nodes.values():
                await node.refresh()
            await asyncio.gather(*(process.refresh() for process in self.processes))
        except BaseException:
            await self.stop()
            raise
        self._sampler = asyncio.get_running_loop().create_task(self._sample())

    async def stop(self) -> None:
        """Stop everything, the directory last."""
        if self._sampler is not None:
            self._sampler.cancel()
            await asyncio.gather(self._sampler, return_exceptions=True)
            self._sampler = None
        for node in reversed(self.nodes.values()):
            await node.stop()
        await asyncio.gather(*(process.stop() for process in self.processes))
        if self.directory is not None:
            await self.directory.stop()
        for storage in self._storages.values():
            if isinstance(storage, SqliteStorage):
                storage.close()
        self._storages.clear()

    # -- addresses ----------------------------------------------------------------------------------------

    @property
    def directory_url(self) -> str:
        """Base URL for clients, with trailing slash."""
        if self.directory is None:
            return self.config.directory_url or ""
        return f"http://{_bracketed(self.config.host)}:{self.directory.port}/api/"

    @property
    def status_url(self) -> str | None:
        """Where :meth:`stats` of this process can be read; None when the directory is not among its parts."""
        return urljoin(self.directory_url, STATUS_PATH) if self.directory is not None else None

    @property
    def exit_address(self) -> str | None:
        """Nym address of the exit's IP packet router, if this process plays the exit."""
        node = self.nodes.get("exit")
        return node.service_address if isinstance(node, GatewayNode) else None

    def describe(self) -> dict[str, Any]:
        """Addresses of everything that this network plays, JSON-able."""
        nodes = {name: _describe_node(node) for name, node in self.nodes.items()}
        for process in self.processes:
            nodes |= process.described
        details = {
            "directory_url": self.directory_url,
            "exit_address": self.exit_address,
            "nodes": self._in_order(nodes),
        }
        if self.directory is not None and self.directory.tls_port is not None:
            details["directory_tls_address"] = f"{_bracketed(self.config.host)}:{self.directory.tls_port}"
        return details

    # -- faults -------------------------------------------------------------------------------------------

    async def kill(self, name: str) -> None:
        """Stop a node, or the directory, as a crash would: nobody is told."""
        if name == DIRECTORY and self.directory is not None:
            await self.directory.stop()
        else:
            await self._node(name).kill()

    async def restart(self, name: str) -> None:
        """Start a killed node anew, with its keys, ports and stored clients. A directory keeps its state."""
        if name == DIRECTORY and self.directory is not None:
            self.directory = self._make_directory(self.directory.state)
            await self._start_directory(self.directory)
            return
        if self._node(name).is_running:
            raise LocalProtocolError(f"{name} is running")
        await self._start_node(name)
        for node in self.nodes.values():
            if node.is_running:
                await node.refresh()

    # -- observation --------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Counters, links and packet rates of every node that this network plays, JSON-able."""
        nodes: dict[str, Any] = {}
        for process in self.processes:
            nodes |= process.stats
        for name, node in self.nodes.items():
            meter = self._rates.get(name)
            nodes[name] = {**node.as_dict(), "packets_per_second": meter.rates() if meter else {}}
            if self.config.show_connections:
                nodes[name]["sees"] = node.sees()
        return {
            "uptime": round(time.time() - self._started_at, 3),
            "directory": self.directory.as_dict() if self.directory is not None else None,
            "nodes": self._in_order(nodes),
        }

    def _in_order(self, nodes: dict[str, Any]) -> dict[str, Any]:
        """As the roles are named, whoever plays them."""
        return {name: nodes[name] for name in self.config.roles if name in nodes}

    def _status_page(self) -> tuple[str, bytes]:
        status = {"network": self.describe(), **self.stats()}
        return "application/json", json.dumps(status, separators=(",", ":")).encode()

    async def _sample(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            for name, node in self.nodes.items():
                self._rates.setdefault(name, RateMeter()).sample(node, now)
            await asyncio.sleep(1.0)

    # -- starting -----------------------------------------------------------------------------------------

    def _make_directory(self, state: DirectoryState | None) -> DirectoryNode:
        return DirectoryNode(
            self.config.directory,
            state=state,
            pages={STATUS_PATH: self._status_page},
            unix_time=self.config.unix_time,
        )

    async def _start_directory(self, directory: DirectoryNode) -> None:
        self._ports[DIRECTORY] = await directory.start(self.config.host, self._ports.get(DIRECTORY, 0))
        if self.config.directory_tls is not None:
            port = self._ports.get("directory.tls", 0)
            self._ports["directory.tls"] = await directory.listen_tls(
                self.config.host, port, self.config.directory_tls
            )

    async def _start_processes(self) -> set[str]:
        """The roles that others play."""
        shares = share_out(self.config.roles, MIX_NODES, self.config.processes)
        self.processes = [NodeProcess(self.config, share, self.directory_url) for share in shares]
        outcomes = await asyncio.gather(
            *(process.start() for process in self.processes), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome
        return {name for share in shares for name in share}

    async def _start_node(self, name: str) -> None:
        node = self._make_node(name)
        if name in self.nodes:
            node.adopt_keys(self.nodes[name].keyring)
        await node.start()
        self.nodes[name] = node
        self._ports[name] = node.address.port
        if isinstance(node, GatewayNode):
            self._ports[f"{name}.ws"] = node.ws_port
            if node.wss_port is not None:
                self._ports[f"{name}.wss"] = node.wss_port

    def _make_node(self, name: str) -> MixnetNode:
        config = self.config
        node_config = NodeConfig(
            name=name,
            host=config.hosts.get(name, config.host),
            noise=name in config.noise,
            mix_port=self._ports.get(name, 0),
            directory_url=self.directory_url,
            layer=MIX_NODES.index(name) + 1 if name in MIX_NODES else None,
            frame_version=config.frame_version,
            build_version=config.build_version,
            announce_interval=config.announce_interval,
            unix_time=config.unix_time,
            data_dir=config.state_dir / name if config.state_dir is not None else None,
            links=config.links,
            impairment=config.impairment,
        )
        identity = self._identity(name)
        if name in MIX_NODES:
            return MixNode(node_config, identity)
        gateway_config = GatewayNodeConfig(
            node=node_config,
            ws_port=self._ports.get(f"{name}.ws", 0),
            clients=ClientListenerConfig(session=config.gateway),
        )
        storage = self._storage(name)
        if name in EXITS:
            return ExitNode(gateway_config, identity, storage, exit_config=config.exit)
        if config.tls is not None and name == "entry":
            gateway_config = replace(
                gateway_config,
                wss_port=self._ports.get(f"{name}.wss", 0),
                hostname=config.hostname,
                tls=config.tls,
            )
        return GatewayNode(gateway_config, identity, storage)

    def _identity(self, name: str) -> NodeIdentity:
        if name not in self._identities:
            if self.config.state_dir is None:
                self._identities[name] = NodeIdentity.generate()
            else:
                self._identities[name] = NodeIdentity.load_or_generate(self.config.state_dir / name)
        return self._identities[name]

    def _storage(self, name: str) -> GatewayStorage:
        """The same for every life of a gateway, so that a restarted one knows its clients."""
        if name not in self._storages:
            directory = self.config.state_dir
            self._storages[name] = (
                MemoryStorage() if directory is None else SqliteStorage(directory / name / "clients.sqlite")
            )
        return self._storages[name]

    def _node(self, name: str) -> MixnetNode:
        if name not in self.nodes:
            raise LocalProtocolError(f"{name} is not played by this process")
        return self.nodes[name]


def _describe_node(node: MixnetNode) -> dict[str, Any]:
    details: dict[str, Any] = {"identity": str(node.identity), "mix_address": str(node.address)}
    if isinstance(node, GatewayNode):
        host = _bracketed(node.config.host)
        details["websocket"] = f"ws://{host}:{node.ws_port}/"
        if node.wss_port is not None:
            details["secure_websocket"] = f"wss://{node.gateway_config.hostname}:{node.wss_port}/"
        if node.service_address is not None:
            details["ip_packet_router"] = node.service_address
    return details


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def wait_until_routable(network: LocalNetwork, timeout: float = 15.0) -> None:
    """Wait until the directory knows enough nodes, where other processes play some of them.

    :raises NetworkError: not within ``timeout`` seconds.
    """
    from smolmix_web.errors import SmolmixError
    from smolmix_web.localnet.directory_link import DirectoryLink

    link = DirectoryLink(network.directory_url)
    try:
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await link.topology()
                    return
                except SmolmixError as error:
                    log.debug("not routable yet: %s", error)
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise NetworkError(f"the network is not routable after {timeout:g} s") from None
    finally:
        await link.close()
