"""Bundles: what a receiver gets out, and when the sender's encoder lets go of one."""

from collections import deque

from smolmix_web.ipr.bundle import Bundler, join_bundle, split_bundle
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame
from smolmix_web.ipr.requests import DataRequest, emit_request
from smolmix_web.ipr.uplink import (
    FRAGMENT_PAYLOAD,
    SURB_LENGTH,
    affordable_surbs,
    fragments_needed,
    take_bundle,
)


def test_packets_come_out_as_they_went_in() -> None:
    packets = [b"", b"a", b"bc" * 700, bytes(65535)]
    assert split_bundle(join_bundle(packets)) == (packets, True)
    assert split_bundle(b"") == ([], True)


def test_an_incomplete_tail_leaves_the_packets_before_it() -> None:
    whole = join_bundle([b"one", b"two"])
    for cut in range(6, len(whole)):
        assert split_bundle(whole[:cut]) == ([b"one"], False)
    assert split_bundle(whole[:5]) == ([b"one"], True)
    assert split_bundle(b"\x00") == ([], False)


def test_bundler_holds_packets_until_the_next_would_not_fit() -> None:
    bundler = Bundler()
    assert bundler.add(bytes(700)) is None
    assert bundler.add(bytes(796)) is None  # 702 + 798 is exactly 1500, which does not flush
    assert bundler.add(b"x") == join_bundle([bytes(700), bytes(796)])
    assert bundler.flush() == join_bundle([b"x"])
    assert bundler.flush() is None


def test_an_oversize_packet_goes_out_alone_when_nothing_is_held() -> None:
    bundler = Bundler()
    assert bundler.add(bytes(1498)) is None
    bundler.flush()
    assert bundler.add(bytes(1499)) == join_bundle([bytes(1499)])
    assert not bundler


def test_an_oversize_packet_behind_another_waits_like_any_other() -> None:
    bundler = Bundler()
    bundler.add(b"small")
    assert bundler.add(bytes(1600)) == join_bundle([b"small"])
    assert bundler.flush() == join_bundle([bytes(1600)])


def test_without_bundling_every_packet_has_its_own_message() -> None:
    queue = deque([b"1", b"2"])
    assert take_bundle(queue, 2, bundling=False, thrifty=False) == ([b"1"], 2)
    assert list(queue) == [b"2"]


def test_bundling_fills_a_mixnet_packet_and_no_more() -> None:
    queue = deque(bytes([number]) * 52 for number in range(100))
    taken, surbs = take_bundle(queue, 2, bundling=True, thrifty=False)
    assert surbs == 2
    assert taken == [bytes([number]) * 52 for number in range(len(taken))]
    assert len(taken) == 11
    assert _message_length(taken, 2) <= FRAGMENT_PAYLOAD < _message_length([*taken, queue[0]], 2)
    assert len(taken) + len(queue) == 100


def test_bundling_never_needs_more_mixnet_packets_than_the_first_ip_packet_alone() -> None:
    queue = deque([bytes(1420), bytes(1420), bytes(40), bytes(40)])
    assert take_bundle(queue, 2, bundling=True, thrifty=False) == ([bytes(1420)], 2)
    assert take_bundle(queue, 2, bundling=True, thrifty=False) == ([bytes(1420), bytes(40), bytes(40)], 2)
    assert fragments_needed(1422, 2) == 2
    assert fragments_needed(1422, 0) == 1


def test_a_thrifty_client_attaches_surbs_only_where_they_are_free() -> None:
    queue = deque([bytes(1420), bytes(40), bytes(40), bytes(40), bytes(40), bytes(1000)])
    assert take_bundle(queue, 2, bundling=True, thrifty=True) == ([bytes(1420), *[bytes(40)] * 3], 0)
    assert take_bundle(queue, 2, bundling=True, thrifty=True) == ([bytes(40)], 2)
    assert take_bundle(queue, 2, bundling=False, thrifty=True) == ([bytes(1000)], 1)
    for length in (40, 500, 700, 1100, 1500, 1600, 3000):
        surbs = affordable_surbs(length, 5)
        assert fragments_needed(length, surbs) == fragments_needed(length, 0)
        assert surbs == 5 or fragments_needed(length, surbs + 1) > fragments_needed(length, 0)


def _message_length(packets: list[bytes], surbs: int) -> int:
    """Length of the repliable message by the formats themselves (sphinx.md 14 and 19)."""
    request = emit_request(DataRequest(9, join_bundle(packets)))
    frame = emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 1, request))
    return 1 + 16 + 1 + 4 + surbs * SURB_LENGTH + len(frame) + 1
