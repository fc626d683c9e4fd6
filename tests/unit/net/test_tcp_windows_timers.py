"""Windows and timers: RFC 9293 section 3.8, RFC 1122, RFC 6298, RFC 7323."""

from __future__ import annotations

from itertools import pairwise

import pytest

from smolmix_web.errors import DeadlineError
from smolmix_web.net import State, TcpOptions
from smolmix_web.net.tcp.rtt import RttEstimator
from support.tcp_trace import MSS, PLAIN, Trace, established, syn_received, syn_sent

STAMPED = TcpOptions(congestion_control="reno", sparse_acks=False, sack=False, window_scale=False)
SCALED = TcpOptions(congestion_control="reno", sparse_acks=False, sack=False, timestamps=False)
NAGLE = TcpOptions(
    congestion_control="reno",
    sparse_acks=False,
    timestamps=False,
    sack=False,
    window_scale=False,
    no_delay=False,
)


# -- the handshake's options -----------------------------------------------------------------------


def test_our_syn_offers_everything() -> None:
    tcp = Trace(TcpOptions())
    tcp.connection = tcp.stack.connect_tcp("192.0.2.2", 80, tcp.now)
    (syn,) = tcp.segments()
    assert (syn.mss, syn.window_scale, syn.sack_permitted) == (1460, 7, True)
    assert syn.timestamps is not None
    assert syn.timestamps[1] == 0
    assert syn.window == 65_535


def test_syn_ack_answers_only_what_was_offered() -> None:
    tcp = syn_received(TcpOptions())
    assert tcp.connection._timestamps is False
    tcp.sends("S", seq=-1)
    (answer,) = tcp.segments()
    assert (answer.window_scale, answer.sack_permitted, answer.timestamps) == (None, False, None)
    assert answer.mss == 1460


def test_window_scale_needs_both_sides_and_does_not_touch_syn_windows() -> None:
    tcp = established(SCALED, syn={"window_scale": 3}, window=1_000)
    assert tcp.write(bytes(20_000)) == 20_000
    assert sum(len(segment.payload) for segment in tcp.segments()) == 1_000
    tcp.sends(".", seq=0, ack=1_000, window=1_000)
    assert sum(len(segment.payload) for segment in tcp.segments()) == 8_000


def test_mss_limits_segments_and_defaults_to_536() -> None:
    tcp = established()
    tcp.write(bytes(2_500))
    assert [len(segment.payload) for segment in tcp.segments()] == [1_000, 1_000, 500]
    tcp = syn_sent()
    tcp.sends("S.", seq=-1, ack=0)
    tcp.segments()
    tcp.write(bytes(1_000))
    assert [len(segment.payload) for segment in tcp.segments()] == [536, 464]


def test_timestamps_take_their_room_from_the_segment() -> None:
    tcp = established(STAMPED, syn={"timestamps": (1, 0)})
    tcp.write(bytes(1_000))
    assert [len(segment.payload) for segment in tcp.segments()] == [988, 12]


def test_initial_window_is_ten_segments() -> None:
    tcp = established()
    tcp.write(bytes(50_000))
    assert len(tcp.segments()) == 10


# -- what we advertise -----------------------------------------------------------------------------


def test_the_right_edge_never_moves_left_and_reopens_by_whole_segments() -> None:
    tcp = established(PLAIN)
    edges = []
    seq = 0
    while True:
        tcp.sends(".", seq=seq, ack=0, payload=bytes(MSS))
        seq += MSS
        tcp.later(0.1)
        segments = tcp.segments()
        edges += [segment.ack + segment.window for segment in segments]
        if segments and segments[-1].window < MSS:
            break
    assert edges == sorted(edges)
    # Reading one byte opens nothing (silly window avoidance); reading half of it all does.
    tcp.read(1)
    tcp.expects_nothing()
    tcp.read(40_000)
    (update,) = tcp.segments()
    assert update.window >= 40_000


