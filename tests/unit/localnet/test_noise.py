"""Noise on links between nodes: against an independent implementation, and refusing everything else."""

from __future__ import annotations

import hashlib
import random
import warnings
from dataclasses import replace

import pytest
from eventually import eventually
from leaks import nothing_left_behind
from localnet_client import BareClient, make_packet

from smolmix_web.crypto import provider
from smolmix_web.errors import MalformedError, RemoteProtocolError
from smolmix_web.localnet.directory_link import DirectoryLink, KnownNode
from smolmix_web.localnet.links import LinkChannel, LinkConfig
from smolmix_web.localnet.listener import InboundChannel
from smolmix_web.localnet.network import ALL_ROLES, LocalNetwork, LocalNetworkConfig
from smolmix_web.localnet.noise import MAX_PLAINTEXT, NoiseInitiator, NoiseResponder, link_psk
from smolmix_web.localnet.noise_frames import (
    NoiseFrame,
    NoiseFrameDecoder,
    NoiseFrameType,
    emit_noise_frame,
)
from smolmix_web.localnet.noise_links import NoiseInboundChannel, NoiseLinkChannel, NoisePolicy
from smolmix_web.nym.addresses import NodeAddress

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from noise.connection import Keypair, NoiseConnection

ALICE, BOB = b"\x0a" * 32, b"\x0b" * 32
BOB_KEY = provider().x25519_public(BOB)


def reference(*, initiator: bool, psk: bytes) -> NoiseConnection:
    """The implementation of the package ``noiseprotocol``."""
    connection = NoiseConnection.from_name(b"Noise_XKpsk3_25519_AESGCM_SHA256")
    connection.set_psks(psk=psk)
    if initiator:
        connection.set_as_initiator()
        connection.set_keypair_from_private_bytes(Keypair.STATIC, ALICE)
        connection.set_keypair_from_public_bytes(Keypair.REMOTE_STATIC, BOB_KEY)
    else:
        connection.set_as_responder()
        connection.set_keypair_from_private_bytes(Keypair.STATIC, BOB)
    connection.start_handshake()
    return connection


def test_psk_is_the_published_text_and_the_responders_key():
    assert link_psk(BOB_KEY) == hashlib.sha256(b"NYMTECH_NOISE_dQw4w9WgXcQ" + BOB_KEY).digest()


def test_our_initiator_with_the_reference_responder():
    ours = NoiseInitiator(ALICE, BOB_KEY, random.Random(1).randbytes)
    theirs = reference(initiator=False, psk=link_psk(BOB_KEY))
    first = ours.opening()
    theirs.read_message(first)
    second = bytes(theirs.write_message())
    third = ours.receive_answer(second)
    theirs.read_message(third)
    assert (len(first), len(second), len(third)) == (48, 48, 64)
    assert theirs.handshake_finished
    for number in range(300):  # the counter passes a byte
        message = b"message %d" % number
        assert theirs.decrypt(ours.cipher.encrypt(b"", message)) == message


def test_our_responder_with_the_reference_initiator():
    ours = NoiseResponder(BOB, random.Random(2).randbytes)
    theirs = reference(initiator=True, psk=link_psk(BOB_KEY))
    theirs.read_message(ours.receive_opening(bytes(theirs.write_message())))
    ours.receive_last(bytes(theirs.write_message()))
    assert ours.remote_key == provider().x25519_public(ALICE)
    for number in range(300):
        message = b"message %d" % number
        assert ours.cipher.decrypt(b"", theirs.encrypt(message)) == message


def handshake(*, damage: tuple[int, int] | None = None, psk: bytes | None = None, responder: bytes = BOB):
    initiator = NoiseInitiator(ALICE, BOB_KEY, random.Random(3).randbytes)
    other = NoiseResponder(responder, random.Random(4).randbytes, psk)

    def carry(number: int, message: bytes) -> bytes:
        if damage is not None and damage[0] == number:
            changed = bytearray(message)
            changed[damage[1]] ^= 1
            return bytes(changed)
        return message

    answer = other.receive_opening(carry(0, initiator.opening()))
    other.receive_last(carry(2, initiator.receive_answer(carry(1, answer))))
    return initiator, other


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("position", [0, 15, 31, 32, 47])
def test_every_damage_ends_the_handshake(number, position):
    with pytest.raises(RemoteProtocolError):
        handshake(damage=(number, position))


