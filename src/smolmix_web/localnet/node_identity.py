"""The long-lived keys of a node."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from smolmix_web import crypto
from smolmix_web.errors import LocalProtocolError
from smolmix_web.nym import base58
from smolmix_web.nym.keys import ClientKeys

_CLIENT_KEYS_SIZE = 80
_FILE_NAME = "node_keys"


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """
    :ivar identity_seed: ed25519 seed, 32 bytes; names the node and signs what it says.
    :ivar noise_secret: x25519 secret for Noise links, 32 bytes.
    :ivar service_keys: keys of the client embedded in an exit; unused by other nodes.
    """

    identity_seed: bytes = field(repr=False)
    noise_secret: bytes = field(repr=False)
    service_keys: ClientKeys = field(repr=False)
    identity: bytes = field(init=False)
    """ed25519 public key, 32 bytes."""
    noise_key: bytes = field(init=False)
    """x25519 public key, 32 bytes."""

    def __post_init__(self) -> None:
        provider = crypto.provider()
        object.__setattr__(self, "identity", provider.ed25519_public(self.identity_seed))
        object.__setattr__(self, "noise_key", provider.x25519_public(self.noise_secret))

    def __str__(self) -> str:
        return base58.encode(self.identity)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> NodeIdentity:
        return cls(random_bytes(32), random_bytes(32), ClientKeys.generate(random_bytes))

    def to_bytes(self) -> bytes:
        """144 bytes, all secret."""
        return self.identity_seed + self.noise_secret + self.service_keys.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> NodeIdentity:
        """:raises LocalProtocolError: not 144 bytes."""
        if len(data) != 64 + _CLIENT_KEYS_SIZE:
            raise LocalProtocolError("node keys have 144 bytes")
        return cls(data[:32], data[32:64], ClientKeys.from_bytes(data[64:]))

    @classmethod
    def load_or_generate(cls, directory: Path) -> NodeIdentity:
        """From a file (mode 0600) in ``directory``, which is made when missing."""
        path = directory / _FILE_NAME
        if path.exists():
            return cls.from_bytes(path.read_bytes())
        identity = cls.generate()
        directory.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(identity.to_bytes())
        return identity
