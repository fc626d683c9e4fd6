"""Acknowledgements: a small packet, built by the sender of the data, that finds its own way back.

Specification: sphinx.md 17 and 21.
"""

from __future__ import annotations

from smolmix_web import crypto
from smolmix_web.errors import MalformedError
from smolmix_web.nym.addresses import PADDED_IN_ACK, NodeAddress
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.randomness import RandomBytes

SURB_ACK_LENGTH = PADDED_IN_ACK + PacketSize.ACK.total
"""405: address of the ack's first hop, zero-padded to 19 bytes, and the ack packet of 386."""


def split_surb_ack(plaintext: bytes) -> tuple[NodeAddress, bytes, bytes]:
    """First hop of the ack, ack packet, message: what a gateway makes of the plaintext of a final hop.

    :raises MalformedError: too short, or no address in front.
    """
    if len(plaintext) < SURB_ACK_LENGTH:
        raise MalformedError(f"final plaintext of {len(plaintext)} bytes holds no ack")
    first_hop = NodeAddress.unpack(plaintext[:PADDED_IN_ACK])
    return first_hop, plaintext[PADDED_IN_ACK:SURB_ACK_LENGTH], plaintext[SURB_ACK_LENGTH:]


ACK_LENGTH = PacketSize.ACK.plaintext
"""21: IV of 16 bytes and an encrypted fragment identifier of 5."""
_IV_LENGTH = 16


def encode_ack(ack_key: bytes, identifier: bytes, random_bytes: RandomBytes) -> bytes:
    """Content of the ack packet for a fragment identifier of 5 bytes."""
    iv = random_bytes(_IV_LENGTH)
    return iv + crypto.provider().aes_ctr(ack_key, iv, identifier)


def decode_ack(ack_key: bytes, content: bytes) -> bytes:
    """The identifier. :raises MalformedError: not 21 bytes, or no sender of ours wrote it (bad set id)."""
    if len(content) != ACK_LENGTH:
        raise MalformedError(f"ack of {len(content)} bytes")
    identifier = crypto.provider().aes_ctr(ack_key, content[:_IV_LENGTH], content[_IV_LENGTH:])
    if identifier[0] & 0x80:
        raise MalformedError("ack for a negative set id")
    return identifier
