"""Parsing and emitting of directory answers, on samples that the published client accepts."""

from __future__ import annotations

import copy

import pytest
from directory_samples import sample

from smolmix_web.directory import bincode, timestamps
from smolmix_web.directory.described import emit_described, parse_described
from smolmix_web.directory.epochs import (
    KeyRotationInfo,
    emit_key_rotation,
    emit_rewarded_set,
    parse_key_rotation,
    parse_rewarded_set,
)
from smolmix_web.directory.skimmed import (
    EpochRole,
    RoleKind,
    emit_skimmed,
    parse_skimmed,
    performance_percent,
)
from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58
from smolmix_web.nym.topology import EntryDetails, NodeRoles

PAIRS = {
    "mixnodes": (parse_skimmed, emit_skimmed),
    "gateways": (parse_skimmed, emit_skimmed),
    "rewarded": (parse_rewarded_set, emit_rewarded_set),
    "keyrotation": (parse_key_rotation, emit_key_rotation),
}


@pytest.mark.parametrize("name", PAIRS)
def test_samples_come_back_unchanged(name):
    parse, emit = PAIRS[name]
    assert emit(parse(sample(name))) == sample(name)


def test_described_sample_comes_back_but_for_the_build_details():
    def without_build(answer):
        for element in answer["data"]:
            del element["description"]["build_information"]
        return answer

    emitted = emit_described(parse_described(sample("described")))
    assert emitted["data"][0]["description"]["build_information"]["build_version"] == "1.40.0"
    assert without_build(emitted) == without_build(sample("described"))


def test_gateway_sample_is_read_right():
    entry, exit_node = parse_skimmed(sample("gateways")).nodes
    assert entry.node_id == 4
    assert entry.identity == base58.decode("Bincuik5v411CXzJaptVZu2xsMwQrcfc4D5epovrRa3R", 32)
    assert entry.ip_addresses == ("127.0.0.1",)
    assert entry.mix_port == 11004
    assert entry.entry == EntryDetails("gw.local.test", 9000, 9001)
    assert entry.role == EpochRole(RoleKind.ENTRY_GATEWAY)
    assert exit_node.supported_roles == NodeRoles(mixnode=False, entry=True, exit_nr=True, exit_ipr=True)
    assert exit_node.entry == EntryDetails(None, 9010, None)


@pytest.mark.parametrize(
    ("text", "percent"),
    [("1", 100), ("1.0", 100), ("0", 0), ("0.5", 50), ("0.499", 49), ("0.98", 98), ("0.7599999", 75)],
)
def test_performance(text, percent):
    assert performance_percent(text) == percent


@pytest.mark.parametrize(
    "text", ["1.01", "1.000000000000000001", "2", "-0.5", "", ".5", "1.", "NaN", "1e-1", " 1", "٠.٥"]
)
def test_performance_outside_its_range(text):
    with pytest.raises(MalformedError):
        performance_percent(text)


REQUIRED = [
    "node_id",
    "ed25519_identity_pubkey",
    "ip_addresses",
    "mix_port",
    "x25519_sphinx_pubkey",
    "role",
    "performance",
]


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", ["missing", None, 1.5, True, {}, ["x"], "?"])
def test_node_with_a_wrong_field_is_left_out(name, value):
    answer = sample("gateways")
    node = answer["nodes"]["data"][1]
    if value == "missing":
        del node[name]
    else:
        node[name] = value
    parsed = parse_skimmed(answer)
    assert [node.node_id for node in parsed.nodes] == [4]
    assert parsed.unreadable == 1


@pytest.mark.parametrize("node", [None, 5, "node", [], {}])
def test_what_is_no_node_is_left_out(node):
    answer = sample("gateways")
    answer["nodes"]["data"].insert(0, node)
    parsed = parse_skimmed(answer)
    assert [node.node_id for node in parsed.nodes] == [4, 5]
    assert parsed.unreadable == 1


def test_a_list_of_which_nothing_can_be_read_is_an_error():
    answer = sample("gateways")
    for node in answer["nodes"]["data"]:
        del node["mix_port"]
    with pytest.raises(MalformedError, match=r"data\[0\]\.mix_port"):
        parse_skimmed(answer)
    answer["nodes"]["data"] = []
    assert parse_skimmed(answer).nodes == ()


