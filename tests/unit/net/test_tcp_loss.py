"""Loss detection, recovery and its undoing: RFC 2018, 2883, 5681, 5682, 6582, 6675, 8985, 3522."""

from __future__ import annotations

from typing import Any

import pytest

from smolmix_web.net import TcpOptions
from support.tcp_trace import MSS, PLAIN, Trace, syn_sent

SACK = TcpOptions(congestion_control="reno", sparse_acks=False, timestamps=False, window_scale=False)
FULL = TcpOptions(congestion_control="reno", sparse_acks=False, window_scale=False)
RTT = 0.2


def flying(options: TcpOptions = SACK, count: int = 10, **syn: Any) -> Trace:
    """Established over a path of 0.2 s with ``count`` segments of 1,000 bytes just sent."""
    tcp = syn_sent(options)
    tcp.now += RTT
    if options.timestamps:
        syn["timestamps"] = (1, 0)
    tcp.sends(
        "S.", seq=-1, ack=0, mss=MSS + (12 if options.timestamps else 0), sack_permitted=options.sack, **syn
    )
    tcp.segments()
    tcp.write(bytes(count * MSS))
    tcp.sent = tcp.segments()  # type: ignore[attr-defined]
    assert len(tcp.sent) == count  # type: ignore[attr-defined]
    return tcp


def sacks(tcp: Trace, *segments: int, ack: int = 0, **more: Any) -> None:
    """A pure ACK whose SACK blocks cover the numbered segments, one block each."""
    tcp.sends(".", ack=ack * MSS, sack=tuple((index * MSS, (index + 1) * MSS) for index in segments), **more)


# -- what we report --------------------------------------------------------------------------------


def test_islands_are_reported_newest_first() -> None:
    tcp = flying(count=0)
    for position in (2, 4, 6):
        tcp.sends(".", seq=position * 100, payload=bytes(100))
    assert tcp.segments()[-1].sack[0] == (600, 700)
    tcp.sends(".", seq=300, payload=bytes(100))
    (ack,) = tcp.segments()
    assert ack.sack[0] == (200, 500)
    assert set(ack.sack) == {(200, 500), (600, 700)}
    tcp.sends(".", seq=0, payload=bytes(200))
    (ack,) = tcp.segments()
    assert (ack.ack, ack.sack) == (500, ((600, 700),))


@pytest.mark.parametrize(
    ("seq", "size", "expected"),
    [(0, 100, (0, 100)), (50, 50, (50, 100)), (300, 100, (300, 400)), (250, 100, (300, 350))],
    ids=["whole", "part", "in an island", "overlapping an island"],
)
def test_duplicates_are_reported_by_dsack(seq: int, size: int, expected: tuple[int, int]) -> None:
    tcp = flying(count=0)
    tcp.sends(".", seq=0, payload=bytes(100))
    tcp.sends(".", seq=300, payload=bytes(100))
    tcp.segments()
    tcp.sends(".", seq=seq, payload=bytes(size))
    (ack,) = tcp.segments()
    assert ack.sack[0] == expected
    tcp.sends(".", seq=900, payload=bytes(10))
    assert tcp.segments()[0].sack[0] == (900, 910)  # reported once only


def test_reassembly_takes_pieces_in_any_order_and_overlap() -> None:
    tcp = flying(count=0)
    data = bytes(range(200))
    for start, end in ((150, 200), (20, 60), (50, 120), (0, 10), (100, 160), (5, 30)):
        tcp.sends(".", seq=start, payload=data[start:end])
    assert tcp.read() == data
    assert tcp.connection._rx.held == 0


def test_sack_shares_a_full_segment_by_making_it_shorter() -> None:
    tcp = flying(count=0)
    tcp.sends(".", seq=100, payload=b"x")
    tcp.write(bytes(3 * MSS))
    first = tcp.segments()[0]
    assert first.sack == ((100, 101),)
    assert len(first.payload) == MSS - 12


# -- RACK (RFC 8985 section 6) ---------------------------------------------------------------------


def test_three_sacked_segments_above_a_hole_bring_it_back_at_once() -> None:
    tcp = flying()
    tcp.now += RTT
    sacks(tcp, 1)
    sacks(tcp, 1, 2)
    tcp.expects_nothing()
    sacks(tcp, 1, 2, 3)
    (segment,) = tcp.segments()
    tcp.check(segment, ".", seq=0)


def test_one_sacked_segment_is_enough_after_a_quarter_round_trip() -> None:
    tcp = flying()
    tcp.now += RTT
    sacks(tcp, 1)
    (segment,) = tcp.until_sent()
    tcp.check(segment, ".", seq=0)
    assert tcp.now == pytest.approx(100 + 2 * RTT + RTT / 4, abs=0.01)


