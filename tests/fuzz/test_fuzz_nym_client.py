"""Invariant: whatever is pushed into the Nym client, it raises nothing, stays bounded and goes on working."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmix_web.errors import LocalProtocolError
from smolmix_web.nym.client import NymClient
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.events import MessageReceived
from smolmix_web.nym.fragments import split
from smolmix_web.nym.message import encode_message, pad
from smolmix_web.nym.packets import KeyRotation, PacketSize
from smolmix_web.nym.payload import agree_fragment_key, reply_fragment_key
from smolmix_web.nym.replies import AdditionalSurbs, RepliableData, ReplySurb, SurbList, SurbRequest
from smolmix_web.sphinx import Surb
from support.mixnet import Mixnet

CONFIG = replace(
    ClientConfig().no_cover(),
    max_reassembly_bytes=200_000,
    remembered_sets=100,
    max_sender_tags=10,
    max_held_surbs=100,
    max_surb_orders=4,
    max_surbs_outstanding=50,
    surbs_per_call=1,
)


class Target:
    """A client under attack, with one exit that it wrote to and that turned bad."""

    def __init__(self, seed: int) -> None:
        self.net = Mixnet(seed=seed)
        self.client = self.net.add_client("client", config=CONFIG)
        self.exit = self.net.add_client("exit", gateway=1)
        self.client.send(self.exit.address, b"open", 0.0, reply_surbs=8)
        self.net.run(1.0)
        self.keys = [key.key for key in self.client._issuer._keys.values()]

    def push(self, message: bytes) -> None:
        self.client.receive_push(message, self.net.now)

    def push_plain(self, fragment: bytes) -> None:
        key = agree_fragment_key(self.client.address.encryption, self.net.random.randbytes)
        self.push(key.encrypt(fragment))

    def push_reply(self, fragment: bytes) -> None:
        if self.keys:
            self.push(reply_fragment_key(self.keys.pop()).encrypt(fragment))

    def check(self) -> None:
        client, net = self.client, self.net
        for _ in range(20):
            client.handle_timer(net.now)
            for packet in client.packets_to_send(net.now):
                assert packet.size is PacketSize.REGULAR
        while client.next_event() is not None:
            pass
        stats = client.stats
        assert stats.reassembly.buffered <= CONFIG.max_reassembly_bytes
        assert 0 <= stats.surbs_stock <= CONFIG.max_held_surbs
        assert stats.surbs_stock == sum(entry.held for entry in client._replier.stock)
        assert len(client._issuer._orders) <= CONFIG.max_surb_orders
        net.events["client"].clear()
        self.exit.send(client.address, b"still there?", net.now, anonymous=False)
        assert net.run(30.0, lambda: b"still there?" in net.messages("client"))


def surb_of(first_hop: bytes) -> ReplySurb:
    return ReplySurb(bytes(16), Surb(bytes(348), first_hop.ljust(32, b"\0"), (bytes(16),) * 4))


heads = st.builds(
    lambda set_id, total, position, rest: (
        (set_id | 1 << 31).to_bytes(4, "big") + bytes((total, position)) + rest
    ),
    st.integers(1, 5),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=1605),
)
singles = st.builds(
    lambda set_id, body: (set_id | 1 << 31).to_bytes(4, "big") + b"\x01\x01\x00" + body + b"\x01",
    st.integers(1, 2**31 - 1),
    st.one_of(
        st.binary(max_size=600),
        st.builds(lambda kind, body: bytes((kind,)) + body, st.integers(0, 3), st.binary(max_size=600)),
        st.builds(
            lambda tag, body: b"\x01" + bytes(16) + bytes((tag,)) + body,
            st.integers(0, 6),
            st.binary(max_size=900),
        ),
    ),
)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.binary(max_size=2000)),
        st.tuples(st.just("push"), st.binary(min_size=21, max_size=21)),
        st.tuples(st.just("push_plain"), st.one_of(heads, singles, st.binary(max_size=50))),
        st.tuples(st.just("push_reply"), st.one_of(heads, singles)),
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(actions, st.integers(0, 1000))
def test_pushes(steps: list[tuple[str, bytes]], seed: int) -> None:
    target = Target(seed)
    for method, data in steps:
        getattr(target, method)(data)
    target.check()


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=12))
def test_hostile_surbs(seed: int, gifts: list[tuple[int, int]]) -> None:
    """SURBs that lead nowhere, from many tags and in any number, and requests for more than anybody needs."""
    target = Target(seed)
    client, net = target.client, target.net
    first_hop = next(iter(net.nodes)).pack()
    for number, (tag, count) in enumerate(gifts):
        surbs = SurbList((surb_of(first_hop),) * count, KeyRotation.ODD)
        for message in (
            AdditionalSurbs(bytes([tag]) * 16, surbs),
            RepliableData(bytes([100 + number]) * 16, surbs, b"x"),
        ):
            padded, size = pad(encode_message(message), PacketSize.REGULAR)
            for fragment in split(padded, size, iter([2 * number + isinstance(message, RepliableData) + 1])):
                target.push_plain(fragment.to_bytes())
        client.reply(bytes([tag]) * 16, bytes(5000), net.now)
    for number in range(6):
        request = encode_message(SurbRequest(target.exit.address, 2**32 - 1))
        padded, size = pad(request, PacketSize.REGULAR)
        (fragment,) = split(padded, size, iter([10_000 + number]))
        target.push_reply(fragment.to_bytes())
    target.check()


def test_flood_of_half_messages_is_bounded() -> None:
    target = Target(1)
    for set_id in range(1, 2000):
        target.push_plain((set_id | 1 << 31).to_bytes(4, "big") + b"\xff\x01\x00" + bytes(1604))
    assert target.client.stats.reassembly.evicted > 1500
    target.check()


def test_api_misuse_raises_local_errors_only(  # the other side of the invariant
) -> None:
    net = Mixnet()
    client: NymClient = net.add_client("client")
    with pytest.raises(LocalProtocolError):
        client.send(client.address, b"x", 0.0, reply_surbs=70_000)
    with pytest.raises(LocalProtocolError):
        client.reply(b"", b"", 0.0)
    client.reply(b"", b"data", 0.0)
    assert client.stats.replies_dropped == 1
    assert [event for event in net.events["client"] if isinstance(event, MessageReceived)] == []
