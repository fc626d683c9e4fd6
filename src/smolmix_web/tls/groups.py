"""Key shares of the groups that we offer: X25519, P-256, P-384 and the hybrid X25519MLKEM768.

The hybrid (draft-ietf-tls-ecdhe-mlkem) is the ML-KEM-768 part followed by the X25519 part, both in the
shares and in the secret: whoever wants to read recorded traffic has to break both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from smolmix_web.crypto.provider import CurveName, EcdhKey, MlKemKey, Provider, X25519Key
from smolmix_web.errors import CryptoError
from smolmix_web.tls.registry import NamedGroup

_MLKEM_PUBLIC, _MLKEM_CIPHERTEXT = 1184, 1088


class KeyShare(Protocol):
    """Our ephemeral half of an exchange."""

    @property
    def public(self) -> bytes:
        """As it stands in key_share or in ClientKeyExchange."""
        ...

    def exchange(self, peer: bytes) -> bytes:
        """The shared secret. :raises CryptoError: the peer's share has a wrong length or is no point."""
        ...


class _HybridShare:
    __slots__ = ("_mlkem", "_x25519", "public")

    def __init__(self, mlkem: MlKemKey, classic: X25519Key) -> None:
        self._mlkem = mlkem
        self._x25519 = classic
        self.public = mlkem.public + classic.public

    def exchange(self, peer: bytes) -> bytes:
        if len(peer) != _MLKEM_CIPHERTEXT + 32:
            raise CryptoError("X25519MLKEM768: a server's share has 1,120 bytes")
        secret = self._mlkem.decapsulate(peer[:_MLKEM_CIPHERTEXT])
        return secret + self._x25519.exchange(peer[_MLKEM_CIPHERTEXT:])


class GroupKeys:
    """Makes key shares on demand, one per group and connection.

    X25519 and the hybrid use the same X25519 key pair when both are offered; the hybrid draft allows it, and
    it spares a scalar multiplication.
    """

    def __init__(self, provider: Provider, random_bytes: Callable[[int], bytes]) -> None:
        self._provider = provider
        self._random_bytes = random_bytes
        self._shares: dict[int, KeyShare] = {}
        self._classic: X25519Key | None = None
        self._mlkem: MlKemKey | None = None

    @property
    def has_mlkem(self) -> bool:
        """Whether this build can make ML-KEM keys; the first call makes one."""
        if self._mlkem is None:
            self._mlkem = self._provider.mlkem768(self._random_bytes(64))
        return self._mlkem is not None

    def share(self, group: int) -> KeyShare:
        if group not in self._shares:
            self._shares[group] = self._make(group)
        return self._shares[group]

    def _x25519(self) -> X25519Key:
        if self._classic is None:
            self._classic = self._provider.x25519_key(self._random_bytes(32))
        return self._classic

    def _make(self, group: int) -> KeyShare:
        if group == NamedGroup.X25519MLKEM768 and self.has_mlkem:
            assert self._mlkem is not None
            return _HybridShare(self._mlkem, self._x25519())
        if group == NamedGroup.X25519:
            return self._x25519()
        if group == NamedGroup.SECP256R1:
            return self._ecdh("p256", 32)
        if group == NamedGroup.SECP384R1:
            return self._ecdh("p384", 48)
        raise CryptoError(f"group {group} is not available")

    def _ecdh(self, curve: CurveName, size: int) -> EcdhKey:
        while True:
            try:
                return self._provider.ecdh(curve, self._random_bytes(size))
            except CryptoError:  # zero, or not below the group order: one in 2**32 for P-256
                continue
