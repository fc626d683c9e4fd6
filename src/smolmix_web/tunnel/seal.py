"""Encryption of what is stored, under a passphrase: Argon2id (RFC 9106) and AES-256-GCM-SIV (RFC 8452).

A sealed blob is JSON, so that it can be told from one in the clear, and carries the parameters it was made
with; the key is derived once per passphrase and salt, and kept for later saves. GCM-SIV forgives a nonce that
is ever drawn twice.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smolmix_web import crypto
from smolmix_web.crypto import Aead
from smolmix_web.errors import CryptoError, MalformedError

VERSION = "sealed-1"
_ASSOCIATED_DATA = b"smolmix-web client keys, sealed-1"
_SALT_SIZE = 16
_NONCE_SIZE = 12
_KEY_SIZE = 32

MAX_MEMORY_KIB = 256 * 1024
MAX_ITERATIONS = 20
"""A damaged or planted file must not make a device compute for minutes."""


class WrongPassphrase(CryptoError):
    """The passphrase does not open the blob, or the blob was changed: the two cannot be told apart."""


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What a guess costs. The defaults are the memory and passes of RFC 9106 section 4's second choice, with
    one lane, which WebAssembly computes fastest: a third of a second in a browser."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 1


@dataclass(frozen=True, slots=True)
class _Key:
    """A derived key, and what it was derived with."""

    salt: bytes
    cost: Argon2Cost
    aead: Aead = field(repr=False)


class Sealer:
    """Seals and opens with one passphrase. Opening a blob adopts its key, so that saves cost little."""

    def __init__(
        self, passphrase: str, random_bytes: Callable[[int], bytes], cost: Argon2Cost | None = None
    ) -> None:
        self._passphrase = passphrase.encode()
        self._random_bytes = random_bytes
        self._cost = cost or Argon2Cost()
        self._key: _Key | None = None

    def __repr__(self) -> str:
        return "<Sealer>"

    def seal(self, plaintext: bytes) -> bytes:
        """An envelope around ``plaintext``."""
        if self._key is None:
            self._key = self._derive(self._random_bytes(_SALT_SIZE), self._cost)
        key, nonce = self._key, self._random_bytes(_NONCE_SIZE)
        return json.dumps(
            {
                "version": VERSION,
                "memory_kib": key.cost.memory_kib,
                "iterations": key.cost.iterations,
                "lanes": key.cost.lanes,
                "salt": _to_text(key.salt),
                "nonce": _to_text(nonce),
                "sealed": _to_text(key.aead.seal(nonce, plaintext, _ASSOCIATED_DATA)),
            }
        ).encode()

    def open(self, blob: bytes) -> bytes:
        """The inverse. :raises WrongPassphrase: see there. :raises MalformedError: not a sealed blob."""
        envelope = parse(blob)
        if envelope is None:
            raise MalformedError("not a sealed blob")
        try:
            cost = Argon2Cost(*(int(envelope[name]) for name in ("memory_kib", "iterations", "lanes")))
            salt, nonce, sealed = (
                base64.b64decode(envelope[name], validate=True) for name in ("salt", "nonce", "sealed")
            )
        except (KeyError, TypeError, ValueError) as error:
            raise MalformedError("a damaged envelope") from error
        if cost.memory_kib > MAX_MEMORY_KIB or cost.iterations > MAX_ITERATIONS:
            raise MalformedError("an envelope of unreasonable cost")
        try:
            key = self._derive(salt, cost)
            plaintext = key.aead.open(nonce, sealed, _ASSOCIATED_DATA)
        except CryptoError as error:
            raise WrongPassphrase("the passphrase does not fit, or the data is damaged") from error
        self._key = key
        return plaintext

    def _derive(self, salt: bytes, cost: Argon2Cost) -> _Key:
        provider = crypto.provider()
        key = provider.argon2id(
            self._passphrase,
            salt,
            memory_kib=cost.memory_kib,
            iterations=cost.iterations,
            lanes=cost.lanes,
            length=_KEY_SIZE,
        )
        return _Key(salt, cost, provider.aead("aes-256-gcm-siv", key))


def parse(blob: bytes) -> dict[str, Any] | None:
    """The envelope if ``blob`` looks like one, else None."""
    try:
        document = json.loads(blob)
    except ValueError:
        return None
    if isinstance(document, dict) and document.get("version") == VERSION:
        return document
    return None


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
