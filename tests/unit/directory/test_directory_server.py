"""The directory's answers: what official clients and nodes ask, announcements, epochs."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from smolmix_web.crypto import provider
from smolmix_web.directory import bincode, choose_exit, fetch_exits, fetch_gateways, fetch_topology
from smolmix_web.directory.announcement import PATH_ANNOUNCE, Announcement, emit_announcement
from smolmix_web.directory.described import DescribedNode, SphinxKey, parse_described
from smolmix_web.directory.epochs import parse_key_rotation, parse_rewarded_set
from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.directory.refresh import emit_refresh_request
from smolmix_web.directory.server import DirectoryState
from smolmix_web.directory.skimmed import RoleKind, parse_skimmed
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient
from smolmix_web.nym.topology import NodeRoles

START = 1_787_227_200.0
SKIMMED = "v2/unstable/nym-nodes/skimmed"


def seed(number: int) -> bytes:
    return bytes([0x50 + number]) * 32


def identity(number: int) -> bytes:
    return provider().ed25519_public(seed(number))


def sphinx_key(number: int, rotation: int = 1) -> SphinxKey:
    return SphinxKey(rotation, provider().x25519_public(bytes([0x60 + number, rotation]) * 16))


def node(number: int, roles: NodeRoles, **more) -> DescribedNode:
    return DescribedNode(
        node_id=0,
        identity=identity(number),
        ip_addresses=("127.0.0.1",),
        current_sphinx_key=sphinx_key(number),
        build_version="1.40.0",
        ws_port=9000 + number,
        declared_role=roles,
        mix_port=11000 + number,
        **more,
    )


MIX, ENTRY = NodeRoles(mixnode=True), NodeRoles(entry=True)
EXIT = NodeRoles(entry=True, exit_nr=True, exit_ipr=True)


def exit_address() -> str:
    recipient = Recipient(
        provider().ed25519_public(b"\x71" * 32), provider().x25519_public(b"\x72" * 32), identity(5)
    )
    return str(recipient)


class Directory:
    """The state with a clock, and the requests of tests."""

    def __init__(self, config: DirectoryConfig | None = None) -> None:
        self.state = DirectoryState(config, started_at=START)
        self.now = START
        self.announced_at = START

    def get(self, path: str, method: str = "GET", body: bytes = b"", **query: str):
        return self.state.answer(method, path, query, body, unix_time=self.now)

    def json(self, path: str, **query: str):
        answer = self.get(path, **query)
        assert (answer.status, answer.content_type) == (200, "application/json")
        return json.loads(answer.body)

    def announce(self, described: DescribedNode, number: int, **more):
        self.announced_at = max(self.announced_at + 0.001, self.now)
        announcement = Announcement(described, self.announced_at, **more)
        return self.get(PATH_ANNOUNCE, "POST", emit_announcement(announcement, seed(number)))

    def fill(self) -> None:
        for number in (1, 2, 3):
            assert self.announce(node(number, MIX), number).status == 200
        self.announce(node(4, ENTRY, hostname="gw.local.test", wss_port=9001), 4)
        self.announce(node(5, EXIT, ip_packet_router=exit_address()), 5)

    async def http(self, path: str):
        """``get`` for the client functions."""
        from urllib.parse import parse_qsl

        name, _, query = path.partition("?")
        return self.state.answer("GET", name, dict(parse_qsl(query)), unix_time=self.now)


@pytest.fixture
def directory() -> Directory:
    filled = Directory()
    filled.fill()
    return filled


async def test_our_own_client_gets_a_whole_network(directory):
    topology = await fetch_topology(directory.http)
    assert sorted(topology.nodes) == [1, 2, 3, 4, 5]
    assert topology.layers == ((1,), (2,), (3,))
    gateways = await fetch_gateways(directory.http)
    assert [gateway.node_id for gateway in gateways] == [4, 5]
    assert gateways[0].entry.wss_port == 9001
    nodes, described = await fetch_exits(directory.http)
    choice = choose_exit(nodes, described, random_bytes=lambda count: bytes(count))
    assert str(choice.address) == exit_address()


LISTS = {
    "": [1, 2, 3, 4, 5],
    "/mixnodes/active": [1, 2, 3],
    "/mixnodes/all": [1, 2, 3],
    "/entry-gateways": [4, 5],
    "/exit-gateways": [5],
}


@pytest.mark.parametrize("path", LISTS)
def test_lists_hold_the_right_nodes_in_json_and_bincode(directory, path):
    from_json = parse_skimmed(directory.json(SKIMMED + path))
    assert [listed.node_id for listed in from_json.nodes] == LISTS[path]
    assert from_json.pagination.total == len(LISTS[path])
    answer = directory.get(SKIMMED + path, output="bincode", page="0")
    assert answer.content_type == "application/bincode"
    assert bincode.decode_skimmed(answer.body) == from_json


def test_lists_of_the_first_version(directory):
    for path, ids in {**LISTS, "/entry-gateways/all": [4, 5], "/entry-gateways/active": [4]}.items():
        answer = directory.json("v1/unstable/nym-nodes/skimmed" + path)
        assert set(answer) == {"status", "refreshed_at", "nodes"}
        assert [listed["node_id"] for listed in answer["nodes"]["data"]] == ids


@pytest.mark.parametrize(
    ("role", "ids"), [("active-mixnode", [1, 2, 3]), ("entry-gateway", [4, 5]), ("exit-gateway", [5])]
)
def test_role_query(directory, role, ids):
    answer = directory.json(SKIMMED, role=role)
    assert [listed["node_id"] for listed in answer["nodes"]["data"]] == ids


def test_roles_agree_with_the_rewarded_set(directory):
    rewarded = parse_rewarded_set(directory.json("v1/nym-nodes/rewarded-set"))
    by_id = {listed.node_id: listed for listed in parse_skimmed(directory.json(SKIMMED)).nodes}
    assert rewarded.epoch_id == 100
    for layer, ids in enumerate((rewarded.layer1, rewarded.layer2, rewarded.layer3), start=1):
        assert [(by_id[i].role.kind, by_id[i].role.layer) for i in ids] == [(RoleKind.MIXNODE, layer)]
    assert rewarded.entry_gateways == (4,)
    assert by_id[4].role.kind is RoleKind.ENTRY_GATEWAY
    assert rewarded.exit_gateways == (5,)
    assert by_id[5].role.kind is RoleKind.EXIT_GATEWAY


def test_unchanged_epoch_is_told_by_no_updates(directory):
    answer = directory.json(SKIMMED, epoch_id="100")
    assert answer["metadata"]["status"] == "no-updates"
    assert answer["nodes"] == {"pagination": {"total": 0, "page": 0, "size": 0}, "data": []}
    assert len(directory.json(SKIMMED, epoch_id="99")["nodes"]["data"]) == 5


def test_semi_skimmed_for_nodes(directory):
    key = b"\x07" * 32
    directory.announce(node(1, MIX, noise_key=key), 1)
    second = directory.json("v2/unstable/nym-nodes/semi-skimmed", page="0")["nodes"]
    assert second["pagination"]["total"] == 5
    assert second["data"][0]["basic"] == directory.json(SKIMMED)["nodes"]["data"][0]
    noise = {"supported_version": 1, "x25519_pubkey": base58.encode(key)}
    assert [e["x25519_noise_versioned_key"] for e in second["data"]] == [noise, None, None, None, None]
    third = directory.json("v3/unstable/nym-nodes/semi-skimmed")["nodes"]["data"][0]
    assert (third["noise_key"], third["build_version"], third["lp"]) == (noise, "1.40.0", None)


def test_described(directory):
    for version in ("v1", "v2"):
        listed = parse_described(directory.json(f"{version}/nym-nodes/described", page="0"))
        assert listed.pagination.total == 5
        assert [described.node_id for described in listed.nodes] == [1, 2, 3, 4, 5]
        assert listed.nodes[4].ip_packet_router == exit_address()
        assert listed.nodes[4].last_polled == START


def test_prefix_slash_and_method_do_not_matter_where_they_should_not(directory):
    body = directory.get("v1/nym-nodes/rewarded-set").body
    for path in (
        "/v1/nym-nodes/rewarded-set",
        "/api/v1/nym-nodes/rewarded-set",
        "/v1/nym-nodes/rewarded-set/",
    ):
        assert directory.get(path).body == body
    head = directory.get("/api/v1/nym-nodes/rewarded-set", "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_cors_on_every_answer(directory):
    for path, method, status in [
        ("/api/" + SKIMMED, "OPTIONS", 204),
        ("/api/" + SKIMMED, "GET", 200),
        ("/api/nothing", "GET", 404),
        ("/api/" + PATH_ANNOUNCE, "POST", 400),
    ]:
        answer = directory.get(path, method)
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        allowed = answer.headers["Access-Control-Allow-Headers"].split(", ")
        assert {"content-type", "user-agent"} <= set(allowed)
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [
        ("", "GET", 404),
        ("v1/nothing", "GET", 404),
        ("v1/nothing", "POST", 404),
        (PATH_ANNOUNCE, "GET", 405),
        (SKIMMED, "POST", 405),
        (SKIMMED, "DELETE", 405),
        ("../../etc/passwd", "GET", 404),
    ],
)
def test_refusals(directory, path, method, status):
    answer = directory.get(path, method)
    assert answer.status == status
    assert json.loads(answer.body)["message"]


def test_network_details_and_health(directory):
    details = directory.json("v1/network/details")
    assert details["network"]["network_name"] == "localnet"
    assert directory.json("v1/api-status/health")["status"] == "up"


# -- epochs ------------------------------------------------------------------------------------------------


def test_epochs_advance_and_rotations_follow():
    config = DirectoryConfig(epoch_duration=10.0, validity_epochs=3, first_epoch_id=5, initial_epoch_id=2)
    directory = Directory(config)

    def at(seconds):
        directory.now = START + seconds
        return parse_key_rotation(directory.json("v1/epoch/key-rotation-info"))

    first = at(0)
    assert (first.current_absolute_epoch_id, first.current_key_rotation_id) == (5, 1)
    assert (first.current_rotation_starting_epoch, first.current_rotation_ending_epoch) == (5, 7)
    assert first.current_epoch_start == START
    assert at(9.9) == first
    later = at(30)
    assert (later.current_absolute_epoch_id, later.current_key_rotation_id) == (8, 2)
    assert later.current_epoch_start == START + 30
    assert directory.json("v1/nym-nodes/rewarded-set")["epoch_id"] == 8
    metadata = directory.json(SKIMMED)["metadata"]
    assert (metadata["absolute_epoch_id"], metadata["rotation_id"]) == (8, 2)
    # What a client computes from the first answer agrees with what the directory says later.
    assert first.clock.rotation_at(START + 30) == 2


def test_sphinx_key_follows_the_rotation():
    config = DirectoryConfig(epoch_duration=10.0, validity_epochs=1)
    directory = Directory(config)  # epoch 100, rotation 24
    described = replace(node(1, MIX), current_sphinx_key=sphinx_key(1, 24))
    directory.announce(replace(described, pre_announced_sphinx_key=sphinx_key(1, 25)), 1)

    def listed():
        return parse_skimmed(directory.json(SKIMMED)).nodes[0].sphinx_key

    assert listed() == sphinx_key(1, 24).public_key
    directory.now += 10  # rotation 25 begins; the node has not told of its swap yet
    assert listed() == sphinx_key(1, 25).public_key
    directory.now += 10  # nothing fits any more: the current key
    assert listed() == sphinx_key(1, 24).public_key


# -- announcements -----------------------------------------------------------------------------------------


def test_silent_nodes_leave_the_lists_and_come_back_under_their_id(directory):
    directory.now += 20
    for number in (1, 2, 3, 5):
        directory.announce(node(number, EXIT if number == 5 else MIX), number)
    directory.now += 11
    assert [listed["node_id"] for listed in directory.json(SKIMMED)["nodes"]["data"]] == [1, 2, 3, 5]
    assert directory.json("v1/nym-nodes/rewarded-set")["entry_gateways"] == []
    directory.announce(node(4, ENTRY), 4)
    assert directory.json("v1/nym-nodes/rewarded-set")["entry_gateways"] == [4]


def test_leaving(directory):
    answer = directory.announce(node(2, MIX), 2, leaving=True)
    assert json.loads(answer.body)["node_id"] == 2
    assert directory.json("v1/nym-nodes/rewarded-set")["layer2"] == []


def test_layers_are_balanced_and_wishes_respected():
    directory = Directory()
    for number in range(1, 7):
        directory.announce(node(number, MIX), number)
    directory.announce(node(7, MIX), 7, layer=3)
    rewarded = directory.json("v1/nym-nodes/rewarded-set")
    assert (rewarded["layer1"], rewarded["layer2"], rewarded["layer3"]) == ([1, 4], [2, 5], [3, 6, 7])
    directory.announce(node(1, MIX), 1)  # announcing again changes nothing
    assert directory.json("v1/nym-nodes/rewarded-set") == rewarded


def test_performance_is_announced(directory):
    directory.announce(node(1, MIX), 1, performance="0.25")
    assert parse_skimmed(directory.json(SKIMMED)).nodes[0].percent == 25


def test_announcement_must_be_signed_by_its_node(directory):
    announcement = Announcement(node(6, MIX), START + 1)
    assert directory.get(PATH_ANNOUNCE, "POST", emit_announcement(announcement, seed(7))).status == 401
    body = json.loads(emit_announcement(announcement, seed(6)))
    body["announcement"] = body["announcement"].replace("11006", "11007")
    assert directory.get(PATH_ANNOUNCE, "POST", json.dumps(body).encode()).status == 401


def test_replayed_old_and_future_announcements_are_refused(directory):
    body = emit_announcement(Announcement(node(6, MIX), START + 1), seed(6))
    assert directory.get(PATH_ANNOUNCE, "POST", body).status == 200
    assert directory.get(PATH_ANNOUNCE, "POST", body).status == 409
    # A node that left cannot be brought back by a replay either.
    leaving = emit_announcement(Announcement(node(6, MIX), START + 2, leaving=True), seed(6))
    assert directory.get(PATH_ANNOUNCE, "POST", leaving).status == 200
    assert directory.get(PATH_ANNOUNCE, "POST", body).status == 409
    for skew in (-121, 121):
        skewed = emit_announcement(Announcement(node(7, MIX), START + skew), seed(7))
        assert directory.get(PATH_ANNOUNCE, "POST", skewed).status == 409


def test_the_directory_takes_a_bounded_number_of_nodes():
    directory = Directory(DirectoryConfig(max_nodes=2))
    assert [directory.announce(node(number, MIX), number).status for number in (1, 2, 3)] == [200, 200, 409]


@pytest.mark.parametrize(
    "change",
    [
        {"layer": 4},
        {"layer": "1"},
        {"performance": "1.5"},
        {"performance": 1},
        {"unix_milliseconds": -1},
        {"leaving": None},
        {"node": None},
        {"node": {}},
    ],
)
def test_malformed_announcements(directory, change):
    body = json.loads(emit_announcement(Announcement(node(6, MIX), START + 1), seed(6)))
    text = json.dumps({**json.loads(body["announcement"]), **change})
    signature = provider().ed25519_sign(seed(6), b"smolmix-web node announcement\n" + text.encode())
    signed = json.dumps({"announcement": text, "signature": base58.encode(signature)}).encode()
    assert directory.get(PATH_ANNOUNCE, "POST", signed).status == 400


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff", b"x" * 100_000, b'{"announcement":"","signature":""}'])
def test_bodies_that_are_no_announcement(directory, body):
    assert directory.get(PATH_ANNOUNCE, "POST", body).status == 400


# -- other requests of nodes -------------------------------------------------------------------------------


def refresh(directory: Directory, number: int, timestamp: float) -> int:
    body = json.dumps(emit_refresh_request(seed(number), int(timestamp))).encode()
    return directory.get("/api/v1/nym-nodes/refresh-described", "POST", body).status


def test_refresh_described(directory):
    assert refresh(directory, 1, START) == 200
    assert refresh(directory, 1, START) == 429
    directory.now += 29
    assert refresh(directory, 2, directory.now - 30) == 200
    assert refresh(directory, 3, directory.now - 31) == 400
    assert refresh(directory, 3, directory.now + 5) == 400
    assert refresh(directory, 6, directory.now) == 404
    body = {**emit_refresh_request(seed(3), int(directory.now)), "request_timestamp": int(directory.now) - 1}
    forged = directory.get("v1/nym-nodes/refresh-described", "POST", json.dumps(body).encode())
    assert forged.status == 401


def test_by_addresses(directory):
    path = "v1/unstable/nym-nodes/by-addresses"
    body = json.dumps({"addresses": ["127.0.0.1", "192.0.2.1", "::1"]}).encode()
    answer = directory.get(path, "POST", body)
    assert json.loads(answer.body) == {"existence": {"127.0.0.1": 1, "192.0.2.1": None, "::1": None}}
    for wrong in (b'{"addresses":["host"]}', b'{"addresses":[1.5]}', b'{"addresses":{}}', b"{}"):
        assert directory.get(path, "POST", wrong).status == 400
