"""RFC 9293 sections 3.5, 3.6 and 3.10: every event in every state."""

from __future__ import annotations

import pytest

from smolmix_web.errors import ConnectionRefused, ConnectionReset, DeadlineError, LocalProtocolError
from smolmix_web.net import State, TcpOptions
from support.tcp_trace import (
    CONSTRUCTORS,
    OUR_NXT,
    PEER_NXT,
    PLAIN,
    Trace,
    close_wait,
    closing,
    established,
    fin_wait_1,
    fin_wait_2,
    last_ack,
    listen,
    syn_received,
    syn_sent,
    time_wait,
)

SYNCHRONIZED = [state for state in CONSTRUCTORS if state is not State.SYN_SENT]
BEYOND_SYN_RECEIVED = [state for state in SYNCHRONIZED if state is not State.SYN_RECEIVED]


@pytest.mark.parametrize("state", CONSTRUCTORS, ids=lambda state: state.value)
def test_constructors_reach_their_state(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    assert tcp.state is state
    tcp.expects_nothing()


# -- 3.10.7.1 CLOSED ----------------------------------------------------------------------------------------


def test_closed_answers_a_segment_without_ack_with_rst_ack_of_it() -> None:
    tcp = Trace()
    tcp.our_port = 9
    tcp.sends("S", seq=-1, payload=b"abc")
    (segment,) = tcp.segments()
    tcp.check(segment, "R.", ack=3)
    assert segment.seq + tcp.iss + 1 == 0


def test_closed_answers_an_ack_with_rst_at_that_number() -> None:
    tcp = Trace()
    tcp.our_port, tcp.iss = 9, 777
    tcp.sends(".", seq=0, ack=50)
    tcp.expects("R", seq=50)


def test_closed_does_not_answer_a_reset() -> None:
    tcp = Trace()
    tcp.our_port = 9
    tcp.sends("R", seq=0)
    tcp.sends("R.", seq=0, ack=0)
    tcp.expects_nothing()


# -- 3.10.7.2 LISTEN ----------------------------------------------------------------------------------------


def test_listen_answers_syn_with_syn_ack() -> None:
    tcp = syn_received()
    tcp.sends(".", seq=0, ack=0)
    assert tcp.state is State.ESTABLISHED
    assert tcp.listener is not None
    assert tcp.listener.accept() is tcp.connection
    assert tcp.connection.remote == ("192.0.2.2", 40_000)


def test_listen_resets_an_ack_and_ignores_reset_and_empty_flags() -> None:
    tcp = listen()
    tcp.sends("R", seq=0)
    tcp.sends("", seq=0)
    tcp.sends("F", seq=0)
    tcp.expects_nothing()
    tcp.sends(".", seq=0, ack=17)
    tcp.expects("R", seq=17)


# -- 3.10.7.3 SYN-SENT --------------------------------------------------------------------------------------


def test_syn_sent_syn_ack_establishes() -> None:
    tcp = syn_sent()
    tcp.sends("S.", seq=-1, ack=0)
    assert tcp.state is State.ESTABLISHED
    assert tcp.connection in tcp.stack.take_changed()
    tcp.expects(".", seq=0, ack=0)


@pytest.mark.parametrize("ack", [-1, 1, 70_000])
def test_syn_sent_wrong_ack_is_reset_at_that_number_and_changes_nothing(ack: int) -> None:
    tcp = syn_sent()
    tcp.sends("S.", seq=-1, ack=ack)
    tcp.expects("R", seq=ack)
    assert tcp.state is State.SYN_SENT


def test_syn_sent_acceptable_reset_refuses() -> None:
    tcp = syn_sent()
    tcp.sends("R.", seq=-1, ack=0)
    assert tcp.state is State.CLOSED
    assert isinstance(tcp.connection.error, ConnectionRefused)
    tcp.expects_nothing()


def test_syn_sent_ignores_resets_that_do_not_acknowledge_our_syn() -> None:
    tcp = syn_sent()
    tcp.sends("R", seq=-1)
    tcp.sends("R.", seq=-1, ack=5)
    assert tcp.state is State.SYN_SENT
    tcp.expects_nothing()


def test_syn_sent_ignores_a_segment_without_syn() -> None:
    tcp = syn_sent()
    tcp.sends(".", seq=0, ack=0)
    assert tcp.state is State.SYN_SENT
    tcp.expects_nothing()


def test_syn_sent_takes_data_of_the_syn_ack() -> None:
    tcp = syn_sent()
    tcp.sends("S.", seq=-1, ack=0, payload=b"early")
    assert tcp.read() == b"early"
    tcp.expects(".", seq=0, ack=5)


def test_simultaneous_open_as_in_figure_8() -> None:
    tcp = syn_sent()
    tcp.sends("S", seq=-1)
    assert tcp.state is State.SYN_RECEIVED
    tcp.expects("S.", seq=-1, ack=0)
    # The peer, too, answers our SYN with SYN/ACK: out of its window, so an ACK goes back ...
    tcp.sends("S.", seq=-1, ack=0)
    tcp.expects(".", seq=0, ack=0)
    # ... and its ACK opens our end.
    tcp.sends(".", seq=0, ack=0)
    assert tcp.state is State.ESTABLISHED
    assert tcp.connection.error is None


def test_simultaneous_open_refused_by_reset() -> None:
    tcp = syn_sent()
    tcp.sends("S", seq=-1)
    tcp.segments()
    tcp.sends("R", seq=0)
    assert isinstance(tcp.connection.error, ConnectionRefused)


def test_syn_is_repeated_with_doubling_intervals_until_the_connect_timeout() -> None:
    tcp = syn_sent(TcpOptions(congestion_control="reno", connect_timeout=20.0, timestamps=False))
    times = []
    while segments := tcp.until_sent(100):
        tcp.check(segments[0], "S", seq=-1)
        times.append(tcp.now - 100)
    assert times == [1, 3, 7, 15]
    error = tcp.connection.error
    assert isinstance(error, DeadlineError)
    assert (error.phase, error.seconds) == ("connect", 20.0)
    assert tcp.now == 120


def test_close_and_abort_before_the_handshake_ends_leave_silently() -> None:
    for leave in ("close", "abort"):
        tcp = syn_sent()
        getattr(tcp.connection, leave)(tcp.now)
        assert tcp.state is State.CLOSED
        tcp.expects_nothing()


def test_data_and_fin_queued_before_the_handshake_follow_it() -> None:
    tcp = syn_sent()
    assert tcp.write(b"request") == 7
    tcp.connection.shutdown_write(tcp.now)
    tcp.sends("S.", seq=-1, ack=0)
    tcp.expects("F.", seq=0, ack=0, payload=b"request")
    assert tcp.state is State.FIN_WAIT_1


# -- SYN-RECEIVED ----------------------------------------------------------------------------------


def test_syn_received_repeats_syn_ack_on_timeout_and_on_a_repeated_syn() -> None:
    tcp = syn_received()
    (segment,) = tcp.until_sent()
    tcp.check(segment, "S.", seq=-1, ack=0)
    assert tcp.now == 101.0
    tcp.sends("S", seq=-1)
    tcp.expects("S.", seq=-1, ack=0)


def test_syn_received_wrong_ack_is_reset() -> None:
    tcp = syn_received()
    tcp.sends(".", seq=0, ack=9)
    tcp.expects("R", seq=9)
    assert tcp.state is State.SYN_RECEIVED


def test_syn_received_passive_returns_to_listen_on_reset() -> None:
    tcp = syn_received()
    tcp.sends("R", seq=0)
    assert tcp.state is State.CLOSED
    assert tcp.listener is not None
    assert tcp.listener.accept() is None
    tcp.expects_nothing()
    tcp.sends("S", seq=-1)
    tcp.expects("S.", seq=-1, ack=0)


def test_syn_received_first_data_with_the_ack_is_taken() -> None:
    tcp = syn_received()
    tcp.sends(".", seq=0, ack=0, payload=b"hi")
    assert tcp.state is State.ESTABLISHED
    assert tcp.read() == b"hi"


def test_syn_received_close_goes_to_fin_wait_1_once_established() -> None:
    tcp = syn_received()
    tcp.connection.shutdown_write(tcp.now)
    tcp.sends(".", seq=0, ack=0)
    assert tcp.state is State.FIN_WAIT_1
    tcp.expects("F.", seq=0, ack=0)


# -- first check: the sequence number --------------------------------------------------------------


@pytest.mark.parametrize("state", BEYOND_SYN_RECEIVED, ids=lambda state: state.value)
@pytest.mark.parametrize("offset", [-5_000, 300_000])
def test_a_segment_outside_the_window_is_acknowledged_and_dropped(state: State, offset: int) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends(".", seq=offset, ack=OUR_NXT[state], payload=b"stray")
    tcp.expects(".", seq=OUR_NXT[state], ack=PEER_NXT[state])
    assert tcp.state is state
    assert tcp.connection.readable() == 0


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=lambda state: state.value)
def test_a_reset_outside_the_window_is_ignored(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends("R", seq=-9_000)
    tcp.sends("R", seq=900_000)
    tcp.expects_nothing()
    assert tcp.state is state


# -- second check: RST (RFC 5961 section 3) --------------------------------------------------------


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=lambda state: state.value)
def test_a_reset_at_rcv_nxt_ends_the_connection(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends("R", seq=PEER_NXT[state])
    assert tcp.state is State.CLOSED
    tcp.expects_nothing()
    quiet = state in (State.CLOSING, State.LAST_ACK, State.TIME_WAIT)
    assert (tcp.connection.error is None) == quiet
    if not quiet:
        assert isinstance(tcp.connection.error, ConnectionReset)


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=lambda state: state.value)
def test_a_reset_elsewhere_in_the_window_is_challenged(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends("R", seq=PEER_NXT[state] + 100)
    tcp.expects(".", seq=OUR_NXT[state], ack=PEER_NXT[state])
    assert tcp.state is state
    # The answer of a peer that really has no connection hits RCV.NXT.
    tcp.sends("R", seq=PEER_NXT[state])
    assert tcp.state is State.CLOSED


# -- fourth check: SYN (RFC 5961 section 4) --------------------------------------------------------


@pytest.mark.parametrize("state", BEYOND_SYN_RECEIVED, ids=lambda state: state.value)
@pytest.mark.parametrize("offset", [0, 50])
def test_a_syn_in_the_window_is_challenged_whatever_it_carries(state: State, offset: int) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends("S.", seq=PEER_NXT[state] + offset, ack=OUR_NXT[state], payload=b"x")
    tcp.expects(".", seq=OUR_NXT[state], ack=PEER_NXT[state])
    assert tcp.state is state


def test_challenges_are_limited_in_rate() -> None:
    tcp = established()
    for _ in range(50):
        tcp.sends("S", seq=10)
        tcp.sends("R", seq=10)
    assert len(tcp.segments()) == 1
    tcp.later(0.6)
    tcp.sends("S", seq=10)
    assert len(tcp.segments()) == 1


# -- fifth check: ACK ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", SYNCHRONIZED, ids=lambda state: state.value)
def test_a_segment_without_ack_is_dropped(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends("", seq=PEER_NXT[state], payload=b"data")
    tcp.sends("F", seq=PEER_NXT[state])
    assert tcp.state is state
    assert tcp.connection.readable() == 0
    tcp.expects_nothing()


@pytest.mark.parametrize("state", BEYOND_SYN_RECEIVED, ids=lambda state: state.value)
@pytest.mark.parametrize("ack", [2_000, -200_000])
def test_an_ack_of_what_was_never_sent_or_long_ago_is_challenged(state: State, ack: int) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.sends(".", seq=PEER_NXT[state], ack=ack, payload=b"data")
    tcp.expects(".", seq=OUR_NXT[state], ack=PEER_NXT[state])
    assert tcp.state is state
    assert tcp.connection.readable() == 0


# -- data ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constructor", [established, fin_wait_1, fin_wait_2])
def test_states_that_receive(constructor: object) -> None:
    tcp = constructor()  # type: ignore[operator]
    tcp.sends(".", seq=0, ack=0, payload=b"text")
    assert tcp.connection in tcp.stack.take_changed()
    assert tcp.read() == b"text"


@pytest.mark.parametrize("constructor", [close_wait, closing, last_ack, time_wait])
def test_states_after_the_peers_fin_ignore_text(constructor: object) -> None:
    tcp = constructor()  # type: ignore[operator]
    tcp.sends(".", seq=1, ack=0, payload=b"text")
    assert tcp.connection.readable() == 0
    assert tcp.connection.error is None


def test_urgent_data_is_ordinary_data() -> None:
    tcp = established()
    tcp.sends("U.", seq=0, ack=0, payload=b"!now")
    assert tcp.read() == b"!now"


# -- closing (section 3.6) -------------------------------------------------------------------------


def test_figure_12_normal_close_from_our_side() -> None:
    tcp = fin_wait_1()
    tcp.sends(".", seq=0, ack=1)
    assert tcp.state is State.FIN_WAIT_2
    tcp.sends("F.", seq=0, ack=1)
    assert tcp.state is State.TIME_WAIT
    assert tcp.connection.eof_received
    tcp.expects(".", seq=1, ack=1)
    tcp.later(59)
    assert tcp.state is State.TIME_WAIT
    tcp.later(2)
    assert tcp.state is State.CLOSED
    assert tcp.stack._connections == {}


def test_figure_13_simultaneous_close() -> None:
    tcp = closing()
    assert tcp.state is State.CLOSING
    tcp.sends(".", seq=1, ack=1)
    assert tcp.state is State.TIME_WAIT


def test_fin_with_the_ack_of_ours_goes_straight_to_time_wait() -> None:
    tcp = fin_wait_1()
    tcp.sends("F.", seq=0, ack=1)
    assert tcp.state is State.TIME_WAIT
    tcp.expects(".", seq=1, ack=1)


def test_passive_close() -> None:
    tcp = close_wait()
    assert tcp.connection.eof_received
    assert tcp.write(b"still open") == 10
    tcp.expects(".", seq=0, ack=1, payload=b"still open")
    tcp.connection.shutdown_write(tcp.now)
    tcp.expects("F.", seq=10, ack=1)
    assert tcp.state is State.LAST_ACK
    tcp.sends(".", seq=1, ack=11)
    assert tcp.state is State.CLOSED
    assert tcp.connection.error is None


def test_half_close_keeps_receiving() -> None:
    tcp = fin_wait_2()
    for index in range(10):
        tcp.sends(".", seq=5 * index, ack=1, payload=b"later")
    assert tcp.read() == b"later" * 10
    with pytest.raises(LocalProtocolError):
        tcp.write(b"no")


def test_fin_ahead_of_missing_text_waits_for_it() -> None:
    tcp = established()
    tcp.sends("F.", seq=3, ack=0, payload=b"def")
    assert tcp.state is State.ESTABLISHED
    tcp.sends(".", seq=0, ack=0, payload=b"abc")
    assert tcp.state is State.CLOSE_WAIT
    assert tcp.read() == b"abcdef"
    assert tcp.connection.eof_received
    assert tcp.segments()[-1].ack == 7


def test_a_repeated_fin_is_acknowledged_again_and_restarts_time_wait() -> None:
    tcp = time_wait()
    tcp.later(40)
    tcp.sends("F.", seq=0, ack=1)
    tcp.expects(".", seq=1, ack=1)
    tcp.later(40)
    assert tcp.state is State.TIME_WAIT
    tcp.later(30)
    assert tcp.state is State.CLOSED


@pytest.mark.parametrize("constructor", [fin_wait_1, closing, last_ack])
def test_our_fin_is_retransmitted(constructor: object) -> None:
    tcp = constructor()  # type: ignore[operator]
    for _ in range(3):
        (segment,) = tcp.until_sent()
        tcp.check(segment, "F.", seq=0)


def test_data_after_full_close_is_answered_with_reset() -> None:
    tcp = established()
    tcp.connection.close(tcp.now)
    tcp.expects("F.", seq=0, ack=0)
    tcp.sends(".", seq=0, ack=1, payload=b"unwanted")
    tcp.expects("R.", seq=1, ack=0)
    assert tcp.state is State.CLOSED


def test_close_with_unread_data_resets() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, payload=b"unread")
    tcp.segments()
    tcp.connection.close(tcp.now)
    assert [segment.flags & 4 for segment in tcp.segments()] == [4]
    assert tcp.state is State.CLOSED


def test_fin_wait_2_of_a_closed_connection_does_not_last_for_ever() -> None:
    tcp = established()
    tcp.connection.close(tcp.now)
    tcp.segments()
    tcp.sends(".", seq=0, ack=1)
    assert tcp.state is State.FIN_WAIT_2
    tcp.later(61)
    assert tcp.state is State.CLOSED


@pytest.mark.parametrize("state", BEYOND_SYN_RECEIVED, ids=lambda state: state.value)
def test_abort_sends_a_reset_where_the_peer_may_still_care(state: State) -> None:
    tcp = CONSTRUCTORS[state]()
    tcp.connection.abort(tcp.now)
    assert tcp.state is State.CLOSED
    if state in (State.CLOSING, State.LAST_ACK, State.TIME_WAIT):
        tcp.expects_nothing()
    else:
        tcp.expects("R.", seq=OUR_NXT[state], ack=PEER_NXT[state])


def test_a_new_syn_in_time_wait_opens_a_new_connection() -> None:
    """Section 3.10.7.4 and RFC 6191: only if its sequence number is beyond the old connection's."""
    tcp = syn_received()
    tcp.sends(".", seq=0, ack=0)
    tcp.connection.close(tcp.now)
    tcp.expects("F.", seq=0, ack=0)
    tcp.sends("F.", seq=0, ack=1)
    assert tcp.state is State.TIME_WAIT
    tcp.segments()
    tcp.later(1)
    tcp.sends("S", seq=-100)
    tcp.expects(".", seq=1, ack=1)
    tcp.peer_iss += 70_000
    tcp.sends("S", seq=-1, mss=1000)
    (segment,) = tcp.segments()
    tcp.check(segment, "S.", ack=0)
    (fresh,) = tcp.stack._connections.values()
    assert fresh is not tcp.connection
    assert tcp.state is State.CLOSED


# -- user calls ------------------------------------------------------------------------------------


def test_send_after_failure_raises_the_error() -> None:
    tcp = established()
    tcp.sends("R", seq=0)
    with pytest.raises(ConnectionReset):
        tcp.write(b"x")
    assert tcp.connection.writable() == 0


def test_data_received_before_a_reset_stays_readable() -> None:
    tcp = established()
    tcp.sends(".", seq=0, ack=0, payload=b"last words")
    tcp.sends("R", seq=10)
    assert tcp.read() == b"last words"
    assert tcp.stack.memory.used == 0


# -- the exit's deferred listener ------------------------------------------------------------------


def test_deferred_syn_waits_for_accept_syn() -> None:
    tcp = listen(deferred=True)
    tcp.sends("S", seq=-1, mss=1000)
    tcp.expects_nothing()
    assert tcp.listener is not None
    assert tcp.stack.take_changed() == {tcp.listener}
    connection = tcp.listener.accept()
    assert connection is not None
    assert connection.state is State.SYN_RECEIVED
    assert connection.local == ("192.0.2.1", 7)
    tcp.sends("S", seq=-1, mss=1000)  # the impatient client repeats its SYN
    tcp.later(3)
    tcp.expects_nothing()
    connection.accept_syn(tcp.now)
    tcp.expects("S.", seq=-1, ack=0)
    tcp.sends(".", seq=0, ack=0)
    assert connection.state is State.ESTABLISHED


def test_deferred_syn_can_be_refused() -> None:
    tcp = listen(deferred=True)
    tcp.sends("S", seq=-1)
    assert tcp.listener is not None
    connection = tcp.listener.accept()
    assert connection is not None
    connection.refuse(tcp.now)
    tcp.expects("R.", ack=0)
    assert connection.state is State.CLOSED
    assert tcp.stack._connections == {}


def test_deferred_syn_that_nobody_decides_times_out() -> None:
    tcp = listen(deferred=True)
    tcp.sends("S", seq=-1)
    assert tcp.listener is not None
    connection = tcp.listener.accept()
    assert connection is not None
    tcp.later(PLAIN.connect_timeout + 1)
    assert isinstance(connection.error, DeadlineError)
    assert tcp.stack._connections == {}
