"""Checks the server's handshake signatures against the key of its certificate.

Which schemes a key may use is RFC 8446 section 4.2.3; in TLS 1.2 the curve in an ECDSA scheme's name does not
bind the curve of the key (RFC 5246 section 7.4.1.4.1 knows only the hash). RSASSA-PKCS1-v1_5 is for 1.2 only.
"""

from __future__ import annotations

from smolmix_web.crypto.provider import CurveName, HashName, Provider
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.tls.certificates.certificate import PublicKey
from smolmix_web.tls.certificates.keys import EcKey, Ed25519Key, RsaKey, decode_key
from smolmix_web.tls.errors import DecryptError, IllegalParameter, UnsupportedCertificate
from smolmix_web.tls.registry import SignatureScheme as Scheme

_ECDSA: dict[int, tuple[CurveName, HashName]] = {
    Scheme.ECDSA_SECP256R1_SHA256: ("p256", "sha256"),
    Scheme.ECDSA_SECP384R1_SHA384: ("p384", "sha384"),
}
_PSS_RSAE: dict[int, HashName] = {
    Scheme.RSA_PSS_RSAE_SHA256: "sha256",
    Scheme.RSA_PSS_RSAE_SHA384: "sha384",
    Scheme.RSA_PSS_RSAE_SHA512: "sha512",
}
_PSS_PSS: dict[int, HashName] = {
    Scheme.RSA_PSS_PSS_SHA256: "sha256",
    Scheme.RSA_PSS_PSS_SHA384: "sha384",
    Scheme.RSA_PSS_PSS_SHA512: "sha512",
}
_PKCS1: dict[int, HashName] = {
    Scheme.RSA_PKCS1_SHA256: "sha256",
    Scheme.RSA_PKCS1_SHA384: "sha384",
    Scheme.RSA_PKCS1_SHA512: "sha512",
}

#: signature_algorithms of the ClientHello, best liked first. The PKCS #1 ones also stand for certificates.
OFFERED: tuple[Scheme, ...] = (
    Scheme.ECDSA_SECP256R1_SHA256,
    Scheme.ED25519,
    Scheme.RSA_PSS_RSAE_SHA256,
    Scheme.ECDSA_SECP384R1_SHA384,
    Scheme.RSA_PSS_RSAE_SHA384,
    Scheme.RSA_PSS_RSAE_SHA512,
    Scheme.RSA_PSS_PSS_SHA256,
    Scheme.RSA_PSS_PSS_SHA384,
    Scheme.RSA_PSS_PSS_SHA512,
    Scheme.RSA_PKCS1_SHA256,
    Scheme.RSA_PKCS1_SHA384,
    Scheme.RSA_PKCS1_SHA512,
)


def verify_signature(
    provider: Provider, key: PublicKey, scheme: int, signature: bytes, message: bytes, *, tls13: bool
) -> None:
    """:raises IllegalParameter: the scheme was not offered or does not suit the key.
    :raises DecryptError: the signature is wrong.
    :raises UnsupportedCertificate: the key is of a kind that cannot sign handshakes.
    """
    if scheme not in OFFERED or (tls13 and scheme in _PKCS1):
        raise IllegalParameter(f"the server signed with scheme {scheme:#06x}, which was not offered for this")
    try:
        public = decode_key(key)
    except MalformedError:
        raise UnsupportedCertificate("the certificate's key cannot be used for signing") from None
    try:
        if not _verify(provider, public, scheme, signature, message, tls13):
            raise IllegalParameter(f"signature scheme {scheme:#06x} does not suit the certificate's key")
    except CryptoError:
        raise DecryptError("the server's handshake signature is wrong") from None


def _verify(
    provider: Provider,
    public: RsaKey | EcKey | Ed25519Key,
    scheme: int,
    signature: bytes,
    message: bytes,
    tls13: bool,
) -> bool:
    """False when scheme and key do not go together. :raises CryptoError: not verified."""
    if isinstance(public, EcKey) and scheme in _ECDSA:
        curve, digest = _ECDSA[scheme]
        if public.curve not in ("p256", "p384") or (tls13 and curve != public.curve):
            return False
        provider.ecdsa_verify(public.curve, digest, public.point, signature, message)
    elif isinstance(public, Ed25519Key) and scheme == Scheme.ED25519:
        provider.ed25519_verify(public.raw, signature, message)
    elif isinstance(public, RsaKey) and scheme in _PKCS1 and public.pss is None:
        provider.rsa_pkcs1_verify(_PKCS1[scheme], public.modulus, public.exponent, signature, message)
    elif isinstance(public, RsaKey) and scheme in _PSS_RSAE and public.pss is None:
        provider.rsa_pss_verify(_PSS_RSAE[scheme], public.modulus, public.exponent, signature, message)
    elif isinstance(public, RsaKey) and scheme in _PSS_PSS and public.pss in ("any", _PSS_PSS[scheme]):
        provider.rsa_pss_verify(_PSS_PSS[scheme], public.modulus, public.exponent, signature, message)
    else:
        return False
    return True