def test_a_window_probe_into_our_closed_window_is_answered() -> None:
    tcp = established(PLAIN)
    seq = 0
    while (window := tcp.connection._rx.edge - tcp.connection._rx.nxt) > 0:
        size = min(MSS, window)
        tcp.sends(".", seq=seq, ack=0, payload=bytes(size))
        seq += size
        tcp.later(0.1)
        tcp.segments()
    tcp.sends(".", seq=seq, ack=0, payload=b"?")
    tcp.expects(".", ack=seq, window=0)
    # An ACK that rides on a probe still counts.
    tcp.write(b"data")
    tcp.segments()
    tcp.sends(".", seq=seq, ack=4, payload=b"?")
    assert tcp.connection.unsent == 0


def test_receive_buffer_grows_with_use_but_not_for_an_idle_reader() -> None:
    def feed(reading: bool) -> int:
        tcp = established(SCALED, syn={"window_scale": 0})
        seq, largest = 0, 0
        for _ in range(2_500):
            room = tcp.connection._rx.edge - tcp.connection._rx.nxt
            if room < MSS:
                break
            tcp.sends(".", seq=seq, ack=0, payload=bytes(MSS))
            seq += MSS
            if reading:
                tcp.read()
            largest = max([largest, *(segment.window << 7 for segment in tcp.segments())])
            tcp.now += 0.00004
        return largest

    assert feed(reading=True) >= 1_000_000
    assert feed(reading=False) <= 256 * 1024


# -- the peer's window -----------------------------------------------------------------------------


def test_zero_window_is_probed_for_as_long_as_the_peer_answers() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, window=0)
    tcp.write(b"waiting")
    tcp.expects_nothing()
    instants = []
    for _ in range(12):
        (probe,) = tcp.until_sent()
        tcp.check(probe, ".", seq=0, payload=b"w")
        instants.append(tcp.now)
        tcp.sends(".", seq=0, ack=0, window=0)
    gaps = [round(b - a, 3) for a, b in pairwise(instants)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == 60.0
    assert tcp.now - 100 > PLAIN.user_timeout
    assert tcp.state is State.ESTABLISHED
    tcp.sends(".", seq=0, ack=0, window=5_000)
    assert b"".join(segment.payload for segment in tcp.segments()) == b"waiting"


def test_a_probe_that_was_taken_is_not_sent_again() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, window=0)
    tcp.write(b"waiting")
    tcp.until_sent()
    tcp.sends(".", seq=0, ack=1, window=5_000)
    tcp.expects(".", seq=1, payload=b"aiting")


def test_sender_avoids_silly_windows() -> None:
    """RFC 9293 section 3.8.6.2.1: a sliver of window is not filled while more is to come."""
    tcp = established()
    tcp.sends(".", seq=0, ack=0, window=300)
    tcp.write(bytes(5_000))
    tcp.expects_nothing()
    tcp.sends(".", seq=0, ack=0, window=5_000)
    assert len(tcp.segments()) == 5


def test_a_shrunk_window_does_not_stop_retransmission() -> None:
    tcp = established()
    tcp.write(bytes(3_000))
    assert len(tcp.segments()) == 3
    tcp.sends(".", seq=0, ack=1_000, window=0)
    (segment,) = tcp.until_sent()
    tcp.check(segment, ".", seq=1_000)
    assert tcp.state is State.ESTABLISHED


def test_old_segments_do_not_update_the_window() -> None:
    """SND.WL1 and SND.WL2, section 3.10.7.4."""
    tcp = established()
    tcp.write(bytes(2_000))
    tcp.segments()
    tcp.sends(".", seq=0, ack=2_000, window=9_000)
    tcp.sends(".", seq=0, ack=1_000, window=10)
    assert tcp.connection._tx.wnd == 9_000


def test_nagle_holds_small_segments_and_no_delay_does_not() -> None:
    tcp = established(NAGLE)
    tcp.write(b"a")
    tcp.expects(".", payload=b"a")
    tcp.write(b"b")
    tcp.expects_nothing()
    tcp.write(bytes(MSS))
    tcp.expects(".", seq=1)
    tcp.sends(".", seq=0, ack=1 + MSS)
    tcp.expects(".", seq=1 + MSS, payload=b"\0")
    tcp = established()
    for letter in (b"a", b"b", b"c"):
        tcp.write(letter)
        tcp.expects(".", payload=letter)


