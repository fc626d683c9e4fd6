"""Every handshake message as a dataclass with ``pull_body``/``push_body`` written as mirror images.

``to_bytes`` adds the four-byte header of RFC 8446 section 4. A body that is not consumed whole, or a vector
outside the bounds that the RFC gives, raises :class:`~smolmix_web.errors.MalformedError`. Messages of the
server have a serializer as well, and those of the client a parser: the tests' servers are made of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from smolmix_web.errors import MalformedError
from smolmix_web.tls.extensions import Extensions, pull_extensions, push_extensions
from smolmix_web.tls.registry import HandshakeType, ProtocolVersion
from smolmix_web.wire import Reader, Writer

#: ServerHello.random of a HelloRetryRequest, RFC 8446 section 4.1.3.
HELLO_RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


def encode_message(kind: int, body: bytes) -> bytes:
    return bytes((kind,)) + len(body).to_bytes(3, "big") + body


class Message:
    """Common part: ``kind`` is the handshake type."""

    kind: ClassVar[HandshakeType]

    def push_body(self, writer: Writer) -> None:
        raise NotImplementedError

    def to_bytes(self) -> bytes:
        writer = Writer()
        self.push_body(writer)
        return encode_message(self.kind, writer.getvalue())


@dataclass(frozen=True, slots=True)
class ClientHello(Message):
    """RFC 8446 section 4.1.2."""

    kind = HandshakeType.CLIENT_HELLO
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    extensions: Extensions
    legacy_version: int = ProtocolVersion.TLS_1_2
    compression_methods: bytes = b"\x00"

    @classmethod
    def pull_body(cls, reader: Reader) -> ClientHello:
        version, random = reader.pull_u16(), reader.pull_bytes(32)
        session_id = reader.pull_bytes(reader.pull_u8())
        suites = reader.pull_block(2)
        cipher_suites = tuple(suites.pull_u16() for _ in range(suites.remaining // 2))
        suites.expect_end()
        compression = reader.pull_bytes(reader.pull_u8())
        extensions = pull_extensions(reader) if reader.remaining else {}
        reader.expect_end()
        return cls(random, session_id, cipher_suites, extensions, version, compression)

    def push_body(self, writer: Writer) -> None:
        writer.push_u16(self.legacy_version)
        writer.push_bytes(self.random)
        writer.push_block(self.session_id, 1)
        writer.push_u16(2 * len(self.cipher_suites))
        for suite in self.cipher_suites:
            writer.push_u16(suite)
        writer.push_block(self.compression_methods, 1)
        push_extensions(writer, self.extensions)


@dataclass(frozen=True, slots=True)
class ServerHello(Message):
    """RFC 8446 section 4.1.3, and of RFC 5246 section 7.4.1.3 (where extensions may be absent)."""

    kind = HandshakeType.SERVER_HELLO
    random: bytes
    session_id: bytes
    cipher_suite: int
    extensions: Extensions
    legacy_version: int = ProtocolVersion.TLS_1_2
    compression_method: int = 0

    @property
    def is_retry(self) -> bool:
        return self.random == HELLO_RETRY_RANDOM

    @classmethod
    def pull_body(cls, reader: Reader) -> ServerHello:
        version, random = reader.pull_u16(), reader.pull_bytes(32)
        session_id = reader.pull_bytes(reader.pull_u8())
        if len(session_id) > 32:
            raise MalformedError("session id longer than 32 bytes")
        cipher_suite, compression = reader.pull_u16(), reader.pull_u8()
        extensions = pull_extensions(reader) if reader.remaining else {}
        reader.expect_end()
        return cls(random, session_id, cipher_suite, extensions, version, compression)

    def push_body(self, writer: Writer) -> None:
        writer.push_u16(self.legacy_version)
        writer.push_bytes(self.random)
        writer.push_block(self.session_id, 1)
        writer.push_u16(self.cipher_suite)
        writer.push_u8(self.compression_method)
        push_extensions(writer, self.extensions)


@dataclass(frozen=True, slots=True)
class EncryptedExtensions(Message):
    """RFC 8446 section 4.3.1."""

    kind = HandshakeType.ENCRYPTED_EXTENSIONS
    extensions: Extensions

    @classmethod
    def pull_body(cls, reader: Reader) -> EncryptedExtensions:
        extensions = pull_extensions(reader)
        reader.expect_end()
        return cls(extensions)

    def push_body(self, writer: Writer) -> None:
        push_extensions(writer, self.extensions)


@dataclass(frozen=True, slots=True)
class CertificateRequest(Message):
    """RFC 8446 section 4.3.2. We have no certificate to give, so the contents matter little."""

    kind = HandshakeType.CERTIFICATE_REQUEST
    context: bytes
    extensions: Extensions

    @classmethod
    def pull_body(cls, reader: Reader) -> CertificateRequest:
        context = reader.pull_bytes(reader.pull_u8())
        extensions = pull_extensions(reader)
        reader.expect_end()
        return cls(context, extensions)

    def push_body(self, writer: Writer) -> None:
        writer.push_block(self.context, 1)
        push_extensions(writer, self.extensions)


@dataclass(frozen=True, slots=True)
class Certificate(Message):
    """RFC 8446 section 4.4.2: DER certificates, the server's own first, each with its extensions."""

    kind = HandshakeType.CERTIFICATE
    context: bytes
    entries: tuple[tuple[bytes, Extensions], ...]

    @classmethod
    def pull_body(cls, reader: Reader) -> Certificate:
        context = reader.pull_bytes(reader.pull_u8())
        block = reader.pull_block(3)
        reader.expect_end()
        entries = []
        while block.remaining:
            certificate = block.pull_bytes(block.pull_u24())
            if not certificate:
                raise MalformedError("empty certificate entry")
            entries.append((certificate, pull_extensions(block)))
        return cls(context, tuple(entries))

    def push_body(self, writer: Writer) -> None:
        writer.push_block(self.context, 1)
        block = Writer()
        for certificate, extensions in self.entries:
            block.push_block(certificate, 3)
            push_extensions(block, extensions)
        writer.push_block(block.getvalue(), 3)