def test_other_psk_or_other_responder_ends_the_handshake():
    with pytest.raises(RemoteProtocolError):
        handshake(psk=bytes(32))
    with pytest.raises(RemoteProtocolError):
        handshake(responder=ALICE)


@pytest.mark.parametrize("length", [0, 47, 49, 64, 1024])
def test_messages_of_other_lengths(length):
    with pytest.raises(RemoteProtocolError):
        NoiseResponder(BOB, random.Random(4).randbytes).receive_opening(bytes(length))
    initiator = NoiseInitiator(ALICE, BOB_KEY, random.Random(3).randbytes)
    initiator.opening()
    with pytest.raises(RemoteProtocolError):
        initiator.receive_answer(bytes(length))


# -- frames and channels ------------------------------------------------------------------------------------


def test_frame_layout():
    frame = NoiseFrame(NoiseFrameType.DATA, b"abc")
    assert emit_noise_frame(frame) == b"\x01\x01\x01\x00\x03\x00\x00\x00abc"
    decoder = NoiseFrameDecoder()
    for byte in b"\x01\x01\x01\x00\x03\xff\xff\xffabc":  # reserved bytes are ignored
        assert decoder.next_frame() is None
        decoder.receive_data(bytes([byte]))
    assert decoder.next_frame() == frame
    assert decoder.next_frame() is None


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x01\x00\x00\x30\x00\x00\x00",
        b"\x02\x01\x00\x00\x30\x00\x00\x00",
        b"\x01\x02\x00\x00\x30\x00\x00\x00",
        b"\x01\x01\x02\x00\x30\x00\x00\x00",
        b"\x01\x01\x00\x04\x01\x00\x00\x00",  # a handshake of 1,025 bytes
        b"\x07\x02\x00\x00\x00\x00\x00\x00",  # a plain frame
    ],
)
def test_frames_that_are_refused(header):
    decoder = NoiseFrameDecoder()
    decoder.receive_data(header)
    with pytest.raises(MalformedError):
        decoder.next_frame()


def channels() -> tuple[NoiseLinkChannel, NoiseInboundChannel]:
    outgoing, incoming = NoiseLinkChannel(ALICE, BOB_KEY), NoiseInboundChannel(BOB)
    stream, answer = incoming.receive_data(outgoing.start())
    assert (stream, outgoing.is_open, incoming.is_open) == (b"", False, False)
    last = b"".join(outgoing.receive_data(bytes([byte])) for byte in answer)
    assert incoming.receive_data(last) == (b"", b"")
    assert outgoing.is_open
    assert incoming.is_open
    return outgoing, incoming


@pytest.mark.parametrize("size", [1, 2416, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 200_000])
def test_stream_through_the_channels(size):
    outgoing, incoming = channels()
    data = random.Random(size).randbytes(size)
    sealed = outgoing.seal(data)
    received = b""
    for start in range(0, len(sealed), 10_007):  # boundaries of reads carry no meaning
        stream, answer = incoming.receive_data(sealed[start : start + 10_007])
        assert answer == b""
        received += stream
    assert received == data


def test_open_channel_refuses_damage_replay_handshakes_and_short_frames():
    def refused(make) -> None:
        outgoing, incoming = channels()
        sealed = outgoing.seal(b"data")
        with pytest.raises(RemoteProtocolError):
            incoming.receive_data(make(sealed))

    refused(lambda sealed: sealed[:-1] + bytes([sealed[-1] ^ 1]))
    refused(lambda sealed: sealed + sealed)
    refused(lambda sealed: emit_noise_frame(NoiseFrame(NoiseFrameType.HANDSHAKE, bytes(48))))
    refused(lambda sealed: emit_noise_frame(NoiseFrame(NoiseFrameType.DATA, bytes(15))))


def test_data_before_the_handshake_is_over():
    data = emit_noise_frame(NoiseFrame(NoiseFrameType.DATA, bytes(100)))
    with pytest.raises(MalformedError):
        NoiseInboundChannel(BOB).receive_data(data)
    outgoing = NoiseLinkChannel(ALICE, BOB_KEY)
    outgoing.start()
    with pytest.raises(MalformedError):
        outgoing.receive_data(data)


