"""The Noise handshake of links between nodes: ``Noise_XKpsk3_25519_AESGCM_SHA256`` (spec nodes.md 3).

Noise Protocol Framework, revision 34; names and section numbers in comments are its. Only this pattern, both
roles, empty handshake payloads. The initiator knows the responder's static key (from the directory)::

    XKpsk3:
      <- s
      ...
      -> e, es           48 bytes
      <- e, ee           48 bytes
      -> s, se, psk      64 bytes
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from smolmix_web import crypto
from smolmix_web.crypto import Aead
from smolmix_web.errors import CryptoError, LocalProtocolError, MalformedError

PROTOCOL_NAME = b"Noise_XKpsk3_25519_AESGCM_SHA256"  # exactly HASHLEN bytes: it is the first hash itself
KEY_SIZE = 32
TAG_SIZE = 16
MAX_MESSAGE = 65535
MAX_PLAINTEXT = MAX_MESSAGE - TAG_SIZE

_PSK_TEXT = b"NYMTECH_NOISE_dQw4w9WgXcQ"


def link_psk(responder_key: bytes) -> bytes:
    """The pre-shared key of version 1: no secret, it ties the handshake to Nym and to the responder."""
    return hashlib.sha256(_PSK_TEXT + responder_key).digest()


class CipherState:
    """Section 5.1: a key and a counter. A nonce is 32 zero bits and the counter, big-endian for AESGCM."""

    __slots__ = ("_aead", "_nonce")

    def __init__(self, key: bytes) -> None:
        self._aead: Aead = crypto.provider().aead("aes-256-gcm", key)
        self._nonce = 0

    def encrypt(self, associated_data: bytes, plaintext: bytes) -> bytes:
        return self._aead.seal(self._next_nonce(), plaintext, associated_data)

    def decrypt(self, associated_data: bytes, ciphertext: bytes) -> bytes:
        """:raises CryptoError: not authentic."""
        return self._aead.open(self._next_nonce(), ciphertext, associated_data)

    def _next_nonce(self) -> bytes:
        nonce = bytes(4) + self._nonce.to_bytes(8, "big")
        self._nonce += 1
        return nonce


class _SymmetricState:
    """Section 5.2."""

    def __init__(self) -> None:
        self.hash = self.chaining_key = PROTOCOL_NAME
        self.cipher: CipherState | None = None

    def mix_hash(self, data: bytes) -> None:
        self.hash = hashlib.sha256(self.hash + data).digest()

    def mix_key(self, material: bytes) -> None:
        self.chaining_key, key = _hkdf(self.chaining_key, material, 2)
        self.cipher = CipherState(key)

    def mix_key_and_hash(self, material: bytes) -> None:
        self.chaining_key, hashed, key = _hkdf(self.chaining_key, material, 3)
        self.mix_hash(hashed)
        self.cipher = CipherState(key)

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        if self.cipher is None:
            raise LocalProtocolError("nothing is encrypted before the first DH")
        ciphertext = self.cipher.encrypt(self.hash, plaintext)
        self.mix_hash(ciphertext)
        return ciphertext

    def decrypt_and_hash(self, ciphertext: bytes) -> bytes:
        if self.cipher is None:
            raise LocalProtocolError("nothing is encrypted before the first DH")
        plaintext = self.cipher.decrypt(self.hash, ciphertext)
        self.mix_hash(ciphertext)
        return plaintext

    def split(self) -> tuple[CipherState, CipherState]:
        """Initiator to responder, and back."""
        there, back = _hkdf(self.chaining_key, b"", 2)
        return CipherState(there), CipherState(back)


def _hkdf(chaining_key: bytes, material: bytes, outputs: int) -> list[bytes]:
    """Section 4.3."""
    temporary = hmac.digest(chaining_key, material, "sha256")
    results: list[bytes] = []
    previous = b""
    for number in range(1, outputs + 1):
        previous = hmac.digest(temporary, previous + bytes((number,)), "sha256")
        results.append(previous)
    return results


class _Handshake:
    def __init__(
        self, static_secret: bytes, responder_key: bytes, psk: bytes, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._static = static_secret
        self._psk = psk
        self._random_bytes = random_bytes
        self._ephemeral = b""
        self._remote_ephemeral = b""
        self._symmetric = _SymmetricState()
        self._symmetric.mix_hash(b"")  # the prologue
        self._symmetric.mix_hash(responder_key)  # the pre-message

    def _send_ephemeral(self) -> bytes:
        self._ephemeral = self._random_bytes(KEY_SIZE)
        public = crypto.provider().x25519_public(self._ephemeral)
        self._mix_ephemeral(public)
        return public

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        self._symmetric.mix_key(public)  # section 9.2: in psk handshakes only

    def _dh(self, secret: bytes, public: bytes) -> None:
        self._symmetric.mix_key(crypto.provider().x25519(secret, public))

    @staticmethod
    def _expect(message: bytes, length: int) -> None:
        if len(message) != length:
            raise MalformedError(f"Noise handshake message of {len(message)} bytes, {length} wanted")


class NoiseInitiator(_Handshake):
    """``opening``, then ``receive_answer`` (which gives the last message); then ``cipher`` seals.

    :param static_secret: our x25519 key, 32 bytes.
    :param responder_key: the peer's public key, 32 bytes.
    """

    def __init__(
        self,
        static_secret: bytes,
        responder_key: bytes,
        random_bytes: Callable[[int], bytes],
        psk: bytes | None = None,
    ) -> None:
        super().__init__(static_secret, responder_key, psk or link_psk(responder_key), random_bytes)
        self._responder_key = responder_key
        self.cipher: CipherState | None = None

    def opening(self) -> bytes:
        """``-> e, es``"""
        public = self._send_ephemeral()
        self._dh(self._ephemeral, self._responder_key)
        return public + self._symmetric.encrypt_and_hash(b"")

    def receive_answer(self, message: bytes) -> bytes:
        """``<- e, ee``, then ``-> s, se, psk``. :raises RemoteProtocolError: not from the responder."""
        self._expect(message, KEY_SIZE + TAG_SIZE)
        symmetric = self._symmetric
        self._remote_ephemeral = message[:KEY_SIZE]
        self._mix_ephemeral(self._remote_ephemeral)
        self._dh(self._ephemeral, self._remote_ephemeral)
        symmetric.decrypt_and_hash(message[KEY_SIZE:])
        static = symmetric.encrypt_and_hash(crypto.provider().x25519_public(self._static))
        self._dh(self._static, self._remote_ephemeral)
        symmetric.mix_key_and_hash(self._psk)
        last = static + symmetric.encrypt_and_hash(b"")
        self.cipher, _ = symmetric.split()
        return last


class NoiseResponder(_Handshake):
    """``receive_opening`` (which gives the answer), ``receive_last``; then ``cipher`` opens.

    :param static_secret: our x25519 key, 32 bytes.
    """

    def __init__(
        self, static_secret: bytes, random_bytes: Callable[[int], bytes], psk: bytes | None = None
    ) -> None:
        own_key = crypto.provider().x25519_public(static_secret)
        super().__init__(static_secret, own_key, psk or link_psk(own_key), random_bytes)
        self.cipher: CipherState | None = None
        self.remote_key = b""
        """The initiator's static key, 32 bytes, once the handshake is over."""

    def receive_opening(self, message: bytes) -> bytes:
        """``-> e, es``, then ``<- e, ee``. :raises RemoteProtocolError: made for another key."""
        self._expect(message, KEY_SIZE + TAG_SIZE)
        self._remote_ephemeral = message[:KEY_SIZE]
        self._mix_ephemeral(self._remote_ephemeral)
        self._dh(self._static, self._remote_ephemeral)
        self._symmetric.decrypt_and_hash(message[KEY_SIZE:])
        public = self._send_ephemeral()
        self._dh(self._ephemeral, self._remote_ephemeral)
        return public + self._symmetric.encrypt_and_hash(b"")

    def receive_last(self, message: bytes) -> None:
        """``-> s, se, psk``. :raises RemoteProtocolError: not by who began."""
        self._expect(message, KEY_SIZE + 2 * TAG_SIZE)
        symmetric = self._symmetric
        boundary = KEY_SIZE + TAG_SIZE
        remote_key = symmetric.decrypt_and_hash(message[:boundary])
        self._dh(self._ephemeral, remote_key)
        symmetric.mix_key_and_hash(self._psk)
        if symmetric.decrypt_and_hash(message[boundary:]):
            raise CryptoError("Noise: a payload where none belongs")
        self.cipher, _ = symmetric.split()
        self.remote_key = remote_key
