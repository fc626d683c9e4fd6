"""RSA signature verification on Python's integers (RFC 8017), for providers that have none.

Everything here is public, so nothing needs to take constant time. Python's ``pow`` verifies a 4,096-bit
signature in about a millisecond.
"""

from __future__ import annotations

import hashlib

from smolmix_web.crypto.provider import HashName
from smolmix_web.errors import CryptoError

_DIGEST_INFO: dict[HashName, bytes] = {
    "sha256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "sha384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "sha512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""DER of DigestInfo up to the digest itself (RFC 8017 section 9.2, note 1)."""

MIN_MODULUS_BITS = 1024
MAX_MODULUS_BITS = 16384
"""A peer chooses the modulus; with the exponent below this bounds our work to some 50 ms."""
MAX_EXPONENT_BITS = 33
"""Everybody uses 65,537; a large exponent would cost a thousand times as much."""


def verify_pkcs1(digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes) -> None:
    """RSASSA-PKCS1-v1_5 (section 8.2.2). :raises CryptoError: not verified, or an unusable key."""
    encoded = _recover(modulus, exponent, signature, modulus.bit_length())
    info = _DIGEST_INFO[digest] + hashlib.new(digest, message).digest()
    filling = len(signature) - len(info) - 3
    # Compare with the one right encoding, rather than parse what the peer wrote.
    if filling < 8 or encoded != (b"\0\1" + b"\xff" * filling + b"\0" + info):
        raise _not_verified()


def verify_pss(digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes) -> None:
    """RSASSA-PSS (section 8.1.2) with MGF1 over the same hash and a salt as long as the digest.

    :raises CryptoError: not verified, or an unusable key.
    """
    encoded_bits = modulus.bit_length() - 1
    encoded = _recover(modulus, exponent, signature, encoded_bits)
    hashed = hashlib.new(digest, message).digest()
    size = len(hashed)
    masked, expected, trailer = encoded[: -size - 1], encoded[-size - 1 : -1], encoded[-1:]
    unused_bits = 8 * len(encoded) - encoded_bits
    if len(masked) < size + 1 or trailer != b"\xbc" or masked[0] >> (8 - unused_bits):
        raise _not_verified()
    mask = _mgf1(digest, expected, len(masked))
    block = bytes(a ^ b for a, b in zip(masked, mask, strict=True))
    block = bytes((block[0] & 0xFF >> unused_bits,)) + block[1:]
    salt = block[-size:]
    if block[:-size] != bytes(len(block) - size - 1) + b"\1":
        raise _not_verified()
    if hashlib.new(digest, bytes(8) + hashed + salt).digest() != expected:
        raise _not_verified()


def _recover(modulus: int, exponent: int, signature: bytes, encoded_bits: int) -> bytes:
    """The encoded message under a signature, which must fit ``encoded_bits`` rounded up to bytes."""
    if not MIN_MODULUS_BITS <= modulus.bit_length() <= MAX_MODULUS_BITS:
        raise CryptoError("RSA: unacceptable modulus")
    if not modulus & 1 or not exponent & 1 or exponent < 3 or exponent.bit_length() > MAX_EXPONENT_BITS:
        raise CryptoError("RSA: unacceptable public key")
    number = int.from_bytes(signature, "big")
    if len(signature) != (modulus.bit_length() + 7) // 8 or number >= modulus:
        raise _not_verified()
    try:
        return pow(number, exponent, modulus).to_bytes((encoded_bits + 7) // 8, "big")
    except OverflowError:
        raise _not_verified() from None


def _mgf1(digest: HashName, seed: bytes, length: int) -> bytes:
    out = b""
    counter = 0
    while len(out) < length:
        out += hashlib.new(digest, seed + counter.to_bytes(4, "big")).digest()
        counter += 1
    return out[:length]


def _not_verified() -> CryptoError:
    return CryptoError("RSA: the signature does not verify")
