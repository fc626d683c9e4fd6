"""Public keys of certificates, decoded by algorithm (RFC 3279, 5480, 4055, 8410)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smolmix_web.crypto.provider import CurveName, HashName
from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.certificate import (
    AlgorithmIdentifier,
    PublicKey,
    parameters_are_null_or_absent,
)
from smolmix_web.tls.certificates.der import NULL, OID, DerReader, context, read_whole

RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
RSASSA_PSS = "1.2.840.113549.1.1.10"
EC_PUBLIC_KEY = "1.2.840.10045.2.1"
ED25519 = "1.3.101.112"

_CURVES: dict[str, tuple[CurveName, int]] = {
    "1.2.840.10045.3.1.7": ("p256", 65),
    "1.3.132.0.34": ("p384", 97),
}
HASHES: dict[str, HashName] = {
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_SALT_LENGTHS: dict[HashName, int] = {"sha256": 32, "sha384": 48, "sha512": 64}


@dataclass(frozen=True, slots=True)
class RsaKey:
    """``pss``: None for rsaEncryption; for id-RSASSA-PSS the one hash allowed, or "any"."""

    modulus: int
    exponent: int
    pss: HashName | Literal["any"] | None = None


@dataclass(frozen=True, slots=True)
class EcKey:
    curve: CurveName
    point: bytes  # uncompressed


@dataclass(frozen=True, slots=True)
class Ed25519Key:
    raw: bytes


def decode_key(key: PublicKey) -> RsaKey | EcKey | Ed25519Key:
    """:raises MalformedError: badly encoded, or of a kind or curve that is not accepted anywhere here."""
    oid, parameters = key.algorithm.oid, key.algorithm.parameters
    if oid == RSA_ENCRYPTION:
        if parameters != bytes((NULL, 0)):
            raise MalformedError("RSA key with parameters")
        return RsaKey(*_rsa_numbers(key.bits))
    if oid == RSASSA_PSS:
        pss = "any" if parameters is None else pss_hash(key.algorithm)
        return RsaKey(*_rsa_numbers(key.bits), pss)
    if oid == EC_PUBLIC_KEY:
        if parameters is None:
            raise MalformedError("elliptic curve key without a curve")
        named = DerReader(parameters)
        curve = _CURVES.get(named.pull_oid())  # explicit curves are a SEQUENCE and fail here
        named.expect_end()
        if curve is None:
            raise MalformedError("elliptic curve that is not accepted")
        if len(key.bits) != curve[1] or key.bits[0] != 4:
            raise MalformedError("elliptic curve point is not uncompressed")
        return EcKey(curve[0], key.bits)
    if oid == ED25519:
        if parameters is not None or len(key.bits) != 32:
            raise MalformedError("bad Ed25519 key")
        return Ed25519Key(key.bits)
    raise MalformedError(f"key algorithm {oid} is not accepted")


def _rsa_numbers(bits: bytes) -> tuple[int, int]:
    reader = read_whole(bits)
    modulus, exponent = reader.pull_integer(), reader.pull_integer()
    reader.expect_end()
    # Bounds keep verification cheap and sound; RFC 8017 wants an odd exponent of at least 3.
    if modulus <= 0 or exponent < 3 or exponent % 2 == 0 or exponent.bit_length() > 33:
        raise MalformedError("unusable RSA numbers")
    return modulus, exponent


def pss_hash(algorithm: AlgorithmIdentifier) -> HashName:
    """The hash of RSASSA-PSS-params (RFC 4055 section 3.1), if used as TLS wants it: MGF1 with the same hash,
    salt as long as the hash, default trailer.

    :raises MalformedError: anything else, the SHA-1 defaults included.
    """
    if algorithm.parameters is None:
        raise MalformedError("RSASSA-PSS signature without parameters")
    reader = read_whole(algorithm.parameters)
    digest = _explicit_algorithm(reader.pull_optional(context(0)))
    mask = reader.pull_optional(context(1))
    salt = reader.pull_optional(context(2))
    reader.expect_end()
    if digest is None or mask is None or salt is None:
        raise MalformedError("RSASSA-PSS with SHA-1")
    if not parameters_are_null_or_absent(digest) or digest.oid not in HASHES:
        raise MalformedError("RSASSA-PSS with a hash that is not accepted")
    outer = DerReader(mask)
    inner = outer.pull_sequence()
    outer.expect_end()
    if inner.pull(OID) != _OID_MGF1:
        raise MalformedError("RSASSA-PSS without MGF1")
    mask_hash = _pull_hash(inner)
    inner.expect_end()
    length = DerReader(salt)
    salt_length = length.pull_integer()
    length.expect_end()
    name = HASHES[digest.oid]
    if mask_hash.oid != digest.oid or salt_length != _SALT_LENGTHS[name]:
        raise MalformedError("RSASSA-PSS with unusual parameters")
    return name


_OID_MGF1 = bytes.fromhex("2a864886f70d010108")


def _pull_hash(reader: DerReader) -> AlgorithmIdentifier:
    inner = reader.pull_sequence()
    oid = inner.pull_oid()
    parameters = inner.pull_element()[2] if inner.remaining else None
    inner.expect_end()
    return AlgorithmIdentifier(oid, parameters)


def _explicit_algorithm(contents: bytes | None) -> AlgorithmIdentifier | None:
    if contents is None:
        return None
    outer = DerReader(contents)
    found = _pull_hash(outer)
    outer.expect_end()
    return found
