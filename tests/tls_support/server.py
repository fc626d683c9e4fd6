"""A TLS server for tests that can be made to misbehave in any single message.

``TamperingServer`` speaks TLS 1.3 and 1.2 without I/O, on our own messages, schedules and records,
with ECDHE and one certificate. Before a message leaves, ``tamper(name, raw)`` may replace it by any list
of messages. The server's transcript takes what was sent (``honest_transcript=False``) or what should have
been sent, as when somebody on the way changes it. Nothing here is used by the product.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from smolmix_web import crypto
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.core import Transcript
from smolmix_web.tls.messages import (
    HELLO_RETRY_RANDOM,
    Certificate,
    Certificate12,
    CertificateRequest,
    CertificateRequest12,
    CertificateVerify,
    ClientHello,
    ClientKeyExchange,
    EncryptedExtensions,
    Finished,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
    ServerHelloDone,
    ServerKeyExchange,
    encode_message,
)
from smolmix_web.tls.record import RecordLayer
from smolmix_web.tls.registry import (
    CipherSuite,
    ContentType,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from smolmix_web.tls.schedule import (
    SUITES_12,
    SUITES_13,
    KeySchedule,
    finished_verify_data,
    key_block,
    prf,
    resumption_binder,
    resumption_psk,
)
from smolmix_web.wire import Reader, Writer
from tls_support.certificates import Issued

Tamper = Callable[[str, bytes], Sequence[bytes]]


def sign(issued: Issued, message: bytes, scheme: int) -> bytes:
    key = issued.key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(message)
    # The hash is the low byte of RSASSA-PSS schemes (in two rows) and the high byte of the others.
    number = (scheme - 0x0804) % 5 if scheme >> 8 == 8 else max(scheme >> 8, 4) - 4
    digest = (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())[number % 3]
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(message, ec.ECDSA(digest))
    assert isinstance(key, rsa.RSAPrivateKey)
    if scheme >> 8 == 8:
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    return key.sign(message, padding.PKCS1v15(), digest)


def natural_scheme(issued: Issued) -> SignatureScheme:
    key = issued.key
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return SignatureScheme.ED25519
    if isinstance(key, ec.EllipticCurvePrivateKey):
        small = key.key_size == 256
        return SignatureScheme.ECDSA_SECP256R1_SHA256 if small else SignatureScheme.ECDSA_SECP384R1_SHA384
    return SignatureScheme.RSA_PSS_RSAE_SHA256


class TamperingServer:
    """Feed with :meth:`receive`, take bytes with :meth:`take`. Attributes may be changed before that."""

    def __init__(
        self,
        issued: Issued,
        *,
        version: ProtocolVersion = ProtocolVersion.TLS_1_3,
        tamper: Tamper | None = None,
    ) -> None:
        self.issued = issued
        self.chain = issued.chain_der
        self.version = version
        self.tamper: Tamper = tamper or (lambda name, raw: [raw])
        self.honest_transcript = True
        self.scheme: int = natural_scheme(issued)
        self.group = NamedGroup.X25519
        self.retry_group: int | None = None
        self.cookie = b""
        self.suite = self._natural_suite()
        self.random = secrets.token_bytes(32)
        self.hello_extensions: ext.Extensions = {}
        self.encrypted_extensions: ext.Extensions = {}
        self.certificate_extensions: ext.Extensions = {}
        self.request_certificate = False
        self.coalesce = False
        self.early_data_leak = b""  # application data sent before the server's Finished
        self.sign_extra = b""  # appended to what is signed: a wrong transcript
        self.omit_hello_extensions: set[int] = set()
        self.resumable: dict[bytes, bytes] = {}  # ticket -> PSK
        self.resumed = False
        # What was seen.
        self.hello: ClientHello | None = None
        self.hellos: list[ClientHello] = []
        self.alerts: list[int] = []
        self.received = b""
        self.client_certificate: bytes | None = None
        self.key_updates: list[int] = []
        self.connected = False
        self.records = RecordLayer(crypto.provider())
        self.records.owes_change_cipher_spec = version == ProtocolVersion.TLS_1_3
        self._transcript = Transcript()
        self._buffer = bytearray()
        self._pending: list[bytes] = []

    def _natural_suite(self) -> CipherSuite:
        if self.version == ProtocolVersion.TLS_1_3:
            return CipherSuite.TLS_AES_128_GCM_SHA256
        if isinstance(self.issued.key, rsa.RSAPrivateKey):
            return CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        return CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256

    # -- bytes ---------------------------------------------------------------------------------------

    def take(self) -> bytes:
        self._flush()
        return self.records.take_output()

    def receive(self, data: bytes) -> None:
        if data.startswith(b"\x15\x03\x03\x00\x02") and self.version == ProtocolVersion.TLS_1_3:
            self.alerts.append(data[6])  # the client found fault with the ServerHello, so it has no keys
            return
        self.records.feed(data)
        while True:
            parts: list[bytes] = []
            record = self.records.pull(parts if self.connected else None)
            self.received += b"".join(parts)
            if record is None:
                return
            kind, content = record
            if kind == ContentType.ALERT:
                self.alerts.append(content[1])
            elif kind == ContentType.CHANGE_CIPHER_SPEC:
                self._receive_change_cipher_spec()
            elif kind == ContentType.HANDSHAKE:
                self._buffer += content
                while len(self._buffer) >= 4:
                    size = 4 + int.from_bytes(self._buffer[1:4], "big")
                    if len(self._buffer) < size:
                        break
                    raw = bytes(self._buffer[:size])
                    del self._buffer[:size]
                    self._receive_message(raw)

    def send(self, data: bytes) -> None:
        self.records.push(ContentType.APPLICATION_DATA, data)

    def send_raw(self, kind: int, content: bytes) -> None:
        """A record of any type, protected if keys are on."""
        self.records.push(kind, content)

    def send_close(self) -> None:
        self.records.push(ContentType.ALERT, b"\x01\x00")

    def send_key_update(self, *, request: bool) -> None:
        self.records.push(ContentType.HANDSHAKE, KeyUpdate(int(request)).to_bytes())
        self.records.update_keys("write")

    def _emit(self, name: str, raw: bytes) -> None:
        sent = list(self.tamper(name, raw))
        for message in [raw] if self.honest_transcript else sent:
            self._transcript.append(message)
        for message in sent:
            if self.coalesce:
                self._pending.append(message)
            else:
                self.records.push(ContentType.HANDSHAKE, message)

    def _flush(self) -> None:
        if self._pending:
            joined = b"".join(self._pending)
            self._pending.clear()
            self.records.push(ContentType.HANDSHAKE, joined)

    # -- messages ------------------------------------------------------------------------------------

    def _receive_message(self, raw: bytes) -> None:
        kind, reader = raw[0], Reader(raw[4:])
        if kind == HandshakeType.CLIENT_HELLO:
            self._receive_hello(ClientHello.pull_body(reader), raw)
        elif kind == HandshakeType.CERTIFICATE:
            self.client_certificate = raw[4:]
            self._transcript.append(raw)
        elif kind == HandshakeType.CLIENT_KEY_EXCHANGE:
            self._receive_key_exchange(ClientKeyExchange.pull_body(reader), raw)
        elif kind == HandshakeType.FINISHED and self.version == ProtocolVersion.TLS_1_3:
            self._receive_finished_13(reader.pull_rest(), raw)
        elif kind == HandshakeType.FINISHED:
            self._receive_finished_12(reader.pull_rest(), raw)
        elif kind == HandshakeType.KEY_UPDATE:
            self.key_updates.append(KeyUpdate.pull_body(reader).request_update)
            self.records.update_keys("read")

    def _receive_hello(self, hello: ClientHello, raw: bytes) -> None:
        self.hello = hello
        self.hellos.append(hello)
        if self.version == ProtocolVersion.TLS_1_2:
            self._flight_12(raw)
            return
        if (self.retry_group is not None or self.cookie) and len(self.hellos) == 1:
            self._retry(raw)
        else:
            self._flight_13(raw)

    def _base_extensions_13(self) -> ext.Extensions:
        return {ExtensionType.SUPPORTED_VERSIONS: ext.push_u16(ProtocolVersion.TLS_1_3)}

    def _retry(self, raw: bytes) -> None:
        assert self.hello is not None
        extensions = self._base_extensions_13()
        if self.retry_group is not None:
            extensions[ExtensionType.KEY_SHARE] = ext.push_u16(self.retry_group)
        if self.cookie:
            extensions[ExtensionType.COOKIE] = ext.push_cookie(self.cookie)
        extensions |= self.hello_extensions
        self._transcript.append(raw)
        self._transcript.start(SUITES_13[self.suite].digest)
        self._transcript.replace_by_hash()
        message = ServerHello(HELLO_RETRY_RANDOM, self.hello.session_id, self.suite, extensions)
        self._emit("hello_retry_request", message.to_bytes())
        if self.retry_group is not None and self.retry_group in list(NamedGroup):
            self.group = NamedGroup(self.retry_group)

    def _exchange(self, peer: bytes) -> tuple[bytes, bytes]:
        """(our share, shared secret)."""
        provider = crypto.provider()
        if self.group == NamedGroup.X25519MLKEM768:
            secret, ciphertext = provider.mlkem768_encapsulate(peer[:1184])
            key = provider.x25519_key(secrets.token_bytes(32))
            return ciphertext + key.public, secret + key.exchange(peer[1184:])
        if self.group == NamedGroup.X25519:
            key = provider.x25519_key(secrets.token_bytes(32))
            return key.public, key.exchange(peer)
        point = provider.ecdh("p256" if self.group == NamedGroup.SECP256R1 else "p384")
        return point.public, point.exchange(peer)

    def _accept_ticket(self, raw: bytes) -> bytes | None:
        """PSK of the offered ticket, with its binder checked."""
        assert self.hello is not None
        offer = self.hello.extensions.get(ExtensionType.PRE_SHARED_KEY)
        if offer is None:
            return None
        identity, _, binder = ext.pull_offered_psk(offer)
        psk = self.resumable.pop(identity, None)
        if psk is not None:
            truncated = raw[: -len(binder) - 3]
            digest = SUITES_13[self.suite].digest
            if self._transcript.digest is None:
                fresh = Transcript()
                fresh.start(digest)
            else:
                fresh = self._transcript
            assert binder == resumption_binder(digest, psk, fresh.value_with(truncated)), "wrong binder"
        return psk

    def _flight_13(self, raw: bytes) -> None:
        assert self.hello is not None
        parameters = SUITES_13[self.suite]
        psk = self._accept_ticket(raw)
        self.resumed = psk is not None
        if self._transcript.digest is None:
            self._transcript.start(parameters.digest)
        self._transcript.append(raw)
        shares = dict(ext.pull_key_shares(self.hello.extensions[ExtensionType.KEY_SHARE]))
        share, secret = self._exchange(shares[self.group])
        extensions = self._base_extensions_13()
        extensions[ExtensionType.KEY_SHARE] = ext.push_key_share_entry(self.group, share)
        if psk is not None:
            extensions[ExtensionType.PRE_SHARED_KEY] = b"\0\0"
        extensions |= self.hello_extensions
        extensions = {k: v for k, v in extensions.items() if k not in self.omit_hello_extensions}
        hello = ServerHello(self.random, self.hello.session_id, self.suite, extensions)
        self._emit("server_hello", hello.to_bytes())
        self._flush()
        self._schedule = KeySchedule(parameters.digest)
        self._schedule.extract(psk)
        self._schedule.extract(secret)
        value = self._transcript.value()
        self._client_secret = self._schedule.derive(b"c hs traffic", value)
        server_secret = self._schedule.derive(b"s hs traffic", value)
        self.records.install_13("write", parameters, server_secret)
        self.records.install_13("read", parameters, self._client_secret)
        self._emit("encrypted_extensions", EncryptedExtensions(self.encrypted_extensions).to_bytes())
        if psk is None:
            self._authenticate_13()
        if self.early_data_leak:
            self._flush()
            self.send(self.early_data_leak)
        verify_data = finished_verify_data(parameters.digest, server_secret, self._transcript.value())
        self._emit("finished", Finished(verify_data).to_bytes())
        self._flush()
        self._schedule.extract(None)
        value = self._transcript.value()
        self.records.install_13("write", parameters, self._schedule.derive(b"s ap traffic", value))
        self._client_application = self._schedule.derive(b"c ap traffic", value)

    def _authenticate_13(self) -> None:
        if self.request_certificate:
            schemes = ext.push_u16_list([SignatureScheme.ECDSA_SECP256R1_SHA256])
            request = CertificateRequest(b"", {ExtensionType.SIGNATURE_ALGORITHMS: schemes})
            self._emit("certificate_request", request.to_bytes())
        entries = [(der, self.certificate_extensions if i == 0 else {}) for i, der in enumerate(self.chain)]
        self._emit("certificate", Certificate(b"", tuple(entries)).to_bytes())
        signed = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + self._transcript.value()
        verify = CertificateVerify(self.scheme, sign(self.issued, signed + self.sign_extra, self.scheme))
        self._emit("certificate_verify", verify.to_bytes())

    def _receive_finished_13(self, verify_data: bytes, raw: bytes) -> None:
        digest = SUITES_13[self.suite].digest
        expected = finished_verify_data(digest, self._client_secret, self._transcript.value())
        assert verify_data == expected, "the client's Finished is wrong"
        self._transcript.append(raw)
        self.records.install_13("read", SUITES_13[self.suite], self._client_application)
        self.records.change_cipher_spec_allowed = False
        self.resumption_master = self._schedule.derive(b"res master", self._transcript.value())
        self.connected = True

    def send_ticket(self, *, lifetime: int = 3600) -> bytes:
        """A ticket that :attr:`resumable` of another server may be given."""
        nonce, identity = secrets.token_bytes(8), secrets.token_bytes(32)
        psk = resumption_psk(SUITES_13[self.suite].digest, self.resumption_master, nonce)
        ticket = NewSessionTicket(lifetime, secrets.randbits(32), nonce, identity, {})
        self.records.push(ContentType.HANDSHAKE, ticket.to_bytes())
        self.resumable[identity] = psk
        return identity

    # -- TLS 1.2 -------------------------------------------------------------------------------------

    def _flight_12(self, raw: bytes) -> None:
        assert self.hello is not None
        self._transcript.start(SUITES_12[self.suite].digest)
        self._transcript.append(raw)
        extensions: ext.Extensions = {
            ExtensionType.RENEGOTIATION_INFO: b"\0",
            ExtensionType.EXTENDED_MASTER_SECRET: b"",
        } | self.hello_extensions
        extensions = {k: v for k, v in extensions.items() if k not in self.omit_hello_extensions}
        self._extended = ExtensionType.EXTENDED_MASTER_SECRET in extensions
        hello = ServerHello(self.random, b"", self.suite, extensions)
        self._emit("server_hello", hello.to_bytes())
        self._emit("certificate", Certificate12(self.chain).to_bytes())
        provider = crypto.provider()
        self._ephemeral = (
            provider.x25519_key(secrets.token_bytes(32))
            if self.group == NamedGroup.X25519
            else provider.ecdh("p256" if self.group == NamedGroup.SECP256R1 else "p384")
        )
        exchange = ServerKeyExchange(3, self.group, self._ephemeral.public, self.scheme, b"")
        signed = self.hello.random + self.random + exchange.signed_params() + self.sign_extra
        signature = sign(self.issued, signed, self.scheme)
        exchange = ServerKeyExchange(3, self.group, self._ephemeral.public, self.scheme, signature)
        self._emit("server_key_exchange", exchange.to_bytes())
        if self.request_certificate:
            request = CertificateRequest12(b"\x40", (SignatureScheme.ECDSA_SECP256R1_SHA256,), b"")
            self._emit("certificate_request", request.to_bytes())
        self._emit("server_hello_done", ServerHelloDone().to_bytes())

    def _receive_key_exchange(self, message: ClientKeyExchange, raw: bytes) -> None:
        assert self.hello is not None
        self._transcript.append(raw)
        premaster, digest = self._ephemeral.exchange(message.point), SUITES_12[self.suite].digest
        if self._extended:
            self._master = prf(digest, premaster, b"extended master secret", self._transcript.value(), 48)
        else:
            self._master = prf(digest, premaster, b"master secret", self.hello.random + self.random, 48)
        self._block = key_block(SUITES_12[self.suite], self._master, self.random, self.hello.random)

    def _receive_change_cipher_spec(self) -> None:
        if self.version == ProtocolVersion.TLS_1_2:
            parameters = SUITES_12[self.suite]
            self.records.install_12("read", parameters, self._block.client_key, self._block.client_iv)

    def _receive_finished_12(self, verify_data: bytes, raw: bytes) -> None:
        digest = SUITES_12[self.suite].digest
        expected = prf(digest, self._master, b"client finished", self._transcript.value(), 12)
        assert verify_data == expected, "the client's Finished is wrong"
        self._transcript.append(raw)
        for message in self.tamper("change_cipher_spec", b"\x01"):
            self.records.push(ContentType.CHANGE_CIPHER_SPEC, message)
        if self.early_data_leak:
            self.send(self.early_data_leak)
        parameters = SUITES_12[self.suite]
        self.records.install_12("write", parameters, self._block.server_key, self._block.server_iv)
        value = prf(digest, self._master, b"server finished", self._transcript.value(), 12)
        self._emit("finished", Finished(value).to_bytes())
        self.connected = True


def rewrite_extensions(raw: bytes, change: Callable[[ext.Extensions], ext.Extensions]) -> bytes:
    """EncryptedExtensions with other contents."""
    message = EncryptedExtensions.pull_body(Reader(raw[4:]))
    writer = Writer()
    ext.push_extensions(writer, change(dict(message.extensions)))
    return encode_message(raw[0], writer.getvalue())
