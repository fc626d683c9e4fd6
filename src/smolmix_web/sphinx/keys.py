"""The secrets of a hop, and how sender and node come to share them (spec/sphinx.md section 4).

A node multiplies the packet's group element alpha by its secret, expands the product into keys, and blinds
alpha with one of these keys for the next node. The sender must know all these products in advance. Written
down naively, hop i costs it i + 1 exchanges, because each blinding factor is applied by an exchange of its
own: ``DH(b_1, DH(b_0, DH(x, Y)))``. We need one exchange per hop instead.

X25519 clamps: as integers, all factors are multiples of 8. So their integer product P is one too, and
``P * Y = (P / 8) * (8 * Y)``. For a key Y on the curve ``8 * Y`` has the prime order l (the curve's cofactor
is 8), so only ``t = P / 8 mod l`` matters, and ``8 * t`` as one scalar gives the same point. An API that
clamps leaves that scalar alone if bit 254 is set and bit 255 is not, that is if ``2**251 <= t < 2**252``.
Below, ``l - t`` lies in the range: it yields the negated point, which has the same x coordinate, and X25519
sees nothing else. The tests hold this against the sequential way.

(Y on the twist would break the equality, and the packet would be dropped by the node that published such a
key. Products of Python integers are not constant-time; the factors are ephemeral.)
"""

from __future__ import annotations

from collections.abc import Sequence

from smolmix_web import crypto
from smolmix_web.errors import CryptoError
from smolmix_web.sphinx.constants import (
    EXPANDED_SECRET_LENGTH,
    EXPANSION_INFO,
    LEGACY_VERSIONS,
    PAYLOAD_KEY_INFO,
    PAYLOAD_KEY_LENGTH,
    PAYLOAD_KEY_SALT,
    VERSION_FULL_KEYS,
)

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_EIGHTH = pow(8, -1, GROUP_ORDER)
_LOW_BITS = (1 << 254) - 8
_TOP_BIT = 1 << 254


class ExpandedSecret:
    """Keys of one hop, expanded from the 32-byte shared secret; the names in brackets are the paper's."""

    __slots__ = ("_keys",)

    def __init__(self, shared_secret: bytes) -> None:
        self._keys = crypto.provider().hkdf_sha256(b"", shared_secret, EXPANSION_INFO, EXPANDED_SECRET_LENGTH)

    def __repr__(self) -> str:
        return "<ExpandedSecret>"

    @property
    def stream_key(self) -> bytes:
        """AES-128 key of the header key stream (rho), 16 bytes."""
        return self._keys[:16]

    @property
    def mac_key(self) -> bytes:
        """HMAC key of the header (mu), 16 bytes."""
        return self._keys[16:32]

    def payload_material(self, version: int) -> bytes:
        """What a SURB of this version carries for this hop: the whole key (192 bytes), or a seed (16)."""
        return self._keys[32:224] if uses_full_keys(version) else self._keys[32:48]

    @property
    def blinding_factor(self) -> bytes:
        """32 bytes (b)."""
        return self._keys[224:256]

    @property
    def replay_tag(self) -> bytes:
        """32 bytes, the same whenever the same packet comes again."""
        return self._keys[256:288]


def uses_full_keys(version: int) -> bool:
    """Whether payload keys are taken whole; any version not known takes the way of the seeds (section 3)."""
    return version == VERSION_FULL_KEYS or version in LEGACY_VERSIONS


def expand_payload_key(material: bytes) -> bytes:
    """The 192-byte LIONESS key from what a header or SURB holds: itself, or expanded from a 16-byte seed."""
    if len(material) == PAYLOAD_KEY_LENGTH:
        return material
    return crypto.provider().hkdf_sha256(PAYLOAD_KEY_SALT, material, PAYLOAD_KEY_INFO, PAYLOAD_KEY_LENGTH)


def derive_route_secrets(
    ephemeral_secret: bytes, public_keys: Sequence[bytes]
) -> tuple[bytes, list[ExpandedSecret]]:
    """The sender's side: (alpha for the first hop, the expanded secret of each hop).

    :param ephemeral_secret: 32 random bytes, used once.
    :param public_keys: x25519 keys of the nodes in route order, 32 bytes each.
    :raises CryptoError: a public key is unusable (wrong length, or of small order).
    """
    provider = crypto.provider()
    key = provider.x25519_key(ephemeral_secret)
    alpha = key.public
    product = clamp(ephemeral_secret)
    secrets = [ExpandedSecret(key.exchange(public_keys[0]))]
    for public_key in public_keys[1:]:
        product = product * clamp(secrets[-1].blinding_factor) % GROUP_ORDER
        secrets.append(ExpandedSecret(provider.x25519(clamp_compatible(product), public_key)))
    return alpha, secrets


def blind(alpha: bytes, blinding_factor: bytes, version: int) -> bytes:
    """The node's side: alpha for the next hop. :raises CryptoError: the result is all zero."""
    if version in LEGACY_VERSIONS:
        # Senders of that time multiplied scalars mod l without clamping, so nodes do as well (section 8.3).
        scalar = int.from_bytes(blinding_factor, "little") % GROUP_ORDER
        return crypto.provider().x25519(clamp_compatible(scalar), alpha)
    return crypto.provider().x25519(blinding_factor, alpha)


def clamp(scalar: bytes) -> int:
    """The integer that X25519 really multiplies by (RFC 7748 section 5)."""
    return int.from_bytes(scalar, "little") & _LOW_BITS | _TOP_BIT


def clamp_compatible(scalar: int) -> bytes:
    """32 bytes which clamping does not change, equal to ``scalar`` mod l up to sign (see the module text).

    :raises CryptoError: ``scalar`` mod l is one of those (one in 2**126) for which there are none.
    """
    eighth = scalar * _EIGHTH % GROUP_ORDER
    if eighth < 1 << 251:
        eighth = GROUP_ORDER - eighth
    if eighth >= 1 << 252:
        raise CryptoError("Sphinx: the blinding factors have no clamped product")
    return (eighth << 3).to_bytes(32, "little")