def test_small_writes_before_a_send_opportunity_share_a_segment() -> None:
    tcp = established()
    for _ in range(100):
        tcp.write(b"0123456789")
    tcp.expects(".", payload=b"0123456789" * 100)


def test_back_pressure_is_a_number() -> None:
    tcp = established()
    total = 0
    while room := tcp.connection.writable():
        assert tcp.write(bytes(room + 5_000)) == room
        total += room
        tcp.segments()
    assert 60_000 < total < 200_000
    assert tcp.write(b"x") == 0
    tcp.stack.take_changed()
    # Acknowledged bytes make room once the segments that wait behind them have left.
    tcp.sends(".", seq=0, ack=10_000)
    tcp.segments()
    tcp.sends(".", seq=0, ack=20_000)
    tcp.segments()
    assert tcp.connection in tcp.stack.take_changed()
    assert tcp.connection.writable() > 0


# -- delayed and sparse acknowledgements -----------------------------------------------------------


def test_every_second_segment_is_acknowledged_at_once_and_a_lone_one_soon() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, payload=bytes(1460))
    tcp.expects_nothing()
    tcp.sends(".", seq=1460, ack=0, payload=bytes(1460))
    tcp.expects(".", ack=2920)
    tcp.sends(".", seq=2920, ack=0, payload=b"x")
    start = tcp.now
    (segment,) = tcp.until_sent()
    tcp.check(segment, ".", ack=2921)
    assert tcp.now - start <= 0.2


def test_out_of_order_data_is_acknowledged_at_once() -> None:
    tcp = established()
    tcp.sends(".", seq=500, ack=0, payload=b"x")
    tcp.expects(".", ack=0)
    tcp.sends(".", seq=0, ack=0, payload=bytes(500))
    tcp.expects(".", ack=501)


def test_an_acknowledgement_rides_on_data() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, payload=b"ping")
    tcp.read()
    tcp.write(b"pong")
    tcp.expects(".", ack=4, payload=b"pong")
    tcp.later(5)
    assert all(segment.payload for segment in tcp.segments())


def test_sparse_policy_acknowledges_about_six_times_a_round_trip() -> None:
    tcp = syn_sent(TcpOptions(timestamps=False, connect_timeout=30))
    tcp.now += 0.9
    tcp.sends("S.", seq=-1, ack=0, sack_permitted=True, mss=MSS, window_scale=7)
    tcp.segments()
    seq = 0
    for _ in range(16):  # the start is quick
        tcp.sends(".", seq=seq, ack=0, payload=bytes(MSS))
        seq += MSS
    tcp.segments()
    tcp.later(1)
    tcp.segments()
    acks = 0
    for _ in range(180):  # two round trips' worth, 10 ms apart
        tcp.sends(".", seq=seq, ack=0, payload=bytes(MSS))
        seq += MSS
        tcp.read()
        tcp.later(0.01)
        acks += len(tcp.segments())
    assert 9 <= acks <= 14