@dataclass(frozen=True, slots=True)
class Certificate12(Message):
    """RFC 5246 section 7.4.2: a bare list of DER certificates."""

    kind = HandshakeType.CERTIFICATE
    certificates: tuple[bytes, ...]

    @classmethod
    def pull_body(cls, reader: Reader) -> Certificate12:
        block = reader.pull_block(3)
        reader.expect_end()
        certificates = []
        while block.remaining:
            certificate = block.pull_bytes(block.pull_u24())
            if not certificate:
                raise MalformedError("empty certificate entry")
            certificates.append(certificate)
        return cls(tuple(certificates))

    def push_body(self, writer: Writer) -> None:
        block = Writer()
        for certificate in self.certificates:
            block.push_block(certificate, 3)
        writer.push_block(block.getvalue(), 3)


@dataclass(frozen=True, slots=True)
class CertificateVerify(Message):
    """RFC 8446 section 4.4.3."""

    kind = HandshakeType.CERTIFICATE_VERIFY
    scheme: int
    signature: bytes

    @classmethod
    def pull_body(cls, reader: Reader) -> CertificateVerify:
        scheme, signature = reader.pull_u16(), reader.pull_bytes(reader.pull_u16())
        reader.expect_end()
        return cls(scheme, signature)

    def push_body(self, writer: Writer) -> None:
        writer.push_u16(self.scheme)
        writer.push_block(self.signature, 2)


@dataclass(frozen=True, slots=True)
class Finished(Message):
    """RFC 8446 section 4.4.4 and RFC 5246 section 7.4.9; the length depends on hash and version."""

    kind = HandshakeType.FINISHED
    verify_data: bytes = field(repr=False)

    @classmethod
    def pull_body(cls, reader: Reader) -> Finished:
        return cls(reader.pull_rest())

    def push_body(self, writer: Writer) -> None:
        writer.push_bytes(self.verify_data)


