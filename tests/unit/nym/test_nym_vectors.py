"""Golden vectors of the Nym message layer, in both directions (spec/sphinx.md 29)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from smolmix_web import crypto
from smolmix_web.nym.acks import decode_ack, encode_ack, split_surb_ack
from smolmix_web.nym.addresses import NodeAddress, Recipient
from smolmix_web.nym.fragments import (
    Fragment,
    count_fragments,
    count_sets,
    fragment_length,
    split,
    unlinked_capacity,
)
from smolmix_web.nym.message import PlainData, encode_message, pad, parse_message, unpad
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType
from smolmix_web.nym.payload import (
    FragmentKey,
    agree_fragment_key,
    decrypt_fragment,
    reply_fragment_key,
    reply_key_digest,
)
from smolmix_web.nym.replies import RepliableData, ReplySurb
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, Surb, process_packet

VECTORS = Path(__file__).parents[2] / "vectors"
NYM: dict[str, Any] = json.loads((VECTORS / "nym" / "messages.json").read_text())
CAPTURED: dict[str, Any] = json.loads((VECTORS / "sphinx" / "captured_259.json").read_text())
COVER: dict[str, Any] = json.loads((VECTORS / "sphinx" / "captured_258.json").read_text())
BUILT: dict[str, Any] = json.loads((VECTORS / "sphinx" / "built.json").read_text())
MESSAGE = NYM["captured_message"]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def walk(first_hop: NodeAddress, packet: bytes) -> FinalHop:
    """Carries a packet from node to node by the addresses that it names, as the network would."""
    secrets = {
        NodeAddress(n["address"], 1789): bytes.fromhex(n["secret"]) for n in CAPTURED["nodes"].values()
    }
    hop = process_packet(secrets[first_hop], packet)
    while isinstance(hop, ForwardHop):
        hop = process_packet(secrets[NodeAddress.unpack(hop.next_address)], hop.packet)
    return hop


@pytest.fixture(scope="module")
def final() -> FinalHop:
    mix_packet = MixPacket.from_bytes_v2(bytes.fromhex(CAPTURED["mix_packet_v2"]))
    return walk(mix_packet.first_hop, mix_packet.packet)


@pytest.fixture(scope="module")
def fragment_bytes(final: FinalHop) -> bytes:
    secret = crypto.provider().x25519_key(bytes.fromhex(MESSAGE["recipient_encryption_secret"]))
    return decrypt_fragment(secret, split_surb_ack(final.plaintext)[2])


@pytest.fixture(scope="module")
def message(fragment_bytes: bytes) -> RepliableData:
    parsed = parse_message(unpad(Fragment.from_bytes(fragment_bytes).payload))
    assert isinstance(parsed, RepliableData)
    return parsed


def test_captured_mix_packet_parses_and_serialises() -> None:
    data = bytes.fromhex(CAPTURED["mix_packet_v2"])
    packet = MixPacket.from_bytes_v2(data)
    assert (packet.packet_type, packet.rotation) == (PacketType.MIX, KeyRotation.ODD)
    assert packet.first_hop == NodeAddress("127.0.0.1", 1789)
    assert packet.size is PacketSize.REGULAR
    assert packet.to_bytes_v2() == data
    v1 = packet.to_bytes_v1()
    assert v1 == data[:1] + data[2:]
    assert MixPacket.from_bytes_v1(v1).rotation is KeyRotation.UNKNOWN


def test_captured_ack_comes_home_with_its_identifier(final: FinalHop) -> None:
    first_hop, packet, message = split_surb_ack(final.plaintext)
    assert first_hop == NodeAddress("127.0.0.1", 1789)
    assert first_hop.pack_padded(19).hex() == CAPTURED["ack"]["prefix"]
    assert sha256(packet) == CAPTURED["ack"]["packet_sha256"]
    assert len(message) == 1643
    ack = walk(first_hop, packet)
    assert ack.destination.hex() == CAPTURED["ack"]["destination"]
    identifier = decode_ack(bytes.fromhex(MESSAGE["ack_key"]), ack.plaintext)
    assert identifier.hex() == MESSAGE["ack_identifier"]


def test_captured_fragment_decrypts(fragment_bytes: bytes) -> None:
    assert sha256(fragment_bytes) == MESSAGE["fragment_sha256"]
    assert fragment_bytes.hex().startswith(MESSAGE["fragment_start"])
    fragment = Fragment.from_bytes(fragment_bytes)
    assert (fragment.total, fragment.position) == (1, 1)
    assert fragment.identifier.hex() == MESSAGE["ack_identifier"]
    assert fragment.to_bytes() == fragment_bytes


def test_captured_fragment_encrypts_to_the_same_bytes(final: FinalHop, fragment_bytes: bytes) -> None:
    message = split_surb_ack(final.plaintext)[2]
    key = FragmentKey(message[:32], bytes.fromhex(CAPTURED["fragment"]["key"]))
    assert message[:32].hex() == CAPTURED["fragment"]["ephemeral_public"]
    assert key.encrypt(fragment_bytes) == message


def test_captured_message_parses_and_serialises(fragment_bytes: bytes, message: RepliableData) -> None:
    assert message.sender_tag.hex() == MESSAGE["sender_tag"]
    assert message.data.hex() == MESSAGE["data"]
    assert len(message.surbs.surbs) == MESSAGE["surbs"]
    assert {surb.hops for surb in message.surbs.surbs} == {MESSAGE["hops"]}
    assert message.surbs.rotation == MESSAGE["rotation"]
    encoded = encode_message(message)
    assert (len(encoded), sha256(encoded)) == (MESSAGE["message_length"], MESSAGE["message_sha256"])
    padded, size = pad(encoded, PacketSize.REGULAR)
    assert size is PacketSize.REGULAR
    set_id = Fragment.from_bytes(fragment_bytes).set_id
    assert [fragment.to_bytes() for fragment in split(padded, size, iter([set_id]))] == [fragment_bytes]


def test_captured_reply_surb(message: RepliableData) -> None:
    surb, expected = message.surbs.surbs[0], MESSAGE["surb"]
    assert sha256(surb.to_bytes()) == expected["sha256"]
    assert surb.key.hex() == expected["key"]
    assert reply_key_digest(surb.key).hex() == expected["digest"]
    assert surb.first_hop.pack().hex() == expected["first_hop"]
    packet = surb.surb.apply(b"\x77" * 2048, PacketSize.REGULAR.payload)
    assert sha256(packet) == expected["applied_to_2048_bytes_of_77_sha256"]
    answer = walk(surb.first_hop, packet)
    assert answer.destination.hex() == CAPTURED["ack"]["destination"]
    assert answer.plaintext == b"\x77" * 2048


def test_captured_cover_ack_has_the_cover_identifier() -> None:
    first_hop = NodeAddress.unpack(bytes.fromhex(COVER["first_hop"]))
    content = walk(first_hop, bytes.fromhex(COVER["packet"])).plaintext
    assert content.hex() == NYM["cover_ack"]["content"]
    assert decode_ack(bytes.fromhex(MESSAGE["ack_key"]), content).hex() == NYM["cover_ack"]["identifier"]


@pytest.mark.parametrize("version", [259, 258])
def test_built_reply_surb(version: int) -> None:
    route = [Hop(bytes.fromhex(hop["address"]), bytes.fromhex(hop["public"])) for hop in BUILT["hops"]]
    delays = [hop["delay_ns"] for hop in BUILT["hops"]]
    fixed = {32: bytes.fromhex(BUILT["ephemeral_secret"]), 68: bytes.fromhex(BUILT["header_padding"])}
    surb = Surb.create(
        route, delays, bytes.fromhex(BUILT["destination"]), version=version, random_bytes=fixed.__getitem__
    )
    reply_surb = ReplySurb(bytes.fromhex(BUILT["reply_surb_key"]), surb)
    data = reply_surb.to_bytes()
    assert len(data) == {259: 460, 258: 1164}[version]
    assert sha256(data) == BUILT["versions"][str(version)]["reply_surb_sha256"]
    assert ReplySurb.from_bytes(data) == reply_surb


def test_recipient_text_and_bytes() -> None:
    data = bytes.fromhex(NYM["recipient"]["bytes"])
    recipient = Recipient.from_bytes(data)
    assert str(recipient) == NYM["recipient"]["text"]
    assert Recipient.parse(NYM["recipient"]["text"]) == recipient
    assert recipient.to_bytes() == data


@pytest.mark.parametrize("row", NYM["node_addresses"], ids=lambda row: row["ip"])
def test_node_address(row: dict[str, Any]) -> None:
    packed = bytes.fromhex(row["packed"])
    address = NodeAddress(row["ip"], row["port"])
    assert address.pack() == packed
    assert address.pack_padded(32) == packed.ljust(32, b"\0")
    assert NodeAddress.unpack(packed) == NodeAddress.unpack(packed.ljust(32, b"\0")) == address


def test_reply_key_digest() -> None:
    row = NYM["reply_key_digest"]
    key = reply_fragment_key(bytes.fromhex(row["key"]))
    assert key.prefix.hex() == row["digest"]
    assert key.key.hex() == row["key"]


def test_fragment_key_agreement() -> None:
    row = NYM["fragment_key"]
    ephemeral = bytes.fromhex(row["ephemeral_secret"])
    key = agree_fragment_key(bytes.fromhex(row["recipient_public"]), lambda n: ephemeral[:n])
    assert key.prefix.hex() == row["ephemeral_public"]
    assert key.key.hex() == row["key"]


def test_plain_hello_all_the_way() -> None:
    row = NYM["plain_hello"]
    padded, size = pad(encode_message(PlainData(b"hello")), PacketSize.REGULAR)
    assert len(padded) == row["padded_length"]
    assert padded.hex().startswith(row["padded_start"])
    (fragment,) = split(padded, size, iter([int(row["set_id"], 16)]))
    assert fragment.to_bytes().hex().startswith(row["fragment_start"])
    ephemeral = bytes.fromhex(NYM["fragment_key"]["ephemeral_secret"])
    recipient_public = bytes.fromhex(NYM["fragment_key"]["recipient_public"])
    message = agree_fragment_key(recipient_public, lambda n: ephemeral[:n]).encrypt(fragment.to_bytes())
    assert message[32:].hex().startswith(row["ciphertext_start"])
    assert sha256(message[32:]) == row["ciphertext_sha256"]

    secret = crypto.provider().x25519_key(bytes.fromhex(NYM["fragment_key"]["recipient_secret"]))
    received = Fragment.from_bytes(decrypt_fragment(secret, message))
    assert parse_message(unpad(received.payload)) == PlainData(b"hello")


def test_ack_content() -> None:
    row = NYM["ack_content"]
    ack_key, iv = bytes.fromhex(row["ack_key"]), bytes.fromhex(row["iv"])
    identifier = bytes.fromhex(row["identifier"])
    assert encode_ack(ack_key, identifier, lambda n: iv[:n]).hex() == row["content"]
    assert decode_ack(ack_key, bytes.fromhex(row["content"])) == identifier


@pytest.mark.parametrize("row", NYM["splitting"], ids=lambda row: str(row["length"]))
def test_splitting_counts(row: dict[str, int]) -> None:
    size = PacketSize.REGULAR
    assert count_fragments(row["length"], fragment_length(size)) == (row["fragments"], row["free"])
    assert count_sets(row["length"], unlinked_capacity(size)) == row["sets"]
    padded, _ = pad(bytes(row["length"] - 1), size)
    assert len(padded) == row["length"] + row["free"]
    fragments = list(split(padded, size, iter(range(1, 100))))
    assert len(fragments) == row["fragments"]
    assert {len(fragment.to_bytes()) for fragment in fragments} == {fragment_length(size)}


@pytest.mark.parametrize(
    ("size", "fragment", "unlinked", "delivered"),
    [
        (PacketSize.REGULAR, 1611, 1604, 1643),
        (PacketSize.EXTENDED8, 7755, 7748, 7787),
        (PacketSize.EXTENDED16, 15947, 15940, 15979),
        (PacketSize.EXTENDED32, 32331, 32324, 32363),
    ],
)
def test_fragment_sizes(size: PacketSize, fragment: int, unlinked: int, delivered: int) -> None:
    assert fragment_length(size) == fragment
    assert unlinked_capacity(size) == unlinked
    assert fragment_length(size) + 32 == delivered
