"""What a client id keeps between runs: its keys and its registration with a gateway."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field

from smolmix_web.errors import MalformedError, SmolmixError
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.platform.base import Storage

BLOB = "client"
_VERSION = 1


class StorageError(SmolmixError):
    """What is stored under this client id cannot be read (damaged, or another passphrase)."""

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
    """Loads and saves one :class:`Identity` in a platform's storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def load(self) -> Identity | None:
        """None when nothing is stored. :raises StorageError: what is stored cannot be read."""
        blob = await self._storage.load(BLOB)
        if blob is None:
            return None
        try:
            return _decode(blob)
        except (ValueError, KeyError, TypeError, MalformedError) as error:
            raise StorageError("the stored client keys cannot be read") from error

    async def save(self, identity: Identity) -> None:
        await self._storage.save(BLOB, _encode(identity))


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
    if document["version"] != _VERSION:
        raise ValueError("unknown version")
    registration = None
    if (stored := document.get("registration")) is not None:
        registration = Registration(
            _from_text(stored["gateway"], 32), str(stored["url"]), _from_text(stored["shared_key"], 32)
        )
    return Identity(ClientKeys.from_bytes(_from_text(document["keys"], 80)), registration)


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_text(text: str, length: int) -> bytes:
    data = base64.b64decode(text, validate=True)
    if len(data) != length:
        raise ValueError("wrong length")
    return data
