"""Sizes in bytes and domain-separation strings (spec/sphinx.md section 2)."""

from __future__ import annotations

from typing import Final

MAX_HOPS: Final = 5
"""Hops of a route, the final one included; fixed by the size of the routing information."""

ALPHA_LENGTH: Final = 32
MAC_LENGTH: Final = 16
"""Gamma: HMAC-SHA256 truncated to the security parameter."""
NODE_ADDRESS_LENGTH: Final = 32
DESTINATION_LENGTH: Final = 32
IDENTIFIER_LENGTH: Final = 16
VERSION_LENGTH: Final = 3
DELAY_LENGTH: Final = 8

FORWARD_META_LENGTH: Final = 1 + VERSION_LENGTH + NODE_ADDRESS_LENGTH + DELAY_LENGTH  # 44
FINAL_META_LENGTH: Final = 1 + VERSION_LENGTH + DESTINATION_LENGTH + IDENTIFIER_LENGTH  # 52
STEP_LENGTH: Final = FORWARD_META_LENGTH + MAC_LENGTH
"""What one hop consumes of the routing information: 60."""
BETA_LENGTH: Final = STEP_LENGTH * MAX_HOPS
"""Encrypted routing information: 300."""
STREAM_LENGTH: Final = BETA_LENGTH + STEP_LENGTH
"""Header key stream of one hop: 360."""
HEADER_LENGTH: Final = ALPHA_LENGTH + MAC_LENGTH + BETA_LENGTH  # 348

PAYLOAD_OVERHEAD: Final = 16 + 1
"""Leading zeros, and the 0x01 that ends the message."""
MIN_PAYLOAD_LENGTH: Final = 33
"""LIONESS needs 32 bytes on its left side and one on its right."""

STREAM_KEY_LENGTH: Final = 16
MAC_KEY_LENGTH: Final = 16
PAYLOAD_SEED_LENGTH: Final = 16
PAYLOAD_KEY_LENGTH: Final = 192
BLINDING_LENGTH: Final = 32
REPLAY_TAG_LENGTH: Final = 32
EXPANDED_SECRET_LENGTH: Final = 288

FLAG_FORWARD: Final = 1
FLAG_FINAL: Final = 2

VERSION_LEGACY_1: Final = 1
VERSION_LEGACY_257: Final = 257
VERSION_FULL_KEYS: Final = 258
"""X25519 blinding, payload keys taken whole from the expanded secret."""
VERSION_SEEDS: Final = 259
"""X25519 blinding, payload keys derived from 16-byte seeds; what current clients send."""
LEGACY_VERSIONS: Final = frozenset((VERSION_LEGACY_1, VERSION_LEGACY_257))

# Archimedes, on levers and moving the earth; no salt.
EXPANSION_INFO: Final = (
    b"Dwste mou enan moxlo arketa makru kai ena upomoxlio gia na ton topothetisw kai tha kinisw thn gh."
)
PAYLOAD_KEY_SALT: Final = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-SALT"
PAYLOAD_KEY_INFO: Final = b"sphinx-payload-key-V01-CS01-HKDF:SHA256-INFO"
