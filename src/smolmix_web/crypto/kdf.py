"""HMAC (RFC 2104) and HKDF (RFC 5869) over SHA-256, SHA-384 and BLAKE3; the limits of Argon2 (RFC 9106).

SHA-2 comes from the standard library. BLAKE3 is used by Nym inside the *generic* HMAC construction with a
64-byte block, never in BLAKE3's own keyed mode (spec/sphinx.md section 1).
"""

from __future__ import annotations

import hmac
from typing import Literal

from smolmix_web import crypto
from smolmix_web.errors import CryptoError

KdfHash = Literal["sha256", "sha384", "blake3"]

DIGEST_SIZES: dict[KdfHash, int] = {"sha256": 32, "sha384": 48, "blake3": 32}

_COUNTERS = [bytes((counter,)) for counter in range(1, 256)]
_BLAKE3_BLOCK = 64
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))


def hmac_digest(hash_name: KdfHash, key: bytes, data: bytes) -> bytes:
    """HMAC of ``data`` under ``key`` (any length); 32 bytes, or 48 for SHA-384."""
    if hash_name != "blake3":
        return hmac.digest(key, data, hash_name)
    blake3 = crypto.provider().blake3
    if len(key) > _BLAKE3_BLOCK:
        key = blake3(key)
    block = key.ljust(_BLAKE3_BLOCK, b"\0")
    inner = blake3(block.translate(_INNER_PAD) + data)
    return blake3(block.translate(_OUTER_PAD) + inner)


def hkdf_extract(hash_name: KdfHash, salt: bytes, ikm: bytes) -> bytes:
    """RFC 5869 section 2.2; an empty salt stands for a string of zeros as long as the digest."""
    return hmac_digest(hash_name, salt, ikm)


def hkdf_expand(hash_name: KdfHash, prk: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 section 2.3. :raises ValueError: ``length`` is above 255 digests (or negative)."""
    if not 0 <= length <= 255 * DIGEST_SIZES[hash_name]:
        raise ValueError(f"HKDF cannot give {length} bytes")
    blocks = []
    block = b""
    for counter in _COUNTERS[: -(-length // DIGEST_SIZES[hash_name])]:
        block = hmac_digest(hash_name, prk, block + info + counter)
        blocks.append(block)
    return b"".join(blocks)[:length]


def hkdf(hash_name: KdfHash, salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
    """Extract, then expand. :raises ValueError: ``length`` is above 255 digests (or negative)."""
    return hkdf_expand(hash_name, hkdf_extract(hash_name, salt, ikm), info, length)


def check_argon2(salt: bytes, memory_kib: int, iterations: int, lanes: int, length: int) -> None:
    """The ranges of RFC 9106 section 3.1, and upper ends that a small device survives.

    :raises CryptoError: a parameter is outside.
    """
    fits = (
        8 <= len(salt) <= 1024
        and 1 <= lanes <= 64
        and 8 * lanes <= memory_kib <= 1 << 20
        and 1 <= iterations <= 1000
        and 4 <= length <= 1024
    )
    if not fits:
        raise CryptoError("Argon2id: parameters out of range")
