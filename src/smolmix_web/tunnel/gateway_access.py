"""Sessions with entry gateways: the stored one, a new registration, another gateway.

Only one registration is kept, that of the gateway in use. A stored one that its gateway refuses is replaced
by a new one at the same gateway, so that the address stays; a gateway that cannot be used at all is passed
over for another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TypeVar

from smolmix_web.directory.errors import DirectoryError, NoGatewayError
from smolmix_web.directory.selection import choose_gateway, gateway_url
from smolmix_web.errors import NetworkError, RemoteProtocolError
from smolmix_web.gateway.client import GatewayClient
from smolmix_web.gateway.errors import GatewayRefused, RegistrationLost
from smolmix_web.nym import base58
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import Platform
from smolmix_web.sockets.driver import Driver
from smolmix_web.sockets.gateway_link import LinkState
from smolmix_web.tunnel.keystore import Identity, Keystore, Registration
from smolmix_web.tunnel.network_view import NetworkView
from smolmix_web.tunnel.timing import TunnelTiming, deadline

logger = logging.getLogger("smolmix_web.tunnel")

BUSY_PAUSE = 1.5
"""Seconds until a refused session is tried again: timestamps of authentications grow by whole seconds, and
a gateway finds out within one second that the old session's peer is gone (spec/gateway.md 12.1)."""

ATTEMPTS = 5
"""Gateways tried in one round."""

UNUSABLE = (NetworkError, RemoteProtocolError, TimeoutError)
"""What makes a gateway one to pass over: silence, refusals, nonsense."""

_T = TypeVar("_T")


@dataclass(slots=True, eq=False)
class GatewaySession:
    """A running driver and the gateway it stands on."""

    gateway: bytes  # ed25519 identity, 32 bytes
    registration: Registration | None = None
    """None until the first registration has succeeded."""
    driver: Driver = field(init=False)


@dataclass(frozen=True, slots=True)
class SessionHooks:
    """What a session tells its owner. See the callbacks of :class:`~smolmix_web.sockets.driver.Driver`."""

    on_link: Callable[[GatewaySession, LinkState, str], None]
    on_message: Callable[[GatewaySession, MessageReceived], None]
    on_exit_lost: Callable[[GatewaySession, str], None]
    on_slept: Callable[[GatewaySession, float], None]
    on_registered: Callable[[GatewaySession], None]


