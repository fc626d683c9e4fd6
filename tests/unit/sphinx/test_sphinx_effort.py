"""What a packet costs its sender. The group operations decide whether a page keeps the client's pace; how
many packets a second they allow is for ``make bench``."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest

from smolmix_web import crypto
from smolmix_web.sphinx import Hop, build_packet, payload_plaintext_capacity, prepare_header
from support.counting import CountingProvider

HOPS = 4
DELAYS = [50_000_000] * HOPS
PAYLOAD = 2065
CONTENT = bytes(payload_plaintext_capacity(PAYLOAD))


@pytest.fixture
def counting() -> Iterator[CountingProvider]:
    before = crypto.provider()
    provider = CountingProvider(before)
    crypto.install(provider)
    yield provider
    crypto.install(before)


@pytest.fixture
def route(counting: CountingProvider) -> list[Hop]:
    made = [
        Hop(secrets.token_bytes(32), counting.x25519_public(secrets.token_bytes(32))) for _ in range(HOPS)
    ]
    counting.calls.clear()
    return made


def test_a_packet_takes_one_exchange_for_each_hop(counting: CountingProvider, route: list[Hop]) -> None:
    build_packet(route, DELAYS, bytes(32), CONTENT, PAYLOAD)
    assert counting.calls["x25519_key"] == 1
    assert counting.calls["exchange"] + counting.calls["x25519"] == HOPS


def test_a_prepared_header_leaves_no_exchange_for_later(counting: CountingProvider, route: list[Hop]) -> None:
    """So that a paced tick costs symmetric cryptography only."""
    prepared = prepare_header(route, DELAYS, bytes(32))
    counting.calls.clear()
    prepared.seal(CONTENT, PAYLOAD)
    assert counting.calls.total() > 0
    assert not set(counting.calls) & {"x25519_key", "exchange", "x25519", "x25519_public"}