def test_sparse_policy_reports_many_islands_earlier() -> None:
    tcp = syn_sent(TcpOptions(timestamps=False))
    tcp.now += 0.9
    tcp.sends("S.", seq=-1, ack=0, sack_permitted=True, mss=MSS, window_scale=7)
    tcp.segments()
    for index in range(16):
        tcp.sends(".", seq=index * MSS, ack=0, payload=bytes(MSS))
    tcp.later(1)
    tcp.segments()
    for hole in range(4):
        tcp.sends(".", seq=(18 + 2 * hole) * MSS, ack=0, payload=bytes(MSS))
    tcp.expects_nothing()
    tcp.sends(".", seq=40 * MSS, ack=0, payload=bytes(MSS))
    (ack,) = tcp.segments()
    # The newest, then the lowest, which the sender would give up first.
    assert [start // MSS for start, _ in ack.sack] == [40, 18, 20, 22]


# -- retransmission time-out -----------------------------------------------------------------------


def test_rto_follows_rfc_6298() -> None:
    rtt = RttEstimator()
    assert rtt.rto == 1.0
    rtt.sample(0.5, 10.0)
    assert (rtt.smoothed, rtt.variation) == (0.5, 0.25)
    assert rtt.rto == pytest.approx(1.5)
    rtt.sample(0.7, 10.5)
    assert rtt.variation == pytest.approx(0.75 * 0.25 + 0.25 * 0.2)
    assert rtt.smoothed == pytest.approx(0.875 * 0.5 + 0.125 * 0.7)
    before = rtt.rto
    rtt.back_off()
    rtt.back_off()
    assert rtt.rto == pytest.approx(4 * before)
    for _ in range(20):
        rtt.back_off()
    assert rtt.rto == 60.0


def test_samples_within_a_round_trip_weigh_less() -> None:
    often, once = RttEstimator(), RttEstimator()
    for estimator, count in ((often, 10), (once, 1)):
        estimator.sample(1.0, 0.0)
        for index in range(count):
            estimator.sample(2.0, (index + 1) / count)
    assert often.smoothed == pytest.approx(once.smoothed, rel=0.02)


def test_timeout_retransmits_with_backoff_until_the_user_timeout() -> None:
    tcp = established(TcpOptions(congestion_control="reno", timestamps=False, sack=False, user_timeout=30.0))
    tcp.write(b"hello")
    tcp.expects(".", seq=0, payload=b"hello")
    start = tcp.now
    instants = []
    while segments := tcp.until_sent():
        if tcp.connection.error is None:
            tcp.check(segments[0], ".", seq=0, payload=b"hello")
            instants.append(tcp.now - start)
        else:
            tcp.check(segments[0], "R.", seq=5)
    gaps = [b - a for a, b in pairwise(instants)]
    assert gaps == pytest.approx([instants[0] * 2**count for count in range(1, len(gaps) + 1)])
    assert isinstance(tcp.connection.error, DeadlineError)
    assert tcp.connection.error.phase == "acknowledgement"
    assert 30 <= tcp.now - start < 60


def test_karn_without_timestamps_takes_no_sample_of_a_retransmission() -> None:
    tcp = syn_sent()
    tcp.now += 0.1
    tcp.sends("S.", seq=-1, ack=0, mss=MSS)
    tcp.segments()
    smoothed = tcp.connection._tx.rtt.smoothed
    tcp.write(b"x")
    tcp.segments()
    tcp.until_sent()
    tcp.now += 5
    tcp.sends(".", seq=0, ack=1)
    assert tcp.connection._tx.rtt.smoothed == smoothed


def test_timestamps_measure_retransmissions_too() -> None:
    tcp = syn_sent(STAMPED)
    tcp.now += 0.1
    tcp.sends("S.", seq=-1, ack=0, mss=MSS, timestamps=(1, 0))
    tcp.segments()
    tcp.write(b"x")
    tcp.segments()
    (again,) = tcp.until_sent()
    assert again.timestamps is not None
    tcp.now += 0.3
    tcp.sends(".", seq=0, ack=1, timestamps=(2, again.timestamps[0]))
    assert tcp.connection._tx.rtt.smoothed == pytest.approx(0.1 + (0.3 - 0.1) / 8, abs=0.005)


# -- keep-alive ------------------------------------------------------------------------------------

ALIVE = TcpOptions(
    congestion_control="reno",
    timestamps=False,
    sack=False,
    keepalive_idle=10.0,
    keepalive_interval=2.0,
    keepalive_count=3,
)


def test_keepalive_is_off_by_default() -> None:
    tcp = established()
    tcp.later(100_000)
    tcp.expects_nothing()


def test_keepalive_probes_an_idle_peer_and_gives_up() -> None:
    tcp = established(ALIVE)
    (probe,) = tcp.until_sent()
    tcp.check(probe, ".", seq=-1, ack=0, payload=b"")
    assert tcp.now == pytest.approx(110)
    tcp.sends(".", seq=0, ack=0)  # it answers
    for expected in (120, 122, 124):
        tcp.until_sent()
        assert tcp.now == pytest.approx(expected)
    tcp.later(3)
    error = tcp.connection.error
    assert isinstance(error, DeadlineError)
    assert error.phase == "keep-alive"


def test_a_keepalive_of_the_peer_is_answered() -> None:
    tcp = established()
    tcp.sends(".", seq=-1, ack=0)
    tcp.expects(".", seq=0, ack=0)
    tcp.later(10)
    tcp.sends(".", seq=-1, ack=0, payload=b"\0")
    tcp.expects(".", seq=0, ack=0)


# -- timestamps: PAWS ------------------------------------------------------------------------------


def stamped() -> Trace:
    return established(STAMPED, syn={"timestamps": (1_000_000, 0)})


def test_paws_drops_old_duplicates() -> None:
    tcp = stamped()
    tcp.sends(".", seq=0, ack=0, payload=b"old", timestamps=(1_000_000 - 50_000, 0))
    assert tcp.connection.readable() == 0
    tcp.expects(".", ack=0)
    assert tcp.stack.stats.paws_dropped == 1


def test_paws_tolerates_reordering() -> None:
    """What was sent before a retransmission and arrives after it is not an old duplicate."""
    tcp = stamped()
    tcp.sends(".", seq=0, ack=0, payload=b"retransmitted", timestamps=(1_002_000, 0))
    tcp.segments()
    tcp.sends(".", seq=13, ack=0, payload=b"original", timestamps=(1_000_500, 0))
    assert tcp.read() == b"retransmittedoriginal"
    tcp.later(1)
    assert tcp.segments()[-1].timestamps[1] == 1_002_000  # type: ignore[index]


def test_echo_is_of_the_first_unacknowledged_segment() -> None:
    """RFC 7323 section 4.3 (2), so that a delayed ACK shows the whole delay."""
    tcp = stamped()
    tcp.sends(".", seq=0, ack=0, payload=b"a", timestamps=(1_000_010, 0))
    tcp.sends(".", seq=1, ack=0, payload=b"b", timestamps=(1_000_020, 0))
    (ack,) = tcp.until_sent()
    assert ack.timestamps is not None
    assert ack.timestamps[1] == 1_000_010


def test_a_segment_without_the_agreed_timestamp_is_dropped() -> None:
    tcp = stamped()
    tcp.sends(".", seq=0, ack=0, payload=b"x")
    assert tcp.connection.readable() == 0
    tcp.sends("R", seq=0)
    assert tcp.state is State.CLOSED


def test_timestamps_survive_the_wrap_of_the_clock() -> None:
    tcp = established(STAMPED, syn={"timestamps": (0xFFFFFFF0, 0)})
    tcp.sends(".", seq=0, ack=0, payload=b"before", timestamps=(0xFFFFFFFF, 0))
    tcp.sends(".", seq=6, ack=0, payload=b"after", timestamps=(5, 0))
    assert tcp.read() == b"beforeafter"
    assert tcp.stack.stats.paws_dropped == 0


def test_sequence_numbers_wrap() -> None:
    tcp = Trace(PLAIN)
    tcp.peer_iss = 0xFFFFFFF0
    tcp.connection = tcp.stack.connect_tcp("192.0.2.2", 80, tcp.now)
    tcp.connection._tx.iss = tcp.connection._tx.una = 0xFFFFFFF8
    tcp.connection._tx.nxt = tcp.connection._tx.base = 0xFFFFFFF9
    tcp.segments()
    tcp.sends("S.", seq=-1, ack=0, mss=MSS)
    tcp.segments()
    tcp.sends(".", seq=0, ack=0, payload=bytes(100))
    assert len(tcp.read()) == 100
    tcp.write(bytes(3_000))
    tcp.segments()
    tcp.sends(".", seq=100, ack=3_000)
    assert tcp.connection.unsent == 0
    assert tcp.state is State.ESTABLISHED
