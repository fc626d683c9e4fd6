"""The parts of a node: keys across rotations, replay filter, unwrapping, delay queue, impairment, filter."""

from __future__ import annotations

import asyncio
import random
import zlib

import pytest

from smolmix_web.errors import LocalProtocolError
from smolmix_web.localnet.delay_queue import DelayQueue
from smolmix_web.localnet.impairment import Impairment, ImpairmentConfig
from smolmix_web.localnet.key_files import load_keyring, save_keyring
from smolmix_web.localnet.key_rotation import RotationDriver
from smolmix_web.localnet.node_identity import NodeIdentity
from smolmix_web.localnet.node_stats import IngressStats
from smolmix_web.localnet.processing import PacketProcessor
from smolmix_web.localnet.replay import ReplayFilter
from smolmix_web.localnet.routing_filter import RoutingFilter
from smolmix_web.localnet.sphinx_keys import SphinxKeyring
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.framing import NodeFrame
from smolmix_web.nym.packets import KeyRotation, PacketSize, PacketType
from smolmix_web.nym.rotation import KeyRotationInfo
from smolmix_web.sphinx import FinalHop, ForwardHop, Hop, build_packet

ODD, EVEN, UNKNOWN = KeyRotation.ODD, KeyRotation.EVEN, KeyRotation.UNKNOWN
NEXT = NodeAddress("127.0.0.1", 1789)
DESTINATION = b"\xdd" * 32


# -- replay filter ------------------------------------------------------------------------------------------


def test_replay_filter_knows_what_it_saw():
    source = random.Random(1)
    tags = [source.randbytes(32) for _ in range(5000)]
    seen = ReplayFilter()
    assert not any(seen.seen(tag) for tag in tags)
    assert all(seen.seen(tag) for tag in tags)


def test_replay_filter_remembers_one_to_two_capacities():
    source = random.Random(2)
    tags = [source.randbytes(32) for _ in range(250)]
    seen = ReplayFilter(capacity=100)
    assert not any(seen.seen(tag) for tag in tags)  # two generations were filled and a half
    assert all(seen.seen(tag) for tag in tags[150:])
    assert not any(seen.seen(tag) for tag in tags[:50])


# -- keys and rotations -------------------------------------------------------------------------------------


def ids(keyring: SphinxKeyring, flag: KeyRotation) -> list[int]:
    return [key.rotation_id for key in keyring.candidates(flag)]


def test_keys_for_each_flag_through_a_rotation():
    keyring = SphinxKeyring(1)
    assert (ids(keyring, ODD), ids(keyring, EVEN), ids(keyring, UNKNOWN)) == ([1], [], [1])
    upcoming = keyring.prepare_next()
    assert keyring.prepare_next() is upcoming
    assert keyring.pre_announced() is upcoming
    assert (ids(keyring, ODD), ids(keyring, EVEN), ids(keyring, UNKNOWN)) == ([1], [2], [1, 2])
    keyring.swap()
    assert keyring.pre_announced() is None
    assert (ids(keyring, ODD), ids(keyring, EVEN), ids(keyring, UNKNOWN)) == ([1], [2], [2, 1])
    keyring.drop_old()
    assert (ids(keyring, ODD), ids(keyring, EVEN), ids(keyring, UNKNOWN)) == ([], [2], [2])


def test_dropping_does_not_touch_the_upcoming_key():
    keyring = SphinxKeyring(1)
    keyring.prepare_next()
    keyring.drop_old()
    assert ids(keyring, EVEN) == [2]


def clock(**more) -> KeyRotationInfo:
    values = {
        "validity_epochs": 3,
        "initial_epoch_id": 0,
        "current_absolute_epoch_id": 3,
        "current_epoch_start": 0.0,
        "epoch_duration": 10.0,
    }
    return KeyRotationInfo(**{**values, **more})