def test_a_lost_retransmission_is_noticed_without_a_timeout() -> None:
    tcp = flying()
    tcp.now += RTT
    sacks(tcp, 1, 2, 3)
    (again,) = tcp.segments()
    assert again.seq == 0
    tcp.write(bytes(3 * MSS))
    tcp.now += 0.05
    tcp.sends(".", ack=0, sack=((MSS, 7 * MSS),))
    sent = tcp.segments()
    assert sent
    tcp.now += RTT
    # What was sent after the retransmission arrives, the retransmission does not.
    tcp.sends(".", ack=0, sack=((MSS, 7 * MSS), (sent[0].seq, sent[0].seq + MSS)))
    assert 0 in [segment.seq for segment in tcp.segments()]


def test_late_originals_widen_the_window() -> None:
    """Reordering seen: the third SACK no longer condemns, time does."""
    tcp = flying()
    tcp.now += RTT
    sacks(tcp, 1, 2)
    tcp.now += 0.03
    tcp.sends(".", ack=3 * MSS)  # segment 0 was only late
    assert tcp.connection._tx.rack.reordering_seen
    assert tcp.connection._tx.rack.lateness == pytest.approx(0.03)
    tcp.segments()
    tcp.write(bytes(5 * MSS))
    tcp.segments()
    tcp.now += 0.01
    sacks(tcp, 4, 5, 6, ack=3)
    assert all(segment.seq > 9 * MSS for segment in tcp.segments())


def test_dsack_widens_the_window_once_a_round_trip() -> None:
    tcp = flying()
    tcp.now += RTT
    rack = tcp.connection._tx.rack
    tcp.sends(".", ack=2 * MSS, sack=((0, MSS),))
    tcp.sends(".", ack=2 * MSS, sack=((0, MSS),))
    assert rack.multiplier == 2


def test_an_overtaken_ack_is_not_mistaken_for_a_dsack() -> None:
    tcp = flying()
    tcp.now += RTT
    tcp.sends(".", ack=5 * MSS)
    sacks(tcp, 2, ack=1)
    assert tcp.connection._tx.rack.multiplier == 1
    assert tcp.connection._tx.una == tcp.connection._tx.iss + 1 + 5 * MSS


# -- tail loss probe (RFC 8985 section 7) ----------------------------------------------------------


def test_tail_loss_probe_repeats_the_last_segment_after_two_round_trips() -> None:
    tcp = flying(count=3)
    start = tcp.now
    (probe,) = tcp.until_sent()
    tcp.check(probe, ".", seq=2 * MSS)
    assert tcp.now - start == pytest.approx(2 * RTT, abs=0.01)
    # Its SACK shows what is missing; no time-out is needed.
    tcp.now += RTT
    sacks(tcp, 2)
    repaired = tcp.until_sent()
    assert [segment.seq for segment in repaired] == [0, MSS]
    assert tcp.connection._tx.recovery == "fast"


def test_tail_loss_probe_prefers_new_data() -> None:
    tcp = flying(count=10)
    tcp.write(bytes(MSS))
    tcp.expects_nothing()  # the window is full
    (probe,) = tcp.until_sent()
    tcp.check(probe, ".", seq=10 * MSS)


def test_a_probe_that_repaired_a_loss_counts_as_congestion() -> None:
    """RFC 8985 section 7.4.2, case 2: more than the probe is acknowledged and no D-SACK came."""
    tcp = flying(count=2)
    window = tcp.connection._tx.cc.window
    tcp.until_sent()
    tcp.now += RTT
    tcp.sends(".", ack=2 * MSS)
    tcp.write(bytes(MSS))
    tcp.segments()
    tcp.now += RTT
    tcp.sends(".", ack=3 * MSS)
    assert tcp.connection._tx.cc.window < window


def test_a_probe_that_was_not_needed_does_not() -> None:
    tcp = flying(count=2)
    window = tcp.connection._tx.cc.window
    tcp.until_sent()
    tcp.now += 0.01
    tcp.sends(".", ack=2 * MSS, sack=((MSS, 2 * MSS),))
    assert tcp.connection._tx.cc.window >= window


# -- the congestion window -------------------------------------------------------------------------


def test_fast_recovery_halves_once_for_all_losses_of_a_window() -> None:
    tcp = flying()
    cc = tcp.connection._tx.cc
    tcp.now += RTT
    tcp.sends(".", ack=0, sack=((4 * MSS, 10 * MSS),))
    assert cc.window == 5 * MSS
    assert tcp.connection._tx.recovery == "fast"
    assert [segment.seq for segment in tcp.segments()] == [0, MSS, 2 * MSS, 3 * MSS]
    tcp.now += RTT
    tcp.sends(".", ack=10 * MSS)
    assert tcp.connection._tx.recovery is None
    assert cc.window == 5 * MSS


def test_timeout_goes_back_to_one_segment() -> None:
    tcp = flying()
    tcp.until_sent()  # the probe
    (segment,) = tcp.until_sent()
    tcp.check(segment, ".", seq=0)
    assert tcp.connection._tx.cc.window == MSS
    assert tcp.connection._tx.recovery == "timeout"