def test_a_description_that_cannot_be_read_is_left_out():
    answer = sample("described")
    broken = copy.deepcopy(answer["data"][0])
    broken["description"]["host_information"]["keys"]["x25519_versioned_noise"] = {"x25519_pubkey": "?"}
    answer["data"].append(broken)
    parsed = parse_described(answer)
    assert (len(parsed.nodes), parsed.unreadable) == (1, 1)


def test_optional_fields_have_defaults_and_unknown_ones_are_ignored():
    answer = sample("gateways")
    node = answer["nodes"]["data"][0]
    del node["supported_roles"], node["entry"]
    node["novelty"] = {"a": [1]}
    answer["novelty"] = 1
    parsed = parse_skimmed(answer).nodes[0]
    assert parsed.supported_roles == NodeRoles()
    assert parsed.entry is None


def test_number_as_performance_is_an_error():
    answer = sample("gateways")
    for node in answer["nodes"]["data"]:
        node["performance"] = 1
    with pytest.raises(MalformedError, match="performance"):
        parse_skimmed(answer)


@pytest.mark.parametrize(
    ("alias", "kind"),
    [("entry", RoleKind.ENTRY_GATEWAY), ("gateway", RoleKind.ENTRY_GATEWAY), ("exit", RoleKind.EXIT_GATEWAY)],
)
def test_role_aliases(alias, kind):
    answer = sample("gateways")
    node = answer["nodes"]["data"][0]
    node["epoch_role"] = alias
    del node["role"]
    assert parse_skimmed(answer).nodes[0].role.kind is kind


def test_fresh_status_round_trips_and_distinguishes_metadata():
    answer = sample("gateways")
    interval = {
        "id": 3,
        "epochs_in_interval": 720,
        "current_epoch_start": "2026-08-20T12:00:00Z",
        "current_epoch_id": 100,
        "epoch_length": {"secs": 3600, "nanos": 0},
        "total_elapsed_epochs": 2260,
    }
    answer["metadata"]["status"] = {"fresh": interval}
    parsed = parse_skimmed(answer)
    assert emit_skimmed(parsed) == answer
    assert parsed.metadata != parse_skimmed(sample("gateways")).metadata


def test_metadata_is_equal_whatever_the_time_of_the_answer():
    later = sample("gateways")
    later["metadata"]["refreshed_at"] = "2026-08-20 12:00:05.5 +00:00:00"
    assert parse_skimmed(later).metadata == parse_skimmed(sample("gateways")).metadata


@pytest.mark.parametrize(
    ("text", "unix_time"),
    [
        ("2026-08-20 12:00:00.0 +00:00:00", 1787227200.0),
        ("2026-08-20 12:00:00.25 +00:00:00", 1787227200.25),
        ("2026-08-20T12:00:00Z", 1787227200.0),
        ("2026-08-20T14:00:00.5+02:00", 1787227200.5),
        ("yesterday", 0.0),
        ("2026-02-30T12:00:00Z", 0.0),
        ("", 0.0),
    ],
)
def test_refreshed_at(text, unix_time):
    assert timestamps.parse_lenient(text) == unix_time


@pytest.mark.parametrize("text", ["2026-08-20 12:00:00Z", "2026-08-20T12:00:00", "soon", ""])
def test_epoch_start_is_strict(text):
    answer = sample("keyrotation")
    answer["current_epoch_start"] = text
    with pytest.raises(MalformedError):
        parse_key_rotation(answer)


def test_emitted_times_are_parsed_back():
    for unix_time in (0.0, 1787227200.0, 1787227200.125):
        assert timestamps.parse_rfc3339(timestamps.emit_rfc3339(unix_time)) == unix_time
        assert timestamps.parse_lenient(timestamps.emit_offset_date_time(unix_time)) == unix_time


@pytest.mark.parametrize("duration", [{"secs": 0, "nanos": 0}, {"secs": 1}, 3600, None])
def test_epoch_of_no_length_is_refused(duration):
    answer = sample("keyrotation")
    answer["epoch_duration"] = duration
    with pytest.raises(MalformedError):
        parse_key_rotation(answer)


