"""Packets through all their hops, and everything a node has to refuse."""

from __future__ import annotations

import hmac
from dataclasses import replace

import pytest

from smolmix_web import crypto
from smolmix_web.errors import CryptoError, LocalProtocolError, MalformedError
from smolmix_web.sphinx import (
    FinalHop,
    ForwardHop,
    Hop,
    build_packet,
    open_header,
    payload_plaintext_capacity,
    prepare_header,
    process_packet,
)
from smolmix_web.sphinx.header import header_mac, padding_length
from smolmix_web.sphinx.keys import ExpandedSecret

SECRETS = [bytes((index,)) * 32 for index in range(1, 6)]
ROUTE = [
    Hop(bytes((index,)).ljust(32, b"\0"), crypto.provider().x25519_public(secret))
    for index, secret in enumerate(SECRETS, 1)
]
DELAYS = [10, 0, 2**64 - 1, 3, 4]
DESTINATION = b"\xdd" * 32


def reseal(secret: bytes, packet: bytes, *, flag: int | None = None, version: bytes | None = None) -> bytes:
    """The packet with another flag or version for this hop, under a MAC that verifies."""
    keys = ExpandedSecret(crypto.provider().x25519(secret, packet[:32]))
    plain = bytearray(crypto.provider().aes_ctr(keys.stream_key, bytes(16), packet[48:348]))
    if flag is not None:
        plain[0] = flag
    if version is not None:
        plain[1:4] = version
    beta = crypto.provider().aes_ctr(keys.stream_key, bytes(16), bytes(plain))
    return packet[:32] + header_mac(keys, beta) + beta + packet[348:]


@pytest.mark.parametrize("version", [258, 259])
@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_every_hop_learns_its_part(hops: int, version: int) -> None:
    packet = build_packet(ROUTE[:hops], DELAYS[:hops], DESTINATION, b"message", 2065, version=version)
    tags = set()
    for index in range(hops - 1):
        assert len(packet) == 2413
        processed = process_packet(SECRETS[index], packet)
        assert isinstance(processed, ForwardHop)
        assert processed.next_address == ROUTE[index + 1].address
        assert processed.delay_ns == DELAYS[index]
        assert processed.version == version
        tags.add(processed.replay_tag)
        packet = processed.packet
    processed = process_packet(SECRETS[hops - 1], packet)
    assert isinstance(processed, FinalHop)
    assert (processed.destination, processed.identifier) == (DESTINATION, bytes(16))
    assert processed.plaintext == b"message"
    tags.add(processed.replay_tag)
    assert len(tags) == hops


def test_a_loaded_key_does_the_same() -> None:
    packet = build_packet(ROUTE[:2], DELAYS, DESTINATION, b"message", 100)
    loaded = crypto.provider().x25519_key(SECRETS[0])
    assert process_packet(loaded, packet) == process_packet(SECRETS[0], packet)


def test_an_identifier_arrives() -> None:
    packet = build_packet(ROUTE[:1], [0], DESTINATION, b"", 64, identifier=b"i" * 16)
    final = process_packet(SECRETS[0], packet)
    assert isinstance(final, FinalHop)
    assert (final.identifier, final.plaintext) == (b"i" * 16, b"")


def test_the_replay_tag_is_known_before_the_payload_is_touched() -> None:
    packet = build_packet(ROUTE[:2], DELAYS, DESTINATION, b"message", 100)
    broken_payload = packet[:-1] + bytes((packet[-1] ^ 1,))
    assert open_header(SECRETS[0], packet).replay_tag == open_header(SECRETS[0], broken_payload).replay_tag


def test_packets_are_different_every_time() -> None:
    one, two = (build_packet(ROUTE[:3], DELAYS, DESTINATION, b"message", 100) for _ in range(2))
    assert one[:32] != two[:32]
    assert open_header(SECRETS[0], one).replay_tag != open_header(SECRETS[0], two).replay_tag


def test_a_prepared_header_seals_later_at_any_size() -> None:
    prepared = prepare_header(ROUTE[:1], [0], DESTINATION)
    for size in (38, 2065, 8209):
        message = b"m" * payload_plaintext_capacity(size)
        final = process_packet(SECRETS[0], prepared.seal(message, size))
        assert isinstance(final, FinalHop)
        assert final.plaintext == message
    with pytest.raises(LocalProtocolError):
        prepared.seal(b"m" * (payload_plaintext_capacity(38) + 1), 38)
    with pytest.raises(LocalProtocolError):
        prepared.seal(b"", 32)
    assert str(prepared.payload_keys[0]) not in repr(prepared)


def test_the_last_delay_may_be_missing() -> None:
    build_packet(ROUTE[:3], [1, 2], DESTINATION, b"", 64)
    build_packet(ROUTE[:1], [], DESTINATION, b"", 64)


