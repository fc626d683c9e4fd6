"""The Nym client engine: messages in and out above, packets to and pushes from the gateway below.

It serves the page, and embedded in the exit it serves the IP packet router. Its parts, each in its file::

    send   -> composer, adds reply SURBs  ->  outbox: lanes, acks  ->  traffic: pace, preparer: Sphinx
    reply  -> replier, takes reply SURBs  ->     "                 ->     "        -> packets_to_send

    receive_push -> acks -> outbox
                 -> receiver -> next_event
                             -> SURBs of others    -> surb_stock -> replier
                             -> requests for ours  -> surb_issuer -> composer

Fragments stay unencrypted until the very moment they leave. So each transmission uses the topology, and the
keys, of that moment, and a change of either loses nothing that waits.
"""

from __future__ import annotations

import math
import secrets
from collections import deque

from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.nym.acks import ACK_LENGTH, decode_ack
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.composer import Composer
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived, NymEvent
from smolmix_web.nym.fragments import COVER_IDENTIFIER
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.lanes import GENERAL, Lane
from smolmix_web.nym.message import MessageKind, PlainData
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.outbox import Outbox
from smolmix_web.nym.pacing import CONNECTION_SLOTS
from smolmix_web.nym.preparer import PacketPreparer
from smolmix_web.nym.randomness import RandomBytes
from smolmix_web.nym.receiver import Incoming, Receiver
from smolmix_web.nym.replier import Replier
from smolmix_web.nym.replies import AdditionalSurbs, RepliableData, ReplyData, SurbRequest
from smolmix_web.nym.rotation import KeyRotationInfo, SurbRefresh
from smolmix_web.nym.stats import ClientStats
from smolmix_web.nym.stockpile import Stockpile
from smolmix_web.nym.surb_issuer import Peer, SurbIssuer
from smolmix_web.nym.topology import Topology
from smolmix_web.nym.traffic import Traffic

_EXPIRY_INTERVAL = 60.0
"""Seconds between two looks for old reply keys."""