@pytest.mark.parametrize("name", ["entry_gateways", "exit_gateways", "layer1", "layer2", "layer3", "standby"])
def test_rewarded_set_needs_all_lists(name):
    answer = sample("rewarded")
    del answer[name]
    with pytest.raises(MalformedError, match=name):
        parse_rewarded_set(answer)


def test_rotation_follows_the_clock():
    info = KeyRotationInfo.at_epoch(
        100, epoch_start=1000.0, epoch_duration=10.0, validity_epochs=24, initial_epoch_id=76
    )
    assert (info.current_key_rotation_id, info.current_rotation_starting_epoch) == (1, 100)
    assert info.current_rotation_ending_epoch == 123
    clock = info.clock
    assert clock.epoch_at(1009.9) == 100
    assert clock.epoch_at(1010.0) == 101
    assert clock.rotation_at(1239.9) == 1
    assert clock.rotation_at(1240.0) == 2


# -- bincode ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mixnodes", "gateways"])
def test_bincode_says_the_same_as_json(name):
    parsed = parse_skimmed(sample(name))
    assert bincode.decode_skimmed(bincode.encode_skimmed(parsed)) == parsed


def test_bincode_layout_of_one_node():
    """Written out by hand from directory.md 11."""
    answer = sample("gateways")
    answer["nodes"]["data"] = answer["nodes"]["data"][:1]
    answer["nodes"]["pagination"] = {"total": 1, "page": 0, "size": 1}
    answer["nodes"]["data"][0]["ip_addresses"] = ["127.0.0.1", "::1"]
    identity, sphinx = (
        answer["nodes"]["data"][0][name].encode()
        for name in ("ed25519_identity_pubkey", "x25519_sphinx_pubkey")
    )
    refreshed = b"2026-08-20 12:00:00.0 +00:00:00"
    expected = (
        b"\x00" + bytes([100, 1]) + bytes([len(refreshed)]) + refreshed
        + bytes([1, 0, 1, 1])
        + bytes([4, len(identity)]) + identity
        + b"\x02" + b"\x00\x7f\x00\x00\x01" + b"\x01" + bytes(15) + b"\x01"
        + b"\xfb" + (11004).to_bytes(2, "little")
        + bytes([len(sphinx)]) + sphinx
        + b"\x01"
        + b"\x00\x01\x00\x00"
        + b"\x01\x01\x0dgw.local.test" + b"\xfb" + (9000).to_bytes(2, "little")
        + b"\x01\xfb" + (9001).to_bytes(2, "little")
        + b"\x011"
    )  # fmt: skip
    assert bincode.encode_skimmed(parse_skimmed(answer)) == expected


def test_bincode_truncated_anywhere_or_prolonged():
    encoded = bincode.encode_skimmed(parse_skimmed(sample("gateways")))
    for length in range(len(encoded)):
        with pytest.raises(MalformedError):
            bincode.decode_skimmed(encoded[:length])
    with pytest.raises(MalformedError, match="trailing"):
        bincode.decode_skimmed(encoded + b"\0")


def test_bincode_refuses_counts_beyond_the_data():
    prefix = bincode.encode_skimmed(parse_skimmed(sample("gateways")))[:37]
    with pytest.raises(MalformedError):
        bincode.decode_skimmed(prefix + b"\xfd" + b"\xff" * 8)


@pytest.mark.parametrize("value", [0, 250, 251, 65535, 65536, 2**32 - 1, 2**32, 2**64 - 1])
def test_bincode_integers(value):
    from smolmix_web.wire import Reader, Writer

    writer = Writer()
    bincode.push_varint(writer, value)
    assert len(writer.getvalue()) == (1 if value < 251 else 3 if value < 2**16 else 5 if value < 2**32 else 9)
    assert bincode.pull_varint(Reader(writer.getvalue())) == value


def test_parsers_do_not_change_their_input():
    answer = sample("described")
    before = copy.deepcopy(answer)
    parse_described(answer)
    assert answer == before
