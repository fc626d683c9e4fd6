"""Any route of 1 to 5 hops, any message, every packet size: what goes in comes out at the right place."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web import crypto
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, Surb, build_packet, process_packet

# total bytes of Nym's packet sizes regular, ack, extended32, extended8, extended16, less the header
PAYLOAD_SIZES = (2065, 38, 32785, 8209, 16401)


@st.composite
def routes(draw: st.DrawFn) -> tuple[list[bytes], list[Hop], list[int]]:
    hops = draw(st.integers(1, 5))
    secrets = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=hops, max_size=hops))
    addresses = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=hops, max_size=hops))
    delays = draw(st.lists(st.integers(0, 2**64 - 1), min_size=hops, max_size=hops))
    public = crypto.provider().x25519_public
    route = [Hop(address, public(secret)) for address, secret in zip(addresses, secrets, strict=True)]
    return secrets, route, delays


@st.composite
def messages(draw: st.DrawFn) -> tuple[int, bytes]:
    """A payload size and a message for it, often full, often of bytes that look like padding."""
    size = draw(st.sampled_from(PAYLOAD_SIZES))
    length = draw(st.one_of(st.just(size - 17), st.integers(0, size - 17)))
    pattern = draw(st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from([b"\0", b"\1", b"\1\0"])))
    return size, (pattern * (length // len(pattern) + 1))[:length]


def walk(packet: bytes, secrets: list[bytes], route: list[Hop], delays: list[int], version: int) -> FinalHop:
    size = len(packet)
    for index, secret in enumerate(secrets[:-1]):
        forward = process_packet(secret, packet)
        assert isinstance(forward, ForwardHop)
        assert (forward.next_address, forward.delay_ns) == (route[index + 1].address, delays[index])
        assert forward.version == version
        packet = forward.packet
        assert len(packet) == size
    final = process_packet(secrets[-1], packet)
    assert isinstance(final, FinalHop)
    return final


@settings(max_examples=150, deadline=None)
@given(
    routes(),
    messages(),
    st.sampled_from((258, 259)),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=16),
)
def test_packets(
    path: tuple[list[bytes], list[Hop], list[int]],
    sized: tuple[int, bytes],
    version: int,
    destination: bytes,
    identifier: bytes,
) -> None:
    secrets, route, delays = path
    size, message = sized
    identifier = identifier.ljust(16, b"\0")
    packet = build_packet(route, delays, destination, message, size, version=version, identifier=identifier)
    assert len(packet) == 348 + size
    final = walk(packet, secrets, route, delays, version)
    assert (final.destination, final.identifier, final.plaintext) == (destination, identifier, message)


@settings(max_examples=150, deadline=None)
@given(routes(), messages(), st.sampled_from((258, 259)), st.binary(min_size=32, max_size=32))
def test_reply_blocks(
    path: tuple[list[bytes], list[Hop], list[int]], sized: tuple[int, bytes], version: int, destination: bytes
) -> None:
    secrets, route, delays = path
    size, message = sized
    encoded = Surb.create(route, delays, destination, version=version).to_bytes()
    surb = Surb.from_bytes(encoded)
    assert surb.to_bytes() == encoded
    final = walk(surb.apply(message, size), secrets, route, delays, version)
    assert (final.destination, final.plaintext) == (destination, message)
