"""What the handshake files share: the connection's parts that a handshake message may touch.

:class:`~smolmix_web.tls.client.TlsClient` owns one :class:`Core`; each handshake object gets it at creation
and replaces itself in ``core.handshake`` when its part is over.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from smolmix_web.crypto.provider import Provider
from smolmix_web.tls.certificates.names import ServerName
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.errors import UnexpectedMessage
from smolmix_web.tls.events import Event, HandshakeComplete
from smolmix_web.tls.messages import Message, encode_message
from smolmix_web.tls.record import RecordLayer
from smolmix_web.tls.registry import Alert, ContentType, HandshakeType, ProtocolVersion
from smolmix_web.tls.schedule import Digest
from smolmix_web.tls.verify import Verifier


class Transcript:
    """Running hash over the handshake messages; until the hash function is known, the messages themselves."""

    __slots__ = ("_hash", "_messages", "digest")

    def __init__(self) -> None:
        self.digest: Digest | None = None
        self._messages: list[bytes] = []
        self._hash: Any = None  # hashlib's type has no public name

    def append(self, message: bytes) -> None:
        if self._hash is None:
            self._messages.append(message)
        else:
            self._hash.update(message)

    def start(self, digest: Digest) -> None:
        self.digest = digest
        self._hash = hashlib.new(digest, b"".join(self._messages))
        self._messages.clear()

    def value(self) -> bytes:
        assert self._hash is not None
        return bytes(self._hash.digest())

    def value_with(self, message: bytes) -> bytes:
        """The hash as if ``message`` came next."""
        assert self._hash is not None
        ahead = self._hash.copy()
        ahead.update(message)
        return bytes(ahead.digest())

    def replace_by_hash(self) -> None:
        """RFC 8446 section 4.4.1: after a HelloRetryRequest the first ClientHello is only its hash."""
        assert self.digest is not None
        first = self.value()
        self._hash = hashlib.new(self.digest, encode_message(HandshakeType.MESSAGE_HASH, first))


class Handshake(Protocol):
    """One stretch of the handshake."""

    def receive(self, kind: int, body: bytes, raw: bytes) -> None:
        """One whole handshake message; ``raw`` includes the header."""
        ...

    def receive_change_cipher_spec(self) -> None: ...


class Core:
    """State of one connection, shared by client.py, hello.py, handshake13.py and handshake12.py."""

    def __init__(
        self,
        server_name: str,
        name: ServerName,
        config: TlsConfig,
        provider: Provider,
        verifier: Verifier,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.server_name = server_name
        self.name = name
        self.config = config
        self.provider = provider
        self.verifier = verifier
        self.unix_time = unix_time
        self.random_bytes = random_bytes
        self.records = RecordLayer(provider)
        self.transcript = Transcript()
        self.events: deque[Event] = deque()
        self.handshake: Handshake | None = None
        self.version: ProtocolVersion | None = None
        #: Bytes of an incomplete handshake message.
        self.handshake_buffer = bytearray()
        self.connected = False
        #: Our close_notify was sent (or queued).
        self.write_closed = False
        #: A KeyUpdate of ours waits in the output, or was the last thing to go out.
        self.key_update_queued = False

    @property
    def ticket_key(self) -> tuple[object, ...]:
        """Tickets are good only for the same partition, name, and idea of whom to trust."""
        config = self.config
        return (config.resumption_partition, self.name, config.trust_anchors, config.bundled_roots)

    def send_handshake(self, message: Message) -> None:
        raw = message.to_bytes()
        self.transcript.append(raw)
        self.records.push(ContentType.HANDSHAKE, raw)

    def send_warning(self, alert: Alert) -> None:
        self.records.push(ContentType.ALERT, bytes((1, alert)))

    def expect_key_boundary(self) -> None:
        """RFC 8446 section 5.1: no handshake message may span a change of keys."""
        if self.handshake_buffer:
            raise UnexpectedMessage("handshake data across a change of keys")

    def complete(self, event: HandshakeComplete) -> None:
        self.connected = True
        self.events.append(event)
