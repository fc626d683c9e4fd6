"""A node's Sphinx keys across key rotations (spec nodes.md 4.1, 7).

A node has a primary key and, around a rotation, a secondary one: the next rotation's (pre-announced during
the last epoch before it), or the previous rotation's (kept for one epoch after the swap).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from smolmix_web import crypto
from smolmix_web.crypto import X25519Key
from smolmix_web.directory.described import SphinxKey
from smolmix_web.errors import LocalProtocolError
from smolmix_web.localnet.replay import ReplayFilter
from smolmix_web.nym.packets import KeyRotation


@dataclass(frozen=True, slots=True)
class RotationKey:
    """One x25519 secret, its rotation, and the packets it has seen."""

    rotation_id: int
    secret: bytes = field(repr=False)
    public: bytes
    loaded: X25519Key = field(repr=False)
    replay: ReplayFilter = field(repr=False)

    @classmethod
    def from_secret(cls, rotation_id: int, secret: bytes) -> RotationKey:
        provider = crypto.provider()
        return cls(
            rotation_id, secret, provider.x25519_public(secret), provider.x25519_key(secret), ReplayFilter()
        )

    def announced(self) -> SphinxKey:
        return SphinxKey(self.rotation_id, self.public)


class SphinxKeyring:
    """The keys of one node. ``candidates`` is the hot path: it is looked up for every packet."""

    def __init__(
        self,
        rotation_id: int,
        secret: bytes | None = None,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._random_bytes = random_bytes
        self.primary = RotationKey.from_secret(rotation_id, secret or random_bytes(32))
        self.secondary: RotationKey | None = None
        self._candidates: dict[KeyRotation, tuple[RotationKey, ...]] = {}
        self._index()

    @classmethod
    def from_keys(cls, primary: RotationKey, secondary: RotationKey | None) -> SphinxKeyring:
        """With keys that exist already, newest first or pre-announced second."""
        keyring = cls(primary.rotation_id, primary.secret)
        keyring.primary, keyring.secondary = primary, secondary
        keyring._index()
        return keyring

    def candidates(self, rotation: KeyRotation) -> tuple[RotationKey, ...]:
        """Keys to try, in order, for a packet with this flag. Empty: the key has expired."""
        return self._candidates[rotation]

    def pre_announced(self) -> RotationKey | None:
        """The next rotation's key, if it exists already."""
        if self.secondary is not None and self.secondary.rotation_id == self.primary.rotation_id + 1:
            return self.secondary
        return None

    def prepare_next(self) -> RotationKey:
        """Generate the key of the next rotation as secondary; idempotent."""
        upcoming = self.pre_announced()
        if upcoming is None:
            upcoming = RotationKey.from_secret(self.primary.rotation_id + 1, self._random_bytes(32))
            self.secondary = upcoming
            self._index()
        return upcoming

    def swap(self) -> None:
        """Make the next rotation's key primary and keep the old one. :raises LocalProtocolError: none."""
        upcoming = self.pre_announced()
        if upcoming is None:
            raise LocalProtocolError("no key of the next rotation to swap in")
        self.primary, self.secondary = upcoming, self.primary
        self._index()

    def drop_old(self) -> None:
        """Forget the previous rotation's key and its replay filter."""
        if self.secondary is not None and self.secondary.rotation_id < self.primary.rotation_id:
            self.secondary = None
            self._index()

    def relabel(self, rotation_id: int) -> None:
        """Assign the primary key, which nobody has been told of yet, to a rotation."""
        if self.primary.rotation_id != rotation_id:
            self.primary = RotationKey.from_secret(rotation_id, self.primary.secret)
            self.secondary = None
            self._index()

    def jump(self, rotation_id: int) -> None:
        """Start afresh at a rotation that none of the keys belongs to, keeping the primary for stragglers."""
        old = self.primary
        self.primary = RotationKey.from_secret(rotation_id, self._random_bytes(32))
        self.secondary = old if old.rotation_id < rotation_id else None
        self._index()

    def _index(self) -> None:
        both = (self.primary,) if self.secondary is None else (self.primary, self.secondary)
        odd = self.primary.rotation_id & 1
        self._candidates = {
            KeyRotation.UNKNOWN: both,
            KeyRotation.ODD: (self.primary,) if odd else both[1:],
            KeyRotation.EVEN: both[1:] if odd else (self.primary,),
        }
