"""Building and processing whole packets: 348 bytes of header, then payload (spec/sphinx.md sections 7, 8).

Both have two steps. A sender prepares a header (public-key work, possible ahead of time) and later seals a
message under it. A node opens the header (MAC checked, replay tag known) and later, if the packet is not a
replay, finishes it (payload decrypted).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from smolmix_web import crypto
from smolmix_web.crypto import X25519Key
from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.sphinx.constants import (
    ALPHA_LENGTH,
    DESTINATION_LENGTH,
    HEADER_LENGTH,
    IDENTIFIER_LENGTH,
    LEGACY_VERSIONS,
    MAC_LENGTH,
    MAX_HOPS,
    MIN_PAYLOAD_LENGTH,
    NODE_ADDRESS_LENGTH,
    PAYLOAD_OVERHEAD,
    VERSION_SEEDS,
)
from smolmix_web.sphinx.header import (
    FinalRouting,
    decrypt_routing,
    encrypt_routing,
    padding_length,
    verify_header_mac,
)
from smolmix_web.sphinx.keys import ExpandedSecret, blind, derive_route_secrets, expand_payload_key
from smolmix_web.sphinx.payload import decrypt_payload, encrypt_payload, pad_payload, unpad_payload

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


@dataclass(frozen=True, slots=True)
class ForwardHop:
    """This node is a mix: send ``packet`` to ``next_address`` after ``delay_ns`` nanoseconds."""

    next_address: bytes
    """32 bytes."""
    delay_ns: int
    packet: bytes = field(repr=False)
    replay_tag: bytes
    version: int


@dataclass(frozen=True, slots=True)
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
        routing = decrypt_routing(secret, packet[ALPHA_LENGTH + MAC_LENGTH : HEADER_LENGTH])
        key = expand_payload_key(secret.payload_material(routing.version))
        payload = decrypt_payload(key, packet[HEADER_LENGTH:])
        if isinstance(routing, FinalRouting):
            return FinalHop(
                routing.destination,
                routing.identifier,
                unpad_payload(payload),
                self.replay_tag,
                routing.version,
            )
        alpha = blind(packet[:ALPHA_LENGTH], secret.blinding_factor, routing.version)
        return ForwardHop(
            routing.next_address,
            routing.delay_ns,
            b"".join((alpha, routing.mac, routing.beta, payload)),
            self.replay_tag,
            routing.version,
        )


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


def open_header(secret: bytes | X25519Key, packet: bytes) -> OpenedHeader:
    """Step 1 at a node.

    :param secret: the node's x25519 secret, 32 bytes; or loaded with ``crypto.provider().x25519_key`` once,
        which saves a node a quarter of its work.
    :raises MalformedError: the packet is too short.
    :raises CryptoError: alpha is unusable or the MAC does not verify (try the other rotation's key, if any).
    """
    if len(packet) < HEADER_LENGTH + MIN_PAYLOAD_LENGTH:
        raise MalformedError(f"a Sphinx packet has more than {len(packet)} bytes")
    key = crypto.provider().x25519_key(secret) if isinstance(secret, bytes) else secret
    expanded = ExpandedSecret(key.exchange(packet[:ALPHA_LENGTH]))
    header_end = ALPHA_LENGTH + MAC_LENGTH
    verify_header_mac(expanded, packet[ALPHA_LENGTH:header_end], packet[header_end:HEADER_LENGTH])
    return OpenedHeader(expanded, packet)


def process_packet(secret: bytes | X25519Key, packet: bytes) -> ForwardHop | FinalHop:
    """Both steps at once, where nobody keeps replay tags; errors of both."""
    return open_header(secret, packet).finish()


def payload_plaintext_capacity(payload_size: int) -> int:
    """Bytes of message that a payload of ``payload_size`` bytes carries."""
    return payload_size - PAYLOAD_OVERHEAD
