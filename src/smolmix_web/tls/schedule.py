"""Key schedules: HKDF of RFC 8446 section 7 and the PRF of RFC 5246 section 5.

Functions carry the names of the RFCs. Secrets live in :class:`KeySchedule` only, whose repr shows none.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Literal

from smolmix_web.crypto.provider import AeadName
from smolmix_web.tls.registry import CipherSuite

Digest = Literal["sha256", "sha384"]


@dataclass(frozen=True, slots=True)
class SuiteParameters:
    """What a cipher suite's name stands for. ``key_length`` and ``explicit_nonce`` in bytes."""

    digest: Digest
    aead: AeadName
    key_length: int
    #: TLS 1.2 AES-GCM sends 8 bytes of each nonce with the record (RFC 5288 section 3).
    explicit_nonce: int = 0


_GCM128 = SuiteParameters("sha256", "aes-128-gcm", 16, 8)
_GCM256 = SuiteParameters("sha384", "aes-256-gcm", 32, 8)
_CHACHA = SuiteParameters("sha256", "chacha20-poly1305", 32)

SUITES_13: dict[int, SuiteParameters] = {
    CipherSuite.TLS_AES_128_GCM_SHA256: SuiteParameters("sha256", "aes-128-gcm", 16),
    CipherSuite.TLS_AES_256_GCM_SHA384: SuiteParameters("sha384", "aes-256-gcm", 32),
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: _CHACHA,
}

SUITES_12: dict[int, SuiteParameters] = {
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: _GCM128,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: _GCM128,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: _GCM256,
    CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: _GCM256,
    CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: _CHACHA,
    CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: _CHACHA,
}


# -- RFC 5869 and RFC 8446 section 7.1 ---------------------------------------------------------------


def hkdf_extract(digest: Digest, salt: bytes, key_material: bytes) -> bytes:
    return hmac.digest(salt, key_material, digest)


def hkdf_expand(digest: Digest, key: bytes, info: bytes, length: int) -> bytes:
    block = out = hmac.digest(key, info + b"\x01", digest)
    counter = 1
    while len(out) < length:
        counter += 1
        block = hmac.digest(key, block + info + bytes((counter,)), digest)
        out += block
    return out[:length]


def hkdf_expand_label(digest: Digest, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes((len(label),)) + label + bytes((len(context),)) + context
    return hkdf_expand(digest, secret, info, length)


def derive_secret(digest: Digest, secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
    return hkdf_expand_label(digest, secret, label, transcript_hash, len(transcript_hash))


def finished_verify_data(digest: Digest, base_key: bytes, transcript_hash: bytes) -> bytes:
    """Section 4.4.4; also the binder of section 4.2.11.2."""
    finished_key = hkdf_expand_label(digest, base_key, b"finished", b"", len(transcript_hash))
    return hmac.digest(finished_key, transcript_hash, digest)


def traffic_key_and_iv(parameters: SuiteParameters, secret: bytes) -> tuple[bytes, bytes]:
    """Section 7.3."""
    return (
        hkdf_expand_label(parameters.digest, secret, b"key", b"", parameters.key_length),
        hkdf_expand_label(parameters.digest, secret, b"iv", b"", 12),
    )


def next_traffic_secret(digest: Digest, secret: bytes) -> bytes:
    """Section 7.2, for a key update."""
    return hkdf_expand_label(digest, secret, b"traffic upd", b"", len(secret))


def resumption_psk(digest: Digest, resumption_master_secret: bytes, nonce: bytes) -> bytes:
    """Section 4.6.1."""
    length = len(resumption_master_secret)
    return hkdf_expand_label(digest, resumption_master_secret, b"resumption", nonce, length)


class KeySchedule:
    """The column of extracts of section 7.1, from the early to the master secret.

    ``extract(psk or None)`` once, then ``extract(shared secret)``, then ``extract(None)``; in between,
    :meth:`derive` gives the secrets of each stage.
    """

    __slots__ = ("_secret", "_started", "digest", "hash_length")

    def __init__(self, digest: Digest) -> None:
        self.digest: Digest = digest
        self.hash_length = hashlib.new(digest).digest_size
        self._secret = bytes(self.hash_length)
        self._started = False

    def extract(self, key_material: bytes | None) -> None:
        salt = self._secret
        if self._started:
            salt = self.derive(b"derived", hashlib.new(self.digest).digest())
        self._started = True
        self._secret = hkdf_extract(self.digest, salt, key_material or bytes(self.hash_length))

    def derive(self, label: bytes, transcript_hash: bytes) -> bytes:
        return derive_secret(self.digest, self._secret, label, transcript_hash)


def resumption_binder(digest: Digest, psk: bytes, truncated_transcript_hash: bytes) -> bytes:
    """Section 4.2.11.2: proves that we know the PSK that we offer."""
    schedule = KeySchedule(digest)
    schedule.extract(psk)
    binder_key = schedule.derive(b"res binder", hashlib.new(digest).digest())
    return finished_verify_data(digest, binder_key, truncated_transcript_hash)


# -- RFC 5246 section 5 ------------------------------------------------------------------------------


def prf(digest: Digest, secret: bytes, label: bytes, seed: bytes, length: int) -> bytes:
    """P_hash with the suite's hash."""
    seed = label + seed
    block, out = seed, b""
    while len(out) < length:
        block = hmac.digest(secret, block, digest)
        out += hmac.digest(secret, block + seed, digest)
    return out[:length]


@dataclass(frozen=True, slots=True)
class KeyBlock:
    """RFC 5246 section 6.3 for AEAD suites: no MAC keys."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)
    client_iv: bytes = field(repr=False)
    server_iv: bytes = field(repr=False)


def key_block(
    parameters: SuiteParameters, master_secret: bytes, server_random: bytes, client_random: bytes
) -> KeyBlock:
    key, iv = parameters.key_length, 12 - parameters.explicit_nonce
    block = prf(
        parameters.digest, master_secret, b"key expansion", server_random + client_random, 2 * (key + iv)
    )
    return KeyBlock(block[:key], block[key : 2 * key], block[2 * key : 2 * key + iv], block[2 * key + iv :])
