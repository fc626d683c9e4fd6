"""The Sphinx header: alpha, gamma and beta (spec/sphinx.md section 5).

Beta is an onion of five steps of 60 bytes. A node appends one step of zeros, decrypts all six, keeps the
outermost and hands on the other five. What the zeros decrypt to is noise that the sender must know, because
the MACs cover it: the *filler*. The sender computes it first, front to back, and then wraps the steps from
the last hop to the first.

Blocks are held as big-endian integers while they are xored; Python does that in one call per block.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from smolmix_web import crypto
from smolmix_web.sphinx.constants import (
    BETA_LENGTH,
    DELAY_LENGTH,
    FINAL_META_LENGTH,
    FLAG_FINAL,
    FLAG_FORWARD,
    FORWARD_META_LENGTH,
    MAC_LENGTH,
    STEP_LENGTH,
    STREAM_LENGTH,
    VERSION_LENGTH,
)
from smolmix_web.sphinx.keys import ExpandedSecret

_ZERO_IV = bytes(16)
_ZERO_STEP = bytes(STEP_LENGTH)
_ZERO_STREAM = bytes(STREAM_LENGTH)


@dataclass(frozen=True, slots=True)
class FinalRouting:
    """What the last hop reads."""

    version: int
    destination: bytes
    identifier: bytes


def encrypt_routing(
    secrets: Sequence[ExpandedSecret],
    addresses: Sequence[bytes],
    delays_ns: Sequence[int],
    final: FinalRouting,
    padding: bytes,
) -> bytes:
    """``gamma || beta`` for the first hop.

    :param addresses: of the hops after the first, 32 bytes each.
    :param delays_ns: nanoseconds each hop but the last has to wait, below 2**64.
    :param padding: ``padding_length(hops)`` random bytes; zeros would show the last hop the path's length.
    """
    aes_ctr = crypto.provider().aes_ctr
    streams = [
        int.from_bytes(aes_ctr(secret.stream_key, _ZERO_IV, _ZERO_STREAM), "big") for secret in secrets
    ]
    version = final.version.to_bytes(VERSION_LENGTH, "big")

    filler = 0
    for count, stream in enumerate(streams[:-1], 1):
        bits = 8 * STEP_LENGTH * count
        filler = filler << 8 * STEP_LENGTH ^ stream & (1 << bits) - 1
    filler_length = STEP_LENGTH * (len(secrets) - 1)

    plain = bytes((FLAG_FINAL,)) + version + final.destination + final.identifier + padding
    block = int.from_bytes(plain, "big") ^ streams[-1] >> 8 * (STREAM_LENGTH - len(plain))
    beta = (block << 8 * filler_length | filler).to_bytes(BETA_LENGTH, "big")
    mac = header_mac(secrets[-1], beta)

    for index in range(len(secrets) - 2, -1, -1):
        plain = b"".join(
            (
                bytes((FLAG_FORWARD,)),
                version,
                addresses[index],
                delays_ns[index].to_bytes(DELAY_LENGTH, "big"),
                mac,
                beta[: BETA_LENGTH - STEP_LENGTH],
            )
        )
        block = int.from_bytes(plain, "big") ^ streams[index] >> 8 * STEP_LENGTH
        beta = block.to_bytes(BETA_LENGTH, "big")
        mac = header_mac(secrets[index], beta)
    return mac + beta


def header_mac(secret: ExpandedSecret, beta: bytes) -> bytes:
    """Gamma: over beta and nothing else."""
    return hmac.digest(secret.mac_key, beta, "sha256")[:MAC_LENGTH]


def padding_length(hops: int) -> int:
    """Random bytes behind the final hop's block: 248 for one hop, 8 for five."""
    return BETA_LENGTH - STEP_LENGTH * (hops - 1) - FINAL_META_LENGTH


assert FORWARD_META_LENGTH + MAC_LENGTH == STEP_LENGTH
