"""From pushed bytes to messages (sphinx.md 22)."""

from __future__ import annotations

from dataclasses import dataclass

from smolmix_web import crypto
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.cover import is_cover
from smolmix_web.nym.fragments import Fragment
from smolmix_web.nym.keys import ClientKeys
from smolmix_web.nym.message import NymMessage, parse_message, unpad
from smolmix_web.nym.payload import PREFIX_LENGTH, decrypt_fragment, decrypt_reply_fragment
from smolmix_web.nym.reassembly import Reassembler
from smolmix_web.nym.replies import ReplyData, SurbRequest
from smolmix_web.nym.stats import ClientStats
from smolmix_web.nym.surb_issuer import Peer, SurbIssuer


@dataclass(frozen=True, slots=True)
class Incoming:
    """:ivar peer: whose reply SURBs brought it, if any."""

    message: NymMessage
    peer: Peer | None


class Receiver:
    """Whatever is pushed, :meth:`receive` gives a message or counts why not."""

    def __init__(
        self, keys: ClientKeys, config: ClientConfig, stats: ClientStats, issuer: SurbIssuer
    ) -> None:
        self._secret = crypto.provider().x25519_key(keys.encryption_secret)
        self._stats = stats
        self._issuer = issuer
        self._reassembler = Reassembler(
            max_buffered=config.max_reassembly_bytes, remembered_sets=config.remembered_sets
        )
        stats.reassembly = self._reassembler.stats

    def receive(self, pushed: bytes, now: float) -> Incoming | None:
        """Anything but an ack. A message comes out with the last of its fragments."""
        digest = pushed[:PREFIX_LENGTH]
        redeemed = self._issuer.redeem(digest)
        peer: Peer | None = None
        try:
            if redeemed is not None:
                key, peer = redeemed
                decrypted = decrypt_reply_fragment(key, pushed)
            elif self._issuer.is_spent(digest):
                self._stats.duplicates += 1
                return None
            else:
                decrypted = decrypt_fragment(self._secret, pushed)
        except (MalformedError, CryptoError):
            self._stats.malformed.ciphertext += 1
            return None
        if is_cover(decrypted):
            self._stats.cover_received += 1
            return None
        try:
            fragment = Fragment.from_bytes(decrypted)
        except MalformedError:
            self._stats.malformed.fragment += 1
            return None
        self._stats.fragments_received += 1
        padded = self._reassembler.insert(fragment, now, peer)
        return self._parse(padded, peer) if padded is not None else None

    def _parse(self, padded: bytes, peer: Peer | None) -> Incoming | None:
        try:
            message = parse_message(unpad(padded))
        except MalformedError:
            self._stats.malformed.message += 1
            return None
        if peer is None and isinstance(message, ReplyData | SurbRequest):
            self._stats.malformed.reply_without_surb += 1
            return None
        return Incoming(message, peer)
