"""What a node does with a packet (spec/sphinx.md sections 7 and 8); clients never come here.

Two steps: the header is opened (MAC checked, replay tag known), and later, if the packet is no replay,
finished (routing read, one layer taken off the payload). A node does this for every packet of every hop, so
it is written flat: two thirds of the time go to the two X25519 multiplications, and the rest should not be
Python's.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field

from smolmix_web import crypto
from smolmix_web.crypto import X25519Key
from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.sphinx.constants import (
    ALPHA_LENGTH,
    DESTINATION_LENGTH,
    FINAL_META_LENGTH,
    FLAG_FINAL,
    FLAG_FORWARD,
    FORWARD_META_LENGTH,
    HEADER_LENGTH,
    MAC_LENGTH,
    MIN_PAYLOAD_LENGTH,
    NODE_ADDRESS_LENGTH,
    STEP_LENGTH,
)
from smolmix_web.sphinx.keys import ExpandedSecret, blind, expand_payload_key
from smolmix_web.sphinx.payload import decrypt_payload, unpad_payload

_ZERO_IV = bytes(16)
_ZERO_STEP = bytes(STEP_LENGTH)
_BETA_START = ALPHA_LENGTH + MAC_LENGTH
_META_START = 4  # flag, and three bytes of version
_ADDRESS_END = _META_START + NODE_ADDRESS_LENGTH
_DESTINATION_END = _META_START + DESTINATION_LENGTH


# Not frozen: one is made per packet, and setting the fields of a frozen one costs three times as much.
@dataclass(slots=True)
class ForwardHop:
    """This node is a mix: send ``packet`` to ``next_address`` after ``delay_ns`` nanoseconds."""

    next_address: bytes
    """32 bytes."""
    delay_ns: int
    packet: bytes = field(repr=False)
    replay_tag: bytes
    version: int


@dataclass(slots=True)
class FinalHop:
    """This node is the last one: hand ``plaintext`` to ``destination``."""

    destination: bytes
    """32 bytes; for Nym the client's ed25519 identity."""
    identifier: bytes
    """16 bytes; Nym sends zeros."""
    plaintext: bytes = field(repr=False)
    replay_tag: bytes
    version: int


class OpenedHeader:
    """A packet whose header MAC verified. Look its ``replay_tag`` up, then :meth:`finish` it."""

    __slots__ = ("_packet", "_secret", "replay_tag")

    def __init__(self, secret: ExpandedSecret, packet: bytes) -> None:
        self._secret = secret
        self._packet = packet
        self.replay_tag = secret.replay_tag
        """32 bytes, equal for packets with equal headers."""

    def finish(self) -> ForwardHop | FinalHop:
        """Read the routing information and take one layer off the payload.

        :raises MalformedError: unknown flag, or a final payload without end mark.
        :raises CryptoError: a final payload was changed on its way, or alpha cannot be blinded.
        """
        packet, secret = self._packet, self._secret
        padded = packet[_BETA_START:HEADER_LENGTH] + _ZERO_STEP
        routing = crypto.provider().aes_ctr(secret.stream_key, _ZERO_IV, padded)
        flag = routing[0]
        # The first of the three bytes of the version is always zero and checked by nobody.
        version = routing[2] << 8 | routing[3]
        if flag == FLAG_FORWARD:
            payload = self._payload(version)
            alpha = blind(packet[:ALPHA_LENGTH], secret.blinding_factor, version)
            return ForwardHop(
                routing[_META_START:_ADDRESS_END],
                int.from_bytes(routing[_ADDRESS_END:FORWARD_META_LENGTH], "big"),
                # gamma and beta for the next hop stand next to each other, as they will on the wire
                b"".join((alpha, routing[FORWARD_META_LENGTH:], payload)),
                self.replay_tag,
                version,
            )
        if flag == FLAG_FINAL:
            return FinalHop(
                routing[_META_START:_DESTINATION_END],
                routing[_DESTINATION_END:FINAL_META_LENGTH],
                unpad_payload(self._payload(version)),
                self.replay_tag,
                version,
            )
        raise MalformedError("Sphinx: unknown flag in the routing information")

    def _payload(self, version: int) -> bytes:
        key = expand_payload_key(self._secret.payload_material(version))
        return decrypt_payload(key, self._packet[HEADER_LENGTH:])


def open_header(secret: bytes | X25519Key, packet: bytes) -> OpenedHeader:
    """Step 1 at a node.

    :param secret: the node's x25519 secret, 32 bytes; or loaded with ``crypto.provider().x25519_key`` once,
        which some providers charge for.
    :raises MalformedError: the packet is too short.
    :raises CryptoError: alpha is unusable or the MAC does not verify (try the other rotation's key, if any).
    """
    if len(packet) < HEADER_LENGTH + MIN_PAYLOAD_LENGTH:
        raise MalformedError(f"a Sphinx packet has more than {len(packet)} bytes")
    key = crypto.provider().x25519_key(secret) if isinstance(secret, bytes) else secret
    expanded = ExpandedSecret(key.exchange(packet[:ALPHA_LENGTH]))
    mac = hmac.digest(expanded.mac_key, packet[_BETA_START:HEADER_LENGTH], "sha256")[:MAC_LENGTH]
    if not hmac.compare_digest(packet[ALPHA_LENGTH:_BETA_START], mac):
        raise CryptoError("Sphinx: the header MAC does not verify")
    return OpenedHeader(expanded, packet)


def process_packet(secret: bytes | X25519Key, packet: bytes) -> ForwardHop | FinalHop:
    """Both steps at once, where nobody keeps replay tags; errors of both."""
    return open_header(secret, packet).finish()