def test_rotation_driver_follows_the_epochs():
    """Epochs 3, 4, 5 are rotation 1; 6, 7, 8 rotation 2."""
    keyring = SphinxKeyring(0)
    driver = RotationDriver(keyring)
    driver.start(clock(), 0.0)
    first = keyring.primary
    assert (first.rotation_id, keyring.secondary) == (1, None)
    assert not driver.advance(clock(), 19.9)
    assert driver.advance(clock(), 20.0)  # the last epoch of rotation 1
    upcoming = keyring.pre_announced()
    assert upcoming is not None
    assert not driver.advance(clock(), 29.0)
    assert driver.advance(clock(), 30.0)  # rotation 2 begins
    assert (keyring.primary, keyring.secondary) == (upcoming, first)
    assert not driver.advance(clock(), 40.0)  # its second epoch: nothing to announce, but
    assert keyring.secondary is None


def test_rotation_driver_catches_up_after_a_sleep():
    keyring = SphinxKeyring(0)
    driver = RotationDriver(keyring)
    driver.start(clock(), 0.0)
    old = keyring.primary
    assert driver.advance(clock(), 30.0)  # missed the pre-announcement
    assert (keyring.primary.rotation_id, keyring.secondary) == (2, old)
    assert driver.advance(clock(), 30.0 + 30 * 5)  # missed whole rotations
    assert keyring.primary.rotation_id == 7
    assert driver.advance(clock(current_absolute_epoch_id=3, current_epoch_start=200.0), 200.0)
    assert (keyring.primary.rotation_id, keyring.secondary) == (1, None)  # a new directory, back in time


# -- unwrapping ---------------------------------------------------------------------------------------------


def packet_for(public: bytes, *, final: bool = False, size: PacketSize = PacketSize.REGULAR) -> bytes:
    here = Hop(NEXT.pack_padded(32), public)
    there = Hop(NEXT.pack_padded(32), SphinxKeyring(0).primary.public)
    route = [here] if final else [here, there]
    return build_packet(route, [5_000_000] * len(route), DESTINATION, b"message", size.payload)


def processor() -> PacketProcessor:
    keyring = SphinxKeyring(1)
    keyring.prepare_next()
    return PacketProcessor(keyring, IngressStats())


def test_forward_and_final_hops():
    unit = processor()
    hop = unit.process(NodeFrame(packet_for(unit.keyring.primary.public)))
    assert isinstance(hop, ForwardHop)
    assert NodeAddress.unpack(hop.next_address) == NEXT
    assert hop.delay_ns == 5_000_000
    hop = unit.process(NodeFrame(packet_for(unit.keyring.primary.public, final=True)))
    assert isinstance(hop, FinalHop)
    assert (hop.destination, hop.plaintext) == (DESTINATION, b"message")
    assert unit.stats == IngressStats()


@pytest.mark.parametrize(
    ("key", "flag", "good"),
    [
        ("primary", UNKNOWN, True),
        ("secondary", UNKNOWN, True),  # the fallback of nodes.md 4.1
        ("primary", ODD, True),
        ("secondary", EVEN, True),
        ("primary", EVEN, False),
        ("secondary", ODD, False),
    ],
)
def test_the_flag_chooses_the_key(key, flag, good):
    unit = processor()
    frame = NodeFrame(packet_for(getattr(unit.keyring, key).public), PacketType.MIX, flag)
    assert (unit.process(frame) is not None) is good
    assert unit.stats.malformed_packets_received == (not good)


def test_expired_key():
    unit = PacketProcessor(SphinxKeyring(1), IngressStats())
    frame = NodeFrame(packet_for(unit.keyring.primary.public), PacketType.MIX, EVEN)
    assert unit.process(frame) is None
    assert unit.stats.malformed_packets_received == 1


def test_replays_are_dropped_whatever_their_payload_and_flag():
    unit = processor()
    packet = packet_for(unit.keyring.primary.public)
    assert unit.process(NodeFrame(packet)) is not None
    changed = packet[:-1] + bytes([packet[-1] ^ 1])
    for again, flag in ((packet, UNKNOWN), (packet, ODD), (changed, UNKNOWN)):
        assert unit.process(NodeFrame(again, PacketType.MIX, flag)) is None
    assert unit.stats.replayed_packets_received == 3


