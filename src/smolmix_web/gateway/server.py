"""The gateway's end of one client connection (spec gateway.md), sans-IO.

One :class:`GatewaySession` per WebSocket. The driver feeds ``receive_*``, writes ``frames_to_send`` after
each call, acts on events, and on :class:`Dropped` closes TCP without a Close frame. Sessions of one gateway
act on each other (a duplicate login probes and evicts the older session), and packets are pushed from
outside: whenever output appears without a call of the driver, ``on_output`` tells it.

Everything before authentication is answered by one error and the end of the connection; afterwards every
request has exactly one text reply, and errors keep the connection.
"""

from __future__ import annotations

import hmac
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.gateway import error_texts, messages, versions
from smolmix_web.gateway.authenticate import verify_address_ciphertext, verify_signature
from smolmix_web.gateway.binary import ResponseKind, seal_frame
from smolmix_web.gateway.errors import HandshakeFailed
from smolmix_web.gateway.events import ClientReady, Dropped, PacketUploaded, ServerEvent
from smolmix_web.gateway.handshake import Responder
from smolmix_web.gateway.registry import GatewayRegistry
from smolmix_web.gateway.server_config import GatewayConfig
from smolmix_web.gateway.service import ClientService
from smolmix_web.gateway.shared_key import NONCE_SIZE, SharedKey

PROBE_TIMEOUT = 1.0
"""Seconds an older session has to answer the Ping of a probe."""
PROBE_WAIT = 2.0
"""Seconds a new session waits for the outcome."""


class State(Enum):
    FRESH = "awaiting registration or authentication"
    HANDSHAKE = "awaiting message 3 of the handshake"
    PROBING = "awaiting the probe of an older session"
    AUTHENTICATED = "authenticated"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Ping:
    """A WebSocket Ping frame to write."""

    payload: bytes  # 8 bytes


Frame = str | bytes | Ping


