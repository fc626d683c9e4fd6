"""TLS 1.3 after the ServerHello: messages in order of arrival (RFC 8446 sections 4.3 to 4.6).

    EXPECT_ENCRYPTED_EXTENSIONS -> [EXPECT_CERTIFICATE_OR_REQUEST -> EXPECT_CERTIFICATE ->
    EXPECT_CERTIFICATE_VERIFY] -> EXPECT_FINISHED -> CONNECTED

The part in brackets is skipped when a session is resumed. Keys: ``*_handshake`` secrets from the ServerHello
on, ``*_application`` after the server's Finished; ours are used from our own Finished on.
"""

from __future__ import annotations

import hmac
from enum import Enum, auto
from typing import Final

from smolmix_web.tls.core import Core
from smolmix_web.tls.errors import (
    DecodeError,
    DecryptError,
    IllegalParameter,
    MissingExtension,
    UnexpectedMessage,
    UnsupportedExtension,
)
from smolmix_web.tls.events import HandshakeComplete
from smolmix_web.tls.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    EncryptedExtensions,
    Finished,
    KeyUpdate,
    NewSessionTicket,
)
from smolmix_web.tls.negotiated import check_allowed, chosen_alpn, limit_records
from smolmix_web.tls.registry import (
    CipherSuite,
    ContentType,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from smolmix_web.tls.schedule import SUITES_13, KeySchedule, finished_verify_data, resumption_psk
from smolmix_web.tls.signatures import verify_signature
from smolmix_web.tls.tickets import MAX_LIFETIME, Ticket
from smolmix_web.tls.verify import VerifiedPeer
from smolmix_web.wire import Reader

_SIGNED_PREFIX: Final = b" " * 64 + b"TLS 1.3, server CertificateVerify\0"
_ALLOWED_EXTENSIONS: Final = frozenset(
    (
        ExtensionType.SERVER_NAME,
        ExtensionType.SUPPORTED_GROUPS,
        ExtensionType.ALPN,
        ExtensionType.RECORD_SIZE_LIMIT,
    )
)


class State(Enum):
    EXPECT_ENCRYPTED_EXTENSIONS = auto()
    EXPECT_CERTIFICATE_OR_REQUEST = auto()
    EXPECT_CERTIFICATE = auto()
    EXPECT_CERTIFICATE_VERIFY = auto()
    EXPECT_FINISHED = auto()
    CONNECTED = auto()


class Handshake13:
    """Takes over with the ServerHello already in the transcript."""

    def __init__(
        self,
        core: Core,
        suite: CipherSuite,
        group: NamedGroup,
        shared_secret: bytes,
        ticket: Ticket | None,
        *,
        retried: bool,
        offered: frozenset[int],
    ) -> None:
        self._core = core
        self._suite = suite
        self._parameters = SUITES_13[suite]
        self._group = group
        self._ticket = ticket
        self._retried = retried
        self._offered = offered
        self._alpn: str | None = None
        self._peer: VerifiedPeer | None = None
        self._scheme: SignatureScheme | None = None
        self._certificate_requested = False
        self._resumption_master = b""
        self._schedule = KeySchedule(self._parameters.digest)
        self._schedule.extract(None if ticket is None else ticket.psk)
        self._schedule.extract(shared_secret)
        transcript_hash = core.transcript.value()
        self._client_secret = self._schedule.derive(b"c hs traffic", transcript_hash)
        self._server_secret = self._schedule.derive(b"s hs traffic", transcript_hash)
        core.records.install_13("read", self._parameters, self._server_secret)
        core.records.install_13("write", self._parameters, self._client_secret)
        self.state = State.EXPECT_ENCRYPTED_EXTENSIONS

    def receive_change_cipher_spec(self) -> None:
        """Dropped (section 5); the record layer refuses it once the server's Finished has come."""

    def receive(self, kind: int, body: bytes, raw: bytes) -> None:
        state, core = self.state, self._core
        if state == State.CONNECTED:
            self._receive_connected(kind, body)
        elif state == State.EXPECT_ENCRYPTED_EXTENSIONS and kind == HandshakeType.ENCRYPTED_EXTENSIONS:
            self._receive_encrypted_extensions(EncryptedExtensions.pull_body(Reader(body)))
        elif state == State.EXPECT_CERTIFICATE_OR_REQUEST and kind == HandshakeType.CERTIFICATE_REQUEST:
            self._receive_certificate_request(CertificateRequest.pull_body(Reader(body)))
        elif (
            state in (State.EXPECT_CERTIFICATE_OR_REQUEST, State.EXPECT_CERTIFICATE)
            and kind == HandshakeType.CERTIFICATE
        ):
            self._receive_certificate(Certificate.pull_body(Reader(body)))
        elif state == State.EXPECT_CERTIFICATE_VERIFY and kind == HandshakeType.CERTIFICATE_VERIFY:
            self._receive_certificate_verify(CertificateVerify.pull_body(Reader(body)))
        elif state == State.EXPECT_FINISHED and kind == HandshakeType.FINISHED:
            self._receive_finished(Finished.pull_body(Reader(body)), raw)
            return
        else:
            raise UnexpectedMessage(f"handshake message {kind} in state {state.name}")
        if state != State.CONNECTED:
            core.transcript.append(raw)

    # -- server's parameters and authentication ------------------------------------------------------

    def _receive_encrypted_extensions(self, message: EncryptedExtensions) -> None:
        check_allowed(message.extensions, _ALLOWED_EXTENSIONS, self._offered)
        self._alpn = chosen_alpn(message.extensions, self._core.config.alpn)
        limit_records(message.extensions, self._core.records, inner_type_bytes=1)
        if self._ticket is None:
            self.state = State.EXPECT_CERTIFICATE_OR_REQUEST
        else:
            self.state = State.EXPECT_FINISHED

    def _receive_certificate_request(self, message: CertificateRequest) -> None:
        if message.context:
            raise IllegalParameter("certificate request with a context during the handshake")
        if ExtensionType.SIGNATURE_ALGORITHMS not in message.extensions:
            raise MissingExtension("certificate request without signature algorithms")
        self._certificate_requested = True
        self.state = State.EXPECT_CERTIFICATE

    def _receive_certificate(self, message: Certificate) -> None:
        if message.context:
            raise IllegalParameter("the server's certificate has a request context")
        if not message.entries:
            raise DecodeError("the server sent no certificate")
        for _, extensions in message.entries:
            if extensions:  # we offer none of those that may stand here
                raise UnsupportedExtension("certificate entry with an extension that was not offered")
        chain = tuple(certificate for certificate, _ in message.entries)
        self._peer = self._core.verifier.verify(chain, self._core.name, self._core.unix_time())
        self.state = State.EXPECT_CERTIFICATE_VERIFY

    def _receive_certificate_verify(self, message: CertificateVerify) -> None:
        assert self._peer is not None
        signed = _SIGNED_PREFIX + self._core.transcript.value()
        verify_signature(
            self._core.provider,
            self._peer.public_key,
            message.scheme,
            message.signature,
            signed,
            tls13=True,
        )
        self._scheme = SignatureScheme(message.scheme)
        self.state = State.EXPECT_FINISHED

    def _receive_finished(self, message: Finished, raw: bytes) -> None:
        core, digest = self._core, self._parameters.digest
        core.expect_key_boundary()
        expected = finished_verify_data(digest, self._server_secret, core.transcript.value())
        if not hmac.compare_digest(expected, message.verify_data):
            raise DecryptError("the server's Finished message is wrong")
        core.transcript.append(raw)
        self._schedule.extract(None)
        transcript_hash = core.transcript.value()
        server_application = self._schedule.derive(b"s ap traffic", transcript_hash)
        client_application = self._schedule.derive(b"c ap traffic", transcript_hash)
        core.records.install_13("read", self._parameters, server_application)
        core.records.change_cipher_spec_allowed = False
        if self._certificate_requested:
            core.send_handshake(Certificate(b"", ()))
        core.send_handshake(
            Finished(finished_verify_data(digest, self._client_secret, core.transcript.value()))
        )
        core.records.install_13("write", self._parameters, client_application)
        self._resumption_master = self._schedule.derive(b"res master", core.transcript.value())
        self._client_secret = self._server_secret = b""
        self.state = State.CONNECTED
        self._complete()

    def _complete(self) -> None:
        core = self._core
        certificates = self._peer.chain if self._peer is not None else ()
        if self._ticket is not None:
            certificates = self._ticket.peer_certificates
        core.complete(
            HandshakeComplete(
                server_name=core.server_name,
                version=ProtocolVersion.TLS_1_3,
                cipher_suite=self._suite,
                group=self._group,
                alpn=self._alpn,
                peer_certificates=certificates,
                signature_scheme=self._scheme,
                resumed=self._ticket is not None,
                retried=self._retried,
            )
        )

    # -- after the handshake -------------------------------------------------------------------------

    def _receive_connected(self, kind: int, body: bytes) -> None:
        if kind == HandshakeType.NEW_SESSION_TICKET:
            self._receive_ticket(NewSessionTicket.pull_body(Reader(body)))
        elif kind == HandshakeType.KEY_UPDATE:
            self._receive_key_update(KeyUpdate.pull_body(Reader(body)))
        else:
            raise UnexpectedMessage(f"handshake message {kind} after the handshake")

    def _receive_ticket(self, message: NewSessionTicket) -> None:
        core = self._core
        store = core.config.resumption
        if store is None or message.lifetime == 0:
            return
        # A ticket begets tickets; none may outlive the certificate that was once checked.
        if self._ticket is not None:
            not_after, certificates = self._ticket.certificate_not_after, self._ticket.peer_certificates
        else:
            assert self._peer is not None
            not_after, certificates = self._peer.not_after, self._peer.chain
        now = core.unix_time()
        psk = resumption_psk(self._parameters.digest, self._resumption_master, message.nonce)
        store.put(
            core.ticket_key,
            Ticket(
                identity=message.ticket,
                psk=psk,
                age_add=message.age_add,
                cipher_suite=self._suite,
                received_at=now,
                expires_at=min(now + min(message.lifetime, MAX_LIFETIME), not_after),
                certificate_not_after=not_after,
                peer_certificates=certificates,
            ),
        )

    def _receive_key_update(self, message: KeyUpdate) -> None:
        core = self._core
        if message.request_update > 1:
            raise IllegalParameter("malformed KeyUpdate")
        core.expect_key_boundary()
        core.records.update_keys("read")
        # One answer for all requests that came since we last sent something (section 4.6.3).
        if message.request_update and not core.key_update_queued and not core.write_closed:
            self.update_keys(request_peer=False)

    def update_keys(self, *, request_peer: bool) -> None:
        """Change our sending keys, and ask the server to do the same if ``request_peer``."""
        core = self._core
        core.records.push(ContentType.HANDSHAKE, KeyUpdate(int(request_peer)).to_bytes())
        core.records.update_keys("write")
        core.key_update_queued = True
