"""Golden vectors of gateway.md section 16, in both roles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from smolmix_web.crypto import provider
from smolmix_web.errors import CryptoError
from smolmix_web.gateway import authenticate, control, messages
from smolmix_web.gateway.binary import open_frame, seal_frame
from smolmix_web.gateway.errors import HandshakeFailed
from smolmix_web.gateway.handshake import Initiator, Responder, derive_shared_key
from smolmix_web.gateway.shared_key import SharedKey

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "nym" / "gateway_handshake.json").read_text())
V = {name: bytes.fromhex(value) for name, value in VECTORS["hex"].items()}


def source(*chunks: bytes):
    """random_bytes that hands out the chunks in order."""
    queue = list(chunks)

    def random_bytes(count: int) -> bytes:
        chunk = queue.pop(0)
        assert len(chunk) == count
        return chunk

    return random_bytes


def initiator() -> Initiator:
    return Initiator(
        V["client_seed"],
        V["gateway_identity"],
        source(V["client_ephemeral_secret"], V["salt"], b"\xa2" * 12),
    )


def responder() -> Responder:
    return Responder(V["gateway_seed"], V["message_1"], source(V["gateway_ephemeral_secret"], b"\xa1" * 12))


def test_identities_and_ephemeral_keys():
    assert provider().ed25519_public(V["client_seed"]) == V["client_identity"]
    assert provider().ed25519_public(V["gateway_seed"]) == V["gateway_identity"]
    assert provider().x25519_public(V["client_ephemeral_secret"]) == V["client_ephemeral"]
    assert provider().x25519_public(V["gateway_ephemeral_secret"]) == V["gateway_ephemeral"]


def test_key_derivation_agrees_from_both_sides():
    ours = derive_shared_key(V["client_ephemeral_secret"], V["gateway_ephemeral"], V["salt"])
    theirs = derive_shared_key(V["gateway_ephemeral_secret"], V["client_ephemeral"], V["salt"])
    assert ours.secret_bytes() == theirs.secret_bytes() == V["shared_key"]


def test_handshake_byte_for_byte():
    client, gateway = initiator(), responder()
    assert client.initialisation() == V["message_1"]
    assert gateway.client_identity == V["client_identity"]
    assert gateway.material() == V["message_2"]
    assert client.receive_material(V["message_2"]) == V["message_3"]
    gateway.receive_client_material(V["message_3"])
    assert client.receive_finalisation(gateway.finalisation()).secret_bytes() == V["shared_key"]
    assert gateway.shared_key.secret_bytes() == V["shared_key"]


def test_signatures_inside_the_messages():
    key = SharedKey(V["shared_key"])
    assert key.open(V["message_2"][112:], V["message_2"][32:112]) == V["gateway_signature"]
    assert key.open(V["message_3"][80:], V["message_3"][:80]) == V["client_signature"]


@pytest.mark.parametrize("position", range(0, 124, 5))
def test_client_refuses_every_corrupted_message_2(position):
    damaged = bytearray(V["message_2"])
    damaged[position] ^= 1
    with pytest.raises(HandshakeFailed):
        initiator().receive_material(bytes(damaged))


@pytest.mark.parametrize("position", range(0, 92, 5))
def test_gateway_refuses_every_corrupted_message_3(position):
    damaged = bytearray(V["message_3"])
    damaged[position] ^= 1
    gateway = responder()
    gateway.material()
    with pytest.raises(HandshakeFailed):
        gateway.receive_client_material(bytes(damaged))


def test_gateway_refuses_a_signature_of_another_identity():
    """The key is right, but the client proves another identity than it named."""
    gateway = Responder(
        V["gateway_seed"],
        V["gateway_identity"] + V["message_1"][32:],
        source(V["gateway_ephemeral_secret"], b"\xa1" * 12),
    )
    with pytest.raises(HandshakeFailed, match="signature"):
        gateway.receive_client_material(V["message_3"])


@pytest.mark.parametrize("length", [0, 1, 79, 81, 96, 123, 125])
def test_other_lengths_are_malformed(length):
    with pytest.raises(HandshakeFailed, match="malformed"):
        initiator().receive_material(bytes(length))
    with pytest.raises(HandshakeFailed, match="malformed"):
        Responder(V["gateway_seed"], bytes(length), source(V["gateway_ephemeral_secret"]))
    with pytest.raises(HandshakeFailed, match="malformed"):
        responder().receive_client_material(bytes(length))


@pytest.mark.parametrize("data", [b"", b"\0", b"\2", b"\1\1"])
def test_finalisation_other_than_success(data):
    client = initiator()
    client.receive_material(V["message_2"])
    with pytest.raises(HandshakeFailed):
        client.receive_finalisation(data)


def test_finalisation_before_the_material():
    with pytest.raises(HandshakeFailed):
        initiator().receive_finalisation(b"\1")


def test_all_zero_ephemeral_key_is_refused_on_both_sides():
    with pytest.raises(HandshakeFailed):
        Responder(
            V["gateway_seed"],
            V["message_1"][:32] + bytes(32) + V["salt"],
            source(V["gateway_ephemeral_secret"]),
        )
    with pytest.raises(HandshakeFailed):
        initiator().receive_material(bytes(32) + V["message_2"][32:])


def test_authentication_is_built_as_the_vector():
    request = authenticate.build_authentication(
        V["client_seed"], SharedKey(V["shared_key"]), 6, VECTORS["timestamp"], b"\xa3" * 12
    )
    message = json.loads(messages.emit_request(request))
    assert message["addressCiphertext"] == VECTORS["address_ciphertext_base64"]
    assert message["nonce"] == VECTORS["nonce_base64"]
    assert bytes(message["requestSignature"]) == V["request_signature"]
    signed = authenticate.signed_message(
        6, V["client_identity"], request.address_ciphertext, b"\xa3" * 12, VECTORS["timestamp"]
    )
    assert signed == V["signed_message"]


def test_authentication_vector_verifies():
    request = messages.AuthenticateV2(
        6,
        V["client_identity"],
        V["signed_message"][33:81],
        V["signed_message"][81:93],
        VECTORS["timestamp"],
        V["request_signature"],
    )
    authenticate.verify_signature(request)
    authenticate.verify_address_ciphertext(request, SharedKey(V["shared_key"]))
    with pytest.raises(CryptoError):
        authenticate.verify_address_ciphertext(request, SharedKey(bytes(32)))


def test_pushed_message():
    key = SharedKey(V["shared_key"])
    assert seal_frame(key, 1, bytes(range(6)), b"\xa4" * 12) == V["pushed_message"]
    assert open_frame(key, V["pushed_message"]) == (1, bytes(range(6)))


def test_encrypted_request():
    key = SharedKey(V["shared_key"])
    request = control.ForgetMe(client=True, stats=False)
    sealed = key.seal(b"\xa5" * 12, control.emit_control_request(request))
    assert sealed == V["forget_me_ciphertext"]
    assert control.parse_control_request(key.open(b"\xa5" * 12, sealed)) == request
