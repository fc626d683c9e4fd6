"""TLS 1.2 after the ServerHello, for servers that have nothing better (RFC 5246 section 7.4, RFC 8422).

    EXPECT_CERTIFICATE -> EXPECT_SERVER_KEY_EXCHANGE -> EXPECT_REQUEST_OR_DONE -> EXPECT_DONE ->
    EXPECT_CHANGE_CIPHER_SPEC -> EXPECT_FINISHED -> CONNECTED

Only ECDHE with AEAD: no RSA key exchange, no CBC, no compression, no renegotiation, no resumption.
"""

from __future__ import annotations

import hmac
from enum import Enum, auto
from typing import Final

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.tls.certificates.keys import RsaKey, decode_key
from smolmix_web.tls.core import Core
from smolmix_web.tls.errors import (
    DecodeError,
    DecryptError,
    HandshakeFailure,
    IllegalParameter,
    UnexpectedMessage,
    UnsupportedCertificate,
)
from smolmix_web.tls.events import HandshakeComplete
from smolmix_web.tls.groups import GroupKeys
from smolmix_web.tls.messages import (
    Certificate12,
    CertificateRequest12,
    ClientKeyExchange,
    Finished,
    ServerHello,
    ServerHelloDone,
    ServerKeyExchange,
)
from smolmix_web.tls.negotiated import check_allowed, chosen_alpn, limit_records
from smolmix_web.tls.registry import (
    Alert,
    CipherSuite,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    ProtocolVersion,
    SignatureScheme,
)
from smolmix_web.tls.schedule import SUITES_12, KeyBlock, key_block, prf
from smolmix_web.tls.signatures import verify_signature
from smolmix_web.tls.verify import VerifiedPeer
from smolmix_web.wire import Reader

_NAMED_CURVE: Final = 3
_VERIFY_DATA: Final = 12
_ALLOWED_EXTENSIONS: Final = frozenset(
    (
        ExtensionType.SERVER_NAME,
        ExtensionType.EC_POINT_FORMATS,
        ExtensionType.ALPN,
        ExtensionType.EXTENDED_MASTER_SECRET,
        ExtensionType.RECORD_SIZE_LIMIT,
        ExtensionType.RENEGOTIATION_INFO,
    )
)


class State(Enum):
    EXPECT_CERTIFICATE = auto()
    EXPECT_SERVER_KEY_EXCHANGE = auto()
    EXPECT_REQUEST_OR_DONE = auto()
    EXPECT_DONE = auto()
    EXPECT_CHANGE_CIPHER_SPEC = auto()
    EXPECT_FINISHED = auto()
    CONNECTED = auto()