# -- without SACK: NewReno (RFC 6582) --------------------------------------------------------------


def test_the_third_duplicate_ack_and_each_partial_ack_retransmit() -> None:
    tcp = flying(PLAIN)
    tcp.now += RTT
    for _ in range(2):
        tcp.sends(".", ack=0)
    assert tcp.segments() == []
    tcp.sends(".", ack=0)
    tcp.expects(".", seq=0)
    tcp.now += RTT
    tcp.sends(".", ack=4 * MSS)
    tcp.expects(".", seq=4 * MSS)
    tcp.now += RTT
    tcp.sends(".", ack=10 * MSS)
    assert tcp.connection._tx.recovery is None


def test_window_updates_and_data_are_not_duplicate_acks() -> None:
    tcp = flying(PLAIN)
    for step in range(5):
        tcp.sends(".", ack=0, window=40_000 + step)
        tcp.sends(".", seq=step, ack=0, payload=b"x")
    assert all(not segment.payload for segment in tcp.segments())


# -- spurious retransmissions are undone -----------------------------------------------------------


def test_eifel_timestamps_undo_a_spurious_fast_retransmit() -> None:
    tcp = flying(FULL)
    cc = tcp.connection._tx.cc
    window = cc.window
    original = tcp.sent[0].timestamps[0]  # type: ignore[attr-defined]
    tcp.now += RTT
    sacks(tcp, 1, 2, 3, timestamps=(10, original))
    (again,) = tcp.segments()
    assert again.seq == 0
    assert cc.window < window
    tcp.now += 0.02
    # The ACK echoes the original's timestamp: it had only been late.
    tcp.sends(".", ack=4 * MSS, timestamps=(11, original))
    assert cc.window >= window
    assert tcp.connection._tx.recovery is None


def test_eifel_does_not_undo_a_real_loss() -> None:
    tcp = flying(FULL)
    cc = tcp.connection._tx.cc
    tcp.now += RTT
    sacks(tcp, 1, 2, 3, timestamps=(10, tcp.sent[0].timestamps[0]))  # type: ignore[attr-defined]
    (again,) = tcp.segments()
    reduced = cc.window
    tcp.now += RTT
    assert again.timestamps is not None
    tcp.sends(".", ack=4 * MSS, timestamps=(11, again.timestamps[0]))
    assert cc.window == reduced


def test_dsacks_for_all_retransmissions_undo() -> None:
    tcp = flying()
    cc = tcp.connection._tx.cc
    window = cc.window
    tcp.now += RTT
    sacks(tcp, 1, 2, 3)
    tcp.segments()
    assert cc.window < window
    tcp.now += 0.02
    tcp.sends(".", ack=4 * MSS)
    tcp.now += RTT
    tcp.sends(".", ack=4 * MSS, sack=((0, MSS),))
    assert cc.window >= window


def test_f_rto_originals_after_a_timeout_undo_it() -> None:
    tcp = flying()
    cc = tcp.connection._tx.cc
    window = cc.window
    tcp.until_sent()
    (again,) = tcp.until_sent()
    assert again.seq == 0
    assert cc.window == MSS
    tcp.now += 0.01
    # The path had only stalled: the second segment, never sent again, arrives.
    tcp.sends(".", ack=2 * MSS)
    assert cc.window >= window
    assert tcp.connection._tx.recovery is None
    assert tcp.connection._tx.board.next_lost() is None


def test_reneging_is_survived() -> None:
    """RFC 2018 section 8: what was SACKed may be thrown away until it is acknowledged."""
    tcp = flying(count=4)
    tcp.now += RTT
    sacks(tcp, 1, 2, 3)
    tcp.segments()
    tcp.sends(".", ack=MSS)  # and nothing of the rest: it is gone
    seen = set()
    for _ in range(6):
        seen |= {segment.seq for segment in tcp.until_sent()}
    assert MSS in seen
    for position in range(2, 5):
        tcp.sends(".", ack=position * MSS)
        tcp.until_sent(5)
    assert tcp.connection.unsent == 0


# -- the peer misbehaves ---------------------------------------------------------------------------


def test_absurd_sack_blocks_change_nothing() -> None:
    tcp = flying()
    board = tcp.connection._tx.board
    before = board.in_flight
    tcp.sends(".", ack=0, sack=((50 * MSS, 60 * MSS), (3 * MSS, 3 * MSS), (9 * MSS, 2 * MSS)))
    tcp.sends(".", ack=0, sack=((1 << 31, (1 << 31) + 5),))
    assert board.in_flight == before
    assert board.sacked_bytes == 0


def test_sack_without_agreement_is_ignored() -> None:
    tcp = flying(PLAIN)
    sacks(tcp, 1, 2, 3)
    assert tcp.connection._tx.board.sacked_bytes == 0
