"""What the sessions of one gateway share: stored clients, and who is connected (gateway.md 6.6, 12, 14)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from smolmix_web.gateway.server import GatewaySession

MESSAGE_LIFETIME = 24 * 3600.0
"""Seconds that a message waits for an absent client."""

MESSAGE_PAGE = 100
"""Stored messages read at a time."""


@dataclass(frozen=True, slots=True)
class StoredClient:
    shared_key: bytes = field(repr=False)
    last_authentication: int | None  # unix seconds that the client signed last


class GatewayStorage(Protocol):
    """What outlives a connection. Clients are named by their 32-byte identity."""

    def load_client(self, client: bytes) -> StoredClient | None: ...

    def store_key(self, client: bytes, shared_key: bytes) -> None:
        """Insert or overwrite the key; timestamp and bandwidth of a known client stay."""
        ...

    def store_last_authentication(self, client: bytes, timestamp: int) -> None: ...

    def load_bandwidth(self, client: bytes) -> tuple[int, int]:
        """Bytes left, and the UTC day (days since 1970) at whose end they expire; zeros when unknown."""
        ...

    def store_bandwidth(self, client: bytes, available: int, expiry_day: int) -> None: ...

    def store_message(self, client: bytes, message: bytes, unix_time: float) -> bool:
        """Keep a message for an absent client, registered or not. False when there is no room."""
        ...

    def load_messages(self, client: bytes, *, after: int = 0) -> list[tuple[int, bytes]]:
        """The next page of messages in order of arrival, with growing ids above ``after``."""
        ...

    def delete_messages(self, client: bytes, up_to: int) -> None:
        """Delete the client's messages with ids up to and including ``up_to``."""
        ...

    def delete_stale_messages(self, unix_time: float) -> int:
        """Delete what is older than :data:`MESSAGE_LIFETIME`. How many that were."""
        ...

    def forget_client(self, client: bytes) -> None:
        """Delete key, bandwidth and messages."""
        ...


@dataclass(slots=True)
class _Inbox:
    messages: deque[tuple[int, float, bytes]] = field(default_factory=deque)
    size: int = 0


class MemoryStorage:
    """:class:`GatewayStorage` in memory, with bounds on what absent clients may pile up.

    :param inbox_limit: bytes of messages per client.
    :param total_limit: bytes of messages of all clients.
    """

    def __init__(self, *, inbox_limit: int = 16 * 1024**2, total_limit: int = 128 * 1024**2) -> None:
        self._inbox_limit = inbox_limit
        self._total_limit = total_limit
        self._total = 0
        self._next_id = 1
        self._clients: dict[bytes, StoredClient] = {}
        self._bandwidth: dict[bytes, tuple[int, int]] = {}
        self._inboxes: dict[bytes, _Inbox] = {}

    def load_client(self, client: bytes) -> StoredClient | None:
        return self._clients.get(client)

    def store_key(self, client: bytes, shared_key: bytes) -> None:
        known = self._clients.get(client)
        self._clients[client] = StoredClient(shared_key, known.last_authentication if known else None)

    def store_last_authentication(self, client: bytes, timestamp: int) -> None:
        known = self._clients.get(client)
        if known is not None:
            self._clients[client] = StoredClient(known.shared_key, timestamp)

    def load_bandwidth(self, client: bytes) -> tuple[int, int]:
        return self._bandwidth.get(client, (0, 0))

    def store_bandwidth(self, client: bytes, available: int, expiry_day: int) -> None:
        if client in self._clients:
            self._bandwidth[client] = (available, expiry_day)

    def store_message(self, client: bytes, message: bytes, unix_time: float) -> bool:
        inbox = self._inboxes.setdefault(client, _Inbox())
        size = len(message)
        if inbox.size + size > self._inbox_limit or self._total + size > self._total_limit:
            return False
        inbox.messages.append((self._next_id, unix_time, bytes(message)))
        self._next_id += 1
        inbox.size += size
        self._total += size
        return True

    def load_messages(self, client: bytes, *, after: int = 0) -> list[tuple[int, bytes]]:
        inbox = self._inboxes.get(client)
        if inbox is None:
            return []
        page = []
        for message_id, _, message in inbox.messages:
            if message_id > after:
                page.append((message_id, message))
                if len(page) == MESSAGE_PAGE:
                    break
        return page

    def delete_messages(self, client: bytes, up_to: int) -> None:
        inbox = self._inboxes.get(client)
        if inbox is None:
            return
        while inbox.messages and inbox.messages[0][0] <= up_to:
            self._pop(inbox)
        if not inbox.messages:
            del self._inboxes[client]

    def delete_stale_messages(self, unix_time: float) -> int:
        deleted = 0
        for client, inbox in list(self._inboxes.items()):
            while inbox.messages and inbox.messages[0][1] < unix_time - MESSAGE_LIFETIME:
                self._pop(inbox)
                deleted += 1
            if not inbox.messages:
                del self._inboxes[client]
        return deleted

    def forget_client(self, client: bytes) -> None:
        self._clients.pop(client, None)
        self._bandwidth.pop(client, None)
        inbox = self._inboxes.pop(client, None)
        if inbox is not None:
            self._total -= inbox.size

    def _pop(self, inbox: _Inbox) -> None:
        size = len(inbox.messages.popleft()[2])
        inbox.size -= size
        self._total -= size


@dataclass(slots=True)
class GatewayStats:
    """Counters of one gateway since its start, over all sessions."""

    sessions_opened: int = 0
    registrations: int = 0
    authentications: int = 0
    refused: int = 0  # sessions dropped before they were authenticated
    evicted: int = 0  # sessions replaced by a newer one of the same client
    packets_uploaded: int = 0
    malformed_uploads: int = 0
    out_of_bandwidth: int = 0
    messages_pushed: int = 0
    messages_stored: int = 0
    messages_dropped: int = 0  # no room in the inbox or in the session's queue


class GatewayRegistry:
    """Storage, the table of active sessions, and the delivery of final-hop messages."""

    def __init__(self, storage: GatewayStorage) -> None:
        self.storage = storage
        self.active: dict[bytes, GatewaySession] = {}
        self.stats = GatewayStats()

    def deliver(self, client: bytes, message: bytes, unix_time: float) -> None:
        """Push to the client's session, or store (section 11). Dropping for lack of room is counted."""
        session = self.active.get(client)
        if session is not None:
            if session.push(message):
                self.stats.messages_pushed += 1
            else:
                self.stats.messages_dropped += 1
        elif self.storage.store_message(client, message, unix_time):
            self.stats.messages_stored += 1
        else:
            self.stats.messages_dropped += 1
