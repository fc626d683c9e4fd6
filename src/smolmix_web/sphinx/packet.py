"""Building whole packets: 348 bytes of header, then payload (spec/sphinx.md section 7).

A sender prepares a header (public-key work, possible ahead of time) and later seals a message under it. What
a node does with the packet stands in :mod:`.process`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from smolmix_web.errors import LocalProtocolError
from smolmix_web.sphinx.constants import (
    DESTINATION_LENGTH,
    IDENTIFIER_LENGTH,
    LEGACY_VERSIONS,
    MAX_HOPS,
    NODE_ADDRESS_LENGTH,
    PAYLOAD_OVERHEAD,
    VERSION_SEEDS,
)
from smolmix_web.sphinx.header import (
    FinalRouting,
    encrypt_routing,
    padding_length,
)
from smolmix_web.sphinx.keys import derive_route_secrets, expand_payload_key
from smolmix_web.sphinx.payload import encrypt_payload, pad_payload

RandomBytes = Callable[[int], bytes]

_NO_IDENTIFIER = bytes(IDENTIFIER_LENGTH)


@dataclass(frozen=True, slots=True)
class Hop:
    """A node of a route."""

    address: bytes
    """32 bytes: the packed node address, padded with zeros."""
    public_key: bytes
    """32 bytes: the node's x25519 key for Sphinx."""


@dataclass(frozen=True, slots=True)
class PreparedHeader:
    """A header waiting for its message. Seal exactly one: two packets of one header look like a replay."""

    header: bytes
    payload_keys: tuple[bytes, ...] = field(repr=False)
    """192 bytes per hop, in route order."""

    def seal(self, message: bytes, payload_size: int) -> bytes:
        """The packet, ``348 + payload_size`` bytes. :raises LocalProtocolError: the message is too long."""
        padded = pad_payload(message, payload_size)
        return self.header + encrypt_payload(reversed(self.payload_keys), padded)


def derive_header(
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    *,
    version: int = VERSION_SEEDS,
    identifier: bytes = _NO_IDENTIFIER,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> tuple[bytes, tuple[bytes, ...]]:
    """(header, payload key material per hop: 16-byte seeds for version 259, 192-byte keys for 258).

    :param route: 1 to 5 hops.
    :param delays_ns: nanoseconds at each hop, below 2**64; the last hop's is never used and may be missing.
    :param destination: 32 bytes.
    :raises LocalProtocolError: an argument does not fit, or the version is one we do not build.
    :raises CryptoError: a public key of the route is unusable.
    """
    hops = len(route)
    if not 1 <= hops <= MAX_HOPS:
        raise LocalProtocolError(f"a Sphinx route has 1 to {MAX_HOPS} hops, not {hops}")
    if len(delays_ns) < hops - 1 or not all(0 <= delay < 1 << 64 for delay in delays_ns):
        raise LocalProtocolError("one delay per hop is needed, each an unsigned 64-bit number")
    if len(destination) != DESTINATION_LENGTH or len(identifier) != IDENTIFIER_LENGTH:
        raise LocalProtocolError("a Sphinx destination has 32 bytes and an identifier 16")
    if any(len(hop.address) != NODE_ADDRESS_LENGTH for hop in route):
        raise LocalProtocolError("the address of a Sphinx hop has 32 bytes")
    if version in LEGACY_VERSIONS or not 0 <= version < 1 << 16:
        raise LocalProtocolError(f"packets of version {version} are not built")
    alpha, keys = derive_route_secrets(random_bytes(32), [hop.public_key for hop in route])
    routing = encrypt_routing(
        keys,
        [hop.address for hop in route[1:]],
        delays_ns,
        FinalRouting(version, destination, identifier),
        random_bytes(padding_length(hops)),
    )
    return alpha + routing, tuple(key.payload_material(version) for key in keys)


def prepare_header(
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    *,
    version: int = VERSION_SEEDS,
    identifier: bytes = _NO_IDENTIFIER,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> PreparedHeader:
    """All of a packet that does not depend on its message; arguments and errors as :func:`derive_header`."""
    header, material = derive_header(
        route, delays_ns, destination, version=version, identifier=identifier, random_bytes=random_bytes
    )
    return PreparedHeader(header, tuple(map(expand_payload_key, material)))


def build_packet(
    route: Sequence[Hop],
    delays_ns: Sequence[int],
    destination: bytes,
    message: bytes,
    payload_size: int,
    *,
    version: int = VERSION_SEEDS,
    identifier: bytes = _NO_IDENTIFIER,
    random_bytes: RandomBytes = secrets.token_bytes,
) -> bytes:
    """A packet of ``348 + payload_size`` bytes for ``route[0]``; else as :func:`derive_header`."""
    return prepare_header(
        route, delays_ns, destination, version=version, identifier=identifier, random_bytes=random_bytes
    ).seal(message, payload_size)


def payload_plaintext_capacity(payload_size: int) -> int:
    """Bytes of message that a payload of ``payload_size`` bytes carries."""
    return payload_size - PAYLOAD_OVERHEAD
