"""Invariant: a parser raises MalformedError or gives a value that survives being emitted and parsed again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web.errors import MalformedError
from smolmix_web.ipr.bundle import join_bundle, split_bundle
from smolmix_web.ipr.lp import emit_stream_frame, frame_kind, parse_stream_frame
from smolmix_web.ipr.packetinfo import destination_of, inspect_packet
from smolmix_web.ipr.policy import PolicyError, emit_policy, parse_policy
from smolmix_web.ipr.requests import emit_request, parse_request
from smolmix_web.ipr.responses import emit_response, parse_response

VERSION = st.sampled_from((b"\x08", b"\x09", b"\x0a"))
small = st.binary(max_size=40)


@settings(max_examples=400, deadline=None)
@given(VERSION, st.sampled_from((b"\x00", b"\x01\x00", b"\x01\x01", b"\x01\x02", b"")), small)
def test_requests(version: bytes, variant: bytes, rest: bytes) -> None:
    try:
        request = parse_request(version + b"\x01" + variant + rest)
    except MalformedError:
        return
    assert parse_request(emit_request(request)) == request


@settings(max_examples=600, deadline=None)
@given(
    VERSION,
    st.sampled_from(
        (b"", b"\x00", *(bytes([1, n]) for n in range(6)), *(bytes([1, 5, 0, n]) for n in range(3)))
    ),
    small,
    st.sampled_from((None, 9, 10)),
)
def test_responses(version: bytes, variant: bytes, rest: bytes, shape: int | None) -> None:
    try:
        response = parse_response(version + variant + rest, shape=shape)
    except MalformedError:
        return
    assert parse_response(emit_response(response, shape=shape), shape=shape) == response


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda rest: b"\x03\x00" + rest)))
def test_frames(data: bytes) -> None:
    frame_kind(data)
    try:
        frame = parse_stream_frame(data)
    except MalformedError:
        return
    assert emit_stream_frame(frame) == data[:15] + b"\x00" + data[16:]  # the reserved byte is not kept


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_bundles(data: bytes) -> None:
    packets, complete = split_bundle(data)
    rebuilt = join_bundle(packets)
    assert data.startswith(rebuilt)
    assert complete == (rebuilt == data)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from((b"", b"\x45", b"\x4f", b"\x60")), st.binary(max_size=120))
def test_packets(start: bytes, rest: bytes) -> None:
    packet = start + rest
    try:
        info = inspect_packet(packet)
    except MalformedError:
        return
    assert destination_of(packet) == info.destination
    assert info.transport <= len(packet) + 1020  # a later fragment may end inside its own headers
    assert 0 <= info.port <= 65535


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=30),
            st.text("ExitPolicy acceptrj6*:.[]/0123456789abcdf-#", max_size=30).map("ExitPolicy {}".format),
        )
    )
)
def test_policies(lines: list[str]) -> None:
    try:
        policy = parse_policy("\n".join(lines))
    except PolicyError:
        return
    assert parse_policy(emit_policy(policy)) == policy