class GatewaySession:
    """State of one client connection.

    :param identity_seed: the gateway's ed25519 seed, 32 bytes.
    :param unix_time: seconds since 1970, with fractions.
    :param on_output: called when there are frames or events that no call of the driver caused.
    :param now: when the WebSocket opened.
    """

    def __init__(
        self,
        registry: GatewayRegistry,
        identity_seed: bytes,
        *,
        config: GatewayConfig | None = None,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        on_output: Callable[[], None] = lambda: None,
        now: float,
    ) -> None:
        self._registry = registry
        self._seed = identity_seed
        self._config = config or GatewayConfig()
        self._unix_time = unix_time
        self._random_bytes = random_bytes
        self._on_output = on_output
        self._state = State.FRESH
        self._now = now
        self._deadline: float | None = now + self._config.initial_timeout
        self._responder: Responder | None = None
        self._version = 0
        self._key: SharedKey | None = None
        self._service: ClientService | None = None
        self._client: bytes | None = None
        self._pending_timestamp = 0  # of an authentication waiting for a probe
        self._probe: tuple[bytes, float, GatewaySession] | None = None  # payload, deadline, who asks
        self._inbox_delivered = 0  # highest id of the stored messages among the frames to send
        self._backlog = 0
        self._outbox: list[Frame] = []
        self._events: deque[ServerEvent] = deque()
        self.timestamp = 0.0
        """When this session authenticated: the client's signed time, or our clock after a registration."""
        registry.stats.sessions_opened += 1

    def __repr__(self) -> str:
        return f"<GatewaySession {self._state.name} version={self._version}>"

    @property
    def state(self) -> State:
        return self._state

    @property
    def client(self) -> bytes | None:
        """Identity of the authenticated client, 32 bytes."""
        return self._client

    # -- from below -------------------------------------------------------------------------------------

    def receive_text(self, text: str, now: float) -> None:
        """A text frame arrived."""
        self._now = now
        match self._state:
            case State.FRESH:
                self._receive_fresh(text)
            case State.HANDSHAKE:
                self._receive_handshake(text)
            case State.AUTHENTICATED:
                if self._service is not None:
                    self._reply(self._service.answer(text))
            case _:
                pass

    def receive_binary(self, frame: bytes, now: float) -> None:
        """A binary frame arrived."""
        self._now = now
        if self._state is State.AUTHENTICATED and self._service is not None:
            packet, reply = self._service.take_upload(frame)
            if packet is not None:
                self._events.append(PacketUploaded(packet))
            self._reply(reply)
        elif self._state is State.FRESH:
            self._refuse(error_texts.UNAUTHENTICATED_PACKET)

    def receive_ping(self, now: float) -> None:
        """A Ping arrived. An authenticated client's is answered by the WebSocket layer."""
        self._receive_control_frame("ping", now)

    def receive_pong(self, payload: bytes, now: float) -> None:
        """A Pong arrived; it counts when its payload is that of the outstanding probe (section 12.2)."""
        self._receive_control_frame("pong", now)
        if self._probe is not None and hmac.compare_digest(payload, self._probe[0]):
            self._end_probe(alive=True)

    def receive_closed(self, now: float) -> None:
        """The connection ended."""
        self._now = now
        self._close()

    # -- from the mixnet --------------------------------------------------------------------------------

    def push(self, message: bytes) -> bool:
        """Send one final-hop message to the client. False when its queue is full: the message is dropped."""
        if self._key is None or self._backlog + len(message) > self._config.push_backlog:
            return False
        self._push(message)
        self._on_output()
        return True

    # -- to the driver ----------------------------------------------------------------------------------

    def frames_to_send(self) -> list[Frame]:
        """Frames for the WebSocket. Stored messages among them count as delivered with this call."""
        frames, self._outbox = self._outbox, []
        self._backlog = 0
        if self._inbox_delivered and self._client is not None:
            self._registry.storage.delete_messages(self._client, self._inbox_delivered)
            self._inbox_delivered = 0
        return frames

    def unsent(self) -> int:
        """Frames that ``frames_to_send`` would give."""
        return len(self._outbox)

    def next_event(self) -> ServerEvent | None:
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        if self._probe is not None:
            return self._probe[1]
        return self._deadline

    def handle_timer(self, now: float) -> None:
        self._now = now
        if self._probe is not None and now >= self._probe[1]:
            self._end_probe(alive=False)
        if self._deadline is None or now < self._deadline:
            return
        match self._state:
            case State.FRESH:
                self._refuse(error_texts.TIMED_OUT)
            case State.HANDSHAKE:
                self._fail_handshake(error_texts.HANDSHAKE_TIMED_OUT)
            case State.PROBING:
                self.probe_ended(alive=False, now=now)
            case _:
                pass

    # -- before authentication --------------------------------------------------------------------------

    def _receive_fresh(self, text: str) -> None:
        try:
            request = messages.parse_request(text)
        except MalformedError:
            self._refuse(error_texts.ONLY_REGISTER)
            return
        match request:
            case messages.SupportedProtocolRequest():
                self._reply(messages.SupportedProtocolResponse(self._config.protocol_version))
                self._deadline = self._now + self._config.initial_timeout
            case messages.HandshakePayload():
                self._begin_handshake(request)
            case messages.AuthenticateV2():
                self._authenticate(request)
            case messages.LegacyAuthenticate():
                self._refuse(error_texts.LEGACY_AUTHENTICATION)
            case _:
                self._refuse(error_texts.ONLY_REGISTER)

    def _receive_control_frame(self, kind: str, now: float) -> None:
        self._now = now
        if self._state is State.FRESH:
            self._refuse(error_texts.UNEXPECTED_MESSAGE.format(kind=kind))

    # -- registration (section 6) -----------------------------------------------------------------------

    def _begin_handshake(self, request: messages.HandshakePayload) -> None:
        if request.data[:32] in self._registry.active:
            self._refuse(error_texts.ALREADY_OPEN, twice=True)
            return
        self._version = min(request.protocol_version, self._config.protocol_version)
        try:
            responder = Responder(self._seed, request.data, self._random_bytes)
        except HandshakeFailed as error:
            self._fail_handshake(str(error))
            return
        self._responder = responder
        self._state = State.HANDSHAKE
        self._deadline = self._now + self._config.handshake_timeout
        self._reply(messages.HandshakePayload(self._version, responder.material()))

    def _receive_handshake(self, text: str) -> None:
        try:
            request = messages.parse_request(text)
        except MalformedError:
            return  # skipped, like any frame that is not of the handshake; the deadline stays
        if isinstance(request, messages.HandshakeError):
            self._drop_refused(error_texts.HANDSHAKE_REMOTE.format(reason=request.message[:200]))
        elif isinstance(request, messages.HandshakePayload) and self._responder is not None:
            responder = self._responder
            try:
                responder.receive_client_material(request.data)
            except HandshakeFailed as error:
                self._fail_handshake(str(error))
                return
            self._reply(messages.HandshakePayload(self._version, responder.finalisation()))
            self._finish_registration(responder)

    def _finish_registration(self, responder: Responder) -> None:
        client = responder.client_identity
        if client in self._registry.active:  # someone was faster, during our handshake
            self._refuse(error_texts.ALREADY_OPEN, twice=True)
            return
        self._registry.storage.store_key(client, responder.shared_key.secret_bytes())
        self._registry.stats.registrations += 1
        self._responder = None
        self._become_active(client, responder.shared_key, self._unix_time())
        self._reply(messages.RegisterResponse(self._version, True, self._config.upgrade_mode))
        self._events.append(ClientReady(client, self._version, registered=True))

    def _fail_handshake(self, reason: str) -> None:
        self._reply(messages.HandshakeError(reason))
        self._drop_refused(reason)

    def _drop_refused(self, reason: str) -> None:
        self._refuse(error_texts.HANDSHAKE_FAILED.format(reason=reason), twice=True)

    # -- authentication (section 7.2; the order of the checks is part of the protocol) --------------------

    def _authenticate(self, request: messages.AuthenticateV2) -> None:
        version, timestamp = request.protocol_version, request.request_unix_timestamp
        highest = self._config.protocol_version
        if not versions.MIN_SUPPORTED <= version <= highest:
            text = error_texts.INCOMPATIBLE_VERSION.format(ours=highest, theirs=version)
            self._refuse(text, twice=True)
            return
        unix_time = self._unix_time()
        if abs(timestamp - unix_time) > self._config.max_timestamp_skew:
            text = error_texts.TIMESTAMP_SKEWED.format(theirs=timestamp, ours=int(unix_time))
            self._refuse(text, twice=True)
            return
        try:
            verify_signature(request)
        except CryptoError as error:
            self._refuse(str(error), twice=True)
            return
        stored = self._registry.storage.load_client(request.client_identity)
        if stored is None:
            self._refuse(error_texts.NOT_REGISTERED, twice=True)
            return
        key = SharedKey(stored.shared_key)
        try:
            verify_address_ciphertext(request, key)
        except CryptoError as error:
            self._refuse(str(error), twice=True)
            return
        if stored.last_authentication is not None and timestamp <= stored.last_authentication:
            self._refuse(error_texts.TIMESTAMP_NOT_INCREASING, twice=True)
            return
        self._version, self._key, self._client = version, key, request.client_identity
        self._pending_timestamp = timestamp
        older = self._registry.active.get(request.client_identity)
        if older is None:
            self._finish_authentication()
        elif timestamp <= older.timestamp:
            self._refuse(error_texts.STALE_AUTHENTICATION, twice=True)
        elif not older.probe(self, self._now):
            self._refuse(error_texts.ALREADY_OPEN, twice=True)
        else:
            self._state = State.PROBING
            self._deadline = self._now + PROBE_WAIT

    def _finish_authentication(self) -> None:
        client, key = self._client, self._key
        if client is None or key is None:
            raise AssertionError("no client was verified")
        self._registry.storage.store_last_authentication(client, self._pending_timestamp)
        self._registry.stats.authentications += 1
        service = self._become_active(client, key, self._pending_timestamp)
        self._reply(service.authenticated(self._version))
        self._events.append(ClientReady(client, self._version, registered=False))

    def _become_active(self, client: bytes, key: SharedKey, timestamp: float) -> ClientService:
        self._client, self._key, self.timestamp = client, key, timestamp
        self._service = ClientService(
            self._registry, client, key, self._config, self._unix_time, self._random_bytes
        )
        self._state = State.AUTHENTICATED
        self._deadline = None
        self._registry.active[client] = self
        # Stored messages go out before the reply (section 11).
        while page := self._registry.storage.load_messages(client, after=self._inbox_delivered):
            for message_id, message in page:
                self._push(message)
                self._inbox_delivered = message_id
        return self._service

    # -- duplicate logins (section 12.1) ------------------------------------------------------------------

    def probe(self, asker: GatewaySession, now: float) -> bool:
        """Find out whether this session's peer lives. False when a probe is under way already."""
        if self._probe is not None:
            return False
        payload = self._random_bytes(8)
        self._probe = (payload, now + PROBE_TIMEOUT, asker)
        self._outbox.append(Ping(payload))
        self._on_output()
        return True

    def _end_probe(self, *, alive: bool) -> None:
        if self._probe is not None:
            asker, self._probe = self._probe[2], None
            asker.probe_ended(alive=alive, now=self._now)

    def probe_ended(self, *, alive: bool, now: float) -> None:
        """Outcome of the probe that this session waits for; later outcomes are ignored."""
        self._now = now
        if self._state is not State.PROBING or self._client is None:
            return
        if alive:
            self._refuse(error_texts.ALREADY_OPEN, twice=True)
        else:
            older = self._registry.active.get(self._client)
            if older is not None:
                older.evict(now)
            self._finish_authentication()
        self._on_output()

    def evict(self, now: float) -> None:
        """End this session in favour of a newer one."""
        self._now = now
        self._registry.stats.evicted += 1
        self._drop("replaced by a newer session of the client")
        self._on_output()

    # -- output ---------------------------------------------------------------------------------------------

    def _push(self, message: bytes) -> None:
        if self._key is None:
            raise AssertionError("no key to push under")
        frame = seal_frame(
            self._key, ResponseKind.PUSHED_MIX_MESSAGE, message, self._random_bytes(NONCE_SIZE)
        )
        self._backlog += len(frame)
        self._outbox.append(frame)

    def _reply(self, response: messages.GatewayResponse) -> None:
        self._outbox.append(messages.emit_response(response))

    def _reply_error(self, text: str) -> None:
        self._reply(messages.ErrorResponse(text))

    def _refuse(self, text: str, *, twice: bool = False) -> None:
        """One error, and the end. Failed logins say it twice, as the reference does (section 5.1)."""
        self._registry.stats.refused += 1
        for _ in range(2 if twice else 1):
            self._reply_error(text)
        self._drop(text)

    def _drop(self, reason: str) -> None:
        self._close()
        self._events.append(Dropped(reason))

    def _close(self) -> None:
        if self._state is State.CLOSED:
            return
        was_authenticated = self._state is State.AUTHENTICATED
        self._state = State.CLOSED
        self._deadline = None
        self._responder = None
        if was_authenticated and self._client is not None:
            if self._registry.active.get(self._client) is self:
                del self._registry.active[self._client]
            if self._service is not None:
                self._service.close()
        self._end_probe(alive=False)
