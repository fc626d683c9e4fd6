"""A client engine and a gateway session on a fake wire, with clocks that only the test moves."""

from __future__ import annotations

import random

from smolmix_web.crypto import provider
from smolmix_web.gateway import (
    ClientReady,
    Dropped,
    GatewayClient,
    GatewayClientConfig,
    GatewayConfig,
    GatewayRegistry,
    GatewaySession,
    MemoryStorage,
    Ping,
    Ready,
    Registered,
)
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation

CLIENT_SEED = b"\x11" * 32
GATEWAY_SEED = b"\x22" * 32
START = 1_767_225_600.0  # unix time of every test: midnight UTC, so free claims live one full day


def regular_packet(fill: int = 7, rotation: KeyRotation = KeyRotation.ODD) -> MixPacket:
    return MixPacket(NodeAddress("127.0.0.1", 1789), bytes([fill]) * 2413, rotation=rotation)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def unix(self) -> float:
        return START + self.now


class Pair:
    """One gateway, one client identity, and at most one connection of each side at a time.

    ``cut`` connections: what either side emits after ``close`` is lost, as on a real socket.
    """

    def __init__(
        self,
        *,
        config: GatewayConfig | None = None,
        client_config: GatewayClientConfig | None = None,
        shared_key: bytes | None = None,
        registry: GatewayRegistry | None = None,
        clock: Clock | None = None,
        seed: int = 1,
    ) -> None:
        self.clock = clock or Clock()
        self.random = random.Random(seed)
        self.registry = registry or GatewayRegistry(MemoryStorage())
        self.config = config
        self.client = GatewayClient(
            CLIENT_SEED,
            provider().ed25519_public(GATEWAY_SEED),
            shared_key=shared_key,
            unix_time=self.clock.unix,
            random_bytes=self.random.randbytes,
            config=client_config,
        )
        self.session: GatewaySession | None = None
        self.client_events: list[object] = []
        self.server_events: list[object] = []
        self.to_gateway: list[str | bytes] = []  # everything the client ever sent
        self.to_client: list[str | bytes | Ping] = []  # everything the gateway ever sent

    def connect(self, *, run: bool = True) -> Pair:
        self.session = new_session(self.registry, self.clock, self.config, self.random)
        self.client.connected(self.clock.now)
        if run:
            self.run()
        return self

    def run(self) -> None:
        """Carry frames both ways until nothing moves."""
        moved = True
        while moved and self.session is not None:
            moved = self.client_to_gateway() | self.gateway_to_client()

    def client_to_gateway(self) -> bool:
        frames = self.client.frames_to_send()
        self.to_gateway += frames
        for frame in frames:
            if self.session is not None:
                feed(self.session, frame, self.clock.now)
        self.client_events += drain(self.client)
        return bool(frames)

    def gateway_to_client(self) -> bool:
        assert self.session is not None
        frames = self.session.frames_to_send()
        self.to_client += frames
        for frame in frames:
            if isinstance(frame, Ping):
                self.session.receive_pong(frame.payload, self.clock.now)
            else:
                feed(self.client, frame, self.clock.now)
        events = drain(self.session)
        self.server_events += events
        self.client_events += drain(self.client)
        if any(isinstance(event, Dropped) for event in events):
            self.close()
        return bool(frames)

    def close(self) -> None:
        session, self.session = self.session, None
        if session is not None:
            session.receive_closed(self.clock.now)
        self.client.receive_closed(self.clock.now)
        self.client_events += drain(self.client)

    def advance(self, seconds: float) -> None:
        self.clock.now += seconds
        self.client.handle_timer(self.clock.now)
        if self.session is not None:
            self.session.handle_timer(self.clock.now)
        self.client_events += drain(self.client)
        self.run()

    def event(self, kind: type) -> object:
        found = [event for event in self.client_events if isinstance(event, kind)]
        assert found, f"no {kind.__name__} among {self.client_events}"
        return found[-1]


def new_session(
    registry: GatewayRegistry,
    clock: Clock,
    config: GatewayConfig | None = None,
    source: random.Random | None = None,
) -> GatewaySession:
    return GatewaySession(
        registry,
        GATEWAY_SEED,
        config=config,
        unix_time=clock.unix,
        random_bytes=(source or random.Random(2)).randbytes,
        now=clock.now,
    )


def feed(engine: GatewayClient | GatewaySession, frame: str | bytes, now: float) -> None:
    if isinstance(frame, str):
        engine.receive_text(frame, now)
    else:
        engine.receive_binary(frame, now)


def drain(engine: GatewayClient | GatewaySession) -> list[object]:
    events: list[object] = []
    while (event := engine.next_event()) is not None:
        events.append(event)
    return events


def registered_pair(**options: object) -> Pair:
    """A client that has registered earlier and is ready on its second connection."""
    pair = Pair(**options)  # type: ignore[arg-type]
    pair.connect()
    pair.event(Registered)
    pair.close()
    pair.clock.now += 1.0
    pair.client_events.clear()
    pair.server_events.clear()
    pair.connect()
    pair.event(Ready)
    assert any(isinstance(event, ClientReady) for event in pair.server_events)
    return pair
