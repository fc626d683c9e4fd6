"""Our own reply SURBs: making them, remembering their keys, answering requests (sphinx.md 19, 25.4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.payload import reply_key_digest
from smolmix_web.nym.preparer import PacketPreparer
from smolmix_web.nym.randomness import RandomBytes
from smolmix_web.nym.replies import SENDER_TAG_LENGTH, ReplySurb, SurbList
from smolmix_web.nym.stats import ClientStats

_REORDERING = 100
"""SURBs this far behind the latest one that came back are taken for lost: peers use them in order of arrival,
and messages overtake each other by less."""


@dataclass(slots=True, eq=False)
class Peer:
    """Somebody we write to anonymously.

    :ivar sender_tag: how this recipient, and no other, knows us.
    :ivar issued: SURBs made for it so far; they are numbered from 1.
    :ivar redeemed: the highest number that came back with a reply.
    """

    recipient: Recipient
    sender_tag: bytes
    issued: int = 0
    redeemed: int = 0
    _open: dict[int, None] = field(default_factory=dict, repr=False)

    @property
    def believed_stock(self) -> int:
        """SURBs that the peer should still hold, or is about to get."""
        return len(self._open)

    def issue(self) -> int:
        """The number of a new SURB."""
        self.issued += 1
        self._open[self.issued] = None
        return self.issued

    def redeem(self, number: int) -> None:
        self.close(number)
        self.redeemed = max(self.redeemed, number)
        while self._open and (oldest := next(iter(self._open))) <= self.redeemed - _REORDERING:
            del self._open[oldest]

    def close(self, number: int) -> None:
        """That SURB will not come back."""
        self._open.pop(number, None)


@dataclass(frozen=True, slots=True)
class _IssuedKey:
    key: bytes = field(repr=False)
    peer: Peer
    number: int
    issued_at: float


@dataclass(slots=True)
class _Order:
    peer: Peer
    left: int
    rotation: KeyRotation = KeyRotation.UNKNOWN
    batch: list[ReplySurb] = field(default_factory=list)


class SurbIssuer:
    """:meth:`issue` makes SURBs for a message; :meth:`redeem` finds the key of a reply; requests are taken by
    :meth:`order` and worked off, a few SURBs per call, by :meth:`work`."""

    def __init__(
        self,
        config: ClientConfig,
        stats: ClientStats,
        preparer: PacketPreparer,
        random_bytes: RandomBytes,
    ) -> None:
        self._config = config
        self._stats = stats
        self._preparer = preparer
        self._random_bytes = random_bytes
        # In order of last use, and of issue.
        self._peers: dict[Recipient, Peer] = {}
        self._keys: dict[bytes, _IssuedKey] = {}
        self._spent: set[bytes] = set()
        self._spent_before: set[bytes] = set()
        self._orders: deque[_Order] = deque()

    @property
    def has_orders(self) -> bool:
        return bool(self._orders)

    @property
    def outstanding(self) -> int:
        """Keys of SURBs that have not come back."""
        return len(self._keys)

    def peer(self, recipient: Recipient) -> Peer:
        """The peer at that address, with the tag chosen for it once."""
        peer = self._peers.pop(recipient, None)
        if peer is None:
            if len(self._peers) >= self._config.max_recipients:
                del self._peers[next(iter(self._peers))]
            peer = Peer(recipient, self._random_bytes(SENDER_TAG_LENGTH))
        self._peers[recipient] = peer
        return peer

    def issue(self, peer: Peer, count: int, now: float) -> SurbList:
        """New SURBs for ``peer``, their keys remembered.

        :raises NoRouteError: the topology has no way home.
        """
        return self._hand_out(peer, [self._preparer.reply_surb(now) for _ in range(count)], now)

    def _hand_out(self, peer: Peer, surbs: list[ReplySurb], now: float) -> SurbList:
        for surb in surbs:
            self._keys[reply_key_digest(surb.key)] = _IssuedKey(surb.key, peer, peer.issue(), now)
        self._stats.surbs_issued += len(surbs)
        while len(self._keys) > self._config.max_reply_keys:
            self._forget_oldest()
        version = 2 if not surbs or surbs[0].has_seeds else 1
        return SurbList(tuple(surbs), self._preparer.rotation, version)

    def redeem(self, digest: bytes) -> tuple[bytes, Peer] | None:
        """The key of that digest, once, and who was given the SURB."""
        issued = self._keys.pop(digest, None)
        if issued is None:
            return None
        if len(self._spent) >= self._config.remembered_sets:
            self._spent_before, self._spent = self._spent, set()
        self._spent.add(digest)
        issued.peer.redeem(issued.number)
        self._stats.surbs_answered += 1
        return issued.key, issued.peer

    def is_spent(self, digest: bytes) -> bool:
        """Whether a reply with that digest came before: this is a copy of it."""
        return digest in self._spent or digest in self._spent_before

    def order(self, peer: Peer, amount: int) -> bool:
        """Takes a request; False if it asks for nothing, the peer has plenty, or too much is to do."""
        ordered = sum(order.left + len(order.batch) for order in self._orders if order.peer is peer)
        room = self._config.max_surbs_outstanding - peer.believed_stock - ordered
        amount = min(amount, self._config.max_surbs_per_request, room)
        if amount < 1 or len(self._orders) >= self._config.max_surb_orders:
            return False
        self._orders.append(_Order(peer, amount))
        return True

    def work(self, now: float) -> tuple[Peer, SurbList] | None:
        """Makes some of the SURBs ordered; returns a full message's worth once it is together.

        :raises NoRouteError: the topology has no way home.
        """
        if not self._orders:
            return None
        order = self._orders[0]
        if order.batch and order.rotation is not self._preparer.rotation:
            # One list, one rotation: those made for the old one are wasted, and made again.
            order.left += len(order.batch)
            order.batch.clear()
        order.rotation = self._preparer.rotation
        for _ in range(self._config.surbs_per_call):
            if not order.left or len(order.batch) >= self._config.surbs_per_message:
                break
            order.batch.append(self._preparer.reply_surb(now))
            order.left -= 1
        if order.left and len(order.batch) < self._config.surbs_per_message:
            return None
        batch, order.batch = order.batch, []
        if not order.left:
            self._orders.popleft()
        return order.peer, self._hand_out(order.peer, batch, now)

    def expire(self, now: float) -> None:
        """Forgets keys of SURBs that nobody will use any more."""
        oldest = now - self._config.reply_key_age
        while self._keys:
            if next(iter(self._keys.values())).issued_at > oldest:
                return
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        issued = self._keys.pop(next(iter(self._keys)))
        issued.peer.close(issued.number)

    def forget(self, recipient: Recipient) -> None:
        """Drops the tag and the keys of a peer that is given up: its replies will not be understood."""
        peer = self._peers.pop(recipient, None)
        if peer is not None:
            self._keys = {digest: key for digest, key in self._keys.items() if key.peer is not peer}
            self._orders = deque(order for order in self._orders if order.peer is not peer)
