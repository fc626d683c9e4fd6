"""From ClientHello to ServerHello: what we offer, what may be chosen, retries (RFC 8446 section 4.1).

The hello is the same for every connection of a platform except for names and random values: a list that
followed the machine (say, by measuring ciphers) would make its user recognizable.
"""

from __future__ import annotations

import sys
from typing import Final

from smolmix_web.errors import CryptoError
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.core import Core
from smolmix_web.tls.errors import (
    IllegalParameter,
    MissingExtension,
    ProtocolVersionError,
    UnexpectedMessage,
    UnsupportedExtension,
)
from smolmix_web.tls.groups import GroupKeys
from smolmix_web.tls.handshake12 import Handshake12
from smolmix_web.tls.handshake13 import Handshake13
from smolmix_web.tls.messages import ClientHello, ServerHello
from smolmix_web.tls.negotiated import check_allowed
from smolmix_web.tls.record import MAX_PLAINTEXT
from smolmix_web.tls.registry import (
    CipherSuite,
    ContentType,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    ProtocolVersion,
)
from smolmix_web.tls.schedule import SUITES_12, SUITES_13, KeySchedule, resumption_binder
from smolmix_web.tls.signatures import OFFERED as OFFERED_SCHEMES
from smolmix_web.tls.tickets import Ticket
from smolmix_web.wire import Reader

_AES_FIRST: Final = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
)


def preferred_suites(platform: str = sys.platform) -> tuple[CipherSuite, ...]:
    """Cipher suites in order of speed: native code has AES instructions, WebAssembly has none."""
    if platform != "emscripten":
        return _AES_FIRST
    return tuple(sorted(_AES_FIRST, key=lambda suite: "CHACHA20" not in suite.name))


#: Shares sent at once. A round trip through the mixnet costs seconds, a P-256 share 69 bytes, so it goes
#: along for the servers that know nothing newer.
_SHARED_AT_ONCE: Final[tuple[NamedGroup, ...]] = (
    NamedGroup.X25519MLKEM768,
    NamedGroup.X25519,
    NamedGroup.SECP256R1,
)
_GROUPS: Final[tuple[NamedGroup, ...]] = (*_SHARED_AT_ONCE, NamedGroup.SECP384R1)

_DOWNGRADE_FROM_13: Final = b"DOWNGRD\x01"
_DOWNGRADE_TO_11: Final = b"DOWNGRD\x00"
_HELLO_EXTENSIONS: Final = frozenset(
    (ExtensionType.SUPPORTED_VERSIONS, ExtensionType.KEY_SHARE, ExtensionType.PRE_SHARED_KEY)
)
_RETRY_EXTENSIONS: Final = frozenset(
    (ExtensionType.SUPPORTED_VERSIONS, ExtensionType.KEY_SHARE, ExtensionType.COOKIE)
)


