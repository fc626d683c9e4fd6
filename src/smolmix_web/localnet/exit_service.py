"""The service provider inside an exit: a Nym client of its own, the IP packet router, and a way out.

::

    receive_push -> NymClient -> IprServer -> WayOut         (from clients)
    WayOut -> IprServer -> NymClient -> send_mix_packet      (to clients)

One callback, :meth:`ExitService._turn`, drives the engines: it runs soon after anything happened and when a
timer is due, and does all that is due in one go. Nothing is a task of its own but the real connections being
opened.

Back-pressure: packets for a client are taken from the way out only while few replies to it wait for reply
SURBs and few packets wait to be sent at all; so a slow client slows down its own connections and nobody
else's.

Source: nodes.md section 14, ipr.md sections 9 and 11.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from typing import Any

from smolmix_web.ipr.events import ClientConnected, ClientGone, PacketFromClient
from smolmix_web.ipr.policy import ExitPolicy, RequestFilter, parse_policy
from smolmix_web.ipr.responses import BuildInfo
from smolmix_web.ipr.server import NO_BUILD_INFO, IprServer, IprServerConfig
from smolmix_web.localnet.address_map import AddressMap
from smolmix_web.localnet.userspace_exit import UserspaceExit, UserspaceLimits
from smolmix_web.localnet.way_out import ExitClient, WayOut
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.nym.topology import Topology

logger = logging.getLogger(__name__)

# What mail and file sharing suffer from most is refused; everything else that is globally routable is served.
DEFAULT_POLICY = """
ExitPolicy reject *:25
ExitPolicy reject *:119
ExitPolicy reject *:135-139
ExitPolicy reject *:445
ExitPolicy reject *:465
ExitPolicy reject *:587
ExitPolicy reject *:1214
ExitPolicy reject *:4661-4666
ExitPolicy reject *:6346-6429
ExitPolicy reject *:6699
ExitPolicy reject *:6881-6999
ExitPolicy accept *:*
"""

# Packets in the Nym client's queue above which nothing more is taken from the way out.
_QUEUE_TARGET = 256
# Reply fragments of one client that may wait for SURBs before its connections are held back.
_CLIENT_TARGET = 32
# Packets taken from the Nym client in one go.
_BATCH = 64
# Pushes handled in one turn, so that the loop's other users get theirs.
_PUSHES_PER_TURN = 256
# Seconds before the next turn after one that raised.
_AFTER_DEFECT = 0.1
# Pushed messages waiting; more are dropped, as a full socket would.
_MAX_PUSHES = 16_384


def router_client_config() -> ClientConfig:
    """The client inside a nym-node: no Poisson stream, loop cover on, SURBs kept in stock."""
    return ClientConfig(disable_poisson=True, threshold_buffer=50)


def own_build_info() -> BuildInfo:
    """What a health request is told of this program; there is no Rust in it."""
    return replace(
        NO_BUILD_INFO,
        binary_name="smolmix-web",
        build_version=metadata.version("smolmix-web"),
        cargo_triple="python",
    )


@dataclass(frozen=True)
class ExitConfig:
    """How an exit behaves. ``way_out`` None: a user-space exit made of the fields after it.

    :ivar ipr: bounded to 4,096 clients by default: sender tags cost nothing, and each client takes memory
    :ivar policy: rules for destinations; mapped addresses obey them too
    :ivar allow_local_ips: let clients reach loopback and private networks
    :ivar source: see :class:`~smolmix_web.localnet.userspace_exit.UserspaceExit`
    :ivar tun: send what is not mapped through a TUN device and the kernel's NAT (Linux, root)
    """

    ipr: IprServerConfig = field(default_factory=lambda: IprServerConfig(max_clients=4096))
    client: ClientConfig = field(default_factory=router_client_config)
    policy: ExitPolicy = field(default_factory=lambda: parse_policy(DEFAULT_POLICY))
    allow_local_ips: bool = False
    way_out: Callable[[], WayOut] | None = None
    address_map: AddressMap = field(default_factory=AddressMap)
    reach_internet: bool = True
    source: str | None = None
    tun: bool = False
    limits: UserspaceLimits = field(default_factory=UserspaceLimits)


class ExitService:
    """One exit's IP packet router. ``start`` it inside a running loop; ``set_topology`` lets it answer.

    :param gateway_identity: the gateway it lives in, 32 bytes
    """

    def __init__(
        self,
        keys: ClientKeys,
        gateway_identity: bytes,
        config: ExitConfig | None = None,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.config = config or ExitConfig()
        self._keys = keys
        self._gateway_identity = gateway_identity
        self._random_bytes = random_bytes
        self.way_out: WayOut = self._make_way_out(random_bytes)
        self.ipr = self._make_router()
        self.address: Recipient = keys.recipient(gateway_identity)
        self.nym: NymClient | None = None
        self._clients: dict[bytes, ExitClient] = {}
        self._pushes: deque[bytes] = deque()
        self._send_mix_packet: Callable[[MixPacket], None] = lambda packet: None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._soon: asyncio.Handle | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.pushes_dropped = 0

    def _make_router(self) -> IprServer:
        config = self.config
        ipr_config = config.ipr
        if ipr_config.build_info == NO_BUILD_INFO:
            ipr_config = replace(ipr_config, build_info=own_build_info())
        request_filter = RequestFilter(
            config.policy,
            allow_local_ips=config.allow_local_ips,
            exempt=lambda address, port: config.address_map.covers(address),
        )
        return IprServer(config=ipr_config, allows=request_filter.allows, random_bytes=self._random_bytes)

    def _make_way_out(self, random_bytes: Callable[[int], bytes]) -> WayOut:
        config = self.config
        if config.way_out is not None:
            return config.way_out()
        if config.tun:
            from smolmix_web.localnet.tun_exit import TunExit  # Linux only

            return TunExit(
                config.address_map, mtu=config.ipr.mtu, limits=config.limits, random_bytes=random_bytes
            )
        return UserspaceExit(
            config.address_map,
            reach_internet=config.reach_internet,
            source=config.source,
            limits=config.limits,
            random_bytes=random_bytes,
        )

    # --- life ---

    async def start(self, send_mix_packet: Callable[[MixPacket], None]) -> None:
        """Begins to serve; ``send_mix_packet`` hands a packet to the forwarder and must not block.

        :raises TunUnavailable: a TUN device was asked for and cannot be had
        """
        await self.way_out.start(self._wake)
        self._loop = asyncio.get_running_loop()
        self._send_mix_packet = send_mix_packet
        # After a stop nothing of before is known, as when a program starts anew.
        self.ipr = self._make_router()
        self.nym = NymClient(
            self._keys,
            self._gateway_identity,
            self.config.client,
            random_bytes=self._random_bytes,
            now=self._loop.time(),
        )
        self._wake()

    async def stop(self) -> None:
        """Ends every connection. May be called twice, and without ``start``."""
        self._loop, loop = None, self._loop
        if loop is None:
            return
        for handle in (self._soon, self._timer):
            if handle is not None:
                handle.cancel()
        self._soon = self._timer = None
        self._clients.clear()
        self._pushes.clear()
        await self.way_out.stop()

    def set_topology(self, topology: Topology, unix_time: float | None = None) -> None:
        """The network as the directory tells it, with this node in it."""
        if self.nym is not None and self._loop is not None:
            self.nym.set_topology(topology, self._loop.time(), unix_time=unix_time or time.time())
            self._wake()

    def set_key_rotation(self, info: KeyRotationInfo, unix_time: float | None = None) -> None:
        """Epochs of the network, so that SURBs sealed for old keys are thrown away in time."""
        if self.nym is not None and self._loop is not None:
            self.nym.set_key_rotation(info, self._loop.time(), unix_time or time.time())
            self._wake()

    def receive_push(self, message: bytes) -> None:
        """One message that the gateway holds for this service (an ack or a fragment)."""
        if len(self._pushes) >= _MAX_PUSHES:
            self.pushes_dropped += 1
            return
        self._pushes.append(message)
        self._wake()

    def snapshot(self) -> dict[str, Any]:
        """What the service has counted, for the network's status page. No client can be told from it."""
        return {
            "clients": len(self.ipr),
            "pushes_dropped": self.pushes_dropped,
            "router": asdict(self.ipr.stats),
            "way_out": self.way_out.snapshot(),
            "queued_packets": self.nym.queued() if self.nym is not None else 0,
        }

    def destinations(self) -> list[str]:
        """Where TCP connections are open to now (a kernel's own, behind a TUN device, are not known here)."""
        return self.way_out.destinations() if isinstance(self.way_out, UserspaceExit) else []

    # --- the loop ---

    def _wake(self) -> None:
        if self._soon is None and self._loop is not None:
            self._soon = self._loop.call_soon(self._turn)

    def _timer_fired(self) -> None:
        self._timer = None
        self._wake()

    def _turn(self) -> None:
        self._soon = None
        loop, nym = self._loop, self.nym
        if loop is None or nym is None:
            return
        now = loop.time()
        try:
            full = self._work(nym, now)
        except Exception:
            # A defect in one turn must not silence the exit: report it, and come back a little later.
            logger.exception("the exit's loop failed")
            self._timer = loop.call_at(now + _AFTER_DEFECT, self._timer_fired)
            return
        if full or self._pushes:
            self._wake()
        else:
            self._arm_timer(loop, nym)

    def _work(self, nym: NymClient, now: float) -> bool:
        """All that is due; whether more may be."""
        self._take_pushes(nym, now)
        nym.handle_timer(now)
        self.ipr.handle_timer(now)
        self.way_out.handle_timer(now)
        self._nym_events(nym, now)
        self._ipr_events(now)
        self._packets_back(nym, now)
        return self._send(nym, now)

    def _take_pushes(self, nym: NymClient, now: float) -> None:
        for _ in range(min(len(self._pushes), _PUSHES_PER_TURN)):
            nym.receive_push(self._pushes.popleft(), now)

    def _nym_events(self, nym: NymClient, now: float) -> None:
        while (event := nym.next_event()) is not None:
            if isinstance(event, MessageReceived):
                self.ipr.receive_message(event.sender_tag, event.data, now)

    def _ipr_events(self, now: float) -> None:
        while (event := self.ipr.next_event()) is not None:
            match event:
                case PacketFromClient(tag, packet, info):
                    self.way_out.receive_packet(self._clients[tag], packet, info, now)
                case ClientConnected(tag, ipv4, ipv6, mtu):
                    client = self._clients[tag] = ExitClient(tag, ipv4, ipv6, mtu)
                    self.way_out.client_connected(client, now)
                case ClientGone(tag):
                    self.way_out.client_gone(self._clients.pop(tag), now)

    def _packets_back(self, nym: NymClient, now: float) -> None:
        room = _QUEUE_TARGET - nym.queued()

        def room_for(tag: bytes) -> int:
            return min(room, _CLIENT_TARGET - nym.waiting_for_surbs(tag))

        for packet in self.way_out.packets_to_send(now, room_for):
            self.ipr.send_packet(packet, now)

    def _send(self, nym: NymClient, now: float) -> bool:
        """Whether there was a full batch, so that more may be due."""
        for reply in self.ipr.replies_to_send():
            if reply.max_retransmissions is None:
                nym.reply(reply.sender_tag, reply.data, now)
            else:
                nym.reply(reply.sender_tag, reply.data, now, max_retransmissions=reply.max_retransmissions)
        packets = nym.packets_to_send(now, _BATCH)
        for packet in packets:
            self._send_mix_packet(packet)
        return len(packets) == _BATCH

    def _arm_timer(self, loop: asyncio.AbstractEventLoop, nym: NymClient) -> None:
        deadlines = (nym.poll_at(), self.ipr.poll_at(), self.way_out.poll_at())
        deadline = min((at for at in deadlines if at is not None), default=None)
        if self._timer is not None:
            if deadline is not None and self._timer.when() == deadline:
                return
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = loop.call_at(deadline, self._timer_fired)