def test_policy_decides_by_address_out_and_by_ip_in():
    with_key = KnownNode(NodeAddress("10.0.0.1", 1789), ("10.0.0.1", "10.0.0.2"), BOB_KEY)
    plain = KnownNode(NodeAddress("10.0.0.3", 1789), ("10.0.0.3",))
    policy, disabled = NoisePolicy(ALICE), NoisePolicy(None)
    assert type(policy.outgoing(with_key.address)) is LinkChannel  # nothing known yet
    for one in (policy, disabled):
        one.update([with_key, plain])
    assert isinstance(policy.outgoing(NodeAddress("10.0.0.2", 1789)), NoiseLinkChannel)
    for address in (NodeAddress("10.0.0.1", 1790), plain.address):
        assert type(policy.outgoing(address)) is LinkChannel
    for ip in ("10.0.0.1", "10.0.0.2", "::ffff:10.0.0.1"):
        assert isinstance(policy.incoming(ip), NoiseInboundChannel)
    assert type(policy.incoming("10.0.0.3")) is InboundChannel
    assert type(disabled.outgoing(with_key.address)) is LinkChannel
    assert type(disabled.incoming("10.0.0.1")) is InboundChannel


# -- in a network -------------------------------------------------------------------------------------------

QUICK = LocalNetworkConfig(
    roles=("directory", "mix1", "mix2", "mix3", "entry"),
    announce_interval=0.6,
    links=LinkConfig(initial_backoff=0.02, maximum_backoff=0.1),
)


async def send_round(net: LocalNetwork) -> None:
    """One message through all nodes and back to its sender, acknowledged."""
    link = DirectoryLink(net.directory_url)
    topology = await link.topology()
    await link.close()
    entry = net.nodes["entry"]
    url = net.describe()["nodes"]["entry"]["websocket"]
    async with BareClient(url, entry.identity.identity) as client:
        me = (client.keys.identity, client.gateway_identity)
        await client.send(make_packet(topology, *me, b"sealed", ack_to=me))
        assert await client.next_push() == b"sealed"
        await eventually(lambda: client.acks == 1)


def encrypted_links(net: LocalNetwork) -> dict[str, bool]:
    names = {str(node.address): name for name, node in net.nodes.items()}
    return {
        f"{name}-{names[link['to']]}": link["encrypted"]
        for name, node in net.nodes.items()
        for link in node.as_dict()["links"]
    }


async def test_network_with_noise_on_every_link():
    config = replace(QUICK, noise=frozenset(ALL_ROLES))
    async with nothing_left_behind(), LocalNetwork(config) as net:
        await send_round(net)
        assert encrypted_links(net) == {
            "entry-mix1": True,
            "mix1-mix2": True,
            "mix2-mix3": True,
            "mix3-entry": True,
        }
        await net.kill("mix2")
        await net.restart("mix2")
        await eventually(lambda: "mix1-mix2" in encrypted_links(net))
        await send_round(net)


async def test_nodes_with_and_without_noise_interwork():
    hosts = {"mix1": "127.0.0.2", "mix2": "127.0.0.3", "mix3": "127.0.0.4", "entry": "127.0.0.5"}
    config = replace(QUICK, hosts=hosts, noise=frozenset({"mix1", "mix3", "entry"}))
    async with nothing_left_behind(), LocalNetwork(config) as net:
        await send_round(net)
        assert encrypted_links(net) == {
            "entry-mix1": True,
            "mix1-mix2": False,
            "mix2-mix3": False,
            "mix3-entry": True,
        }


async def test_plain_connection_to_a_node_that_wants_noise_is_closed():
    import asyncio

    async with nothing_left_behind(), LocalNetwork(replace(QUICK, noise=frozenset(ALL_ROLES))) as net:
        node = net.nodes["mix1"]
        reader, writer = await asyncio.open_connection(node.address.ip, node.address.port)
        writer.write(b"\x07\x02\x00" + bytes(386))
        assert await asyncio.wait_for(reader.read(), 3) == b""
        writer.close()
        reader, writer = await asyncio.open_connection(node.address.ip, node.address.port)
        assert await asyncio.wait_for(reader.read(), 3) == b""  # silent: the handshake has a deadline
        writer.close()
        assert node.stats.ingress_mixing.malformed_connections == 2