class Handshake12:
    """Takes over with the ServerHello already in the transcript."""

    def __init__(
        self,
        core: Core,
        suite: CipherSuite,
        hello: ServerHello,
        client_random: bytes,
        keys: GroupKeys,
        groups: tuple[NamedGroup, ...],
        *,
        offered: frozenset[int],
    ) -> None:
        self._core = core
        self._suite = suite
        self._parameters = SUITES_12[suite]
        self._client_random = client_random
        self._server_random = hello.random
        self._keys = keys
        self._groups = groups
        self._group: NamedGroup | None = None
        self._peer_point = b""
        self._peer: VerifiedPeer | None = None
        self._scheme: SignatureScheme | None = None
        self._certificate_requested = False
        self._master = b""
        self._block: KeyBlock | None = None
        extensions = hello.extensions
        check_allowed(extensions, _ALLOWED_EXTENSIONS, offered)
        # RFC 5746 section 3.4: without it, an attacker could put a session of his own before ours.
        if ExtensionType.RENEGOTIATION_INFO not in extensions:
            raise HandshakeFailure("the server lacks secure renegotiation (RFC 5746)")
        if extensions[ExtensionType.RENEGOTIATION_INFO] != b"\x00":
            raise HandshakeFailure("renegotiation_info with contents in a first handshake")
        if extensions.get(ExtensionType.EXTENDED_MASTER_SECRET, b""):
            raise DecodeError("extended_master_secret with contents")
        if (
            0
            not in Reader(extensions.get(ExtensionType.EC_POINT_FORMATS, b"\x01\x00"))
            .pull_block(1)
            .pull_rest()
        ):
            raise IllegalParameter("the server does not take uncompressed points")
        self._extended_master_secret = ExtensionType.EXTENDED_MASTER_SECRET in extensions
        self._alpn = chosen_alpn(extensions, core.config.alpn)
        limit_records(extensions, core.records, inner_type_bytes=0)
        self.state = State.EXPECT_CERTIFICATE

    def receive(self, kind: int, body: bytes, raw: bytes) -> None:
        state = self.state
        if kind == HandshakeType.HELLO_REQUEST:
            self._receive_hello_request(body)
            return
        if state == State.EXPECT_CERTIFICATE and kind == HandshakeType.CERTIFICATE:
            self._receive_certificate(Certificate12.pull_body(Reader(body)))
        elif state == State.EXPECT_SERVER_KEY_EXCHANGE and kind == HandshakeType.SERVER_KEY_EXCHANGE:
            self._receive_server_key_exchange(ServerKeyExchange.pull_body(Reader(body)))
        elif state == State.EXPECT_REQUEST_OR_DONE and kind == HandshakeType.CERTIFICATE_REQUEST:
            CertificateRequest12.pull_body(Reader(body))
            self._certificate_requested = True
            self.state = State.EXPECT_DONE
        elif (
            state in (State.EXPECT_REQUEST_OR_DONE, State.EXPECT_DONE)
            and kind == HandshakeType.SERVER_HELLO_DONE
        ):
            ServerHelloDone.pull_body(Reader(body))
            self._core.transcript.append(raw)
            self._send_second_flight()
            return
        elif state == State.EXPECT_FINISHED and kind == HandshakeType.FINISHED:
            self._receive_finished(Finished.pull_body(Reader(body)))
        else:
            raise UnexpectedMessage(f"handshake message {kind} in state {state.name}")
        self._core.transcript.append(raw)

    def receive_change_cipher_spec(self) -> None:
        if self.state != State.EXPECT_CHANGE_CIPHER_SPEC:
            raise UnexpectedMessage(f"change_cipher_spec in state {self.state.name}")
        self._core.expect_key_boundary()
        assert self._block is not None
        block, self._block = self._block, None
        self._core.records.install_12("read", self._parameters, block.server_key, block.server_iv)
        self.state = State.EXPECT_FINISHED

    def _receive_hello_request(self, body: bytes) -> None:
        """To be ignored while negotiating (RFC 5246 section 7.4.1.1), refused afterwards."""
        if body:
            raise DecodeError("HelloRequest with contents")
        if self.state == State.CONNECTED:
            self._core.send_warning(Alert.NO_RENEGOTIATION)

    # -- server's flight -----------------------------------------------------------------------------

    def _receive_certificate(self, message: Certificate12) -> None:
        if not message.certificates:
            raise DecodeError("the server sent no certificate")
        core = self._core
        peer = core.verifier.verify(message.certificates, core.name, core.unix_time())
        try:
            is_rsa = isinstance(decode_key(peer.public_key), RsaKey)
        except MalformedError:
            raise UnsupportedCertificate("the certificate's key cannot be used for signing") from None
        if is_rsa != ("_RSA_" in self._suite.name):
            raise IllegalParameter("the certificate's key does not suit the cipher suite")
        self._peer = peer
        self.state = State.EXPECT_SERVER_KEY_EXCHANGE

    def _receive_server_key_exchange(self, message: ServerKeyExchange) -> None:
        if message.curve_type != _NAMED_CURVE or message.group not in self._groups:
            raise IllegalParameter("the server chose a group that was not offered")
        assert self._peer is not None
        verify_signature(
            self._core.provider,
            self._peer.public_key,
            message.scheme,
            message.signature,
            self._client_random + self._server_random + message.signed_params(),
            tls13=False,
        )
        self._scheme = SignatureScheme(message.scheme)
        self._group, self._peer_point = NamedGroup(message.group), message.point
        self.state = State.EXPECT_REQUEST_OR_DONE

    # -- our flight ----------------------------------------------------------------------------------

    def _send_second_flight(self) -> None:
        core, digest = self._core, self._parameters.digest
        assert self._group is not None
        core.expect_key_boundary()
        share = self._keys.share(self._group)
        try:
            premaster = share.exchange(self._peer_point)
        except CryptoError:
            raise IllegalParameter("the server's key share is unusable") from None
        if self._certificate_requested:
            core.send_handshake(Certificate12(()))
        core.send_handshake(ClientKeyExchange(share.public))
        if self._extended_master_secret:  # RFC 7627 section 4
            self._master = prf(digest, premaster, b"extended master secret", core.transcript.value(), 48)
        else:
            seed = self._client_random + self._server_random
            self._master = prf(digest, premaster, b"master secret", seed, 48)
        block = key_block(self._parameters, self._master, self._server_random, self._client_random)
        core.records.owes_change_cipher_spec = True
        core.records.send_change_cipher_spec()
        core.records.install_12("write", self._parameters, block.client_key, block.client_iv)
        core.send_handshake(Finished(self._verify_data(b"client finished")))
        self._block = block
        self.state = State.EXPECT_CHANGE_CIPHER_SPEC

    def _verify_data(self, label: bytes) -> bytes:
        return prf(self._parameters.digest, self._master, label, self._core.transcript.value(), _VERIFY_DATA)

    def _receive_finished(self, message: Finished) -> None:
        core = self._core
        core.expect_key_boundary()
        if not hmac.compare_digest(self._verify_data(b"server finished"), message.verify_data):
            raise DecryptError("the server's Finished message is wrong")
        self._master = b""
        self.state = State.CONNECTED
        assert self._peer is not None
        assert self._group is not None
        core.complete(
            HandshakeComplete(
                server_name=core.server_name,
                version=ProtocolVersion.TLS_1_2,
                cipher_suite=self._suite,
                group=self._group,
                alpn=self._alpn,
                peer_certificates=self._peer.chain,
                signature_scheme=self._scheme,
                extended_master_secret=self._extended_master_secret,
            )
        )