class NymClient:
    """Order of calls: construct, ``set_topology`` (and ``set_key_rotation`` for a client that holds SURBs of
    others), then any of the rest. Nothing is sent before there is a topology with our own gateway in it.

    :param gateway_identity: ed25519 key of the gateway we are connected to, 32 bytes.
    :param now: seconds on the caller's monotonic clock, here and in all methods.
    """

    def __init__(
        self,
        keys: ClientKeys,
        gateway_identity: bytes,
        config: ClientConfig | None = None,
        *,
        random_bytes: RandomBytes = secrets.token_bytes,
        now: float = 0.0,
    ) -> None:
        self.address: Recipient = keys.recipient(gateway_identity)
        self.config = config = config or ClientConfig()
        self.stats = stats = ClientStats()
        self._ack_key = keys.ack_key
        self._events: deque[NymEvent] = deque()
        self._preparer = PacketPreparer(keys, self.address, config, random_bytes)
        self._outbox = Outbox(config, stats, random_bytes, self._events.append)
        self._replier = Replier(self.address, config, stats, self._outbox)
        self._issuer = SurbIssuer(config, stats, self._preparer, random_bytes)
        self._composer = Composer(config, self._preparer, self._issuer, self._outbox)
        self._receiver = Receiver(keys, config, stats, self._issuer)
        self._traffic = Traffic(config, stats, self._preparer, self._outbox, random_bytes)
        self._stockpile = Stockpile(config, stats, self._preparer)
        self._now = now
        self._expire_at = now + _EXPIRY_INTERVAL
        self._rotation: KeyRotationInfo | None = None
        self._surb_refresh: SurbRefresh | None = None
        self._rotation_poll_at = math.inf
        self._unix_offset = 0.0

    def __repr__(self) -> str:
        ready = "ready" if self.is_ready else "no topology"
        return f"<NymClient {ready}, {self.queued()} queued, {self.unacknowledged()} unacknowledged>"

    # What the network looks like ---------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether packets can be sent: the topology has our gateway and a node in each layer."""
        return self._preparer.is_ready

    def set_topology(self, topology: Topology | None, now: float, *, unix_time: float | None = None) -> None:
        """A new topology, or None when it has become too old to be used: then nothing is sent.

        :param unix_time: seconds since 1970 at ``now``; given, it keeps the two clocks in step.
        """
        was_ready = self.is_ready
        self._preparer.set_topology(topology)
        if unix_time is not None:
            self._unix_offset = unix_time - now
        if topology is not None and self._rotation is None:
            # Without the directory's epochs a changed rotation counts when the next topology confirms it.
            self._poll_refresh(topology, now)
        if self.is_ready and not was_ready:
            self._traffic.start(now)
        self._stockpile.renew(now)
        self._composer.flush(now)

    def set_key_rotation(self, info: KeyRotationInfo, now: float, unix_time: float) -> None:
        """Epochs of the network, so that held SURBs are replaced and thrown away in time (sphinx.md 26).

        May be told again at any time, however often.

        :param unix_time: seconds since 1970 at ``now``.
        """
        if self._rotation is None:
            self._surb_refresh = SurbRefresh(info.rotation_at(unix_time))
        self._rotation = info
        self._unix_offset = unix_time - now
        # Never later than it was: who is told more often than it polls would never poll.
        self._rotation_poll_at = min(self._rotation_poll_at, now + info.poll_interval)

    # Messages out ------------------------------------------------------------------------------------------

    def send(
        self,
        recipient: Recipient,
        data: bytes,
        now: float,
        *,
        reply_surbs: int = 0,
        anonymous: bool = True,
        max_retransmissions: int | None = None,
        lane: Lane = GENERAL,
    ) -> int:
        """Queues a message and returns its id (for delivery events).

        :param anonymous: True sends a repliable message: a sender tag and ``reply_surbs`` reply SURBs, each
            good for one packet of an answer. False sends the bare data.
        :param max_retransmissions: per fragment; None for no limit but the configuration's.
        :raises LocalProtocolError: SURBs for a plain message, or more than a list can hold (65,535).
        """
        if not 0 <= reply_surbs <= 0xFFFF or (reply_surbs and not anonymous):
            raise LocalProtocolError("reply SURBs travel in anonymous messages, at most 65,535")
        message_id = self._outbox.new_message_id()
        if anonymous:
            self._composer.send(
                recipient,
                data,
                now,
                message_id=message_id,
                reply_surbs=reply_surbs,
                max_retransmissions=max_retransmissions,
                lane=lane,
            )
            return message_id
        fragments = self._outbox.create(
            PlainData(data),
            lane=lane,
            max_retransmissions=max_retransmissions,
            recipient=recipient,
            message_id=message_id,
        )
        for fragment in fragments:
            self._outbox.enqueue(fragment, now)
        return message_id

    def reply(
        self,
        sender_tag: bytes,
        data: bytes,
        now: float,
        *,
        max_retransmissions: int | None = None,
        lane: Lane = GENERAL,
    ) -> int:
        """Answers by the SURBs that came with ``sender_tag`` (16 bytes); returns the message's id.

        Each fragment takes one SURB. While there are not enough, more are requested and the rest waits; an
        answer to a tag that never gave any is dropped and counted.

        :param max_retransmissions: per fragment; None for the configuration's limit for replies.
        :raises LocalProtocolError: the data is empty, which no receiver accepts.
        """
        if not data:
            raise LocalProtocolError("a reply cannot be empty")
        if max_retransmissions is None:
            max_retransmissions = self.config.reply_max_retransmissions
        message_id = self._outbox.new_message_id()
        fragments = self._outbox.create(
            ReplyData(data),
            lane=lane,
            max_retransmissions=max_retransmissions,
            sender_tag=sender_tag,
            message_id=message_id,
        )
        self._replier.reply(sender_tag, fragments, now)
        return message_id

    def abandon(self, recipient: Recipient) -> int:
        """Gives a recipient up: its queued and unacknowledged fragments, its tag and its reply SURBs.

        For an exit that stays silent; without this its fragments would be sent again for ever.

        :returns: fragments dropped.
        """
        self._composer.forget(recipient)
        self._issuer.forget(recipient)
        return len(self._outbox.abandon_where(lambda fragment: fragment.recipient == recipient))

    def drop_lane(self, lane: Lane) -> None:
        """Gives up what waits on a lane and was not sent yet; what was sent is still repeated if lost."""
        self._composer.drop_lane(lane)
        self._replier.drop_lane(lane)
        for fragment in self._outbox.abandon_where(lambda one: one.queued and one.lane == lane):
            self._replier.forget(fragment)  # its reply SURB can serve another

    # Messages in -------------------------------------------------------------------------------------------

    def receive_push(self, message: bytes, now: float) -> None:
        """One message pushed by the gateway: ack, fragment or cover. Bad ones are counted and dropped."""
        self._now = now
        self.stats.pushes += 1
        if len(message) == ACK_LENGTH:
            self._receive_ack(message, now)
        elif (incoming := self._receiver.receive(message, now)) is not None:
            self._handle_message(incoming, now)
        self._stockpile.observe(now)

    def _receive_ack(self, content: bytes, now: float) -> None:
        try:
            identifier = decode_ack(self._ack_key, content)
        except MalformedError:
            self.stats.malformed.ack += 1
            return
        if identifier == COVER_IDENTIFIER:
            self.stats.acks_cover += 1
            return
        fragment = self._outbox.acknowledge(identifier, now)
        if fragment is None:
            self.stats.acks_unmatched += 1
            return
        self.stats.acks_received += 1
        if fragment.sent_at is not None and fragment.retransmissions == 0:
            self.stats.note_round_trip(now - fragment.sent_at)
        self._replier.forget(fragment)

    def _handle_message(self, incoming: Incoming, now: float) -> None:
        message, peer = incoming.message, incoming.peer
        if isinstance(message, SurbRequest):
            self._answer_surb_request(message, peer)
        elif isinstance(message, RepliableData):
            self._replier.supply(message.sender_tag, message.surbs, now, requested=False)
            self._deliver(MessageReceived(message.data, message.sender_tag, MessageKind.REPLIABLE))
        elif isinstance(message, ReplyData):
            recipient = peer.recipient if peer is not None else None
            self._deliver(MessageReceived(message.data, None, MessageKind.REPLY, recipient))
        elif isinstance(message, PlainData):
            self._deliver(MessageReceived(message.data))
        else:
            requested = isinstance(message, AdditionalSurbs)
            self._replier.supply(message.sender_tag, message.surbs, now, requested=requested)

    def _deliver(self, event: MessageReceived) -> None:
        self.stats.messages_received += 1
        self._events.append(event)

    def _answer_surb_request(self, request: SurbRequest, peer: Peer | None) -> None:
        """Only whom we write to may ask, and only by a SURB we gave to it."""
        if peer is None or peer.recipient != request.requester:
            self.stats.malformed.surb_request += 1
        elif not self._issuer.order(peer, request.amount):
            self.stats.surb_requests_ignored += 1

    def next_event(self) -> NymEvent | None:
        return self._events.popleft() if self._events else None

    # Packets out -------------------------------------------------------------------------------------------

    def packets_to_send(
        self, now: float, limit: int = CONNECTION_SLOTS, *, backlog: int = 0
    ) -> list[MixPacket]:
        """Packets that are due, at most ``limit``.

        :param limit: packets that the caller takes now; 0 says that the connection is full.
        :param backlog: packets taken earlier that the connection has not sent yet. A full connection, or
            ``CONNECTION_SLOTS`` of backlog, slow the main stream down (see :mod:`.pacing`).
        """
        self._now = now
        self._composer.answer_requests(now)
        packets = self._traffic.packets(now, limit, backlog) if self.is_ready else []
        self._stockpile.observe(now)
        return packets

    def prepare_ahead(self, now: float, budget: int) -> int:
        """Spends idle time on headers, keys and reply SURBs that will be needed soon.

        :param budget: how many at most; one costs up to about half a millisecond.
        :returns: how many were made; 0 means that the pools are full.
        """
        return self._preparer.prepare_ahead(now, budget)

    # Numbers -----------------------------------------------------------------------------------------------

    def queued(self) -> int:
        """Real packets waiting for their turn: the number for back-pressure."""
        return len(self._outbox.queue) + self._composer.queued()

    def queued_by_lane(self) -> dict[Lane, int]:
        """Packets waiting, per lane that has any."""
        return self._outbox.queue.counts()

    def queued_in(self, lane: Lane) -> int:
        """Real packets waiting in one lane."""
        return self._outbox.queue.waiting(lane)

    def waiting_in(self, lane: Lane) -> int:
        """Packets of one lane not sent yet, those that wait for reply SURBs included."""
        return self.queued_in(lane) + self._composer.waiting_in(lane) + len(self._replier.waiting_in(lane))

    def unacknowledged(self) -> int:
        """Fragments sent and not yet acknowledged."""
        return len(self._outbox.pending)

    def surbs_outstanding(self) -> int:
        """Reply SURBs of ours that others may still answer with."""
        return self._issuer.outstanding

    def waiting_for_surbs(self, sender_tag: bytes) -> int:
        """Reply fragments that cannot be sent to this tag until it gives more SURBs."""
        entry = self._replier.stock.get(sender_tag)
        return entry.waiting if entry is not None else 0

    @property
    def path_delay(self) -> float:
        """Seconds by which acks are waited for longer than usual, because of what they took lately."""
        return self._outbox.ack_timing.addition - self.config.ack_wait_addition

    def can_reply(self, sender_tag: bytes) -> bool:
        """Whether this tag (16 bytes) ever gave reply SURBs, and was not forgotten since."""
        return self._replier.stock.get(sender_tag) is not None

    def surbs_held(self, sender_tag: bytes) -> int:
        """Reply SURBs in stock for this tag, the reserve included."""
        entry = self._replier.stock.get(sender_tag)
        return entry.held if entry is not None else 0

    # Time --------------------------------------------------------------------------------------------------

    def poll_at(self, *, can_send: bool = True) -> float | None:
        """When ``handle_timer`` and ``packets_to_send`` should be called next; it may lie in the past.

        :param can_send: False while the connection is down or takes no packets: then only ``handle_timer``
            counts. (Otherwise a full queue would be due for ever.)
        """
        at = min(
            self._outbox.pending.poll_at(),
            self._replier.poll_at(),
            self._expire_at,
            self._rotation_poll_at,
            self._stockpile.due_at,
        )
        if can_send and self.is_ready:
            at = min(at, self._traffic.poll_at(self._now))
            if self._issuer.has_orders:
                at = min(at, self._now)
        return at

    def handle_timer(self, now: float) -> None:
        """Takes lost fragments up again, looks after SURBs and keys, and uses times of quiet."""
        self._now = now
        for fragment in self._outbox.take_lost(now):
            if fragment.recipient is not None:
                self._outbox.enqueue(fragment, now)
            else:
                self._replier.retransmit(fragment, now)
        self._replier.handle_timer(now)
        if now >= self._rotation_poll_at:
            self._poll_rotation(now)
        if now >= self._expire_at:
            self._expire_at = now + _EXPIRY_INTERVAL
            self._issuer.expire(now)
        if now >= self._stockpile.due_at:
            self._stockpile.work(now, self._keys_change_at(now))

    def _keys_change_at(self, now: float) -> float:
        info = self._rotation
        if info is None:
            return math.inf
        unix_time = now + self._unix_offset
        return info.rotation_start(info.rotation_at(unix_time) + 1) - self._unix_offset

    def _poll_rotation(self, now: float) -> None:
        info, topology = self._rotation, self._preparer.topology
        assert info is not None
        self._rotation_poll_at = now + info.poll_interval
        if topology is not None:
            self._poll_refresh(topology, now)
        self._replier.purge(info, topology, now, now + self._unix_offset)

    def _poll_refresh(self, topology: Topology, now: float) -> None:
        if self._surb_refresh is None:
            self._surb_refresh = SurbRefresh(topology.rotation_id)
        if self._surb_refresh.poll(topology.rotation_id):
            self._replier.refresh(now)