class HelloExchange:
    """Sends the ClientHello at creation; :meth:`receive` takes the ServerHello and hands over."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._offers_13 = core.config.maximum_version >= ProtocolVersion.TLS_1_3
        self._offers_12 = core.config.minimum_version <= ProtocolVersion.TLS_1_2
        self._keys = GroupKeys(core.provider, core.random_bytes)
        self._groups = tuple(
            group
            for group in _GROUPS
            if group != NamedGroup.X25519MLKEM768 or (self._offers_13 and self._keys.has_mlkem)
        )
        self._shares: tuple[NamedGroup, ...] = (
            tuple(g for g in self._groups if g in _SHARED_AT_ONCE) if self._offers_13 else ()
        )
        self._random = core.random_bytes(32)
        # Compatibility mode (appendix D.4): middleboxes want to see what looks like a 1.2 resumption.
        self._session_id = core.random_bytes(32) if self._offers_13 else b""
        self._suites = tuple(
            suite
            for suite in preferred_suites()
            if (suite in SUITES_13 and self._offers_13) or (suite in SUITES_12 and self._offers_12)
        )
        self._cookie = b""
        self._retry_suite: int | None = None
        self._ticket = self._take_ticket()
        self._offered: frozenset[int] = frozenset()
        core.records.owes_change_cipher_spec = bool(self._session_id) or not self._offers_13
        core.records.plaintext_version = 0x0301
        self._send()
        core.records.plaintext_version = 0x0303

    @property
    def retried(self) -> bool:
        return self._retry_suite is not None

    def _take_ticket(self) -> Ticket | None:
        store = self._core.config.resumption
        if store is None or not self._offers_13:
            return None
        return store.take(self._core.ticket_key, self._core.unix_time())

    # -- ClientHello ---------------------------------------------------------------------------------

    def _send(self) -> None:
        hello = ClientHello(self._random, self._session_id, self._suites, self._extensions())
        self._offered = frozenset(hello.extensions)
        raw = hello.to_bytes()
        if self._ticket is not None:
            raw = self._with_binder(raw, self._ticket)
        self._core.transcript.append(raw)
        self._core.records.push(ContentType.HANDSHAKE, raw)

    def _extensions(self) -> ext.Extensions:
        core, config = self._core, self._core.config
        found: ext.Extensions = {}
        if core.name.dns is not None:  # RFC 6066: addresses are not sent
            found[ExtensionType.SERVER_NAME] = ext.push_server_name(core.name.dns)
        if self._offers_12:
            found[ExtensionType.EXTENDED_MASTER_SECRET] = b""
            found[ExtensionType.RENEGOTIATION_INFO] = b"\x00"
            found[ExtensionType.EC_POINT_FORMATS] = b"\x01\x00"
        found[ExtensionType.SUPPORTED_GROUPS] = ext.push_u16_list(self._groups)
        if config.alpn:
            found[ExtensionType.ALPN] = ext.push_alpn([name.encode("ascii") for name in config.alpn])
        found[ExtensionType.SIGNATURE_ALGORITHMS] = ext.push_u16_list(OFFERED_SCHEMES)
        limit = MAX_PLAINTEXT + 1 if self._offers_13 else MAX_PLAINTEXT
        found[ExtensionType.RECORD_SIZE_LIMIT] = ext.push_u16(limit)
        if self._offers_13:
            self._add_extensions_13(found)
        return found

    def _add_extensions_13(self, found: ext.Extensions) -> None:
        versions = [ProtocolVersion.TLS_1_3] + [ProtocolVersion.TLS_1_2] * self._offers_12
        found[ExtensionType.SUPPORTED_VERSIONS] = ext.push_u16_list(versions, 1)
        if self._cookie:
            found[ExtensionType.COOKIE] = ext.push_cookie(self._cookie)
        shares = [(group, self._keys.share(group).public) for group in self._shares]
        found[ExtensionType.KEY_SHARE] = ext.push_key_shares(shares)
        if self._core.config.resumption is not None:
            found[ExtensionType.PSK_KEY_EXCHANGE_MODES] = b"\x01\x01"  # psk_dhe_ke
        if self._ticket is not None:  # must be last, section 4.2.11
            size = KeySchedule(SUITES_13[self._ticket.cipher_suite].digest).hash_length
            age = self._ticket.obfuscated_age(self._core.unix_time())
            offer = ext.push_offered_psk(self._ticket.identity, age, bytes(size))
            found[ExtensionType.PRE_SHARED_KEY] = offer

    def _with_binder(self, raw: bytes, ticket: Ticket) -> bytes:
        """Section 4.2.11.2: the binder covers all that stands before the list of binders."""
        digest = SUITES_13[ticket.cipher_suite].digest
        size = KeySchedule(digest).hash_length
        truncated = raw[: -(size + 3)]
        transcript = self._core.transcript
        if transcript.digest is None:
            transcript = type(transcript)()
            transcript.start(digest)
        binder = resumption_binder(digest, ticket.psk, transcript.value_with(truncated))
        return raw[:-size] + binder

    # -- ServerHello ---------------------------------------------------------------------------------

    def receive_change_cipher_spec(self) -> None:
        """To be dropped at any time after our first ClientHello (section 5); TLS 1.2 has none this early."""
        if not self._offers_13:
            raise UnexpectedMessage("change_cipher_spec before the ServerHello")

    def receive(self, kind: int, body: bytes, raw: bytes) -> None:
        if kind != HandshakeType.SERVER_HELLO:
            raise UnexpectedMessage(f"handshake message {kind} instead of a ServerHello")
        hello = ServerHello.pull_body(Reader(body))
        version = self._negotiated_version(hello)
        if version == ProtocolVersion.TLS_1_2:
            self._continue_12(hello, raw)
        elif hello.is_retry:
            self._retry(hello, raw)
        else:
            self._continue_13(hello, raw)

    def _negotiated_version(self, hello: ServerHello) -> ProtocolVersion:
        chosen = hello.extensions.get(ExtensionType.SUPPORTED_VERSIONS)
        if chosen is not None:
            if not self._offers_13:
                raise UnsupportedExtension("supported_versions was not offered")
            if ext.pull_u16(chosen) != ProtocolVersion.TLS_1_3 or hello.legacy_version != 0x0303:
                raise IllegalParameter("the server chose a version that was not offered")
            return ProtocolVersion.TLS_1_3
        if hello.legacy_version != ProtocolVersion.TLS_1_2 or not self._offers_12:
            raise ProtocolVersionError("the server offers no version of TLS that is accepted here")
        if hello.is_retry or self.retried:
            raise IllegalParameter("the server changed its mind about the version")
        sentinel = hello.random[-8:]
        if (self._offers_13 and sentinel == _DOWNGRADE_FROM_13) or sentinel == _DOWNGRADE_TO_11:
            raise IllegalParameter("somebody on the way forced an older version of TLS")
        return ProtocolVersion.TLS_1_2

    def _check_common_13(self, hello: ServerHello) -> None:
        if hello.session_id != self._session_id:
            raise IllegalParameter("the server did not echo the session id")
        if hello.cipher_suite not in self._suites or hello.cipher_suite not in SUITES_13:
            raise IllegalParameter("the server chose a cipher suite that was not offered")
        if hello.compression_method != 0:
            raise IllegalParameter("the server chose compression")

    def _retry(self, hello: ServerHello, raw: bytes) -> None:
        core = self._core
        if self.retried:
            raise UnexpectedMessage("a second HelloRetryRequest")
        core.expect_key_boundary()
        self._check_common_13(hello)
        check_allowed(hello.extensions, _RETRY_EXTENSIONS, self._offered)
        share, cookie = (
            hello.extensions.get(ExtensionType.KEY_SHARE),
            hello.extensions.get(ExtensionType.COOKIE),
        )
        if share is None and cookie is None:
            raise IllegalParameter("HelloRetryRequest that changes nothing")
        if share is not None:
            group = ext.pull_u16(share)
            if group not in self._groups or group in self._shares:
                raise IllegalParameter(
                    "HelloRetryRequest for a group not offered, or one whose share was sent"
                )
            self._shares = (NamedGroup(group),)
        if cookie is not None:
            self._cookie = ext.pull_cookie(cookie)
        self._retry_suite = hello.cipher_suite
        digest = SUITES_13[hello.cipher_suite].digest
        core.transcript.start(digest)
        core.transcript.replace_by_hash()
        core.transcript.append(raw)
        if self._ticket is not None and SUITES_13[self._ticket.cipher_suite].digest != digest:
            self._ticket = None
        core.records.send_change_cipher_spec()
        self._send()

    def _continue_13(self, hello: ServerHello, raw: bytes) -> None:
        core = self._core
        core.expect_key_boundary()
        self._check_common_13(hello)
        if self._retry_suite is not None and hello.cipher_suite != self._retry_suite:
            raise IllegalParameter("the server changed the cipher suite after its HelloRetryRequest")
        check_allowed(hello.extensions, _HELLO_EXTENSIONS, self._offered)
        suite = CipherSuite(hello.cipher_suite)
        ticket = self._accepted_ticket(hello, suite)
        share = hello.extensions.get(ExtensionType.KEY_SHARE)
        if share is None:
            raise MissingExtension("ServerHello without a key share")
        group, peer_share = ext.pull_key_share_entry(share)
        if group not in self._shares:
            raise IllegalParameter("the server chose a group without a share of ours")
        try:
            secret = self._keys.share(group).exchange(peer_share)
        except CryptoError:
            raise IllegalParameter("the server's key share is unusable") from None
        if core.transcript.digest is None:
            core.transcript.start(SUITES_13[suite].digest)
        core.transcript.append(raw)
        core.version = ProtocolVersion.TLS_1_3
        core.handshake = Handshake13(
            core, suite, NamedGroup(group), secret, ticket, retried=self.retried, offered=self._offered
        )

    def _accepted_ticket(self, hello: ServerHello, suite: CipherSuite) -> Ticket | None:
        selected = hello.extensions.get(ExtensionType.PRE_SHARED_KEY)
        if selected is None:
            return None
        if self._ticket is None or ext.pull_u16(selected) != 0:
            raise IllegalParameter("the server resumes a session that was not offered")
        if SUITES_13[self._ticket.cipher_suite].digest != SUITES_13[suite].digest:
            raise IllegalParameter("the server resumes a session with another hash")
        return self._ticket

    def _continue_12(self, hello: ServerHello, raw: bytes) -> None:
        core = self._core
        if hello.cipher_suite not in self._suites or hello.cipher_suite not in SUITES_12:
            raise IllegalParameter("the server chose a cipher suite that was not offered")
        if hello.compression_method != 0:
            raise IllegalParameter("the server chose compression")
        if hello.session_id and hello.session_id == self._session_id:
            raise IllegalParameter("the server resumes a session that was not offered")
        suite = CipherSuite(hello.cipher_suite)
        core.transcript.start(SUITES_12[suite].digest)
        core.transcript.append(raw)
        core.version = ProtocolVersion.TLS_1_2
        groups = tuple(group for group in self._groups if group != NamedGroup.X25519MLKEM768)
        core.handshake = Handshake12(
            core, suite, hello, self._random, self._keys, groups, offered=self._offered
        )