class GatewayAccess:
    """Order of calls: :meth:`load`; then :meth:`connect` or :meth:`connect_other`; :meth:`adopt` the session
    that is to be used. Whoever gets a session closes its driver.

    :param traffic: shape of the traffic instead of what the options say.
    """

    def __init__(
        self,
        options: TunnelOptions,
        platform: Platform,
        timing: TunnelTiming,
        view: NetworkView,
        hooks: SessionHooks,
        traffic: ClientConfig | None,
    ) -> None:
        self.identity: Identity | None = None
        self._options = options
        self._platform = platform
        self._timing = timing
        self._view = view
        self._hooks = hooks
        self._traffic = traffic or _traffic_of(options)
        self._keystore = Keystore(
            platform.storage(options.client_id),
            options.storage_passphrase,
            random_bytes=platform.random_bytes,
        )
        self._saving = asyncio.Lock()

    @property
    def registration(self) -> Registration | None:
        return self.identity.registration if self.identity is not None else None

    @property
    def is_pinned(self) -> bool:
        """The user named the gateway: there is no other one to go to."""
        return self._options.preferred_gateway is not None

    async def load(self) -> None:
        """The stored identity, or a new one. :raises StorageError, DeadlineError: see :class:`Keystore`."""
        identity = await self._storage(self._keystore.load())
        if identity is None:
            identity = Identity(ClientKeys.generate(self._platform.random_bytes))
        self.identity = identity

    async def connect(self) -> GatewaySession:
        """An authenticated session: with the stored gateway, else with another one.

        :raises NetworkError, RemoteProtocolError, DeadlineError: the last problem, when none could be used.
        :raises NoGatewayError: the directory has none that fits the options.
        """
        stored = self._where_it_is_now(self.registration)
        failed: set[bytes] = set()
        if stored is not None:
            try:
                return await self._open_stored(stored)
            except UNUSABLE as error:
                logger.info("the stored gateway cannot be used: %s", error)
                if not self.is_pinned:
                    failed.add(stored.gateway)
        return await self._open_new(failed)

    async def connect_other(self, excluded: Collection[bytes]) -> GatewaySession:
        """The same with a fresh list of gateways and without some of them (identities)."""
        await self._view.fetch_gateways()
        return await self._open_new(set(excluded))

    async def adopt(self, session: GatewaySession) -> None:
        """Keep the registration of the session that is in use now."""
        identity = self._known()
        if identity.registration == session.registration:
            return
        self.identity = replace(identity, registration=session.registration)
        async with self._saving:
            await self._storage(self._keystore.save(self.identity))

    def _where_it_is_now(self, stored: Registration | None) -> Registration | None:
        """The stored registration, if its gateway fits the options and the network of today.

        Operators move gateways to other names and ports, which the directory knows; keys stay.
        """
        topology, preferred = self._view.topology, self._options.preferred_gateway
        if (
            stored is None
            or topology is None
            or topology.node_by_identity(stored.gateway) is None
            or (preferred is not None and base58.encode(stored.gateway) != preferred)
        ):
            return None
        for node in self._view.gateways:
            if node.identity == stored.gateway:
                try:
                    return replace(stored, url=gateway_url(node, force_tls=self._options.force_tls))
                except NoGatewayError:
                    return None
        return None

    async def _open_stored(self, stored: Registration) -> GatewaySession:
        try:
            return await self._open(stored.gateway, stored.url, stored.shared_key)
        except RegistrationLost as error:
            logger.info("registering again: %s", error)
            return await self._open(stored.gateway, stored.url, None)
        except GatewayRefused as error:
            # A page that reloads at once: its timestamp is not newer yet, or its old session seems alive.
            logger.info("once more in a moment: %s", error)
            await asyncio.sleep(BUSY_PAUSE)
            return await self._open(stored.gateway, stored.url, stored.shared_key)

    async def _open_new(self, failed: set[bytes]) -> GatewaySession:
        problem: BaseException | None = None
        for _ in range(ATTEMPTS):
            try:
                node = choose_gateway(
                    self._view.gateways,
                    force_tls=self._options.force_tls,
                    preferred=self._options.preferred_gateway,
                    exclude=failed,
                    random_bytes=self._platform.random_bytes,
                )
            except DirectoryError as error:
                raise problem or error from None
            try:
                url = gateway_url(node, force_tls=self._options.force_tls)
                return await self._open(node.identity, url, None)
            except UNUSABLE as error:
                logger.info("gateway %s cannot be used: %s", base58.encode(node.identity), error)
                failed.add(node.identity)
                problem = error
        assert problem is not None
        raise problem

    async def _open(self, gateway: bytes, url: str, shared_key: bytes | None) -> GatewaySession:
        platform, view = self._platform, self._view
        keys = self._known().keys
        now, unix_time = platform.monotonic(), platform.unix_time()
        nym = NymClient(keys, gateway, self._traffic, random_bytes=platform.random_bytes, now=now)
        if view.topology is not None:
            nym.set_topology(view.topology, now, unix_time=unix_time)
        if view.key_rotation is not None:
            nym.set_key_rotation(view.key_rotation.clock, now, unix_time)
        engine = GatewayClient(
            keys.identity_seed,
            gateway,
            shared_key=shared_key,
            unix_time=platform.unix_time,
            random_bytes=platform.random_bytes,
        )
        session = GatewaySession(gateway)
        if shared_key is not None:
            session.registration = Registration(gateway, url, shared_key)
        hooks = self._hooks

        def registered(key: bytes) -> None:
            session.registration = Registration(gateway, url, key)
            hooks.on_registered(session)

        driver = session.driver = Driver(
            platform,
            nym,
            engine,
            url,
            link=self._timing.link,
            on_link=lambda state, why: hooks.on_link(session, state, why),
            on_registered=registered,
            on_message=lambda message: hooks.on_message(session, message),
            on_exit_lost=lambda why: hooks.on_exit_lost(session, why),
            on_slept=lambda seconds: hooks.on_slept(session, seconds),
        )
        driver.start()
        try:
            await driver.gateway_ready()
        except BaseException:
            await driver.close()
            raise
        return session

    def _known(self) -> Identity:
        assert self.identity is not None, "load() comes first"
        return self.identity

    async def _storage(self, access: Awaitable[_T]) -> _T:
        async with deadline("storage of the client's keys", self._timing.storage):
            return await access


def _traffic_of(options: TunnelOptions) -> ClientConfig:
    traffic = ClientConfig(
        disable_poisson=options.disable_poisson_traffic,
        disable_cover=options.disable_cover_traffic,
        fill_surbs=True,
    )
    return traffic.ready_for_bursts() if traffic.disable_poisson else traffic
