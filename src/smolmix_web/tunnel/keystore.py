"""What a client id keeps between runs: its keys and its registration with a gateway.

With a passphrase everything is sealed (:mod:`.seal`); what an earlier run stored in the clear is sealed as
soon as a passphrase is given. What cannot be read is never destroyed: sealed data that does not open is an
error, and a damaged blob is set aside before new keys take its place.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from smolmix_web.errors import MalformedError, SmolmixError
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.platform.base import Storage
from smolmix_web.tunnel import seal
from smolmix_web.tunnel.seal import Argon2Cost, Sealer, WrongPassphrase

logger = logging.getLogger("smolmix_web.tunnel")

BLOB = "client"
DAMAGED_BLOB = "client.damaged"
_VERSION = 1


class StorageError(SmolmixError):
    """What is stored under this client id cannot be opened: a wrong or missing passphrase, or newer data."""

    code = "STORAGE"


@dataclass(frozen=True, slots=True)
class Registration:
    """A gateway that knows us."""

    gateway: bytes  # ed25519 identity, 32 bytes
    url: str
    shared_key: bytes = field(repr=False)  # 32 bytes


@dataclass(frozen=True, slots=True)
class Identity:
    """The keys of a client id and, once registered, its gateway."""

    keys: ClientKeys
    registration: Registration | None = None


class Keystore:
    """Loads and saves one :class:`Identity` in a platform's storage.

    :param passphrase: seals what is stored; None stores in the clear.
    """

    def __init__(
        self,
        storage: Storage,
        passphrase: str | None = None,
        *,
        random_bytes: Callable[[int], bytes],
        cost: Argon2Cost | None = None,
    ) -> None:
        self._storage = storage
        self._sealer = Sealer(passphrase, random_bytes, cost) if passphrase is not None else None

    async def load(self) -> Identity | None:
        """None when nothing usable is stored. A damaged registration is left out; damaged keys are set aside.

        :raises StorageError: the passphrase is wrong or missing, or the data comes from a newer release.
        """
        blob = await self._storage.load(BLOB)
        if blob is None:
            return None
        was_sealed = seal.parse(blob) is not None
        try:
            identity = _decode(self._open(blob) if was_sealed else blob)
        except (ValueError, KeyError, TypeError, AttributeError, MalformedError):
            # Not with its traceback: that could show pieces of keys.
            logger.warning("the stored client keys are damaged; they are set aside and new ones are made")
            await self._storage.save(DAMAGED_BLOB, self._sealer.seal(blob) if self._sealer else blob)
            await self._storage.delete(BLOB)
            return None
        if self._sealer is not None and not was_sealed:
            await self.save(identity)
        return identity

    async def save(self, identity: Identity) -> None:
        """Replace what is stored."""
        document = _encode(identity)
        await self._storage.save(BLOB, self._sealer.seal(document) if self._sealer else document)

    def _open(self, blob: bytes) -> bytes:
        if self._sealer is None:
            raise StorageError("the stored client keys are sealed: storagePassphrase is needed")
        try:
            return self._sealer.open(blob)
        except WrongPassphrase:
            raise StorageError(
                "storagePassphrase does not open the stored client keys (wrong, or the data is damaged)"
            ) from None


def _encode(identity: Identity) -> bytes:
    document: dict[str, object] = {"version": _VERSION, "keys": _to_text(identity.keys.to_bytes())}
    if identity.registration is not None:
        document["registration"] = {
            "gateway": _to_text(identity.registration.gateway),
            "url": identity.registration.url,
            "shared_key": _to_text(identity.registration.shared_key),
        }
    return json.dumps(document).encode()


def _decode(blob: bytes) -> Identity:
    document = json.loads(blob)
    version = document["version"]
    if isinstance(version, int) and version > _VERSION:
        raise StorageError(f"the stored client keys are of version {version}, from a newer release")
    if version != _VERSION:
        raise ValueError("unknown version")
    keys = ClientKeys.from_bytes(_from_text(document["keys"], 80))
    return Identity(keys, _decode_registration(document.get("registration")))


def _decode_registration(stored: Any) -> Registration | None:
    """Without it we register again, which costs a second; the keys are what must not be lost."""
    if stored is None:
        return None
    try:
        return Registration(
            _from_text(stored["gateway"], 32), str(stored["url"]), _from_text(stored["shared_key"], 32)
        )
    except (ValueError, KeyError, TypeError):
        logger.warning("the stored registration is damaged; registering again")
        return None


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_text(text: str, length: int) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != length:
        raise ValueError("wrong length")
    return data
