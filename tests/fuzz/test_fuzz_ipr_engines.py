"""Invariant: no bytes make an IPR engine raise, and the server keeps at most what its limits allow."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.ipr.client import IprClient
from smolmix_web.ipr.lp import StreamFrame, StreamMessageType, emit_stream_frame
from smolmix_web.ipr.server import IprServer, IprServerConfig

payload = st.one_of(
    st.binary(max_size=60),
    st.tuples(
        st.sampled_from((b"\x08\x01", b"\x09\x01", b"\x0a\x01", b"\x09", b"\x0a")),
        st.sampled_from((b"\x00", b"\x01\x00", b"\x01\x01", b"\x01\x02", b"\x01\x05\x00\x02")),
        st.binary(max_size=40),
    ).map(b"".join),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.booleans(), payload), max_size=20))
def test_server(messages: list[tuple[bytes, bool, bytes]]) -> None:
    server = IprServer(config=IprServerConfig(max_clients=3))
    for number, (tag, framed, data) in enumerate(messages):
        if framed:
            data = emit_stream_frame(StreamFrame(1, StreamMessageType.DATA, 0, data))
        server.receive_message(tag, data, float(number))
        server.send_packet(data, float(number))
        server.handle_timer(float(number))
    assert len(server) <= 3


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("1.36.0", "1.37.0")), st.lists(st.tuples(st.booleans(), payload), max_size=20))
def test_client(exit_version: str, messages: list[tuple[bool, bytes]]) -> None:
    client = IprClient(exit_version=exit_version, unix_time=lambda: 1.8e9, random_bytes=bytes)
    client.start(0.0)
    for number, (framed, data) in enumerate(messages):
        if framed:
            data = emit_stream_frame(StreamFrame(0, StreamMessageType.DATA, 0, data))
        client.receive_message(data, float(number))
        client.handle_timer(float(number))
        client.messages_to_send(float(number))