def test_replay_filter_lives_as_long_as_its_key():
    """A packet from before the swap is still a replay after it; a dropped key takes its memory along."""
    unit = processor()
    packet = packet_for(unit.keyring.primary.public)
    unit.process(NodeFrame(packet))
    unit.keyring.swap()
    assert unit.process(NodeFrame(packet)) is None
    assert unit.stats.replayed_packets_received == 1
    unit.keyring.drop_old()
    assert unit.process(NodeFrame(packet)) is None
    assert unit.stats.malformed_packets_received == 1


@pytest.mark.parametrize("position", [0, 31, 32, 47, 48, 347])
def test_damaged_headers(position):
    unit = processor()
    packet = bytearray(packet_for(unit.keyring.primary.public))
    packet[position] ^= 1
    assert unit.process(NodeFrame(bytes(packet))) is None
    assert unit.stats.malformed_packets_received == 1


def test_damaged_final_payload_and_random_packets():
    unit = processor()
    packet = packet_for(unit.keyring.primary.public, final=True)
    assert unit.process(NodeFrame(packet[:-1] + bytes([packet[-1] ^ 1]))) is None
    for size in PacketSize:
        for packet_type in PacketType:
            assert unit.process(NodeFrame(random.Random(size).randbytes(size.total), packet_type)) is None
    assert unit.stats.malformed_packets_received == 1 + len(PacketSize) * 2
    assert unit.process(NodeFrame(bytes(PacketSize.REGULAR.total))) is None


# -- delay queue --------------------------------------------------------------------------------------------


async def test_delay_queue_releases_in_order_of_time():
    loop = asyncio.get_running_loop()
    released: list[tuple[str, float]] = []
    start = loop.time()
    queue: DelayQueue[str] = DelayQueue(loop, lambda item: released.append((item, loop.time() - start)))
    for delay, name in [(0.06, "c"), (0.02, "a"), (0.04, "b"), (0.02, "a2"), (-1.0, "late")]:
        queue.push(start + delay, name, 1)
    assert len(queue) == 5
    await asyncio.sleep(0.12)
    assert [name for name, _ in released] == ["late", "a", "a2", "b", "c"]
    for (_, at), due in zip(released[1:], (0.02, 0.02, 0.04, 0.06), strict=True):
        assert due - 0.001 <= at < due + 0.03
    assert len(queue) == 0


async def test_delay_queue_is_bounded_and_can_be_cleared():
    loop = asyncio.get_running_loop()
    released: list[int] = []
    queue: DelayQueue[int] = DelayQueue(loop, released.append, limit=3000)
    for number in range(5):
        queue.push(loop.time() + 0.01, number, 1000)
    assert (released, queue.overflowed) == ([3, 4], 2)
    queue.clear()
    await asyncio.sleep(0.03)
    assert released == [3, 4]
    queue.push(loop.time() + 0.001, 9, 3000)
    await asyncio.sleep(0.02)
    assert released == [3, 4, 9]


# -- impairment ---------------------------------------------------------------------------------------------


def test_impairment_has_the_asked_for_frequencies_and_repeats():
    config = ImpairmentConfig(delay=0.01, loss=0.1, duplicate=0.2, reorder=0.5, reorder_delay=0.1, seed=3)
    unit = Impairment(config, "mix1")
    fates = [unit.fate() for _ in range(5000)]
    assert fates == [Impairment(config, "mix1").fate() for _ in range(1)] + fates[1:]
    assert fates[:50] != [Impairment(config, "mix2").fate() for _ in range(50)]
    lost = sum(not fate for fate in fates) / len(fates)
    twice = sum(len(fate) == 2 for fate in fates) / len(fates)
    delays = [delay for fate in fates for delay in fate]
    late = sum(delay > 0.0100001 for delay in delays) / len(delays)
    assert lost == pytest.approx(0.1, abs=0.015)
    assert twice == pytest.approx(0.18, abs=0.02)
    assert late == pytest.approx(0.5, abs=0.03)
    assert min(delays) == 0.01
    assert max(delays) < 0.11
    assert ImpairmentConfig().is_perfect
    assert not config.is_perfect


