"""The record layer: fragments, protection in both directions, sequence numbers, limits (RFC 8446 section 5).

Incoming bytes are handed over with :meth:`RecordLayer.feed`; :meth:`RecordLayer.pull` then takes records off
the front. Application data of protected records goes to a list which the caller passes along, many records
per call: that loop is the hot path of every download, so it stays flat and lets the AEAD read straight from
the buffer. Everything else is returned one record at a time, because it may change keys or states.

Keys are installed per direction. A plaintext direction has no keys yet; TLS 1.3 and 1.2 differ in nonce,
additional data and in where the content type sits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

from smolmix_web.crypto.provider import Aead, AeadName, Provider
from smolmix_web.errors import CryptoError, LocalProtocolError
from smolmix_web.tls.errors import BadRecordMac, RecordOverflow, UnexpectedMessage
from smolmix_web.tls.registry import ContentType
from smolmix_web.tls.schedule import SuiteParameters, next_traffic_secret, traffic_key_and_iv

#: Longest plaintext of a record, section 5.1.
MAX_PLAINTEXT: Final = 1 << 14
#: What protection may add: section 5.2 for TLS 1.3, RFC 5246 section 6.2.3 for TLS 1.2.
_EXPANSION_13: Final = 256
_EXPANSION_12: Final = 2048
#: Records under one key. AES-GCM stays safe up to 2**24.5 full ones (section 5.5); we rekey well before.
REKEY_AFTER: Final = 1 << 23
HARD_LIMIT: Final = 1 << 24

_TAG: Final = 16
#: Length of a full, unpadded TLS 1.3 record; only longer ones can hold more than allowed.
_LARGEST_FULL: Final = MAX_PLAINTEXT + 1 + _TAG
_HANDSHAKE, _APPLICATION = int(ContentType.HANDSHAKE), int(ContentType.APPLICATION_DATA)
_CONTENT_TYPES = frozenset(int(kind) for kind in ContentType)


_Open = Callable[[bytes, bytes | memoryview, bytes], bytes]
DirectionName = Literal["read", "write"]


class _Direction:
    """Keys and sequence number of one direction. ``iv`` is kept as an integer: XOR is then one operation."""

    __slots__ = ("aead", "explicit_nonce", "iv", "parameters", "secret", "sequence", "tls13")

    def __init__(self) -> None:
        self.aead: Aead | None = None
        self.iv = 0
        self.sequence = 0
        self.tls13 = True
        self.explicit_nonce = 0
        self.parameters: SuiteParameters | None = None
        self.secret = b""


class RecordLayer:
    """Both directions of one connection's records.

    Errors of :meth:`pull` are :class:`~smolmix_web.tls.errors.TlsError`; after one the layer must not be
    used for reading again. :meth:`push` never fails on data; it splits what is longer than a record.
    """

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._read = _Direction()
        self._write = _Direction()
        self._buffer: bytes = b""
        self._position = 0
        self._out: list[bytes] = []
        #: Longest content of a record that we send; the peer may lower it (RFC 8449).
        self.max_fragment = MAX_PLAINTEXT
        #: Version number in the header of plaintext records: 0x0301 for the first ClientHello only.
        self.plaintext_version = 0x0303
        #: Whether an unprotected change_cipher_spec may still come (compatibility mode, appendix D.4).
        self.change_cipher_spec_allowed = True
        self.records_read = 0
        #: Whether a change_cipher_spec of ours is still due before our first protected record.
        self.owes_change_cipher_spec = True

    # -- keys ----------------------------------------------------------------------------------------

    def install_13(self, direction: DirectionName, parameters: SuiteParameters, secret: bytes) -> None:
        """Protect ``direction`` ("read" or "write") with keys from a TLS 1.3 traffic secret."""
        key, iv = traffic_key_and_iv(parameters, secret)
        self._install(direction, parameters.aead, key, int.from_bytes(iv, "big"), True, 0)
        target = self._read if direction == "read" else self._write
        target.parameters, target.secret = parameters, secret

    def install_12(
        self, direction: DirectionName, parameters: SuiteParameters, key: bytes, iv: bytes
    ) -> None:
        """Protect ``direction`` with keys from a TLS 1.2 key block."""
        fixed = int.from_bytes(iv, "big") << (8 * parameters.explicit_nonce)
        self._install(direction, parameters.aead, key, fixed, False, parameters.explicit_nonce)

    def _install(
        self, direction: DirectionName, name: AeadName, key: bytes, iv: int, tls13: bool, explicit_nonce: int
    ) -> None:
        target = self._read if direction == "read" else self._write
        target.aead = self._provider.aead(name, key)
        target.iv, target.tls13, target.explicit_nonce, target.sequence = iv, tls13, explicit_nonce, 0

    def update_keys(self, direction: DirectionName) -> None:
        """Move to the next generation of TLS 1.3 application keys (section 7.2)."""
        target = self._read if direction == "read" else self._write
        assert target.parameters is not None
        secret = next_traffic_secret(target.parameters.digest, target.secret)
        self.install_13(direction, target.parameters, secret)

    @property
    def read_protected(self) -> bool:
        return self._read.aead is not None

    @property
    def write_protected(self) -> bool:
        return self._write.aead is not None

    @property
    def wants_rekey(self) -> bool:
        """The sending keys have protected so many records that a key update is due."""
        return self._write.sequence >= REKEY_AFTER

    @property
    def wants_peer_rekey(self) -> bool:
        """The same for the receiving keys."""
        return self._read.sequence >= REKEY_AFTER

    # -- in ------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        if self._position == len(self._buffer):
            self._buffer = bytes(data)
        else:
            self._buffer = self._buffer[self._position :] + data
        self._position = 0

    def drop_input(self) -> None:
        """Forget what was fed and not pulled yet."""
        self._buffer, self._position = b"", 0

    @property
    def buffered(self) -> int:
        """Bytes of an incomplete record (or of records not pulled yet)."""
        return len(self._buffer) - self._position

    def pull(self, application_data: list[bytes] | None) -> tuple[int, bytes] | None:
        """The next record that is not application data, as (type, plaintext); None: more bytes needed.

        Application data before it is appended to ``application_data``; with None there, it is
        returned like any other record, for the caller to refuse.
        """
        if self._read.aead is None or not self._read.tls13:
            return self._pull_plain_or_12(application_data)
        return self._pull_13(self._read.aead, application_data)

    def _pull_13(self, aead: Aead, application_data: list[bytes] | None) -> tuple[int, bytes] | None:
        read = self._read
        buffer, position = self._buffer, self._position
        view, end = memoryview(buffer), len(buffer)
        iv, sequence = read.iv, read.sequence
        open_: _Open = aead.open  # type: ignore[assignment]  # any buffer will do, says the provider
        header, length, plain = b"", 0, False
        try:
            while True:
                body = position + 5
                # Records of a download are of one size, so their headers are equal: decode it once.
                if buffer[position:body] != header:
                    if end < body:
                        return None
                    if buffer[position] != _APPLICATION:
                        position, record = self._pull_unprotected(position)
                        return record
                    header = buffer[position:body]
                    length = header[3] << 8 | header[4]
                    plain = application_data is not None and _TAG < length <= _LARGEST_FULL
                    if length > MAX_PLAINTEXT + _EXPANSION_13:
                        raise RecordOverflow(f"record of {length} bytes")
                stop = body + length
                if stop > end:
                    return None
                plaintext = open_((iv ^ sequence).to_bytes(12, "big"), view[body:stop], header)
                sequence += 1
                position = stop
                if plain and plaintext[-1] == 23:
                    application_data.append(plaintext[:-1])  # type: ignore[union-attr]
                    continue
                kind, plaintext = self._unpad(plaintext)
                if kind != _APPLICATION or application_data is None:
                    return kind, plaintext
                application_data.append(plaintext)
        except CryptoError:
            raise BadRecordMac("a record was damaged or forged on its way") from None
        finally:
            self.records_read += sequence - read.sequence
            self._position, read.sequence = position, sequence

    @staticmethod
    def _unpad(plaintext: bytes) -> tuple[int, bytes]:
        """Content type and content of a TLSInnerPlaintext, which may be padded (section 5.4)."""
        if len(plaintext) > MAX_PLAINTEXT + 1:
            raise RecordOverflow(f"record content of {len(plaintext) - 1} bytes")
        plaintext = plaintext.rstrip(b"\0")
        if not plaintext:
            raise UnexpectedMessage("record without a content type")
        kind = plaintext[-1]
        if kind not in _CONTENT_TYPES or kind == ContentType.CHANGE_CIPHER_SPEC:
            raise UnexpectedMessage(f"protected record of type {kind}")
        return kind, plaintext[:-1]

    def _pull_unprotected(self, position: int) -> tuple[int, tuple[int, bytes] | None]:
        """A record outside of protection while TLS 1.3 keys are on: only the dummy change_cipher_spec may."""
        buffer = self._buffer
        kind, length = buffer[position], buffer[position + 3] << 8 | buffer[position + 4]
        if kind != 20 or not self.change_cipher_spec_allowed:
            raise UnexpectedMessage(f"unprotected record of type {kind} after the keys were set")
        if length != 1:
            raise UnexpectedMessage("change_cipher_spec of a wrong length")
        if len(buffer) < position + 6:
            return position, None
        return position + 6, (kind, buffer[position + 5 : position + 6])

    def _pull_plain_or_12(self, application_data: list[bytes] | None) -> tuple[int, bytes] | None:
        read = self._read
        while self.buffered >= 5:
            buffer, position = self._buffer, self._position
            kind, length = buffer[position], buffer[position + 3] << 8 | buffer[position + 4]
            if kind not in _CONTENT_TYPES or buffer[position + 1] != 3:
                if self.records_read == 0:
                    raise UnexpectedMessage("the server does not speak TLS on this port")
                raise UnexpectedMessage(f"record of type {kind}, version {buffer[position + 1]}")
            expansion = _EXPANSION_12 if read.aead is not None else 0
            if length > MAX_PLAINTEXT + expansion:
                raise RecordOverflow(f"record of {length} bytes")
            if self.buffered < 5 + length:
                return None
            content = buffer[position + 5 : position + 5 + length]
            if read.aead is not None:
                content = self._open_12(read.aead, buffer[position : position + 5], content)
            self._position = position + 5 + length
            self.records_read += 1
            if kind == _APPLICATION and application_data is not None:
                application_data.append(content)
                continue
            return kind, content
        return None

    def _open_12(self, aead: Aead, header: bytes, content: bytes) -> bytes:
        read = self._read
        nonce_length = read.explicit_nonce
        if len(content) < nonce_length + _TAG:
            raise BadRecordMac("protected record too short")
        if nonce_length:
            nonce = read.iv | int.from_bytes(content[:nonce_length], "big")
        else:
            nonce = read.iv ^ read.sequence
        size = len(content) - nonce_length - _TAG
        additional = read.sequence.to_bytes(8, "big") + header[:3] + size.to_bytes(2, "big")
        try:
            plaintext = aead.open(nonce.to_bytes(12, "big"), content[nonce_length:], additional)
        except CryptoError:
            raise BadRecordMac("a record was damaged or forged on its way") from None
        if len(plaintext) > MAX_PLAINTEXT:
            raise RecordOverflow(f"record content of {len(plaintext)} bytes")
        read.sequence += 1
        return plaintext

    # -- out -----------------------------------------------------------------------------------------

    def push(self, kind: int, data: bytes | memoryview) -> None:
        """Queue ``data`` as records of type ``kind``, protected once keys are installed."""
        step = self.max_fragment
        if len(data) <= step:
            self._push_one(kind, data)
            return
        view = memoryview(data)
        for start in range(0, len(data), step):
            self._push_one(kind, view[start : start + step])

    def _push_one(self, kind: int, data: bytes | memoryview) -> None:
        write = self._write
        aead = write.aead
        if aead is None:
            header = bytes((kind,)) + self.plaintext_version.to_bytes(2, "big")
            self._out += (header, len(data).to_bytes(2, "big"), bytes(data))
            return
        if write.sequence >= HARD_LIMIT:
            raise LocalProtocolError("too many records under one key")
        nonce = write.iv ^ write.sequence
        if write.tls13:
            if self.owes_change_cipher_spec:
                self.send_change_cipher_spec()
            header = b"\x17\x03\x03" + (len(data) + 1 + _TAG).to_bytes(2, "big")
            sealed = aead.seal(nonce.to_bytes(12, "big"), b"".join((data, bytes((kind,)))), header)
            self._out += (header, sealed)
        else:
            # RFC 5288: the explicit part is ours to choose and must not repeat; the sequence number does not.
            start = bytes((kind, 3, 3))
            additional = write.sequence.to_bytes(8, "big") + start + len(data).to_bytes(2, "big")
            sealed = aead.seal(nonce.to_bytes(12, "big"), bytes(data), additional)
            explicit = write.sequence.to_bytes(8, "big")[: write.explicit_nonce]
            length = len(explicit) + len(sealed)
            self._out += (start, length.to_bytes(2, "big"), explicit, sealed)
        write.sequence += 1

    def send_change_cipher_spec(self) -> None:
        """The one change_cipher_spec of a connection; in TLS 1.3 it only pleases middleboxes (appendix D.4).

        Sent by hand before a second ClientHello and in TLS 1.2, else right before the first protected record.
        """
        if self.owes_change_cipher_spec:
            self.owes_change_cipher_spec = False
            self._out.append(b"\x14\x03\x03\x00\x01\x01")

    def take_output(self) -> bytes:
        """All records queued so far."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def __repr__(self) -> str:
        return f"<RecordLayer read {self._read.sequence} write {self._write.sequence}>"