@dataclass(frozen=True, slots=True)
class NewSessionTicket(Message):
    """RFC 8446 section 4.6.1. ``lifetime`` in seconds, ``age_add`` in milliseconds modulo 2**32."""

    kind = HandshakeType.NEW_SESSION_TICKET
    lifetime: int
    age_add: int = field(repr=False)
    nonce: bytes = field(repr=False)
    ticket: bytes = field(repr=False)
    extensions: Extensions

    @classmethod
    def pull_body(cls, reader: Reader) -> NewSessionTicket:
        lifetime, age_add = reader.pull_u32(), reader.pull_u32()
        nonce = reader.pull_bytes(reader.pull_u8())
        ticket = reader.pull_bytes(reader.pull_u16())
        if not ticket:
            raise MalformedError("empty ticket")
        extensions = pull_extensions(reader)
        reader.expect_end()
        return cls(lifetime, age_add, nonce, ticket, extensions)

    def push_body(self, writer: Writer) -> None:
        writer.push_u32(self.lifetime)
        writer.push_u32(self.age_add)
        writer.push_block(self.nonce, 1)
        writer.push_block(self.ticket, 2)
        push_extensions(writer, self.extensions)


@dataclass(frozen=True, slots=True)
class KeyUpdate(Message):
    """RFC 8446 section 4.6.3. ``request_update`` is the raw byte; only 0 and 1 are legal."""

    kind = HandshakeType.KEY_UPDATE
    request_update: int

    @classmethod
    def pull_body(cls, reader: Reader) -> KeyUpdate:
        request = reader.pull_u8()
        reader.expect_end()
        return cls(request)

    def push_body(self, writer: Writer) -> None:
        writer.push_u8(self.request_update)


@dataclass(frozen=True, slots=True)
class ServerKeyExchange(Message):
    """RFC 8422 section 5.4: an ephemeral point on a named curve, signed together with both randoms."""

    kind = HandshakeType.SERVER_KEY_EXCHANGE
    curve_type: int
    group: int
    point: bytes
    scheme: int
    signature: bytes

    @classmethod
    def pull_body(cls, reader: Reader) -> ServerKeyExchange:
        curve_type, group = reader.pull_u8(), reader.pull_u16()
        point = reader.pull_bytes(reader.pull_u8())
        scheme, signature = reader.pull_u16(), reader.pull_bytes(reader.pull_u16())
        reader.expect_end()
        return cls(curve_type, group, point, scheme, signature)

    def signed_params(self) -> bytes:
        """ServerECDHParams, the part that the signature covers."""
        writer = Writer()
        writer.push_u8(self.curve_type)
        writer.push_u16(self.group)
        writer.push_block(self.point, 1)
        return writer.getvalue()

    def push_body(self, writer: Writer) -> None:
        writer.push_bytes(self.signed_params())
        writer.push_u16(self.scheme)
        writer.push_block(self.signature, 2)


@dataclass(frozen=True, slots=True)
class CertificateRequest12(Message):
    """RFC 5246 section 7.4.4."""

    kind = HandshakeType.CERTIFICATE_REQUEST
    certificate_types: bytes
    schemes: tuple[int, ...]
    authorities: bytes  # encoded list, not looked at

    @classmethod
    def pull_body(cls, reader: Reader) -> CertificateRequest12:
        types = reader.pull_bytes(reader.pull_u8())
        block = reader.pull_block(2)
        schemes = tuple(block.pull_u16() for _ in range(block.remaining // 2))
        block.expect_end()
        authorities = reader.pull_bytes(reader.pull_u16())
        reader.expect_end()
        return cls(types, schemes, authorities)

    def push_body(self, writer: Writer) -> None:
        writer.push_block(self.certificate_types, 1)
        writer.push_u16(2 * len(self.schemes))
        for scheme in self.schemes:
            writer.push_u16(scheme)
        writer.push_block(self.authorities, 2)


@dataclass(frozen=True, slots=True)
class ServerHelloDone(Message):
    """RFC 5246 section 7.4.5: empty."""

    kind = HandshakeType.SERVER_HELLO_DONE

    @classmethod
    def pull_body(cls, reader: Reader) -> ServerHelloDone:
        reader.expect_end()
        return cls()

    def push_body(self, writer: Writer) -> None:
        pass


@dataclass(frozen=True, slots=True)
class ClientKeyExchange(Message):
    """RFC 8422 section 5.7: our ephemeral point."""

    kind = HandshakeType.CLIENT_KEY_EXCHANGE
    point: bytes

    @classmethod
    def pull_body(cls, reader: Reader) -> ClientKeyExchange:
        point = reader.pull_bytes(reader.pull_u8())
        reader.expect_end()
        return cls(point)

    def push_body(self, writer: Writer) -> None:
        writer.push_block(self.point, 1)
