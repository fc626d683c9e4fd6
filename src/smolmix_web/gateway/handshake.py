"""Registration handshake, both roles (spec gateway.md section 6).

Station-to-station: ephemeral x25519 on both sides, each side signs both ephemeral keys with its ed25519
identity key, and the signatures travel under the derived key::

    1. client -> gateway   C || X || salt                              80 bytes
    2. gateway -> client   Y || AEAD(k, n1, sign_G(Y || X)) || n1     124 bytes
    3. client -> gateway   AEAD(k, n2, sign_C(X || Y)) || n2           92 bytes
    4. gateway -> client   0x01                                         1 byte

Both classes handle the byte layouts only; wrapping, versions and deadlines belong to their session engines.
Calling order: :class:`Initiator` ``initialisation``, ``receive_material``, ``receive_finalisation``;
:class:`Responder` (made from message 1) ``material``, ``receive_client_material``, ``finalisation``.
"""

from __future__ import annotations

from collections.abc import Callable

from smolmix_web.crypto import provider
from smolmix_web.crypto.kdf import hkdf
from smolmix_web.errors import CryptoError
from smolmix_web.gateway import error_texts
from smolmix_web.gateway.errors import HandshakeFailed
from smolmix_web.gateway.shared_key import KEY_SIZE, NONCE_SIZE, TAG_SIZE, SharedKey

SALT_SIZE = 16
INITIALISATION_SIZE = 32 + 32 + SALT_SIZE
_SEALED_SIGNATURE_SIZE = 64 + TAG_SIZE
CLIENT_MATERIAL_SIZE = _SEALED_SIGNATURE_SIZE + NONCE_SIZE
GATEWAY_MATERIAL_SIZE = 32 + CLIENT_MATERIAL_SIZE
_SUCCESS = b"\x01"

RandomBytes = Callable[[int], bytes]


def derive_shared_key(ephemeral_secret: bytes, peer_ephemeral: bytes, salt: bytes) -> SharedKey:
    """HKDF over HMAC-BLAKE3 of the x25519 result (section 6.2).

    :raises CryptoError: the peer's ephemeral key gives an all-zero result.
    """
    shared = provider().x25519(ephemeral_secret, peer_ephemeral)
    return SharedKey(hkdf("blake3", salt, shared, b"", KEY_SIZE))


def _seal_signature(key: SharedKey, seed: bytes, own: bytes, peer: bytes, random_bytes: RandomBytes) -> bytes:
    signature = provider().ed25519_sign(seed, own + peer)
    nonce = random_bytes(NONCE_SIZE)
    return key.seal(nonce, signature) + nonce


def _verify_sealed_signature(
    key: SharedKey, identity: bytes, own: bytes, peer: bytes, material: bytes
) -> None:
    try:
        signature = key.open(material[_SEALED_SIGNATURE_SIZE:], material[:_SEALED_SIGNATURE_SIZE])
    except CryptoError:
        raise HandshakeFailed(error_texts.CIPHER_FAILURE) from None
    try:
        provider().ed25519_verify(identity, signature, peer + own)
    except CryptoError:
        raise HandshakeFailed(error_texts.HANDSHAKE_BAD_SIGNATURE) from None


class Initiator:
    """The client's half.

    :param identity_seed: the client's ed25519 seed, 32 bytes.
    :param gateway_identity: the gateway's ed25519 public key, 32 bytes, known from the directory.
    """

    __slots__ = (
        "_ephemeral",
        "_gateway_identity",
        "_random_bytes",
        "_salt",
        "_secret",
        "_seed",
        "shared_key",
    )

    def __init__(self, identity_seed: bytes, gateway_identity: bytes, random_bytes: RandomBytes) -> None:
        self._seed = identity_seed
        self._gateway_identity = gateway_identity
        self._random_bytes = random_bytes
        self._secret = random_bytes(32)
        self._ephemeral = provider().x25519_public(self._secret)
        self._salt = random_bytes(SALT_SIZE)
        self.shared_key: SharedKey | None = None
        """Set by ``receive_material``; to be trusted after ``receive_finalisation`` only."""

    def initialisation(self) -> bytes:
        """Message 1."""
        return provider().ed25519_public(self._seed) + self._ephemeral + self._salt

    def receive_material(self, data: bytes) -> bytes:
        """Take message 2, give message 3. :raises HandshakeFailed: wrong length, key or signature."""
        if len(data) != GATEWAY_MATERIAL_SIZE:
            detail = f"{len(data)} bytes"
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_RESPONSE.format(detail=detail))
        peer = data[:32]
        try:
            key = derive_shared_key(self._secret, peer, self._salt)
        except CryptoError:
            detail = "unusable ephemeral key"
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_RESPONSE.format(detail=detail)) from None
        _verify_sealed_signature(key, self._gateway_identity, self._ephemeral, peer, data[32:])
        self.shared_key = key
        return _seal_signature(key, self._seed, self._ephemeral, peer, self._random_bytes)

    def receive_finalisation(self, data: bytes) -> SharedKey:
        """Take message 4, give the key. :raises HandshakeFailed: anything but success, or too early."""
        if self.shared_key is None or len(data) != 1:
            detail = f"{len(data)} bytes"
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_RESPONSE.format(detail=detail))
        if data != _SUCCESS:
            raise HandshakeFailed("the gateway did not accept the handshake")
        return self.shared_key


class Responder:
    """The gateway's half, made from message 1.

    :param identity_seed: the gateway's ed25519 seed, 32 bytes.
    :raises HandshakeFailed: message 1 is not 80 bytes, or its ephemeral key is unusable.
    """

    __slots__ = ("_ephemeral", "_peer", "_random_bytes", "_seed", "client_identity", "shared_key")

    def __init__(self, identity_seed: bytes, initialisation: bytes, random_bytes: RandomBytes) -> None:
        if len(initialisation) != INITIALISATION_SIZE:
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_REQUEST)
        self._seed = identity_seed
        self._random_bytes = random_bytes
        secret = random_bytes(32)
        self._ephemeral = provider().x25519_public(secret)
        self.client_identity = initialisation[:32]
        self._peer = initialisation[32:64]
        try:
            self.shared_key = derive_shared_key(secret, self._peer, initialisation[64:])
        except CryptoError:
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_REQUEST) from None

    def material(self) -> bytes:
        """Message 2."""
        return self._ephemeral + _seal_signature(
            self.shared_key, self._seed, self._ephemeral, self._peer, self._random_bytes
        )

    def receive_client_material(self, data: bytes) -> None:
        """Take message 3. :raises HandshakeFailed: wrong length, key or signature."""
        if len(data) != CLIENT_MATERIAL_SIZE:
            raise HandshakeFailed(error_texts.HANDSHAKE_MALFORMED_REQUEST)
        _verify_sealed_signature(self.shared_key, self.client_identity, self._ephemeral, self._peer, data)

    def finalisation(self) -> bytes:
        """Message 4."""
        return _SUCCESS
