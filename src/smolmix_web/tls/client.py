"""The TLS client engine: bytes of the connection in and out below, application data in and out above.

    client = TlsClient("example.com", TlsConfig(alpn=("http/1.1",)), unix_time=time.time)
    client.start()
    transport.write(client.data_to_send())
    while ...:
        client.receive_data(transport.read())      # on TlsError flush once more: the alert is queued
        transport.write(client.data_to_send())
        while (event := client.next_event()) is not None: ...

Pieces: :mod:`.record` takes records apart and puts them together; this file joins handshake messages from
records, deals with alerts and closing, and hands messages to the stretch of the handshake that is on: first
:mod:`.hello`, then :mod:`.handshake13` or :mod:`.handshake12`. All of them share one :class:`.core.Core`.

After an error the engine is dead: every further call that takes data raises the same error again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Final

from smolmix_web import crypto
from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import LocalProtocolError, MalformedError, OptionError
from smolmix_web.tls.certificates.names import ServerName
from smolmix_web.tls.config import TlsConfig
from smolmix_web.tls.core import Core
from smolmix_web.tls.errors import (
    DecodeError,
    TlsError,
    TlsTruncated,
    UnexpectedMessage,
    from_received_alert,
)
from smolmix_web.tls.events import DataReceived, Event, PeerClosed
from smolmix_web.tls.handshake13 import Handshake13
from smolmix_web.tls.hello import HelloExchange
from smolmix_web.tls.registry import Alert, ContentType, HandshakeType, ProtocolVersion
from smolmix_web.tls.verify import verifier_for

#: Longest handshake message, bytes. A chain of certificates is the only large one; browsers draw the line at
#: a similar size.
_MAX_MESSAGE: Final = 1 << 16
_MAX_CERTIFICATES: Final = 1 << 17
#: Messages that carry no application data which a server may send in a row once connected: tickets, key
#: updates, empty records, warnings. A few are normal; thousands only keep us busy.
_MAX_IDLE_MESSAGES: Final = 64
_MAX_IDLE_RECORDS: Final = 4096
_FATAL, _WARNING = 2, 1


class TlsClient:
    """One TLS connection as a client. Call :meth:`start` first; then see the module's docstring.

    :param server_name: DNS name in ASCII, or IP address, that the certificate must be good for.
    :param unix_time: wall clock, seconds since 1970; judges certificates and tickets.
    :param random_bytes: source of all randomness, so that a seeded one makes a session repeatable.
    :raises OptionError: ``server_name`` is no name or address, or the trust anchors are unreadable.
    """

    def __init__(
        self,
        server_name: str,
        config: TlsConfig,
        *,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        provider: Provider | None = None,
    ) -> None:
        try:
            name = ServerName.parse(server_name)
        except MalformedError:
            raise OptionError("server_name", "is neither a DNS name nor an IP address") from None
        chosen = crypto.provider() if provider is None else provider
        verifier = verifier_for(config, chosen)
        self._core = Core(server_name, name, config, chosen, verifier, unix_time, random_bytes)
        self._error: TlsError | None = None
        self._peer_closed = False
        self._idle_messages = 0
        self._idle_records = 0

    # -- the layer above -----------------------------------------------------------------------------

    def start(self) -> None:
        """Queue the ClientHello."""
        if self._core.handshake is not None:
            raise LocalProtocolError("start() was called twice")
        self._core.handshake = HelloExchange(self._core)

    @property
    def connected(self) -> bool:
        """The handshake is complete and nothing went wrong since."""
        return self._core.connected and self._error is None

    @property
    def peer_closed(self) -> bool:
        """The server's close_notify has come."""
        return self._peer_closed

    def next_event(self) -> Event | None:
        events = self._core.events
        return events.popleft() if events else None

    def send(self, plaintext: bytes) -> None:
        """Queue application data.

        :raises LocalProtocolError: before the handshake is complete, after :meth:`close`, after an error.
        """
        core = self._core
        if not core.connected or core.write_closed or self._error is not None:
            raise LocalProtocolError("application data cannot be sent in this state")
        if core.records.wants_rekey and core.version == ProtocolVersion.TLS_1_3:
            self.update_keys()
        if plaintext:
            core.records.push(ContentType.APPLICATION_DATA, plaintext)

    def update_keys(self, *, request_peer: bool = False) -> None:
        """Change the sending keys of TLS 1.3; the engine does so itself long before a limit is reached.

        :raises LocalProtocolError: not connected with TLS 1.3.
        """
        handshake = self._core.handshake
        if not self.connected or self._core.write_closed or not isinstance(handshake, Handshake13):
            raise LocalProtocolError("keys can be updated on an open TLS 1.3 connection only")
        handshake.update_keys(request_peer=request_peer)

    def close(self) -> None:
        """Queue close_notify: we send no more, but may still receive. Calling again does nothing."""
        core = self._core
        if core.write_closed or self._error is not None or core.handshake is None:
            return
        core.records.push(ContentType.ALERT, bytes((_WARNING, Alert.CLOSE_NOTIFY)))
        core.write_closed = True

    # -- the layer below -----------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """What is to be written to the connection; empty when nothing is due."""
        self._core.key_update_queued = False
        return self._core.records.take_output()

    @property
    def wants_to_send(self) -> bool:
        """Whether :meth:`data_to_send` has something."""
        return self._core.records.has_output

    def receive_data(self, data: bytes) -> None:
        """Bytes from the connection, in any portions.

        :raises TlsError: the session is over; events that came before can still be taken.
        """
        if self._error is not None:
            raise self._error
        if self._peer_closed:
            return  # RFC 8446 section 6.1: ignored
        if self._core.handshake is None:
            raise LocalProtocolError("receive_data() before start()")
        try:
            self._core.records.feed(data)
            self._process_records()
        except TlsError as error:
            self._fail(error)
            raise
        except MalformedError as error:
            wrapped = DecodeError(f"a message of the server cannot be parsed ({error})")
            self._fail(wrapped)
            raise wrapped from None

    def receive_eof(self) -> None:
        """The connection ended.

        :raises TlsTruncated: without close_notify, so that something may be missing.
        """
        if self._error is not None:
            raise self._error
        if self._peer_closed:
            return
        if self._core.connected:
            reason = "the connection was cut before the server said that it was done"
        else:
            reason = "the server closed the connection during the handshake"
        error = TlsTruncated(reason)
        self._fail(error)
        raise error

    def _fail(self, error: TlsError) -> None:
        error.host = error.host or self._core.server_name
        self._error = error
        self._core.handshake_buffer.clear()
        self._core.records.drop_input()
        if error.alert is not None and not error.received and not self._core.write_closed:
            self._core.records.push(ContentType.ALERT, bytes((_FATAL, error.alert)))

    # -- records -------------------------------------------------------------------------------------

    def _process_records(self) -> None:
        core = self._core
        parts: list[bytes] = []
        while not self._peer_closed:
            sink = parts if core.connected and not core.handshake_buffer else None
            try:
                record = core.records.pull(sink)
            finally:
                # What was authenticated before a broken record is still good.
                self._deliver(parts)
            if record is None:
                return
            self._process(*record)

    def _deliver(self, parts: list[bytes]) -> None:
        if not parts:
            return
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        if data:
            self._core.events.append(DataReceived(data))
            self._idle_messages = self._idle_records = 0
        else:
            self._idle_records += len(parts)
            if self._idle_records > _MAX_IDLE_RECORDS:
                raise UnexpectedMessage("the server sends nothing but empty records")
        parts.clear()

    def _process(self, kind: int, content: bytes) -> None:
        core = self._core
        assert core.handshake is not None
        if kind == ContentType.HANDSHAKE:
            self._process_handshake(content)
        elif core.handshake_buffer:
            raise UnexpectedMessage("a handshake message was interrupted by another record")
        elif kind == ContentType.ALERT:
            self._process_alert(content)
        elif kind == ContentType.CHANGE_CIPHER_SPEC:
            if content != b"\x01":
                raise UnexpectedMessage("malformed change_cipher_spec")
            self._count_idle()
            core.handshake.receive_change_cipher_spec()
        else:
            raise UnexpectedMessage("application data before the handshake was complete")

    def _process_handshake(self, content: bytes) -> None:
        core = self._core
        if not content:
            raise UnexpectedMessage("empty handshake record")
        buffer = core.handshake_buffer
        buffer += content
        while len(buffer) >= 4:
            kind, length = buffer[0], int.from_bytes(buffer[1:4], "big")
            limit = _MAX_CERTIFICATES if kind == HandshakeType.CERTIFICATE else _MAX_MESSAGE
            if length > limit:
                raise DecodeError(f"handshake message of {length} bytes")
            if len(buffer) < 4 + length:
                return
            raw = bytes(buffer[: 4 + length])
            del buffer[: 4 + length]
            if core.connected or kind == HandshakeType.HELLO_REQUEST:
                self._count_idle()
            assert core.handshake is not None
            core.handshake.receive(kind, raw[4:], raw)

    def _count_idle(self) -> None:
        self._idle_messages += 1
        if self._idle_messages > _MAX_IDLE_MESSAGES:
            raise UnexpectedMessage("the server sends nothing but administrative messages")

    def _process_alert(self, content: bytes) -> None:
        if len(content) != 2:
            raise DecodeError("malformed alert")
        level, description = content
        if description == Alert.CLOSE_NOTIFY:
            self._receive_close_notify()
        elif self._may_ignore(level, description):
            self._count_idle()
        else:
            raise from_received_alert(description)

    def _receive_close_notify(self) -> None:
        if not self._core.connected:
            raise TlsTruncated("the server closed the session during the handshake", received=True)
        self._peer_closed = True
        self._core.events.append(PeerClosed())

    def _may_ignore(self, level: int, description: int) -> bool:
        """TLS 1.3 knows no warnings but user_canceled, which announces close_notify (RFC 8446 section 6);
        TLS 1.2 lets us go on after a warning, and some servers send unrecognized_name as one.
        """
        if self._core.version == ProtocolVersion.TLS_1_3:
            return description == Alert.USER_CANCELED
        return level == _WARNING and description in (
            Alert.UNRECOGNIZED_NAME,
            Alert.USER_CANCELED,
            Alert.NO_RENEGOTIATION,
        )

    def __repr__(self) -> str:
        if self._error is not None:
            state = type(self._error).__name__
        elif self._peer_closed:
            state = "PEER_CLOSED"
        elif self._core.connected:
            state = "CONNECTED"
        else:
            state = type(self._core.handshake).__name__ if self._core.handshake else "NEW"
        return f"<TlsClient {self._core.server_name} {state}>"
