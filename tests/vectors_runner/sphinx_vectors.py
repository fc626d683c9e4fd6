"""The vectors of tests/vectors/sphinx on whatever provider is installed: no pytest, standard library only.

Each function of :data:`CHECKS` takes the folder of the vectors and raises AssertionError if a vector fails.
pytest runs them on CPython, and the run inside Pyodide on the worker's providers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from smolmix_web import crypto
from smolmix_web.crypto import kdf
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, Surb, build_packet, open_header
from smolmix_web.sphinx.keys import ExpandedSecret, expand_payload_key
from smolmix_web.sphinx.payload import decrypt_payload, encrypt_payload

unhex = bytes.fromhex


def load(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def _equal(actual: object, expected: object, what: str) -> None:
    if actual != expected:
        raise AssertionError(what)


def _hash_is(data: bytes, expected: str, what: str) -> None:
    _equal(sha256(data).hexdigest(), expected, what)


def expanded_secret(folder: Path) -> None:
    vector = load(folder, "secrets.json")
    provider = crypto.provider()
    secret_1, secret_2 = unhex(vector["secret_1"]), unhex(vector["secret_2"])
    shared = unhex(vector["shared"])
    _equal(provider.x25519(secret_2, provider.x25519_public(secret_1)), shared, "shared secret")
    _equal(provider.x25519(secret_1, provider.x25519_public(secret_2)), shared, "shared secret, other side")
    keys, expected = ExpandedSecret(shared), unhex(vector["expanded"])
    _equal(keys.stream_key, expected[0:16], "rho")
    _equal(keys.mac_key, expected[16:32], "mu")
    _equal(keys.payload_material(258), expected[32:224], "payload key")
    _equal(keys.payload_material(259), expected[32:48], "payload seed")
    _equal(keys.blinding_factor, expected[224:256], "blinding factor")
    _equal(keys.replay_tag, expected[256:288], "replay tag")


def key_pair(folder: Path) -> None:
    vector = load(folder, "secrets.json")["key_pair"]
    _equal(crypto.provider().x25519_public(unhex(vector["secret"])).hex(), vector["public"], "public key")
    _equal(crypto.provider().x25519_key(unhex(vector["secret"])).public.hex(), vector["public"], "loaded key")


def payload_key_from_seed(folder: Path) -> None:
    vector = load(folder, "secrets.json")["payload_key"]
    key = expand_payload_key(unhex(vector["seed"]))
    _equal(key[:32].hex(), vector["first_32_bytes"], "first bytes of the payload key")
    _hash_is(key, vector["sha256"], "payload key")


def blake3_and_its_hkdf(folder: Path) -> None:
    vector = load(folder, "secrets.json")
    provider = crypto.provider()
    _equal(provider.blake3(unhex(vector["blake3"]["data"])).hex(), vector["blake3"]["digest"], "BLAKE3")
    fragment = vector["fragment_key"]
    ephemeral, recipient = unhex(fragment["ephemeral_secret"]), unhex(fragment["recipient_secret"])
    _equal(provider.x25519_public(ephemeral).hex(), fragment["ephemeral_public"], "ephemeral key")
    _equal(provider.x25519_public(recipient).hex(), fragment["recipient_public"], "recipient key")
    shared = provider.x25519(ephemeral, unhex(fragment["recipient_public"]))
    _equal(shared.hex(), fragment["shared"], "shared secret")
    _equal(kdf.hkdf("blake3", b"", shared, b"", 16).hex(), fragment["key"], "HKDF over HMAC-BLAKE3")


def lioness(folder: Path) -> None:
    vector = load(folder, "secrets.json")["lioness"]
    key = bytes(range(192))
    block = bytes(7 * index % 256 for index in range(512))
    sealed = encrypt_payload([key], block)
    _equal(sealed[:48].hex(), vector["first_48_bytes"], "first bytes of the LIONESS block")
    _hash_is(sealed, vector["sha256"], "LIONESS block")
    _equal(decrypt_payload(key, sealed), block, "LIONESS backwards")


def _walk(packet: bytes, hops: list[dict[str, Any]], secrets: dict[str, bytes]) -> FinalHop:
    """Process ``packet`` at each hop and hold everything the hop learns against the vector."""
    for hop in hops:
        secret = secrets[hop["node"]]
        keys = ExpandedSecret(crypto.provider().x25519(secret, packet[:32]))
        for name in ("stream_key", "mac_key", "blinding_factor"):
            if name in hop:
                _equal(getattr(keys, name).hex(), hop[name], f"{name} at node {hop['node']}")
        if "payload_seed" in hop:
            _equal(keys.payload_material(259).hex(), hop["payload_seed"], f"seed at node {hop['node']}")
        opened = open_header(secret, packet)
        _equal(opened.replay_tag.hex(), hop["replay_tag"], f"replay tag at node {hop['node']}")
        processed = opened.finish()
        _equal(processed.version, hop["version"], f"version at node {hop['node']}")
        if hop["delay_ns"] is None:
            assert isinstance(processed, FinalHop)
            _equal(processed.identifier, bytes(16), "identifier")
            return processed
        assert isinstance(processed, ForwardHop)
        _equal(processed.delay_ns, hop["delay_ns"], f"delay at node {hop['node']}")
        _equal(len(processed.packet), len(packet), "length of the packet")
        packet = processed.packet
    raise AssertionError("the route has no final hop")


def _node_secrets(folder: Path) -> dict[str, bytes]:
    nodes = load(folder, "captured_259.json")["nodes"]
    return {name: unhex(node["secret"]) for name, node in nodes.items()}


def _captured(folder: Path) -> tuple[dict[str, Any], bytes, FinalHop]:
    vector = load(folder, "captured_259.json")
    mix_packet = unhex(vector["mix_packet_v2"])
    _hash_is(mix_packet, vector["mix_packet_sha256"], "the vector itself")
    # type (1), rotation (1), first hop in its IPv4 form (7), Sphinx packet
    return vector, mix_packet, _walk(mix_packet[9:], vector["hops"], _node_secrets(folder))


def captured_259(folder: Path) -> None:
    vector, _, final = _captured(folder)
    _equal(final.destination.hex(), vector["destination"], "destination")
    _hash_is(final.plaintext, vector["plaintext_sha256"], "plaintext")


def captured_259_ack(folder: Path) -> None:
    vector, _, final = _captured(folder)
    ack = vector["ack"]
    _equal(final.plaintext[:19].hex(), ack["prefix"], "first hop of the ack")
    packet = final.plaintext[19:405]
    _hash_is(packet, ack["packet_sha256"], "ack packet")
    ack_final = _walk(packet, ack["hops"], _node_secrets(folder))
    _equal(ack_final.destination.hex(), ack["destination"], "destination of the ack")
    _equal(ack_final.plaintext.hex(), ack["content"], "content of the ack")


def captured_259_surb(folder: Path) -> None:
    """The reply block inside the captured message, found by its first bytes, applied and walked home."""
    vector, _, final = _captured(folder)
    fragment, expected = vector["fragment"], vector["surb"]
    provider = crypto.provider()
    shared = provider.x25519(unhex(fragment["recipient_secret"]), final.plaintext[405:437])
    _equal(shared.hex(), fragment["shared"], "shared secret of the fragment")
    key = kdf.hkdf("blake3", b"", shared, b"", 16)
    _equal(key.hex(), fragment["key"], "fragment key")
    plain = provider.aes_ctr(key, bytes(16), final.plaintext[437:])
    _hash_is(plain, fragment["sha256"], "decrypted fragment")
    start = plain.index(unhex(expected["encryption_key"]))
    reply_surb = plain[start : start + 460]
    _hash_is(reply_surb, expected["reply_surb_sha256"], "reply SURB")
    _equal(provider.blake3(reply_surb[:16]).hex(), expected["digest"], "digest of the encryption key")

    surb = Surb.from_bytes(reply_surb[16:])
    _equal(surb.to_bytes(), reply_surb[16:], "SURB written again")
    _equal(surb.first_hop.hex(), expected["first_hop"], "first hop")
    _equal(b"".join(surb.payload_keys).hex(), expected["seeds"], "seeds")
    message = unhex(expected["message_byte"]) * expected["message_length"]
    packet = surb.apply(message, expected["payload_size"])
    _hash_is(packet, expected["packet_sha256"], "packet of the SURB")
    for node in expected["route"]:
        processed = open_header(_node_secrets(folder)[node], packet).finish()
        if isinstance(processed, ForwardHop):
            packet = processed.packet
    assert isinstance(processed, FinalHop)
    _equal(processed.destination.hex(), expected["destination"], "destination of the reply")
    _equal(processed.plaintext, message, "reply")


def captured_258(folder: Path) -> None:
    vector = load(folder, "captured_258.json")
    final = _walk(unhex(vector["packet"]), vector["hops"], _node_secrets(folder))
    _equal(final.plaintext.hex(), vector["content"], "content")


def captured_257(folder: Path) -> None:
    vector = load(folder, "captured_257.json")
    secrets = {name: unhex(secret) for name, secret in vector["secrets"].items()}
    final = _walk(unhex(vector["packet"]), vector["hops"], secrets)
    _equal(final.plaintext.hex(), vector["content"], "content")


def built_packets(folder: Path) -> None:
    """Fixed randomness: byte-identical packets, then every hop's view of them."""
    vector = load(folder, "built.json")
    route = [Hop(unhex(hop["address"]), unhex(hop["public"])) for hop in vector["hops"]]
    delays = [hop["delay_ns"] for hop in vector["hops"]]

    def fixed_random(length: int) -> bytes:
        return unhex(vector["ephemeral_secret"]) if length == 32 else unhex(vector["header_padding"])

    for hop in vector["hops"]:
        _equal(crypto.provider().x25519_public(unhex(hop["secret"])).hex(), hop["public"], "public key")
    for version, expected in vector["versions"].items():
        message, destination = unhex(vector["message"]), unhex(vector["destination"])
        packet = build_packet(
            route,
            delays,
            destination,
            message,
            vector["payload_size"],
            version=int(version),
            random_bytes=fixed_random,
        )
        _equal(packet[:348].hex(), expected["header"], f"header of version {version}")
        _equal(packet[348:].hex(), expected["payload"], f"payload of version {version}")
        _hash_is(packet, expected["sha256"], f"packet of version {version}")
        surb = Surb.create(route, delays, destination, version=int(version), random_bytes=fixed_random)
        _hash_is(
            unhex(vector["reply_surb_key"]) + surb.to_bytes(),
            expected["reply_surb_sha256"],
            f"reply SURB of version {version}",
        )
        _equal(surb.apply(message, vector["payload_size"]), packet, "SURB and packet of one header")

        after = iter(expected["after_hop"])
        hops = [
            {**hop, "node": str(index), "version": int(version)} for index, hop in enumerate(vector["hops"])
        ]
        hops[-1]["delay_ns"] = None
        secrets = {hop["node"]: unhex(hop["secret"]) for hop in hops}
        final = _walk(packet, hops, secrets)
        _equal(final.destination, destination, "destination")
        _equal(final.plaintext, message, "message")
        for hop, next_hop in pairwise(hops):
            forward = open_header(secrets[hop["node"]], packet).finish()
            assert isinstance(forward, ForwardHop)
            _equal(forward.next_address.hex(), next_hop["address"], "next address")
            packet = forward.packet
            seen = next(after)
            _equal(packet[:32].hex(), seen["alpha"], "alpha of the next hop")
            _hash_is(packet, seen["sha256"], "packet for the next hop")


CHECKS: tuple[Callable[[Path], None], ...] = (
    expanded_secret,
    key_pair,
    payload_key_from_seed,
    blake3_and_its_hkdf,
    lioness,
    captured_259,
    captured_259_ack,
    captured_259_surb,
    captured_258,
    captured_257,
    built_packets,
)