# -- routing filter -----------------------------------------------------------------------------------------


def test_routing_filter():
    unit = RoutingFilter()
    local, other, public = NodeAddress("127.0.0.1", 1), NodeAddress("127.0.0.1", 2), NodeAddress("1.1.1.1", 1)
    assert unit.allows(local)  # nothing known yet: non-global addresses
    assert not unit.allows(public)
    unit.update([local, public])
    assert unit.allows(local)
    assert unit.allows(public)
    assert not unit.has_pending
    assert not unit.allows(other)  # the same host, but no node's port
    assert unit.has_pending
    assert RoutingFilter(verify=False).allows(other)


# -- identity -----------------------------------------------------------------------------------------------


def test_identity_persists_privately_and_shows_no_secret(tmp_path):
    first = NodeIdentity.load_or_generate(tmp_path / "mix1")
    assert NodeIdentity.load_or_generate(tmp_path / "mix1") == first
    assert NodeIdentity.load_or_generate(tmp_path / "mix2") != first
    assert ((tmp_path / "mix1" / "node_keys").stat().st_mode & 0o777) == 0o600
    assert first.identity_seed.hex() not in repr(first)
    assert repr(first.identity_seed) not in repr(first)


# -- keys on disk -------------------------------------------------------------------------------------------


def test_keyring_on_disk(tmp_path):
    assert load_keyring(tmp_path / "mix1") is None
    keyring = SphinxKeyring(3)
    keyring.prepare_next()
    tag = b"\x07" * 32
    keyring.primary.replay.seen(tag)
    save_keyring(tmp_path / "mix1", keyring)
    loaded = load_keyring(tmp_path / "mix1")
    assert [(key.rotation_id, key.secret) for key in (loaded.primary, loaded.secondary)] == [
        (key.rotation_id, key.secret) for key in (keyring.primary, keyring.secondary)
    ]
    assert ids(loaded, EVEN) == [4]
    assert loaded.primary.replay.seen(tag)
    assert not loaded.secondary.replay.seen(tag)
    for path in (tmp_path / "mix1").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    keyring.swap()
    keyring.drop_old()
    save_keyring(tmp_path / "mix1", keyring)
    names = {path.name for path in (tmp_path / "mix1").iterdir()}
    assert names == {"x25519_sphinx_primary", "replay-4"}  # the old rotation leaves nothing behind


def test_key_file_is_that_of_official_nodes(tmp_path):
    keyring = SphinxKeyring(0x01020304, b"\x42" * 32)
    save_keyring(tmp_path, keyring)
    text = (tmp_path / "x25519_sphinx_primary").read_text()
    assert text == (
        "-----BEGIN X25519 SPHINX PRIVATE KEY-----\n"
        "AQIDBEJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJC\n"
        "-----END X25519 SPHINX PRIVATE KEY-----\n"
    )
    (tmp_path / "x25519_sphinx_primary").write_text(text.replace("\nAQIDBEJC", "\nAQIDBEJC\n"))  # wrapped
    assert load_keyring(tmp_path).primary.secret == b"\x42" * 32


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x25519_sphinx_primary", b""),
        ("x25519_sphinx_primary", b"-----BEGIN X25519 SPHINX PRIVATE KEY-----\nAAAA\n"),
        ("x25519_sphinx_primary", b"\xff\xfe"),
        ("replay-3", b"not compressed"),
        ("replay-3", zlib.compress(b"short")),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content):
    save_keyring(tmp_path, SphinxKeyring(3))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LocalProtocolError, match=name):
        load_keyring(tmp_path)


def test_replay_filter_state_with_two_generations():
    source = random.Random(6)
    tags = [source.randbytes(32) for _ in range(150)]
    first = ReplayFilter(capacity=100)
    for tag in tags:
        first.seen(tag)
    second = ReplayFilter(capacity=100)
    second.restore(first.to_bytes())
    assert all(second.seen(tag) for tag in tags)
