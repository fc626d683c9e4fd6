"""The one interface to cryptographic primitives that the standard library lacks.

Two implementations: :mod:`smolmix_web.crypto.pyca` on the ``cryptography`` package, and
:mod:`smolmix_web.platform.npm_crypto` on npm packages inside the worker. Both pass the same Wycheproof files.

Rules that both keep: arguments and results are ``bytes`` (any buffer is accepted as data); lengths that do
not fit raise :class:`~smolmix_web.errors.CryptoError`, as does everything that fails to verify; verification
never returns a boolean; no secret reaches an exception text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

AeadName = Literal["aes-128-gcm", "aes-256-gcm", "chacha20-poly1305", "aes-256-gcm-siv"]
CurveName = Literal["p256", "p384"]
HashName = Literal["sha256", "sha384", "sha512"]


class Aead(Protocol):
    """An AEAD under one fixed key. Nonces are 12 bytes; the 16-byte tag is appended to the ciphertext."""

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes = b"") -> bytes: ...

    def open(self, nonce: bytes, ciphertext: bytes, associated_data: bytes = b"") -> bytes:
        """:raises CryptoError: the tag does not verify."""
        ...


class X25519Key(Protocol):
    """A loaded X25519 secret."""

    @property
    def public(self) -> bytes:
        """32 bytes."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """:raises CryptoError: the result is all zero, or the peer's key has not 32 bytes."""
        ...


class EcdhKey(Protocol):
    """An ephemeral NIST-curve private key."""

    @property
    def public(self) -> bytes:
        """Uncompressed SEC 1 point (65 or 97 bytes)."""
        ...

    def exchange(self, peer_public: bytes) -> bytes:
        """x coordinate of the shared point. :raises CryptoError: the peer's point is not on the curve."""
        ...


class MlKemKey(Protocol):
    """An ML-KEM-768 decapsulation key (FIPS 203)."""

    @property
    def public(self) -> bytes:
        """Encapsulation key, 1,184 bytes."""
        ...

    def decapsulate(self, ciphertext: bytes) -> bytes:
        """Shared secret, 32 bytes, from a 1,088-byte ciphertext. :raises CryptoError: any other length."""
        ...


class Provider(Protocol):
    """Primitives by name. ``name`` is shown to the user ("cryptography 47.0.0" or "npm")."""

    name: str

    def x25519(self, secret: bytes, public: bytes) -> bytes:
        """RFC 7748 scalar multiplication, clamping. :raises CryptoError: the result is all zero."""
        ...

    def x25519_public(self, secret: bytes) -> bytes: ...

    def x25519_key(self, secret: bytes) -> X25519Key:
        """The same secret for several operations: loading it is half the price of an exchange."""
        ...

    def ed25519_public(self, seed: bytes) -> bytes: ...

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes: ...

    def ed25519_verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        """:raises CryptoError: the signature does not verify."""
        ...

    def blake3(self, data: bytes) -> bytes:
        """Unkeyed BLAKE3, 32 bytes."""
        ...

    def hkdf_sha256(self, salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
        """RFC 5869 in one call; Sphinx needs it eight times a packet.

        :raises CryptoError: more than 8,160 bytes are asked for.
        """
        ...

    def argon2id(
        self,
        passphrase: bytes,
        salt: bytes,
        *,
        memory_kib: int,
        iterations: int,
        lanes: int,
        length: int,
        secret: bytes = b"",
        associated_data: bytes = b"",
    ) -> bytes:
        """RFC 9106, version 0x13: ``length`` bytes (4 to 1,024) from a passphrase.

        Takes as long as its parameters ask for, and does not return before.

        :param salt: at least 8 bytes.
        :param memory_kib: KiB of memory, at least 8 per lane.
        :raises CryptoError: parameters out of range, or this build has no Argon2.
        """
        ...

    def aes_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        """AES-128/256 in counter mode; 16-byte initial counter block, big-endian."""
        ...

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        """ChaCha20 with zero nonce and zero counter (LIONESS)."""
        ...

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        """The layers of a Sphinx payload in one call; keys of 192 bytes, the first one innermost.

        :raises CryptoError: a length does not fit.
        """
        ...

    def aead(self, name: AeadName, key: bytes) -> Aead: ...

    def ecdh(self, curve: CurveName, private: bytes | None = None) -> EcdhKey:
        """A fresh key pair, or the one of ``private`` (big-endian scalar, 32 or 48 bytes).

        :raises CryptoError: the scalar is zero, not below the group order, or of the wrong length.
        """
        ...

    def ecdsa_verify(
        self, curve: CurveName, digest: HashName, public: bytes, signature: bytes, message: bytes
    ) -> None:
        """``public`` is an uncompressed point, ``signature`` DER. :raises CryptoError: not verified."""
        ...

    def rsa_pss_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        """RSASSA-PSS, MGF1 with the same hash, salt as long as the hash.

        :raises CryptoError: not verified.
        """
        ...

    def rsa_pkcs1_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        """RSASSA-PKCS1-v1_5. :raises CryptoError: not verified."""
        ...

    def mlkem768(self, seed: bytes | None = None) -> MlKemKey | None:
        """A fresh ML-KEM-768 key, or that of ``seed`` (d || z, 64 bytes); None where this build has none.

        :raises CryptoError: the seed has another length.
        """
        ...

    def mlkem768_encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        """The other side: (shared secret, 32 bytes; ciphertext, 1,088 bytes).

        :raises CryptoError: the encapsulation key fails the FIPS 203 checks, or this build has no ML-KEM.
        """
        ...