@pytest.mark.parametrize(
    "arguments",
    [
        {"route": []},
        {"route": [*ROUTE, ROUTE[0]]},
        {"route": [replace(ROUTE[0], address=bytes(31))]},
        {"delays_ns": [1]},
        {"delays_ns": [1, -1, 1]},
        {"delays_ns": [1, 2**64, 1]},
        {"destination": bytes(31)},
        {"identifier": bytes(15)},
        {"version": 257},
        {"version": 1},
        {"version": 2**16},
        {"message": bytes(48)},
        {"payload_size": 32, "message": b""},
    ],
    ids=str,
)
def test_misuse_is_a_local_error(arguments: dict[str, object]) -> None:
    good: dict[str, object] = {
        "route": ROUTE[:3],
        "delays_ns": [1, 2, 3],
        "destination": DESTINATION,
        "message": bytes(47),
        "payload_size": 64,
    }
    build_packet(**good)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        build_packet(**{**good, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("public_key", [bytes(32), bytes(31), b""])
def test_an_unusable_node_key_is_a_crypto_error(public_key: bytes) -> None:
    with pytest.raises(CryptoError):
        build_packet([ROUTE[0], Hop(bytes(32), public_key)], DELAYS, DESTINATION, b"", 64)


def test_each_changed_header_byte_is_refused() -> None:
    """Except in alpha's top bit, which X25519 ignores by definition (RFC 7748 section 5)."""
    packet = build_packet(ROUTE[:3], DELAYS, DESTINATION, b"message", 64)
    for position in range(348):
        changed = bytearray(packet)
        changed[position] ^= 0x01
        with pytest.raises(CryptoError):
            open_header(SECRETS[0], bytes(changed))


def test_the_wrong_node_refuses() -> None:
    packet = build_packet(ROUTE[:3], DELAYS, DESTINATION, b"message", 64)
    with pytest.raises(CryptoError):
        open_header(SECRETS[1], packet)


@pytest.mark.parametrize("alpha", [0, 1, 2**255 - 19, 2**255 - 20])
def test_alpha_of_small_order_is_refused(alpha: int) -> None:
    packet = build_packet(ROUTE[:1], [0], DESTINATION, b"message", 64)
    with pytest.raises(CryptoError):
        open_header(SECRETS[0], alpha.to_bytes(32, "little") + packet[32:])


@pytest.mark.parametrize("length", [0, 31, 32, 47, 48, 347, 348, 365, 380])
def test_short_packets_are_malformed(length: int) -> None:
    packet = build_packet(ROUTE[:1], [0], DESTINATION, b"", 33)
    assert len(packet) == 381
    with pytest.raises(MalformedError):
        open_header(SECRETS[0], packet[:length])


@pytest.mark.parametrize("flag", [0, 3, 0x81, 0xFF])
def test_unknown_flags_are_malformed(flag: int) -> None:
    packet = build_packet(ROUTE[:2], DELAYS, DESTINATION, b"message", 64)
    opened = open_header(SECRETS[0], reseal(SECRETS[0], packet, flag=flag))
    with pytest.raises(MalformedError):
        opened.finish()


def test_unknown_versions_take_the_way_of_the_seeds() -> None:
    """As in the published crate: nothing rejects them (spec/sphinx.md section 3)."""
    for version in (260, 0, 0xFFFF):
        packet = build_packet(ROUTE[:2], DELAYS, DESTINATION, b"message", 64, version=version)
        forward = process_packet(SECRETS[0], packet)
        assert isinstance(forward, ForwardHop)
        final = process_packet(SECRETS[1], forward.packet)
        assert isinstance(final, FinalHop)
        assert (final.version, final.plaintext) == (version, b"message")


def test_the_first_version_byte_is_ignored() -> None:
    packet = build_packet(ROUTE[:1], [0], DESTINATION, b"message", 64)
    final = process_packet(SECRETS[0], reseal(SECRETS[0], packet, version=b"\xaa\x01\x03"))
    assert final.version == 259


def test_a_version_that_does_not_match_the_payload_key_is_noticed() -> None:
    packet = build_packet(ROUTE[:1], [0], DESTINATION, b"message", 64, version=259)
    with pytest.raises(CryptoError):
        process_packet(SECRETS[0], reseal(SECRETS[0], packet, version=b"\x00\x01\x02"))


@pytest.mark.parametrize("position", [0, 31, 32, 63])
def test_a_payload_changed_before_any_hop_is_noticed_by_the_last(position: int) -> None:
    for changed_before in range(3):
        packet = build_packet(ROUTE[:3], DELAYS, DESTINATION, b"message", 64)
        for index in range(2):
            if index == changed_before:
                packet = flip(packet, 348 + position)
            forward = process_packet(SECRETS[index], packet)
            assert isinstance(forward, ForwardHop)
            packet = forward.packet
        if changed_before == 2:
            packet = flip(packet, 348 + position)
        with pytest.raises(CryptoError):
            process_packet(SECRETS[2], packet)


def flip(data: bytes, position: int) -> bytes:
    return data[:position] + bytes((data[position] ^ 0x80,)) + data[position + 1 :]


def test_the_final_block_is_padded_with_randomness() -> None:
    """Zeros there would tell the last hop how long the path was."""
    for hops in range(1, 6):
        asked: list[int] = []

        def random_bytes(length: int, asked: list[int] = asked) -> bytes:
            asked.append(length)
            return b"\x5a" * length

        packet = build_packet(ROUTE[:hops], DELAYS, DESTINATION, b"", 64, random_bytes=random_bytes)
        assert asked == [32, padding_length(hops)]
        assert padding_length(hops) == {1: 248, 2: 188, 3: 128, 4: 68, 5: 8}[hops]
        for index in range(hops - 1):
            forward = process_packet(SECRETS[index], packet)
            assert isinstance(forward, ForwardHop)
            packet = forward.packet
        keys = ExpandedSecret(crypto.provider().x25519(SECRETS[hops - 1], packet[:32]))
        plain = crypto.provider().aes_ctr(keys.stream_key, bytes(16), packet[48:348])
        assert plain[52 : 52 + padding_length(hops)] == b"\x5a" * padding_length(hops)


def test_the_header_mac_is_truncated_hmac_sha256_of_beta() -> None:
    keys = ExpandedSecret(bytes(32))
    assert header_mac(keys, b"beta") == hmac.new(keys.mac_key, b"beta", "sha256").digest()[:16]
