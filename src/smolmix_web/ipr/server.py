"""Server side of the IPR protocol: many anonymous clients, each known by its sender tag alone.

Calling order: hand every message of the mixnet client to :meth:`IprServer.receive_message`; drain
:meth:`~IprServer.next_event` and route the packets; hand packets from the Internet to
:meth:`~IprServer.send_packet`; send what :meth:`~IprServer.replies_to_send` returns as anonymous replies;
obey :meth:`~IprServer.poll_at`.

The engine behaves as the reference exit where a client can tell (ipr.md section 11): a message is dropped
without an answer when anything about it is wrong; the owner of a *source address* is taken for the sender
of a packet; a client is forgotten without a word after 60 seconds without an IP packet from it. It differs
in one respect: the bundle timer of a client starts with the first packet that waits instead of running all
the time.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bundle import Bundler, split_bundle
from smolmix_web.ipr.events import ClientConnected, ClientGone, PacketFromClient, ServerEvent
from smolmix_web.ipr.lp import (
    FrameKind,
    StreamFrame,
    StreamMessageType,
    emit_stream_frame,
    frame_kind,
    parse_stream_frame,
)
from smolmix_web.ipr.packetinfo import destination_of, inspect_packet
from smolmix_web.ipr.pool import AddressPool
from smolmix_web.ipr.requests import (
    ConnectRequest,
    DataRequest,
    DisconnectRequest,
    HealthRequest,
    Request,
    UnsupportedVersion,
    parse_request,
)
from smolmix_web.ipr.responses import (
    MTU_VERSION,
    BuildInfo,
    ConnectFailure,
    ConnectRefusal,
    ConnectSuccess,
    ControlResponse,
    DataResponse,
    DisconnectFailure,
    DisconnectRefusal,
    DisconnectSuccess,
    ExitPolicyFilterCheckFailed,
    Health,
    Info,
    InfoLevel,
    IpPair,
    Pong,
    Response,
    emit_response,
)
from smolmix_web.ipr.routable import IpAddress

# Versions that may come by stream (LP frames) and plainly.
_STREAM_VERSIONS = frozenset((9, 10))
_PLAIN_VERSIONS = frozenset((8,))

# Verdicts on destinations that are remembered, so that a packet on a known path costs one look-up.
_VERDICTS_KEPT = 4096

NO_BUILD_INFO = BuildInfo("", "", "0.0.0", "", "", "", "", "", "", "")


@dataclass(frozen=True, slots=True)
class IprServerConfig:
    """Times in seconds, sizes in bytes."""

    mtu: int = 1500
    idle_timeout: float = 60.0
    cleanup_interval: float = 10.0
    # For clients that name none. A client's own value is cut to this maximum; 0 counts as "none named".
    buffer_timeout: float = 0.020
    maximum_buffer_timeout: float = 10.0
    max_clients: int = 65533
    # Ours: a packet's source address must belong to the sender of the message. False: as the reference exit.
    check_source: bool = True
    # Ours: denials told to one client, per second; more are counted only. Each costs the client a reply SURB.
    denials_per_second: float = 20.0
    # Versions that are answered; requests of others are dropped without a word, as an older exit would.
    versions: frozenset[int] = frozenset((8, 9, 10))
    # Which shape a version 10 connect success has; many deployed exits answer in shape 9.
    v10_shape: int = 10
    build_info: BuildInfo = NO_BUILD_INFO


@dataclass(frozen=True, slots=True)
class Reply:
    """Bytes for the owner of a sender tag. ``max_retransmissions`` None: the mixnet client's default."""

    sender_tag: bytes
    data: bytes
    max_retransmissions: int | None


@dataclass(slots=True)
class IprServerStats:
    messages_received: int = 0
    malformed: int = 0
    unsupported_version: int = 0
    wrong_transport: int = 0
    missing_sender_tag: int = 0
    streams_opened: int = 0
    connects: int = 0
    connects_refused: int = 0
    idle_drops: int = 0
    packets_from_clients: int = 0
    packets_to_clients: int = 0
    bundles_sent: int = 0
    # Uplink packets by why they went no further.
    malformed_packets: int = 0
    unknown_source: int = 0
    foreign_source: int = 0
    policy_denied: int = 0
    # Downlink packets to an address that nobody has.
    unknown_destination: int = 0


@dataclass(slots=True)
class _Session:
    """One connected client."""

    client: bytes
    ips: IpPair
    version: int
    stream_id: int | None
    buffer_timeout: float
    last_activity: float
    sequence: int = 0
    flush_at: float = 0.0
    denials: float = 0.0  # tokens of the rate limit
    denials_at: float = 0.0
    bundler: Bundler = field(default_factory=Bundler)


def _allow_all(address: IpAddress, port: int) -> bool:
    return True


