"""Client side of the IPR protocol: gets a pair of addresses from an exit, then carries IP packets.

Calling order: :meth:`IprClient.start`; hand every mixnet message that comes from the exit to
:meth:`~IprClient.receive_message`; give what :meth:`~IprClient.messages_to_send` returns to the mixnet
client, as anonymous messages with the stated number of reply SURBs; obey :meth:`~IprClient.poll_at`; drain
:meth:`~IprClient.next_event`. After :class:`Connected`, :meth:`~IprClient.send_packets` is open. After any
of the three ending events (denied, timed out, disconnected) or ``close``, ``start`` may be called again:
the exit then hands out fresh addresses.

A connect goes: Open frame with ten SURBs, connect request of version 10 where the exit's release knows it,
and after 15 seconds of silence one of version 9 on the same stream. The protocol acknowledges nothing, so a
dead exit can only be told by silence: when something was sent and nothing came back for a while, the engine
pings the exit, and when that stays unanswered too it says :class:`ExitSilent` (once per silence; it goes on
listening). An exit that restarted, or dropped us as idle, answers pings and discards our packets without a
word. So with ``session_probe`` the first packet of a session is a keep-alive; where an exit answers it, from
then on only what proves the session counts as an answer, and a keep-alive takes the ping's place.

Sources: ipr.md sections 8 to 10; numbers that the published client does not have are marked "ours".
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.ipr import keepalive
from smolmix_web.ipr.bundle import join_bundle, split_bundle
from smolmix_web.ipr.events import (
    ClientEvent,
    Connected,
    ConnectTimedOut,
    Denied,
    Disconnected,
    ExitSilent,
    PacketReceived,
    PolicyDenied,
)
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame, parse_stream_frame
from smolmix_web.ipr.requests import (
    ConnectRequest,
    DataRequest,
    DisconnectRequest,
    PingRequest,
    Request,
    emit_request,
)
from smolmix_web.ipr.responses import (
    ConnectFailure,
    ConnectSuccess,
    DataResponse,
    ExitPolicyFilterCheckFailed,
    Info,
    Response,
    UnrequestedDisconnect,
    parse_response,
)
from smolmix_web.ipr.routable import IpAddress
from smolmix_web.ipr.timestamp import Timestamp
from smolmix_web.ipr.uplink import take_bundle
from smolmix_web.ipr.version import preferred_version

# MTU of an exit that does not tell: the default of its TUN device (ipr.md 11.7).
DEFAULT_MTU = 1420
# IPv6 asks for no less (RFC 8200 section 5); an exit that reports less is not believed.
MINIMUM_MTU = 1280

# Whatever version the connect had, data and later control requests carry version 9, as the published
# client's do.
_DATA_VERSION = 9


@dataclass(frozen=True, slots=True)
class IprClientConfig:
    """Times in seconds; None switches a timer off."""

    open_reply_surbs: int = 10
    data_reply_surbs: int = 2
    connect_timeout: float = 60.0
    v10_timeout: float = 15.0
    # Several IP packets in one message; see smolmix_web.ipr.uplink.
    bundling: bool = False
    # No SURBs where they would cost one more mixnet packet; see there too.
    thrifty_surbs: bool = False
    # Ours. The exit forgets a client after 60 s without an uplink IP packet; leaves time for two
    # retransmissions.
    keepalive_interval: float | None = 40.0
    # Ours. Silence after which the exit is pinged, and after which it is called silent.
    probe_after: float | None = 6.0
    silence_limit: float | None = 20.0
    # Ours. Do not take an answered ping for a living session, where that can be told apart.
    session_probe: bool = False
    # With it: earlier sessions showed that this exit answers keep-alives; only that counts from the start.
    answers_keepalives: bool = False


class IprState(Enum):
    IDLE = "idle"
    CONNECT_V10 = "waiting for a version 10 connect response"
    CONNECT_V9 = "waiting for a version 9 connect response"
    CONNECTED = "connected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class OutgoingMessage:
    """An LP frame for the exit, to be sent anonymously with ``reply_surbs`` SURBs attached."""

    data: bytes
    reply_surbs: int


@dataclass(slots=True)
class IprClientStats:
    messages_sent: int = 0
    messages_received: int = 0
    packets_sent: int = 0
    packets_received: int = 0
    packets_dropped: int = 0
    packets_superseded: int = 0
    keepalives_sent: int = 0
    pings_sent: int = 0
    policy_denials: int = 0
    # Messages that are not for this stream, or not expected now.
    ignored: int = 0
    malformed: int = 0


class IprClient:
    """One client of one exit. Sans-IO; see the module's text for the order of calls.

    :param exit_version: build version of the exit from the directory ("1.37.0"), None when unknown
    :param unix_time: wall clock in seconds, for the time stamps in control requests
    :param thin: gives the packets worth sending out of those that wait, in order; asked whenever messages are
        taken and packets came in since
    """

    def __init__(
        self,
        *,
        exit_version: str | None,
        unix_time: Callable[[], float],
        config: IprClientConfig | None = None,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        thin: Callable[[Sequence[bytes]], list[bytes]] | None = None,
    ) -> None:
        self.config = config or IprClientConfig()
        self.state = IprState.IDLE
        self.stats = IprClientStats()
        self._preferred_version = preferred_version(exit_version)
        self._unix_time = unix_time
        self._random_bytes = random_bytes
        self._stream_id = 0
        self._request_id = 0
        self._sequence = 0
        self._ipv4 = IPv4Address(0)
        self._thin = thin
        self._packets: deque[bytes] = deque()
        self._may_be_thinned = False
        self._frames: deque[OutgoingMessage] = deque()
        self._events: deque[ClientEvent] = deque()
        self._connect_deadline = 0.0
        self._last_packet_sent = 0.0
        self._last_received = 0.0
        # Since when an answer is due; None while none is.
        self._unanswered_since: float | None = None
        self._pinged = False
        self._silence_told = False
        # Whether this exit has answered a keep-alive of this session.
        self._answers_keepalives = False
        self.path_delay = 0.0
        """Seconds by which the mixnet is slower now than usual; the caller keeps it up to date. Silence
        is judged more patiently by it: a slow network is no dead exit."""

    def __repr__(self) -> str:
        return f"<IprClient {self.state.value}, {len(self._packets)} packets queued>"

    # --- wishes of the layer above ---

    def start(self, now: float) -> None:
        """Connects, on a fresh stream. :raises LocalProtocolError: a connect or a session is under way"""
        if self.state not in (IprState.IDLE, IprState.CLOSED):
            raise LocalProtocolError(f"start: the IPR client is {self.state.value}")
        self._stream_id = self._random_u64()
        self._sequence = 0
        self._packets.clear()
        self._frames.clear()
        self._unanswered_since = None
        self._answers_keepalives = self.config.session_probe and self.config.answers_keepalives
        self._last_received = now
        self._send_frame(StreamMessageType.OPEN, b"", self.config.open_reply_surbs)
        self._connect(self._preferred_version, now)

    def send_packets(self, packets: Iterable[bytes], now: float) -> None:
        """Queues IP packets. While not connected they are dropped and counted, as by an unplugged cable:
        a TCP above may well have something to say after the exit has gone.
        """
        before = len(self._packets)
        self._packets.extend(packets)
        if self.state is not IprState.CONNECTED:
            self.stats.packets_dropped += len(self._packets)
            self._packets.clear()
        elif len(self._packets) > before:
            self._last_packet_sent = now
            self._may_be_thinned = len(self._packets) > 1
            self._expect_answer(now)

    def ping(self, now: float) -> None:
        """Asks the exit for a sign of life; any answer ends a silence. :raises LocalProtocolError: not
        connected
        """
        if self.state is not IprState.CONNECTED:
            raise LocalProtocolError(f"ping: the IPR client is {self.state.value}")
        self._send_ping(now)

    def close(self, now: float) -> None:
        """Gives the addresses back. Packets queued before still go out; no answer is waited for."""
        if self.state is IprState.CONNECTED:
            self._bundle_all()
            self._send_request(DisconnectRequest(_DATA_VERSION, self._random_u64(), self._timestamp()), 0)
        elif self.state is not IprState.CLOSED:
            self._frames.clear()
        self.state = IprState.CLOSED
        self._unanswered_since = None

    def restart_silence(self, now: float) -> None:
        """Silence up to now was not the exit's: our own way to it was interrupted."""
        if self._unanswered_since is not None:
            self._unanswered_since = now
        self._pinged = self._silence_told = False

    @property
    def answers_keepalives(self) -> bool:
        """Whether this exit is known to answer keep-alives (with ``session_probe``)."""
        return self._answers_keepalives

    def queued(self) -> int:
        """IP packets that wait for :meth:`messages_to_send`."""
        return len(self._packets)

    @property
    def last_received(self) -> float:
        """When the last valid message of the exit came (or the connect started)."""
        return self._last_received

    @property
    def unanswered_since(self) -> float | None:
        """Since when something we sent has had no answer of any kind; None when nothing is due."""
        return self._unanswered_since

    # --- towards the mixnet ---

    def messages_to_send(self, now: float, limit: int | None = None) -> list[OutgoingMessage]:
        """Up to ``limit`` messages, oldest first. Taking them late lets bundling pack more into each."""
        messages: list[OutgoingMessage] = []
        if self._may_be_thinned and self._thin is not None:
            self._may_be_thinned = False
            kept = self._thin(self._packets)
            self.stats.packets_superseded += len(self._packets) - len(kept)
            self._packets = deque(kept)
        while limit is None or len(messages) < limit:
            if self._frames:
                messages.append(self._frames.popleft())
            elif self._packets:
                self._bundle_next()
            else:
                break
        self.stats.messages_sent += len(messages)
        return messages

    def _bundle_all(self) -> None:
        while self._packets:
            self._bundle_next()

    def _bundle_next(self) -> None:
        config = self.config
        packets, surbs = take_bundle(
            self._packets, config.data_reply_surbs, bundling=config.bundling, thrifty=config.thrifty_surbs
        )
        self.stats.packets_sent += len(packets)
        self._send_request(DataRequest(_DATA_VERSION, join_bundle(packets)), surbs)

    def _send_request(self, request: Request, reply_surbs: int) -> None:
        if not isinstance(request, ConnectRequest):  # connects are number 0, everything after counts from 1
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._send_frame(StreamMessageType.DATA, emit_request(request), reply_surbs)

    def _send_frame(self, message_type: StreamMessageType, payload: bytes, reply_surbs: int) -> None:
        frame = StreamFrame(self._stream_id, message_type, self._sequence, payload)
        self._frames.append(OutgoingMessage(emit_stream_frame(frame), reply_surbs))

    def _connect(self, version: int, now: float) -> None:
        self._request_id = self._random_u64()
        timeout = self.config.connect_timeout
        if version == 10:
            self.state = IprState.CONNECT_V10
            timeout = min(timeout, self.config.v10_timeout)
        else:
            self.state = IprState.CONNECT_V9
        self._connect_deadline = now + timeout
        request = ConnectRequest(version, self._request_id, self._timestamp())
        self._send_request(request, self.config.data_reply_surbs)

    def _send_ping(self, now: float) -> None:
        self.stats.pings_sent += 1
        self._expect_answer(now)
        request = PingRequest(_DATA_VERSION, self._random_u64(), self._timestamp())
        self._send_request(request, self.config.data_reply_surbs)

    # --- from the mixnet ---

    def receive_message(self, data: bytes, now: float) -> bool:
        """One mixnet message; whether it is a frame of this session's stream (others may be for others).

        What is malformed or out of place is counted and dropped.
        """
        try:
            frame = parse_stream_frame(data)
        except MalformedError:
            self.stats.malformed += 1
            return False
        if frame.stream_id != self._stream_id or frame.message_type is not StreamMessageType.DATA:
            self.stats.ignored += 1
            return False
        try:
            if self.state is IprState.CONNECTED:
                self._receive_in_session(parse_response(frame.payload, shape=_DATA_VERSION), now)
            elif self.state is IprState.CONNECT_V10:
                self._receive_connect_v10(frame.payload, now)
            elif self.state is IprState.CONNECT_V9:
                self._receive_connect(_parse_any_shape(frame.payload, 9), now)
            else:
                self.stats.ignored += 1
        except MalformedError:
            self.stats.malformed += 1
        return True

    def _receive_connect_v10(self, payload: bytes, now: float) -> None:
        # An answer of another version is ignored rather than fatal: the version 9 connect follows anyway.
        if payload[:1] != b"\x0a":
            self.stats.ignored += 1
            return
        self._receive_connect(_parse_any_shape(payload, 10), now)

    def _receive_connect(self, response: Response, now: float) -> None:
        if (
            not isinstance(response, ConnectSuccess | ConnectFailure)
            or response.request_id != self._request_id
        ):
            self.stats.ignored += 1
            return
        self.stats.messages_received += 1
        self._last_received = now
        self._answered()
        if isinstance(response, ConnectFailure):
            self._end(Denied(str(response)))
            return
        version = 10 if self.state is IprState.CONNECT_V10 else 9
        self.state = IprState.CONNECTED
        self._ipv4 = response.ips.ipv4
        self._last_packet_sent = now
        mtu = DEFAULT_MTU if response.mtu is None else max(response.mtu, MINIMUM_MTU)
        self._events.append(Connected(response.ips.ipv4, response.ips.ipv6, mtu, version))
        if self.config.session_probe:
            self._send_keepalive(now)

    def _receive_in_session(self, response: Response, now: float) -> None:
        self.stats.messages_received += 1
        self._last_received = now
        match response:
            case DataResponse(_, bundle):
                packets, complete = split_bundle(bundle)
                if not complete:
                    self.stats.malformed += 1
                packets = [packet for packet in packets if packet]
                self.stats.packets_received += len(packets)
                self._events.extend(map(PacketReceived, packets))
                if self.config.session_probe and not self._answers_keepalives:
                    self._answers_keepalives = any(map(keepalive.is_answer, packets))
                self._answered()
            case Info(_, _, ExitPolicyFilterCheckFailed(destination), _):
                if destination == f"{keepalive.DESTINATION}:0":
                    self._answers_keepalives = self.config.session_probe
                else:
                    self.stats.policy_denials += 1
                    self._events.append(PolicyDenied(destination, *_parse_destination(destination)))
                self._answered()
            case UnrequestedDisconnect():
                self._end(Disconnected(str(response)))
            case _:  # pong, health, other infos, late connect responses: a sign of life and no more
                if not self._answers_keepalives:
                    self._answered()

    def _answered(self) -> None:
        self._unanswered_since = None
        self._pinged = False
        self._silence_told = False

    def _end(self, event: Denied | ConnectTimedOut | Disconnected) -> None:
        self.state = IprState.CLOSED
        self._packets.clear()
        self._frames.clear()
        self._unanswered_since = None
        self._events.append(event)

    # --- events and time ---

    def next_event(self) -> ClientEvent | None:
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        if self.state in (IprState.CONNECT_V10, IprState.CONNECT_V9):
            return self._connect_deadline
        if self.state is not IprState.CONNECTED:
            return None
        deadlines = (self._keepalive_at(), self._probe_at(), self._silence_at())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def handle_timer(self, now: float) -> None:
        if self.state in (IprState.CONNECT_V10, IprState.CONNECT_V9):
            self._handle_connect_timer(now)
            return
        if self.state is not IprState.CONNECTED:
            return
        if _is_due(self._silence_at(), now) and self._unanswered_since is not None:
            self._silence_told = True
            self._events.append(ExitSilent(now - self._unanswered_since))
        if _is_due(self._probe_at(), now):
            self._pinged = True
            if self.config.session_probe:
                self._send_keepalive(now)
            if not self._answers_keepalives:
                self._send_ping(now)
        if _is_due(self._keepalive_at(), now):
            self._send_keepalive(now)

    def _send_keepalive(self, now: float) -> None:
        self.stats.keepalives_sent += 1
        self.send_packets([keepalive.keepalive_packet(self._ipv4, self.stats.keepalives_sent)], now)

    def _handle_connect_timer(self, now: float) -> None:
        if now < self._connect_deadline:
            return
        if self.state is IprState.CONNECT_V10:
            self._connect(9, now)
        else:
            self._end(ConnectTimedOut(self.config.connect_timeout))

    def _keepalive_at(self) -> float | None:
        interval = self.config.keepalive_interval
        return None if interval is None else self._last_packet_sent + interval

    def _probe_at(self) -> float | None:
        if self._unanswered_since is None or self._pinged or self.config.probe_after is None:
            return None
        return self._unanswered_since + self.config.probe_after + self.path_delay

    def _silence_at(self) -> float | None:
        if self._unanswered_since is None or self._silence_told or self.config.silence_limit is None:
            return None
        return self._unanswered_since + self.config.silence_limit + 4 * self.path_delay

    def _expect_answer(self, now: float) -> None:
        if self._unanswered_since is None:
            self._unanswered_since = now

    def _random_u64(self) -> int:
        return int.from_bytes(self._random_bytes(8), "big")

    def _timestamp(self) -> Timestamp:
        return Timestamp.from_unix(self._unix_time())


def _is_due(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline


def _parse_any_shape(payload: bytes, shape: int) -> Response:
    """A connect response of the expected shape, or else of the other one (with or without an MTU)."""
    try:
        return parse_response(payload, shape=shape)
    except MalformedError:
        return parse_response(payload, shape=9 if shape == 10 else 10)


def _parse_destination(destination: str) -> tuple[IpAddress | None, int]:
    host, _, port = destination.rpartition(":")
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")), int(port)
    except ValueError:
        return None, 0
