"""One exchange per hop gives the secrets that the sequential definition gives."""

from __future__ import annotations

import random

import pytest

from smolmix_web import crypto
from smolmix_web.errors import CryptoError
from smolmix_web.sphinx.keys import (
    GROUP_ORDER,
    ExpandedSecret,
    blind,
    clamp,
    clamp_compatible,
    derive_route_secrets,
    expand_payload_key,
)


def sequential(ephemeral: bytes, public_keys: list[bytes]) -> list[bytes]:
    """The shared secrets exactly as spec/sphinx.md section 4 defines them: i + 1 exchanges for hop i."""
    provider = crypto.provider()
    factors, shared = [ephemeral], []
    for public_key in public_keys:
        point = public_key
        for factor in factors:
            point = provider.x25519(factor, point)
        shared.append(point)
        factors.append(ExpandedSecret(point).blinding_factor)
    return shared


@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("seed", range(8))
def test_linear_derivation_equals_the_sequential_one(hops: int, seed: int) -> None:
    source = random.Random(seed)
    provider = crypto.provider()
    node_secrets = [source.randbytes(32) for _ in range(hops)]
    public_keys = [provider.x25519_public(secret) for secret in node_secrets]
    ephemeral = source.randbytes(32)
    alpha, keys = derive_route_secrets(ephemeral, public_keys)
    expected = [ExpandedSecret(shared) for shared in sequential(ephemeral, public_keys)]
    assert [key.replay_tag for key in keys] == [key.replay_tag for key in expected]
    assert [key.stream_key for key in keys] == [key.stream_key for key in expected]
    # and the nodes, each with alpha from the one before, arrive at the same
    for secret, key in zip(node_secrets, keys, strict=True):
        assert ExpandedSecret(provider.x25519(secret, alpha)).replay_tag == key.replay_tag
        alpha = blind(alpha, key.blinding_factor, 259)


def test_linear_derivation_with_a_point_outside_the_prime_subgroup() -> None:
    """A key of order 8l (a node may publish one) must not make the two ways differ."""
    provider = crypto.provider()
    prime, u = 2**255 - 19, 6
    on_curve = u**3 + 486662 * u**2 + u
    assert pow(on_curve, (prime - 1) // 2, prime) == 1
    # The double of any point has a square u; a point which is no double has all three factors 2 in its order.
    assert pow(u, (prime - 1) // 2, prime) != 1
    order_8l = u.to_bytes(32, "little")
    for number in range(8):
        ephemeral = bytes((number,)) * 32
        public_keys = [provider.x25519_public(bytes(32)), order_8l, order_8l]
        _, keys = derive_route_secrets(ephemeral, public_keys)
        assert [key.replay_tag for key in keys] == [
            ExpandedSecret(shared).replay_tag for shared in sequential(ephemeral, public_keys)
        ]


def test_clamp_is_that_of_rfc_7748() -> None:
    assert clamp(bytes(32)) == 1 << 254
    assert clamp(b"\xff" * 32) == (1 << 255) - 8
    assert clamp(bytes.fromhex("07" + "00" * 30 + "80")) == 1 << 254


def test_clamp_compatible_survives_clamping_and_keeps_the_class() -> None:
    source = random.Random(1)
    for scalar in [source.randrange(1, GROUP_ORDER) for _ in range(200)] + [8 << 251, (8 << 251) - 8]:
        encoded = clamp_compatible(scalar)
        value = int.from_bytes(encoded, "little")
        assert clamp(encoded) == value
        assert value % GROUP_ORDER in (scalar % GROUP_ORDER, -scalar % GROUP_ORDER)


@pytest.mark.parametrize("scalar", [0, GROUP_ORDER, 8, -8 % GROUP_ORDER])
def test_scalars_without_clamped_form_are_refused(scalar: int) -> None:
    with pytest.raises(CryptoError):
        clamp_compatible(scalar)


@pytest.mark.parametrize("low_order", [0, 1])
def test_public_keys_of_small_order_are_refused(low_order: int) -> None:
    bad, good = low_order.to_bytes(32, "little"), crypto.provider().x25519_public(bytes(32))
    for route in ([bad], [good, bad], [good, good, bad, good]):
        with pytest.raises(CryptoError):
            derive_route_secrets(b"\x01" * 32, route)


def test_a_full_payload_key_is_itself_and_a_seed_is_expanded() -> None:
    assert expand_payload_key(bytes(192)) == bytes(192)
    assert len(expand_payload_key(bytes(16))) == 192
    assert expand_payload_key(bytes(16)) != expand_payload_key(b"\x01" * 16)


def test_versions_choose_payload_key_and_blinding() -> None:
    keys = ExpandedSecret(bytes(32))
    for version in (1, 257, 258):
        assert len(keys.payload_material(version)) == 192
    for version in (0, 2, 256, 259, 260, 0xFFFF):
        assert len(keys.payload_material(version)) == 16
    alpha = crypto.provider().x25519_public(b"\x05" * 32)
    factor = keys.blinding_factor
    assert blind(alpha, factor, 1) == blind(alpha, factor, 257)
    assert blind(alpha, factor, 258) == blind(alpha, factor, 259) == blind(alpha, factor, 7)
    assert blind(alpha, factor, 257) != blind(alpha, factor, 258)


def test_no_secret_in_the_repr() -> None:
    assert repr(ExpandedSecret(bytes(32))) == "<ExpandedSecret>"
