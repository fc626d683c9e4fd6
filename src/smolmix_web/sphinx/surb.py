"""Single-use reply blocks: a header and payload keys, handed to somebody else (spec/sphinx.md section 9)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from smolmix_web.errors import MalformedError
from smolmix_web.sphinx.constants import (
    HEADER_LENGTH,
    MAX_HOPS,
    NODE_ADDRESS_LENGTH,
    PAYLOAD_KEY_LENGTH,
    PAYLOAD_SEED_LENGTH,
    VERSION_SEEDS,
)
from smolmix_web.sphinx.keys import expand_payload_key
from smolmix_web.sphinx.packet import Hop, PreparedHeader, RandomBytes, derive_header
from smolmix_web.wire import Reader


@dataclass(frozen=True, slots=True)
class Surb:
    """A reply block. Apply it once: two packets of one header look like a replay."""

    header: bytes = field(repr=False)
    """348 bytes."""
    first_hop: bytes
    """32 bytes: padded address of the node that the packet has to be sent to."""
    payload_keys: tuple[bytes, ...] = field(repr=False)
    """In route order: 16-byte seeds (version 259), or 192-byte keys (258). The header hides the version."""

    @classmethod
    def create(
        cls,
        route: Sequence[Hop],
        delays_ns: Sequence[int],
        destination: bytes,
        *,
        version: int = VERSION_SEEDS,
        random_bytes: RandomBytes = secrets.token_bytes,
    ) -> Surb:
        """A reply block that ends at ``destination``; arguments and errors as ``packet.derive_header``."""
        header, material = derive_header(
            route, delays_ns, destination, version=version, random_bytes=random_bytes
        )
        return cls(header, route[0].address, material)

    def to_bytes(self) -> bytes:
        """380 bytes, then 16 (or 192) bytes per hop."""
        return b"".join((self.header, self.first_hop, *self.payload_keys))

    @classmethod
    def from_bytes(cls, data: bytes) -> Surb:
        """:raises MalformedError: truncated, or the key material is not seeds or keys of 1 to 5 hops."""
        reader = Reader(data)
        header = reader.pull_bytes(HEADER_LENGTH)
        first_hop = reader.pull_bytes(NODE_ADDRESS_LENGTH)
        # Seeds of five hops are shorter than one full key, so the length tells the two apart.
        size = PAYLOAD_SEED_LENGTH if reader.remaining < PAYLOAD_KEY_LENGTH else PAYLOAD_KEY_LENGTH
        hops, left_over = divmod(reader.remaining, size)
        if left_over or not 1 <= hops <= MAX_HOPS:
            raise MalformedError(f"SURB: {reader.remaining} bytes of key material")
        return cls(header, first_hop, tuple(reader.pull_bytes(size) for _ in range(hops)))

    def apply(self, message: bytes, payload_size: int) -> bytes:
        """The packet, ``348 + payload_size`` bytes; it goes to :attr:`first_hop`.

        :raises LocalProtocolError: the message is too long.
        """
        keys = tuple(map(expand_payload_key, self.payload_keys))
        return PreparedHeader(self.header, keys).seal(message, payload_size)
