"""Invariant: whatever a directory answers, parsers give a value or MalformedError, the client functions give
a value or one of their typed errors; and whatever a directory is asked, it answers."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smolmix_web.directory import bincode, fetch_described, fetch_key_rotation, fetch_topology
from smolmix_web.directory.announcement import PATH_ANNOUNCE
from smolmix_web.directory.described import parse_described
from smolmix_web.directory.epochs import parse_key_rotation, parse_rewarded_set
from smolmix_web.directory.errors import DirectoryError, DirectoryUnavailable
from smolmix_web.directory.server import DirectoryState
from smolmix_web.directory.skimmed import parse_skimmed
from smolmix_web.errors import MalformedError
from unit.directory.directory_samples import FakeAnswer, FakeDirectory, sample

QUICK = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

PARSERS = {
    "mixnodes": parse_skimmed,
    "gateways": parse_skimmed,
    "rewarded": parse_rewarded_set,
    "keyrotation": parse_key_rotation,
    "described": parse_described,
}
SAMPLES = {name: sample(name) for name in PARSERS}
VALUES = st.sampled_from(
    [
        None,
        True,
        0,
        -1,
        1.5,
        2**32,
        2**70,
        "",
        "x",
        "1",
        "0.5",
        "\ud800",
        [],
        {},
        [None],
        [[]],
        {"a": 1},
        "1" * 5000,
    ]
)


def mutated(content: object, seed: int, value: object, count: int) -> object:
    """The content with some of its parts replaced or removed."""
    source = random.Random(seed)
    content = copy.deepcopy(content)
    for _ in range(count):
        spot = content
        while True:
            if isinstance(spot, dict) and spot:
                key = source.choice(sorted(spot))
            elif isinstance(spot, list) and spot:
                key = source.randrange(len(spot))
            else:
                break
            if isinstance(spot[key], dict | list) and spot[key] and source.random() < 0.85:
                spot = spot[key]
                continue
            if source.random() < 0.3:
                del spot[key]
            else:
                spot[key] = copy.deepcopy(value)
            break
    return content


CHANGES = st.tuples(st.integers(0, 2**32), VALUES, st.integers(1, 3))


@QUICK
@given(st.sampled_from(sorted(PARSERS)), CHANGES)
def test_parsers_of_changed_answers(name, change):
    content = mutated(SAMPLES[name], *change)
    if isinstance(content, dict):
        with contextlib.suppress(MalformedError):
            PARSERS[name](content)


@QUICK
@given(st.binary(max_size=300))
def test_bincode_of_random_bytes(data):
    with contextlib.suppress(MalformedError):
        bincode.decode_skimmed(data)


@QUICK
@given(
    st.sampled_from(["mixnodes", "gateways"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
)
def test_bincode_of_changed_bytes(name, changes):
    encoded = bytearray(bincode.encode_skimmed(parse_skimmed(sample(name))))
    for position, value in changes:
        encoded[position % len(encoded)] = value
    try:
        decoded = bincode.decode_skimmed(bytes(encoded))
    except MalformedError:
        return
    assert bincode.decode_skimmed(bincode.encode_skimmed(decoded)) == decoded or decoded.metadata.refreshed_at


@settings(QUICK, max_examples=80)
@given(st.sampled_from(sorted(FakeDirectory().answers)), CHANGES, st.sampled_from(["json", "bincode"]))
def test_client_functions(path, change, form):
    directory = FakeDirectory()
    body = json.dumps(mutated(directory.answers[path], *change)).encode()
    directory.answers[path] = FakeAnswer(200, f"application/{form}", body)
    for fetch in (fetch_topology, fetch_described, fetch_key_rotation):
        with contextlib.suppress(DirectoryError, DirectoryUnavailable):
            asyncio.run(fetch(directory.get))


PATHS = sorted(
    {*DirectoryState(started_at=0.0)._get, *DirectoryState(started_at=0.0)._post, "", "nothing", "/api//"}
)


@QUICK
@given(
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "PUT", "\0"]),
    st.sampled_from(PATHS) | st.text(max_size=20),
    st.dictionaries(
        st.sampled_from(["page", "output", "epoch_id", "role"]), st.text(max_size=12), max_size=4
    ),
    st.binary(max_size=60)
    | st.sampled_from([b"{}", b"[" * 5000, b'{"addresses":[[]]}', b'{"addresses":["\xff"]}']),
)
def test_directory_answers_anything(method, path, query, body):
    answer = DirectoryState(started_at=0.0).answer(method, path, query, body, unix_time=5.0)
    assert answer.status in (200, 204, 400, 401, 404, 405, 409, 429)
    if answer.content_type == "application/json" and method != "HEAD":
        json.loads(answer.body)


@QUICK
@given(CHANGES)
def test_announcements(change):
    announcement = {
        "unix_milliseconds": 1,
        "layer": 1,
        "performance": "1",
        "leaving": False,
        "node": SAMPLES["described"]["data"][0],
    }
    text = json.dumps(mutated(announcement, *change))
    body = json.dumps({"announcement": text, "signature": "1" * 64}).encode()
    answer = DirectoryState(started_at=0.0).answer("POST", PATH_ANNOUNCE, {}, body, unix_time=5.0)
    assert answer.status in (400, 401)
