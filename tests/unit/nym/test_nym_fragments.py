"""Cutting and joining: every message comes back, nothing else does (spec/sphinx.md 15)."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest

from smolmix_web.errors import MalformedError
from smolmix_web.nym.fragments import Fragment, choose_size, fragment_length, split
from smolmix_web.nym.message import pad, unpad
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.reassembly import IDLE_LIFETIME, Reassembler

SIZE = PacketSize.REGULAR
ONE_SET = 255 * 1604
"""Bytes of one full set."""


def cut(data: bytes, first_id: int = 10) -> list[Fragment]:
    padded, size = pad(data, SIZE)
    return list(split(padded, size, itertools.count(first_id)))


def join(fragments: list[Fragment], reassembler: Reassembler | None = None) -> list[bytes]:
    reassembler = reassembler or Reassembler()
    results = (reassembler.insert(Fragment.from_bytes(f.to_bytes()), 0.0) for f in fragments)
    return [unpad(result) for result in results if result is not None]


def test_header_bytes() -> None:
    assert Fragment(0x01020304, 3, 2, b"xy").to_bytes().hex() == "81020304" + "0302" + "00" + "7879"
    linked = Fragment(0x01020304, 255, 255, b"xy", next_set=5)
    assert linked.to_bytes().hex() == "81020304" + "ffff" + "80000005" + "7879"
    linked = Fragment(5, 2, 1, b"xy", previous_set=0x01020304)
    assert linked.to_bytes().hex() == "80000005" + "0201" + "81020304" + "7879"
    for fragment in (linked, Fragment(1, 1, 1, b"")):
        assert Fragment.from_bytes(fragment.to_bytes()) == fragment
    assert Fragment(0x01020304, 9, 7, b"").identifier.hex() == "0102030407"


@pytest.mark.parametrize(
    "data",
    [
        "",
        "8102030401",
        "810203040101",
        "01020304010100",  # flag missing
        "80000000010100",  # set id 0
        "81020304000000",  # no fragments
        "81020304010000",  # position 0
        "81020304010200",  # position beyond the total
        "81020304010101020304",  # link without flag
        "81020304010180000000",  # link to set 0
        "81020304010181020304",  # link to itself
        "81020304030281020305",  # link in the middle
        "81020304030381020305",  # link to the next set from a set that is not full
        "810203040101810203",  # truncated link
    ],
)
def test_bad_fragment(data: str) -> None:
    with pytest.raises(MalformedError):
        Fragment.from_bytes(bytes.fromhex(data))


@pytest.mark.parametrize(
    ("length", "totals"),
    [
        (1, [1]),
        (1603, [1]),
        (1604, [2]),
        (ONE_SET - 1, [255]),
        (ONE_SET, [255, 1]),
        (ONE_SET - 3 + 1601 - 1, [255, 1]),
        (ONE_SET - 3 + 1601, [255, 2]),
        (2 * (ONE_SET - 3) - 1, [255, 255]),
        (2 * (ONE_SET - 3), [255, 255, 1]),
        (3 * (ONE_SET - 4) - 1, [255, 255, 255]),
        (3 * (ONE_SET - 4), [255, 255, 255, 1]),
        (4 * ONE_SET, [255, 255, 255, 255, 1]),
    ],
)
def test_sets_of_a_message(length: int, totals: list[int]) -> None:
    data = random.Random(length).randbytes(length)
    fragments = cut(data)
    counts = [len(list(group)) for _, group in itertools.groupby(fragments, key=lambda f: f.set_id)]
    assert counts == totals
    assert all(f.total == totals[f.set_id - 10] for f in fragments)
    assert {len(f.to_bytes()) for f in fragments} == {fragment_length(SIZE)}
    links = [(f.set_id, f.previous_set, f.next_set) for f in fragments if f.previous_set or f.next_set]
    expected = []
    for first, second in itertools.pairwise(range(10, 10 + len(totals))):
        expected += [(first, None, second), (second, first, None)]
    assert sorted(links, key=str) == sorted(expected, key=str)
    random.Random(1).shuffle(fragments)
    assert join(fragments) == [data]


def test_copies_are_ignored_before_and_after_completion() -> None:
    fragments = cut(bytes(5000))
    reassembler = Reassembler()
    copies = [copy for fragment in fragments for copy in (fragment, fragment)]
    assert join(copies + fragments, reassembler) == [bytes(5000)]
    stats = reassembler.stats
    # The second copy of the last fragment, and the later round, meet a finished message.
    assert (stats.duplicates, stats.late, stats.completed) == (len(fragments) - 1, len(fragments) + 1, 1)
    assert (stats.sets, stats.buffered) == (0, 0)


def test_messages_interleaved() -> None:
    first, second = cut(b"a" * 4000, 10), cut(b"b" * 4000, 20)
    mixed = [f for pair in zip(first, second, strict=True) for f in pair]
    assert join(mixed) == [b"a" * 4000, b"b" * 4000]


def test_conflicting_total_is_dropped() -> None:
    fragments = cut(bytes(4000))
    reassembler = Reassembler()
    liar = replace(fragments[1], total=fragments[1].total + 1)
    assert join([fragments[0], liar, *fragments[1:]], reassembler) == [bytes(4000)]
    assert reassembler.stats.conflicting == 1


def test_sets_of_different_origin_never_mix() -> None:
    fragments = cut(bytes(3000))
    reassembler = Reassembler()
    assert reassembler.insert(fragments[0], 0.0, "by our reply SURBs") is None
    assert reassembler.insert(replace(fragments[1], payload=b"forged"), 0.0, None) is None
    result = reassembler.insert(fragments[1], 0.0, "by our reply SURBs")
    assert result is not None
    assert unpad(result) == bytes(3000)


def test_links_that_contradict_each_other() -> None:
    fragments = cut(bytes(ONE_SET + 5000), 10)
    first, second = fragments[:255], fragments[255:]
    second[0] = replace(second[0], previous_set=77)
    reassembler = Reassembler()
    assert join(second + first, reassembler) == []
    assert reassembler.stats.conflicting == 1
    assert (reassembler.stats.sets, reassembler.stats.buffered) == (0, 0)


def test_links_in_a_circle_end() -> None:
    """Two full sets that each name the other as their predecessor and successor."""

    def ring(set_id: int, other: int) -> list[Fragment]:
        middle = [Fragment(set_id, 255, position, b"x") for position in range(2, 255)]
        first = Fragment(set_id, 255, 1, b"x", previous_set=other)
        return [first, *middle, Fragment(set_id, 255, 255, b"x", next_set=other)]

    reassembler = Reassembler()
    assert join(ring(1, 2) + ring(2, 1), reassembler) == []
    assert reassembler.stats.sets == 0


def test_memory_is_bounded_and_the_stalest_set_goes_first() -> None:
    reassembler = Reassembler(max_buffered=100_000)
    for set_id in range(1, 1000):
        reassembler.insert(Fragment(set_id, 2, 1, bytes(1604)), 0.0)
        assert reassembler.stats.buffered <= 100_000
    assert reassembler.stats.evicted > 900
    assert reassembler.insert(Fragment(1, 2, 2, bytes(1604)), 0.0) is None, "its first half was evicted"
    assert reassembler.insert(Fragment(999, 2, 2, bytes(1604)), 0.0) == bytes(3208)


def test_empty_fragments_cost_too() -> None:
    reassembler = Reassembler(max_buffered=100_000)
    for set_id in range(1, 1000):
        reassembler.insert(Fragment(set_id, 255, 1, b""), 0.0)
    assert reassembler.stats.sets < 100


def test_idle_sets_are_dropped() -> None:
    reassembler = Reassembler()
    fragments = cut(bytes(4000))
    reassembler.insert(fragments[0], 0.0)
    reassembler.insert(fragments[1], 100.0)
    reassembler.insert(Fragment(99, 2, 1, b""), IDLE_LIFETIME + 50.0)
    assert reassembler.stats.expired == 0, "it got a fragment 29 minutes ago"
    reassembler.insert(Fragment(98, 2, 1, b""), IDLE_LIFETIME + 101.0)
    assert reassembler.stats.expired == 1
    assert reassembler.insert(fragments[2], IDLE_LIFETIME + 102.0) is None


def test_old_messages_are_forgotten_in_the_end() -> None:
    """At least ``remembered_sets`` are known, at most twice as many."""
    reassembler = Reassembler(remembered_sets=10)
    for set_id in range(1, 31):
        assert reassembler.insert(Fragment(set_id, 1, 1, b"x"), 0.0) == b"x"
    for set_id in range(21, 31):
        assert reassembler.insert(Fragment(set_id, 1, 1, b"x"), 0.0) is None
    assert reassembler.insert(Fragment(1, 1, 1, b"x"), 0.0) == b"x"


def test_padding() -> None:
    for length in (0, 1, 1602, 1603, 1604, 5000):
        data = b"\x01" * length if length else b"\0"
        padded, size = pad(data, SIZE)
        assert len(padded) % 1604 == 0
        assert size is SIZE
        assert unpad(padded) == data
    for padded in (b"", bytes(100), b"\x01", b"\x01\0\0"):
        with pytest.raises(MalformedError):
            unpad(padded)


def test_secondary_size_only_where_it_saves_packets() -> None:
    big = PacketSize.EXTENDED16
    assert choose_size(100, SIZE, None) is SIZE
    assert choose_size(1600, SIZE, big) is SIZE
    assert choose_size(1604, SIZE, big) is big, "the estimate counts one byte less per fragment"
    assert choose_size(5000, SIZE, big) is big
    padded, size = pad(bytes(5000), SIZE, big)
    assert size is big
    assert len(list(split(padded, size, itertools.count(1)))) == 1
