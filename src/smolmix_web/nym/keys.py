"""The long-lived secrets of a client, which make up its address (sphinx.md 13.2, 17)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from smolmix_web import crypto
from smolmix_web.errors import MalformedError
from smolmix_web.nym.addresses import Recipient


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """
    :ivar identity_seed: ed25519 seed, 32 bytes; signs the registration with a gateway.
    :ivar encryption_secret: x25519 secret, 32 bytes; opens fragments sent to the address.
    :ivar ack_key: AES-128 key, 16 bytes; nobody else ever sees it.
    """

    identity_seed: bytes = field(repr=False)
    encryption_secret: bytes = field(repr=False)
    ack_key: bytes = field(repr=False)
    identity: bytes = field(init=False)
    """ed25519 public key, 32 bytes."""
    encryption: bytes = field(init=False)
    """x25519 public key, 32 bytes."""

    def __post_init__(self) -> None:
        if (len(self.identity_seed), len(self.encryption_secret), len(self.ack_key)) != (32, 32, 16):
            raise MalformedError("client keys have 32, 32 and 16 bytes")
        provider = crypto.provider()
        object.__setattr__(self, "identity", provider.ed25519_public(self.identity_seed))
        object.__setattr__(self, "encryption", provider.x25519_public(self.encryption_secret))

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes]) -> ClientKeys:
        return cls(random_bytes(32), random_bytes(32), random_bytes(16))

    def to_bytes(self) -> bytes:
        """80 bytes, all secret: identity seed, encryption secret, ack key."""
        return self.identity_seed + self.encryption_secret + self.ack_key

    @classmethod
    def from_bytes(cls, data: bytes) -> ClientKeys:
        """:raises MalformedError: not 80 bytes."""
        return cls(data[:32], data[32:64], data[64:])

    def recipient(self, gateway_identity: bytes) -> Recipient:
        """The address of a client with these keys at that gateway."""
        return Recipient(self.identity, self.encryption, gateway_identity)
