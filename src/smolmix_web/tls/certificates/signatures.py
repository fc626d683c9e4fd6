"""Signatures on certificates and revocation lists (RFC 3279, 4055, 5758, 8410), and which keys may make them.

The rules are those of the web's authorities (Baseline Requirements sections 6.1.5 and 7.1.3): RSA of at least
2,048 bits, P-256 and P-384, hashes of the SHA-2 family. Ed25519 is accepted too, for private networks.
"""

from __future__ import annotations

from typing import Final

from smolmix_web.crypto.provider import HashName, Provider
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.tls.certificates.certificate import AlgorithmIdentifier, PublicKey
from smolmix_web.tls.certificates.der import NULL
from smolmix_web.tls.certificates.keys import (
    ED25519,
    RSASSA_PSS,
    EcKey,
    Ed25519Key,
    RsaKey,
    decode_key,
    pss_hash,
)
from smolmix_web.tls.errors import (
    CertificateBadSignature,
    CertificateMalformed,
    CertificateWeakKey,
    CertificateWeakSignature,
)

_MIN_RSA_BITS: Final = 2048
#: Nobody has larger ones, and checking them takes a while.
_MAX_RSA_BITS: Final = 8192

_RSA_PKCS1: Final[dict[str, HashName]] = {
    "1.2.840.113549.1.1.11": "sha256",
    "1.2.840.113549.1.1.12": "sha384",
    "1.2.840.113549.1.1.13": "sha512",
}
_ECDSA: Final[dict[str, HashName]] = {
    "1.2.840.10045.4.3.2": "sha256",
    "1.2.840.10045.4.3.3": "sha384",
    "1.2.840.10045.4.3.4": "sha512",
}


def acceptable_key(key: PublicKey) -> RsaKey | EcKey | Ed25519Key:
    """:raises CertificateWeakKey: of a kind, curve or size that is not accepted."""
    try:
        found = decode_key(key)
    except MalformedError as error:
        raise CertificateWeakKey(f"the certificate's key is not acceptable ({error})") from None
    if isinstance(found, RsaKey):
        bits = found.modulus.bit_length()
        if not _MIN_RSA_BITS <= bits <= _MAX_RSA_BITS or bits % 8:
            raise CertificateWeakKey(f"the certificate's RSA key has {bits} bits")
    return found


def verify_signed(
    provider: Provider, issuer: PublicKey, algorithm: AlgorithmIdentifier, signed: bytes, signature: bytes
) -> None:
    """:raises CertificateBadSignature: it does not verify, or was not made by this kind of key.
    :raises CertificateWeakSignature: the algorithm is not accepted.
    """
    key = acceptable_key(issuer)
    try:
        _verify(provider, key, algorithm, signed, signature)
    except CryptoError:
        raise CertificateBadSignature("a signature in the certificate chain does not verify") from None


def _verify(
    provider: Provider,
    key: RsaKey | EcKey | Ed25519Key,
    algorithm: AlgorithmIdentifier,
    signed: bytes,
    signature: bytes,
) -> None:
    oid, parameters = algorithm.oid, algorithm.parameters
    if oid in _RSA_PKCS1:
        if parameters != bytes((NULL, 0)):
            raise CertificateMalformed("RSA signature with wrong parameters")
        if isinstance(key, RsaKey) and key.pss is None:
            provider.rsa_pkcs1_verify(_RSA_PKCS1[oid], key.modulus, key.exponent, signature, signed)
            return
    elif oid == RSASSA_PSS:
        try:
            digest = pss_hash(algorithm)
        except MalformedError as error:
            raise CertificateWeakSignature(f"signature algorithm not accepted ({error})") from None
        if isinstance(key, RsaKey) and key.pss in (None, "any", digest):
            provider.rsa_pss_verify(digest, key.modulus, key.exponent, signature, signed)
            return
    elif oid in _ECDSA:
        if parameters is not None:
            raise CertificateMalformed("ECDSA signature with parameters")
        if isinstance(key, EcKey):
            provider.ecdsa_verify(key.curve, _ECDSA[oid], key.point, signature, signed)
            return
    elif oid == ED25519:
        if parameters is not None:
            raise CertificateMalformed("Ed25519 signature with parameters")
        if isinstance(key, Ed25519Key):
            provider.ed25519_verify(key.raw, signature, signed)
            return
    else:
        raise CertificateWeakSignature(f"signature algorithm {oid} is not accepted")
    raise CertificateBadSignature("signature and key of the issuing authority are of different kinds")
