"""The client's end of the connection to its entry gateway (spec gateway.md), sans-IO.

One object serves one identity at one gateway over any number of successive WebSockets::

    connected -> [supportedProtocol] -> handshake -> register ----\
                                     -> authenticateV2 ------------+-> [claim] -> Ready -> traffic
                                                                   |
    receive_closed, or a failure, ends the session  <--------------/

The driver calls ``connected`` when a WebSocket opened, feeds ``receive_text``/``receive_binary``, writes
``frames_to_send`` after every call, and on :class:`Failed` closes the WebSocket. ``connected`` may then be
called again for a new one.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable
from typing import assert_never

from smolmix_web.errors import (
    CryptoError,
    DeadlineError,
    LocalProtocolError,
    MalformedError,
    SmolmixError,
)
from smolmix_web.gateway import control, error_texts, messages, versions
from smolmix_web.gateway.authenticate import build_authentication
from smolmix_web.gateway.binary import RequestKind, ResponseKind, open_frame, seal_frame
from smolmix_web.gateway.client_state import STEPS, GatewayClientConfig, GatewayClientStats, State
from smolmix_web.gateway.errors import (
    GatewayClosed,
    GatewayError,
    GatewayRefused,
    HandshakeFailed,
    IncompatibleGateway,
    RegistrationLost,
    SessionBusy,
)
from smolmix_web.gateway.events import (
    ClientEvent,
    Failed,
    ForgetMeAcknowledged,
    GatewayComplaint,
    MessagePushed,
    OutOfBandwidth,
    Ready,
    Registered,
    RememberMeAcknowledged,
)
from smolmix_web.gateway.handshake import Initiator
from smolmix_web.gateway.refill import BandwidthRefill
from smolmix_web.gateway.shared_key import NONCE_SIZE, SharedKey
from smolmix_web.nym.mixpacket import MixPacket

_MAX_CLOCK_WAIT = 2.0
"""Seconds worth waiting so that the timestamp of the next authentication grows."""
_MAX_CLOCK_AHEAD = 100
"""Seconds a timestamp may run ahead of our clock: the gateway tolerates 120 s of skew."""


class GatewayClient:
    """Registers or authenticates, keeps the bandwidth up, uploads packets and hands out pushed messages.

    :param identity_seed: the client's ed25519 seed, 32 bytes.
    :param gateway_identity: the gateway's ed25519 public key, 32 bytes.
    :param shared_key: what :class:`Registered` gave in an earlier life, or None to register.
    :param unix_time: seconds since 1970; read when an authentication is built.
    """

    def __init__(
        self,
        identity_seed: bytes,
        gateway_identity: bytes,
        *,
        shared_key: bytes | None = None,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        config: GatewayClientConfig | None = None,
    ) -> None:
        self._seed = identity_seed
        self._gateway_identity = gateway_identity
        self._key = SharedKey(shared_key) if shared_key is not None else None
        self._unix_time = unix_time
        self._random_bytes = random_bytes
        self._config = config or GatewayClientConfig()
        self._state = State.IDLE
        self._now = 0.0
        self._deadline: tuple[float, str, float] | None = None  # instant, phase, length
        self._clock_wait_until = 0.0
        self._unanswered_since: float | None = None  # the first upload after the last frame that came
        self._handshake: Initiator | None = None
        self._proposed = versions.CURRENT
        self._version = 0
        self._resume_version: int | None = None  # agreed earlier: the next session need not ask
        self._last_timestamp = 0
        self._refill = BandwidthRefill(self._config.control_timeout, self._config.claim_retry)
        self._outbox: list[str | bytes] = []
        self._events: deque[ClientEvent] = deque()
        self.stats = GatewayClientStats()

    def __repr__(self) -> str:
        return f"<GatewayClient {self._state.name} version={self._version} balance={self.balance}>"

    @property
    def state(self) -> State:
        return self._state

    @property
    def balance(self) -> int:
        """Bytes left, as the gateway said last."""
        return self._refill.balance

    @property
    def protocol_version(self) -> int:
        """The negotiated version; 0 before the session is ready, or when the gateway did not say."""
        return self._version

    # -- from below -------------------------------------------------------------------------------------

    def connected(self, now: float) -> None:
        """A WebSocket to the gateway opened. :raises LocalProtocolError: the last one was not ended."""
        if self._state not in (State.IDLE, State.FAILED):
            raise LocalProtocolError(f"connected() while {self._state.value}")
        self._now = now
        self._outbox.clear()
        self._version = 0
        self._refill.reset(0)
        self._unanswered_since = None
        if self._key is not None and self._resume_version is not None:
            self._proposed = self._resume_version
            self._authenticate()
        else:
            self._enter(State.EXPECT_VERSION, "gateway protocol version", self._config.control_timeout)
            self._send(messages.SupportedProtocolRequest())

    def receive_text(self, text: str, now: float) -> None:
        """A text frame arrived."""
        self._now = now
        self._unanswered_since = None
        if self._state in (State.IDLE, State.FAILED):
            return
        try:
            message = messages.parse_response(text)
        except MalformedError as error:
            self.stats.malformed_texts += 1
            if self._state is not State.READY:
                self._fail(GatewayError(f"malformed message from the gateway: {error}"))
            return
        try:
            self._handle(message)
        except HandshakeFailed as error:
            self._send(messages.HandshakeError(str(error)))
            self._fail(error)
        except GatewayError as error:
            self._fail(error)

    def receive_binary(self, frame: bytes, now: float) -> None:
        """A binary frame arrived. Pushes are legal as soon as both sides hold the key (section 6.6)."""
        self._now = now
        self._unanswered_since = None
        key = self._key
        if self._handshake is not None and self._handshake.shared_key is not None:
            key = self._handshake.shared_key
        if key is None or self._state in (State.IDLE, State.FAILED):
            self.stats.undecryptable_pushes += 1
            return
        try:
            kind, plaintext = open_frame(key, frame)
        except (MalformedError, CryptoError):
            self.stats.undecryptable_pushes += 1
            return
        if kind != ResponseKind.PUSHED_MIX_MESSAGE:
            self.stats.undecryptable_pushes += 1
            return
        self.stats.pushes_received += 1
        self._events.append(MessagePushed(plaintext))

    def receive_closed(self, now: float) -> None:
        """The WebSocket ended, for whatever reason."""
        self._now = now
        if self._state not in (State.IDLE, State.FAILED):
            self._fail(GatewayClosed(f"the gateway closed the connection while {self._state.value}"))
        self._state = State.IDLE

    # -- from above -------------------------------------------------------------------------------------

    def writable(self) -> int:
        """Packets that ``send_packet`` takes now without dropping."""
        return self._refill.room if self._state is State.READY else 0

    def send_packet(self, packet: MixPacket) -> None:
        """Upload one packet, claiming bandwidth first where needed.

        Without :class:`Ready`, or with ``writable() == 0``, the packet is dropped and counted.
        """
        if self.writable() == 0:
            self.stats.packets_dropped += 1
            return
        if self._refill.is_low:
            self._claim()
        if self._refill.admit(packet):
            self._upload(packet)

    def forget_me(self, *, client: bool = True, stats: bool = False) -> None:
        """Ask the gateway to delete messages, bandwidth and key of this client (section 10).

        :raises LocalProtocolError: not ready.
        """
        self._send_control(control.ForgetMe(client, stats))

    def remember_me(self, session_type: control.SessionType) -> None:
        """Tag the gateway's statistics. :raises LocalProtocolError: not ready."""
        self._send_control(control.RememberMe(session_type))

    def frames_to_send(self) -> list[str | bytes]:
        """Frames for the WebSocket: ``str`` as text, ``bytes`` as binary."""
        frames, self._outbox = self._outbox, []
        return frames

    def next_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        if self._state is State.WAIT_CLOCK:
            return self._clock_wait_until
        if self._deadline is not None:
            return self._deadline[0]
        dues = (self._refill.claim_deadline, self._refill.retry_at(), self._silence_deadline())
        return min((at for at in dues if at is not None), default=None)

    def handle_timer(self, now: float) -> None:
        self._now = now
        if self._state is State.WAIT_CLOCK:
            if now >= self._clock_wait_until:
                self._authenticate()
        elif self._deadline is not None and now >= self._deadline[0]:
            self._fail(DeadlineError(self._deadline[1], self._deadline[2]))
        elif _is_due(self._refill.claim_deadline, now):
            self._fail(DeadlineError("bandwidth claim", self._config.control_timeout))
        elif _is_due(self._silence_deadline(), now):
            self._fail(DeadlineError("gateway answer to uploads", self._config.silence_timeout))
        elif _is_due(self._refill.retry_at(), now):
            self._claim()

    def _silence_deadline(self) -> float | None:
        if self._unanswered_since is None:
            return None
        return self._unanswered_since + self._config.silence_timeout

    # -- messages of the gateway ------------------------------------------------------------------------

    def _handle(self, message: messages.GatewayResponse) -> None:
        match message:
            case messages.SendResponse():
                self._refill.balance = message.remaining_bandwidth
            case messages.SupportedProtocolResponse():
                self._handle_version(message)
            case messages.HandshakePayload():
                self._handle_handshake(message)
            case messages.HandshakeError():
                if self._state in (State.EXPECT_MATERIAL, State.EXPECT_FINALISATION, State.EXPECT_REGISTER):
                    raise GatewayRefused("registration", message.message)
                self.stats.unexpected_texts += 1
            case messages.RegisterResponse():
                self._handle_register(message)
            case messages.AuthenticateResponse():
                self._handle_authenticate(message)
            case messages.BandwidthResponse():
                self._handle_bandwidth(message)
            case messages.OutOfBandwidthError():
                self._refill.balance = message.available
                if self._state is State.READY:
                    self._events.append(OutOfBandwidth(message.required, message.available))
                    self._claim()
            case messages.TicketReplayError():
                self._handle_error("the ticket was spent before")
            case messages.ErrorResponse():
                self._handle_error(message.message)
            case messages.EncryptedResponse():
                self._handle_control(message)
            case messages.UnknownResponse():
                self.stats.unexpected_texts += 1
            case _:
                assert_never(message)

    def _handle_version(self, message: messages.SupportedProtocolResponse) -> None:
        if self._state is not State.EXPECT_VERSION:
            self.stats.unexpected_texts += 1
            return
        chosen = versions.choose_version(message.version)
        if chosen is None:
            raise IncompatibleGateway(
                f"the gateway speaks protocol version {message.version}, "
                f"at least {versions.MIN_SUPPORTED} is needed"
            )
        self._proposed = chosen
        if self._key is not None:
            self._authenticate()
            return
        self._handshake = Initiator(self._seed, self._gateway_identity, self._random_bytes)
        self._enter(State.EXPECT_MATERIAL, "gateway registration", self._config.handshake_timeout)
        self._send(messages.HandshakePayload(chosen, self._handshake.initialisation()))

    def _handle_handshake(self, message: messages.HandshakePayload) -> None:
        handshake = self._handshake
        if self._state is State.EXPECT_MATERIAL and handshake is not None:
            if message.protocol_version > versions.CURRENT:
                raise HandshakeFailed(f"the gateway insists on protocol version {message.protocol_version}")
            self._proposed = message.protocol_version
            answer = handshake.receive_material(message.data)
            self._enter(State.EXPECT_FINALISATION, "gateway registration", self._config.handshake_timeout)
            self._send(messages.HandshakePayload(self._proposed, answer))
        elif self._state is State.EXPECT_FINALISATION and handshake is not None:
            handshake.receive_finalisation(message.data)
            self._enter(State.EXPECT_REGISTER, "gateway registration", self._config.control_timeout)
        else:
            self.stats.unexpected_texts += 1

    def _handle_register(self, message: messages.RegisterResponse) -> None:
        if self._state is not State.EXPECT_REGISTER or self._handshake is None:
            self.stats.unexpected_texts += 1
            return
        if not message.status:
            raise GatewayRefused("registration", "status is false")
        key = self._handshake.shared_key
        if key is None:
            raise GatewayError("registered without a key")
        self._key, self._handshake = key, None
        # The gateway stamps this session with its own clock, with fractions of a second: the next
        # authentication has to be of a later second (section 5.2).
        self._last_timestamp = max(self._last_timestamp, int(self._unix_time()))
        self._events.append(Registered(key.secret_bytes()))
        self._begin_traffic(self._proposed, 0)

    def _handle_authenticate(self, message: messages.AuthenticateResponse) -> None:
        if self._state is not State.EXPECT_AUTHENTICATE:
            self.stats.unexpected_texts += 1
            return
        if not message.status:
            raise GatewayRefused("authentication", "status is false")
        if message.protocol_version > versions.CURRENT:
            raise IncompatibleGateway(f"the gateway insists on protocol version {message.protocol_version}")
        self._begin_traffic(message.protocol_version, message.bandwidth_remaining)

    def _handle_bandwidth(self, message: messages.BandwidthResponse) -> None:
        if self._refill.claim_deadline is None:
            self.stats.unexpected_texts += 1
            return
        self._refill.balance = message.available_total
        self._claim_ended()

    def _handle_error(self, text: str) -> None:
        if self._refill.claim_deadline is not None:
            # Officially the answer of the claim; an upload answered at this moment is indistinguishable.
            if self.balance <= 0:
                raise GatewayRefused("the bandwidth claim", text)
            self._events.append(GatewayComplaint(text))
            self._claim_ended()
        elif self._state is State.READY:
            self._events.append(GatewayComplaint(text))
        else:
            raise _refusal(STEPS.get(self._state, "the session"), text)

    def _handle_control(self, message: messages.EncryptedResponse) -> None:
        if self._state is not State.READY or self._key is None:
            self.stats.unexpected_texts += 1
            return
        try:
            response = control.parse_control_response(self._key.open(message.nonce, message.ciphertext))
        except (CryptoError, MalformedError):
            self.stats.malformed_texts += 1
            return
        if isinstance(response, control.ForgetMeAck):
            self._events.append(ForgetMeAcknowledged())
        else:
            self._events.append(RememberMeAcknowledged())

    # -- steps ------------------------------------------------------------------------------------------

    def _authenticate(self) -> None:
        if self._key is None:
            raise LocalProtocolError("no shared key to authenticate with")
        unix_time = self._unix_time()
        timestamp = int(unix_time)
        if timestamp <= self._last_timestamp:
            wait = self._last_timestamp + 1 - unix_time
            if wait <= _MAX_CLOCK_WAIT:
                self._state = State.WAIT_CLOCK
                self._deadline = None
                self._clock_wait_until = self._now + wait
                return
            if wait <= _MAX_CLOCK_AHEAD:
                timestamp = self._last_timestamp + 1
        self._last_timestamp = timestamp
        nonce = self._random_bytes(NONCE_SIZE)
        self._enter(State.EXPECT_AUTHENTICATE, "gateway authentication", self._config.control_timeout)
        self._send(build_authentication(self._seed, self._key, self._proposed, timestamp, nonce))

    def _begin_traffic(self, version: int, balance: int) -> None:
        self._version = self._resume_version = version
        self._refill.reset(balance)
        self._deadline = None
        if version < versions.MIN_SUPPORTED:
            self._resume_version = None  # the gateway did not say; ask again next time
        if self._refill.is_low:
            self._state = State.EXPECT_BANDWIDTH
            self._claim()
        else:
            self._become_ready()

    def _become_ready(self) -> None:
        self._state = State.READY
        self._events.append(Ready(self._version, self.balance))

    def _claim(self) -> None:
        """Ask for bandwidth, unless that is under way or has just not helped."""
        if self._refill.begin_claim(self._now):
            self.stats.claims += 1
            self._send(messages.ClaimFreeTestnetBandwidth())

    def _claim_ended(self) -> None:
        covered = self._refill.end_claim(self._now)
        if self._state is State.EXPECT_BANDWIDTH:
            self._become_ready()
        for packet in covered:
            self._upload(packet)

    def _upload(self, packet: MixPacket) -> None:
        if self._key is None:
            raise LocalProtocolError("no shared key")
        nonce = self._random_bytes(NONCE_SIZE)
        if self._version >= versions.KEY_ROTATION_BYTE:
            frame = seal_frame(self._key, RequestKind.FORWARD_SPHINX_V2, packet.to_bytes_v2(), nonce)
        else:
            frame = seal_frame(self._key, RequestKind.FORWARD_SPHINX, packet.to_bytes_v1(), nonce)
        self.stats.packets_sent += 1
        if self._unanswered_since is None:
            self._unanswered_since = self._now
        self._outbox.append(frame)

    def _send_control(self, request: control.ControlRequest) -> None:
        if self._state is not State.READY or self._key is None:
            raise LocalProtocolError(f"the gateway session is not ready: {self._state.value}")
        nonce = self._random_bytes(NONCE_SIZE)
        ciphertext = self._key.seal(nonce, control.emit_control_request(request))
        self._send(messages.EncryptedRequest(ciphertext, nonce))

    def _send(self, request: messages.ClientRequest) -> None:
        self._outbox.append(messages.emit_request(request))

    def _enter(self, state: State, phase: str, timeout: float) -> None:
        self._state = state
        self._deadline = (self._now + timeout, phase, timeout)

    def _fail(self, error: SmolmixError) -> None:
        self._state = State.FAILED
        self._deadline = None
        self._unanswered_since = None
        self._handshake = None
        if not isinstance(error, GatewayClosed):
            self._resume_version = None
        self.stats.packets_dropped += self._refill.reset(0)
        if isinstance(error, RegistrationLost):
            self._key = None  # the next connection registers
        self._events.append(Failed(error))


def _is_due(at: float | None, now: float) -> bool:
    return at is not None and now >= at


def _refusal(step: str, text: str) -> GatewayRefused:
    if text in (error_texts.NOT_REGISTERED, error_texts.BAD_ADDRESS_CIPHERTEXT):
        return RegistrationLost(step, text)
    if text in (error_texts.ALREADY_OPEN, error_texts.STALE_AUTHENTICATION):
        return SessionBusy(step, text)
    return GatewayRefused(step, text)