class IprServer:
    """The router of one exit. Sans-IO; see the module's text for the order of calls.

    :param allows: whether packets to an address and port are forwarded (port 0: no ports in that protocol);
        usually :meth:`smolmix_web.ipr.policy.RequestFilter.allows`. Answers are remembered.
    """

    def __init__(
        self,
        *,
        config: IprServerConfig | None = None,
        allows: Callable[[IpAddress, int], bool] = _allow_all,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self.config = config or IprServerConfig()
        self.stats = IprServerStats()
        self._allows = allows
        self._verdicts: dict[tuple[bytes, int], bool] = {}
        self._pool = AddressPool(random_bytes, self.config.max_clients)
        self._sessions: dict[bytes, _Session] = {}
        self._by_address: dict[bytes, _Session] = {}
        self._waiting: set[bytes] = set()  # clients whose bundler holds something
        self._events: deque[ServerEvent] = deque()
        self._replies: deque[Reply] = deque()
        self._cleanup_at: float | None = None

    def __repr__(self) -> str:
        return f"<IprServer {len(self._sessions)} clients>"

    def __len__(self) -> int:
        """Connected clients."""
        return len(self._sessions)

    # --- from the mixnet ---

    def receive_message(self, sender_tag: bytes | None, data: bytes, now: float) -> None:
        """One mixnet message; ``sender_tag`` is None for a message that cannot be answered."""
        self.stats.messages_received += 1
        stream_id: int | None = None
        try:
            if frame_kind(data) is FrameKind.SPHINX_STREAM:
                frame = parse_stream_frame(data)
                if not frame.payload:
                    self.stats.streams_opened += 1
                    return
                stream_id, data = frame.stream_id, frame.payload
            request = parse_request(data)
        except UnsupportedVersion:
            self.stats.unsupported_version += 1
            return
        except MalformedError:
            self.stats.malformed += 1
            return
        if request.version not in self.config.versions:
            self.stats.unsupported_version += 1
        elif sender_tag is None:
            self.stats.missing_sender_tag += 1
        elif request.version not in (_PLAIN_VERSIONS if stream_id is None else _STREAM_VERSIONS):
            self.stats.wrong_transport += 1
        else:
            self._process(sender_tag, stream_id, request, now)

    def _process(self, client: bytes, stream_id: int | None, request: Request, now: float) -> None:
        match request:
            case DataRequest():
                self._handle_data(client, stream_id, request, now)
            case ConnectRequest():
                self._answer(client, stream_id, self._handle_connect(client, stream_id, request, now))
            case DisconnectRequest():
                self._answer(client, stream_id, self._handle_disconnect(client, request))
            case HealthRequest(version, request_id):
                self._answer(client, stream_id, Health(version, request_id, self.config.build_info))
            case _:
                self._answer(client, stream_id, Pong(request.version, request.request_id))

    def _handle_connect(
        self, client: bytes, stream_id: int | None, request: ConnectRequest, now: float
    ) -> ControlResponse:
        session = self._sessions.get(client)
        if session is not None and stream_id is not None:
            self._forget(session, "reconnected")
            session = None
        if session is None:
            ips = self._pool.draw()
            if ips is None:
                self.stats.connects_refused += 1
                reason = ConnectRefusal.NO_AVAILABLE_IP
                return ConnectFailure(request.version, request.request_id, reason)
            session = self._open_session(client, stream_id, ips, request, now)
        mtu = self.config.mtu if request.version >= MTU_VERSION else None
        return ConnectSuccess(request.version, request.request_id, session.ips, mtu)

    def _open_session(
        self, client: bytes, stream_id: int | None, ips: IpPair, request: ConnectRequest, now: float
    ) -> _Session:
        wanted = (request.buffer_timeout or 0) / 1000 or self.config.buffer_timeout
        timeout = min(wanted, self.config.maximum_buffer_timeout)
        session = _Session(client, ips, request.version, stream_id, timeout, now)
        session.denials, session.denials_at = self.config.denials_per_second, now
        self._sessions[client] = session
        self._by_address[ips.ipv4.packed] = self._by_address[ips.ipv6.packed] = session
        self.stats.connects += 1
        if self._cleanup_at is None:
            self._cleanup_at = now + self.config.cleanup_interval
        mtu = self.config.mtu if request.version >= MTU_VERSION else min(self.config.mtu, 1420)
        self._events.append(ClientConnected(client, ips.ipv4, ips.ipv6, mtu))
        return session

    def _handle_disconnect(self, client: bytes, request: DisconnectRequest) -> ControlResponse:
        session = self._sessions.get(client)
        if session is None:
            reason = DisconnectRefusal.CLIENT_NOT_CONNECTED
            return DisconnectFailure(request.version, request.request_id, reason)
        self._forget(session, "disconnected")
        return DisconnectSuccess(request.version, request.request_id)

    def _handle_data(self, client: bytes, stream_id: int | None, request: DataRequest, now: float) -> None:
        packets, complete = split_bundle(request.bundle)
        if not complete:
            self.stats.malformed_packets += 1
        for packet in packets:
            try:
                info = inspect_packet(packet)
            except MalformedError:
                self.stats.malformed_packets += 1
                continue
            session = self._by_address.get(info.source)
            if session is None:
                self.stats.unknown_source += 1
                continue
            if session.client != client and self.config.check_source:
                self.stats.foreign_source += 1
                continue
            session.last_activity = now
            if self._is_allowed(info.destination, info.port):
                self.stats.packets_from_clients += 1
                self._events.append(PacketFromClient(session.client, packet, info))
            else:
                self.stats.policy_denied += 1
                if self._may_tell_denial(session, now):
                    reply = ExitPolicyFilterCheckFailed(_destination_text(info.destination, info.port))
                    self._answer(session.client, stream_id, Info(request.version, 0, reply, InfoLevel.WARN))

    def _may_tell_denial(self, session: _Session, now: float) -> bool:
        """A token bucket of one second."""
        rate = self.config.denials_per_second
        session.denials = min(rate, session.denials + (now - session.denials_at) * rate)
        session.denials_at = now
        if session.denials < 1:
            return False
        session.denials -= 1
        return True

    def _is_allowed(self, destination: bytes, port: int) -> bool:
        key = (destination, port)
        verdict = self._verdicts.get(key)
        if verdict is None:
            if len(self._verdicts) >= _VERDICTS_KEPT:
                self._verdicts.clear()
            verdict = self._verdicts[key] = self._allows(ipaddress.ip_address(destination), port)
        return verdict

    def _forget(self, session: _Session, reason: str) -> None:
        """What its bundler still holds is dropped: it would carry the stream id of a closed session."""
        del self._sessions[session.client]
        del self._by_address[session.ips.ipv4.packed]
        del self._by_address[session.ips.ipv6.packed]
        self._waiting.discard(session.client)
        self._pool.free(session.ips)
        self._events.append(ClientGone(session.client, session.ips.ipv4, session.ips.ipv6, reason))

    # --- towards the mixnet ---

    def send_packet(self, packet: bytes, now: float) -> None:
        """A packet from the Internet, for whoever has its destination address; dropped when nobody has."""
        destination = destination_of(packet)
        session = self._by_address.get(destination) if destination is not None else None
        if session is None:
            self.stats.unknown_destination += 1
            return
        self.stats.packets_to_clients += 1
        bundle = session.bundler.add(packet)
        if bundle is not None:
            self._send_bundle(session, bundle)
            session.flush_at = now + session.buffer_timeout
        if session.bundler and session.client not in self._waiting:
            session.flush_at = now + session.buffer_timeout
            self._waiting.add(session.client)

    def replies_to_send(self) -> list[Reply]:
        """Replies that are due, in order."""
        replies = list(self._replies)
        self._replies.clear()
        return replies

    def _send_bundle(self, session: _Session, bundle: bytes) -> None:
        session.sequence = session.sequence % 0xFFFFFFFF + 1  # 1, 2, ... and on wrap past 0 to 1
        self.stats.bundles_sent += 1
        payload = emit_response(DataResponse(session.version, bundle))
        # Fire and forget: what is lost here, TCP repairs.
        self._reply(session.client, session.stream_id, session.sequence, payload, 0)

    def _answer(self, client: bytes, stream_id: int | None, response: Response) -> None:
        """An inline reply: on the stream of the request, always with sequence number 0."""
        shape = self.config.v10_shape if response.version == MTU_VERSION else None
        self._reply(client, stream_id, 0, emit_response(response, shape=shape), None)

    def _reply(
        self, client: bytes, stream_id: int | None, sequence: int, payload: bytes, retransmissions: int | None
    ) -> None:
        if stream_id is not None:
            payload = emit_stream_frame(StreamFrame(stream_id, StreamMessageType.DATA, sequence, payload))
        self._replies.append(Reply(client, payload, retransmissions))

    # --- events and time ---

    def next_event(self) -> ServerEvent | None:
        return self._events.popleft() if self._events else None

    def poll_at(self) -> float | None:
        deadlines = [self._sessions[client].flush_at for client in self._waiting]
        if self._cleanup_at is not None:
            deadlines.append(self._cleanup_at)
        return min(deadlines, default=None)

    def handle_timer(self, now: float) -> None:
        for client in [client for client in self._waiting if self._sessions[client].flush_at <= now]:
            session = self._sessions[client]
            self._waiting.discard(client)
            bundle = session.bundler.flush()
            if bundle is not None:
                self._send_bundle(session, bundle)
        if self._cleanup_at is not None and now >= self._cleanup_at:
            self._drop_idle(now)

    def _drop_idle(self, now: float) -> None:
        idle_since = now - self.config.idle_timeout
        for session in [one for one in self._sessions.values() if one.last_activity <= idle_since]:
            self.stats.idle_drops += 1
            self._forget(session, "idle")
        self._cleanup_at = now + self.config.cleanup_interval if self._sessions else None


def _destination_text(destination: bytes, port: int) -> str:
    address = ipaddress.ip_address(destination)
    return f"{address}:{port}" if address.version == 4 else f"[{address}]:{port}"
