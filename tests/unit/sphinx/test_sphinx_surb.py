"""Reply blocks: made by one side, applied by the other, walked home."""

from __future__ import annotations

import pytest

from smolmix_web import crypto
from smolmix_web.errors import LocalProtocolError, MalformedError
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, Surb, process_packet

SECRETS = [bytes((index,)) * 32 for index in range(1, 6)]
ROUTE = [
    Hop(bytes((4, index)).ljust(32, b"\0"), crypto.provider().x25519_public(secret))
    for index, secret in enumerate(SECRETS, 1)
]
DELAYS = [7] * 5
HOME = b"\xee" * 32


@pytest.mark.parametrize(("version", "key_length"), [(258, 192), (259, 16)])
@pytest.mark.parametrize("hops", [1, 2, 3, 4, 5])
def test_a_reply_comes_home(hops: int, version: int, key_length: int) -> None:
    made = Surb.create(ROUTE[:hops], DELAYS, HOME, version=version)
    encoded = made.to_bytes()
    assert len(encoded) == 380 + key_length * hops
    surb = Surb.from_bytes(encoded)
    assert surb == made
    assert surb.first_hop == ROUTE[0].address
    packet = surb.apply(b"reply", 2065)
    for secret in SECRETS[: hops - 1]:
        forward = process_packet(secret, packet)
        assert isinstance(forward, ForwardHop)
        assert (forward.version, forward.delay_ns) == (version, 7)
        packet = forward.packet
    final = process_packet(SECRETS[hops - 1], packet)
    assert isinstance(final, FinalHop)
    assert (final.destination, final.plaintext) == (HOME, b"reply")


def test_two_replies_of_one_block_look_like_a_replay() -> None:
    surb = Surb.create(ROUTE[:2], DELAYS, HOME)
    one, two = (process_packet(SECRETS[0], surb.apply(text, 100)) for text in (b"one", b"two"))
    assert one.replay_tag == two.replay_tag


@pytest.mark.parametrize("length", [0, 347, 379, 380, 381, 395, 380 + 24, 380 + 96, 380 + 191, 380 + 193])
def test_other_lengths_are_malformed(length: int) -> None:
    with pytest.raises(MalformedError):
        Surb.from_bytes(bytes(length))


def test_more_than_five_hops_are_malformed() -> None:
    for key_length in (16, 192):
        Surb.from_bytes(bytes(380 + 5 * key_length))
        with pytest.raises(MalformedError):
            Surb.from_bytes(bytes(380 + 6 * key_length))


def test_a_message_that_does_not_fit_is_misuse() -> None:
    surb = Surb.create(ROUTE[:1], DELAYS, HOME)
    surb.apply(bytes(2048), 2065)
    with pytest.raises(LocalProtocolError):
        surb.apply(bytes(2049), 2065)


def test_no_keys_in_the_repr() -> None:
    surb = Surb.create(ROUTE[:1], DELAYS, HOME)
    assert surb.payload_keys[0].hex() not in repr(surb)
    assert str(surb.payload_keys[0]) not in repr(surb)
    assert "payload_keys" not in repr(surb)
