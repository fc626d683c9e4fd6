"""Authentication of a registered client, version 2 (spec gateway.md section 7).

There is no challenge: freshness is a signed timestamp in whole seconds, which has to grow with every use.
"""

from __future__ import annotations

import hmac

from smolmix_web.crypto import provider
from smolmix_web.errors import CryptoError
from smolmix_web.gateway import error_texts
from smolmix_web.gateway.messages import AuthenticateV2
from smolmix_web.gateway.shared_key import NONCE_SIZE, SharedKey
from smolmix_web.wire import Writer


def build_authentication(
    identity_seed: bytes, key: SharedKey, version: int, timestamp: int, nonce: bytes
) -> AuthenticateV2:
    """The signed request of a client.

    :param timestamp: unix time in whole seconds, larger than in any earlier request of this identity.
    :param nonce: 12 fresh random bytes.
    """
    identity = provider().ed25519_public(identity_seed)
    ciphertext = key.seal(nonce, identity)
    message = signed_message(version, identity, ciphertext, nonce, timestamp)
    signature = provider().ed25519_sign(identity_seed, message)
    return AuthenticateV2(version, identity, ciphertext, nonce, timestamp, signature)


def signed_message(version: int, identity: bytes, ciphertext: bytes, nonce: bytes, timestamp: int) -> bytes:
    """The 101 bytes that the client signs (fewer or more when a field has a wrong length)."""
    writer = Writer()
    writer.push_u8(version)
    writer.push_bytes(identity)
    writer.push_bytes(ciphertext)
    writer.push_bytes(nonce)
    writer.push_u64(timestamp)
    return writer.getvalue()


def verify_signature(request: AuthenticateV2) -> None:
    """Check 3 of section 7.2. :raises CryptoError: not signed by the identity that it names."""
    message = signed_message(
        request.protocol_version,
        request.client_identity,
        request.address_ciphertext,
        request.nonce,
        request.request_unix_timestamp,
    )
    try:
        provider().ed25519_verify(request.client_identity, request.request_signature, message)
    except CryptoError:
        raise CryptoError(error_texts.BAD_SIGNATURE) from None


def verify_address_ciphertext(request: AuthenticateV2, key: SharedKey) -> None:
    """Check 5 of section 7.2: the sender holds the shared key. GCM-SIV is deterministic, so compare.

    :raises CryptoError: nonce of a wrong length, or another ciphertext.
    """
    if len(request.nonce) != NONCE_SIZE:
        raise CryptoError(error_texts.BAD_NONCE)
    expected = key.seal(request.nonce, request.client_identity)
    if not hmac.compare_digest(expected, request.address_ciphertext):
        raise CryptoError(error_texts.BAD_ADDRESS_CIPHERTEXT)
