"""Asking a directory: paths, paging, consistency, failures by stage; and the choice of gateway and exit."""

from __future__ import annotations

import asyncio
import copy
import random
from collections import Counter

import pytest
from directory_samples import FakeAnswer, FakeDirectory, sample

from smolmix_web.directory import (
    DirectoryError,
    DirectoryUnavailable,
    InsufficientTopology,
    NoExitError,
    NoGatewayError,
    bincode,
    choose_exit,
    choose_gateway,
    fetch_described,
    fetch_exits,
    fetch_gateways,
    fetch_key_rotation,
    fetch_topology,
    gateway_url,
    preferred_exit,
)
from smolmix_web.directory.selection import parse_semver
from smolmix_web.directory.skimmed import SkimmedNode, parse_skimmed
from smolmix_web.directory.topology import InconsistentAnswers
from smolmix_web.errors import DeadlineError, MalformedError, NetworkError
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import NodeAddress
from smolmix_web.nym.packets import KeyRotation
from smolmix_web.nym.topology import EntryDetails

MIXNODES = "v2/unstable/nym-nodes/skimmed/mixnodes/active"
GATEWAYS = "v2/unstable/nym-nodes/skimmed/entry-gateways"
REWARDED = "v1/nym-nodes/rewarded-set"
DESCRIBED = "v2/nym-nodes/described"

EXIT = base58.decode("EMtq5F54UxgEwYx1bmZpRJXNodBPPqjFekwQZNjpzH3w", 32)
ENTRY = base58.decode("Bincuik5v411CXzJaptVZu2xsMwQrcfc4D5epovrRa3R", 32)


async def test_topology_of_the_samples():
    directory = FakeDirectory()
    topology = await fetch_topology(directory.get)
    assert sorted(directory.requests) == [REWARDED, f"{GATEWAYS}?page=0", f"{MIXNODES}?page=0"]
    assert topology.layers == ((1,), (2,), (3,))
    assert sorted(topology.nodes) == [1, 2, 3, 4, 5]
    assert (topology.epoch_id, topology.rotation_id) == (100, 1)
    assert topology.rotation is KeyRotation.ODD
    assert topology.refreshed_at == 1787227200.0
    node = topology.nodes[2]
    assert node.mix_address == NodeAddress("127.0.0.1", 11002)
    assert node.performance == 98
    exit_node = topology.node_by_identity(EXIT)
    assert exit_node is not None
    assert exit_node.entry == EntryDetails(None, 9010, None)
    assert exit_node.roles.exit_ipr
    route = topology.random_route(EXIT, random.Random(1).randbytes)
    assert [hop.node_id for hop in route] == [1, 2, 3, 5]


async def test_the_requests_are_concurrent():
    directory = FakeDirectory()
    started = 0
    all_started = asyncio.Event()

    async def get(path):
        nonlocal started
        started += 1
        if started == 3:
            all_started.set()
        async with asyncio.timeout(1):
            await all_started.wait()
        return await directory.get(path)

    await fetch_topology(get)


async def test_one_failure_ends_the_other_requests():
    directory = FakeDirectory()
    cancelled = []

    async def get(path):
        if path == REWARDED:
            await asyncio.sleep(0)
            raise NetworkError("down")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(path)
            raise
        return await directory.get(path)

    with pytest.raises(DirectoryUnavailable, match="rewarded set"):
        await fetch_topology(get)
    assert len(cancelled) == 2


async def test_slow_nodes_and_nodes_without_address_are_left_out():
    directory = FakeDirectory()
    for path in (MIXNODES, GATEWAYS):
        for node in directory.answers[path]["nodes"]["data"]:
            node["performance"] = "0.5"
    directory.answers[GATEWAYS]["nodes"]["data"][0]["performance"] = "0.499"
    directory.answers[GATEWAYS]["nodes"]["data"][1]["ip_addresses"] = []
    topology = await fetch_topology(directory.get)
    assert sorted(topology.nodes) == [1, 2, 3]


async def test_later_entry_with_the_same_id_wins():
    directory = FakeDirectory()
    directory.answers[GATEWAYS]["nodes"]["data"][0]["node_id"] = 1
    topology = await fetch_topology(directory.get)
    assert topology.nodes[1].identity == ENTRY


@pytest.mark.parametrize("how", ["empty", "unknown", "slow"])
async def test_layer_without_a_usable_node(how):
    directory = FakeDirectory()
    if how == "slow":
        directory.answers[MIXNODES]["nodes"]["data"][1]["performance"] = "0.1"
    else:
        directory.answers[REWARDED]["layer2"] = [] if how == "empty" else [77]
    with pytest.raises(InsufficientTopology, match="layer 2"):
        await fetch_topology(directory.get)


async def test_one_node_may_serve_all_layers_and_gateway_ids_need_not_resolve():
    directory = FakeDirectory()
    directory.answers[REWARDED].update(
        layer1=[1], layer2=[1, 99], layer3=[5], entry_gateways=[1234], exit_gateways=[]
    )
    topology = await fetch_topology(directory.get)
    assert topology.is_routable


async def test_rewarded_set_without_gateways():
    directory = FakeDirectory()
    directory.answers[REWARDED].update(entry_gateways=[], exit_gateways=[])
    with pytest.raises(InsufficientTopology, match="no gateway"):
        await fetch_topology(directory.get)


@pytest.mark.parametrize("field", ["absolute_epoch_id", "rotation_id", "status"])
async def test_lists_of_different_epochs_are_asked_for_once_more(field):
    directory = FakeDirectory()
    other = sample("gateways")
    other["metadata"][field] = "no-updates" if field == "status" else 7
    directory.answers[GATEWAYS] = [other, sample("gateways")]
    await fetch_topology(directory.get)
    assert len(directory.requests) == 6

    directory.answers[GATEWAYS] = [other]
    directory.requests.clear()
    with pytest.raises(InconsistentAnswers):
        await fetch_topology(directory.get)
    assert len(directory.requests) == 6


async def test_rewarded_set_of_another_epoch():
    directory = FakeDirectory()
    directory.answers[REWARDED]["epoch_id"] = 101
    with pytest.raises(DirectoryError, match="different epochs"):
        await fetch_topology(directory.get)


def pages_of(answer, sizes):
    pages, start = [], 0
    for number, size in enumerate(sizes):
        page = copy.deepcopy(answer)
        nodes = page["nodes"]
        nodes["data"] = nodes["data"][start : start + size]
        nodes["pagination"].update(page=number, size=size)
        start += size
        pages.append(page)
    return pages


async def test_paging():
    directory = FakeDirectory()
    directory.answers[MIXNODES] = pages_of(sample("mixnodes"), [2, 1])
    topology = await fetch_topology(directory.get)
    assert sorted(topology.nodes) == [1, 2, 3, 4, 5]
    assert f"{MIXNODES}?page=1" in directory.requests


async def test_a_total_that_is_never_reached_is_an_error_not_a_loop():
    directory = FakeDirectory()
    directory.answers[GATEWAYS] = pages_of(sample("gateways"), [2, 0])
    directory.answers[GATEWAYS][0]["nodes"]["pagination"]["total"] = 3
    directory.answers[GATEWAYS][1]["nodes"]["pagination"]["total"] = 3
    with pytest.raises(DirectoryError, match="3 nodes announced, 2 given"):
        await fetch_gateways(directory.get)


async def test_a_node_that_cannot_be_read_counts_as_given():
    """Or the next page would be asked for, which there is not."""
    directory = FakeDirectory()
    directory.answers[GATEWAYS]["nodes"]["data"][0]["mix_port"] = "?"
    assert [node.identity for node in await fetch_gateways(directory.get)] == [EXIT]
    del directory.answers[DESCRIBED]["data"][0]["description"]["host_information"]
    with pytest.raises(DirectoryError, match="host_information"):
        await fetch_described(directory.get)


async def test_pages_of_different_epochs():
    directory = FakeDirectory()
    pages = pages_of(sample("gateways"), [1, 1])
    pages[1]["metadata"]["absolute_epoch_id"] = 101
    directory.answers[GATEWAYS] = pages
    with pytest.raises(InconsistentAnswers):
        await fetch_gateways(directory.get)


async def test_bincode_is_read_when_the_server_sends_it():
    directory = FakeDirectory()
    encoded = bincode.encode_skimmed(parse_skimmed(sample("gateways")))
    directory.answers[GATEWAYS] = FakeAnswer(200, "application/bincode", encoded)
    assert await fetch_gateways(directory.get) == parse_skimmed(sample("gateways")).nodes
    directory.answers[GATEWAYS] = FakeAnswer(200, "application/bincode; x=y", encoded[:-1])
    with pytest.raises(DirectoryError, match="list of gateways"):
        await fetch_gateways(directory.get)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "text/plain", ""])
async def test_anything_else_is_json(content_type):
    import json

    directory = FakeDirectory()
    body = json.dumps(sample("keyrotation")).encode()
    directory.answers["v1/epoch/key-rotation-info"] = FakeAnswer(200, content_type, body)
    info = await fetch_key_rotation(directory.get)
    assert (info.epoch_duration, info.current_key_rotation_id) == (3600.0, 1)


STAGES = {
    REWARDED: "rewarded set",
    MIXNODES: "list of mix nodes",
    GATEWAYS: "list of gateways",
}


@pytest.mark.parametrize("path", STAGES)
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (FakeAnswer(404, "application/json", b"{}"), DirectoryUnavailable),
        (FakeAnswer(500, "text/html", b"oops"), DirectoryUnavailable),
        (FakeAnswer(302, "", b""), DirectoryUnavailable),
        (FakeAnswer(200, "application/json", b""), DirectoryError),
        (FakeAnswer(200, "application/json", b"{"), DirectoryError),
        (FakeAnswer(200, "application/json", b"\xff\xfe"), DirectoryError),
        (FakeAnswer(200, "application/json", b"[]"), DirectoryError),
        (FakeAnswer(200, "application/json", b'{"metadata":{}}'), DirectoryError),
        (FakeAnswer(200, "application/json", b"[" * 200_000), DirectoryError),
        (NetworkError("refused"), DirectoryUnavailable),
        (DeadlineError("HTTP", 30.0), DeadlineError),
    ],
)
async def test_every_failure_names_its_stage(path, answer, kind):
    directory = FakeDirectory()
    directory.answers[path] = answer
    with pytest.raises(kind, match=STAGES[path]):
        await fetch_topology(directory.get)


# -- choice of a gateway ------------------------------------------------------------------------------------


async def gateways() -> tuple[SkimmedNode, ...]:
    return await fetch_gateways(FakeDirectory().get)


async def test_force_tls_wants_wss():
    source = random.Random(1).randbytes
    chosen = {choose_gateway(await gateways(), force_tls=True, random_bytes=source).node_id for _ in range(9)}
    assert chosen == {4}
    assert gateway_url((await gateways())[0], force_tls=True) == "wss://gw.local.test:9001/"
    with pytest.raises(NoGatewayError, match="WSS"):
        choose_gateway((await gateways())[1:], force_tls=True, random_bytes=source)
    with pytest.raises(NoGatewayError):
        gateway_url((await gateways())[1], force_tls=True)


async def test_random_choice_is_uniform_without_force_tls():
    source = random.Random(2).randbytes
    listed = await gateways()
    chosen = Counter(choose_gateway(listed, force_tls=False, random_bytes=source).node_id for _ in range(400))
    assert set(chosen) == {4, 5}
    assert 150 < chosen[4] < 250


async def test_urls_without_tls():
    entry, exit_node = await gateways()
    assert gateway_url(entry, force_tls=False) == "ws://gw.local.test:9000/"
    assert gateway_url(exit_node, force_tls=False) == "ws://127.0.0.1:9010/"
    answer = sample("gateways")
    answer["nodes"]["data"][1]["ip_addresses"] = ["2001:db8::1"]
    assert gateway_url(parse_skimmed(answer).nodes[1], force_tls=False) == "ws://[2001:db8::1]:9010/"


async def test_preferred_and_excluded_gateways():
    source = random.Random(3).randbytes
    listed = await gateways()
    preferred = base58.encode(EXIT)
    for _ in range(5):
        chosen = choose_gateway(listed, force_tls=False, preferred=preferred, random_bytes=source)
        assert chosen.identity == EXIT
        chosen = choose_gateway(listed, force_tls=False, exclude={EXIT}, random_bytes=source)
        assert chosen.identity == ENTRY
    with pytest.raises(NoGatewayError, match="preferred"):
        choose_gateway(listed, force_tls=False, preferred="nobody", random_bytes=source)
    with pytest.raises(NoGatewayError):
        choose_gateway(listed, force_tls=False, exclude={EXIT, ENTRY}, random_bytes=source)


@pytest.mark.parametrize(
    "change", [{"hostname": ""}, {"hostname": None}, {"wss_port": None}, {"wss_port": 0}]
)
async def test_without_a_name_and_a_port_there_is_no_tls(change):
    answer = sample("gateways")
    answer["nodes"]["data"][0]["entry"].update(change)
    nodes = parse_skimmed(answer).nodes
    with pytest.raises(NoGatewayError, match="WSS"):
        choose_gateway(nodes, force_tls=True, random_bytes=random.Random(4).randbytes)
    with pytest.raises(NoGatewayError, match="WSS"):
        gateway_url(nodes[0], force_tls=True)
    plain = "127.0.0.1" if not change.get("hostname", "?") else "gw.local.test"
    assert gateway_url(nodes[0], force_tls=False) == f"ws://{plain}:9000/"


async def test_slow_gateways_and_those_without_websocket_are_no_candidates():
    source = random.Random(4).randbytes
    answer = sample("gateways")
    answer["nodes"]["data"][0]["performance"] = "0.49"
    answer["nodes"]["data"][1]["entry"] = None
    with pytest.raises(NoGatewayError):
        choose_gateway(parse_skimmed(answer).nodes, force_tls=False, random_bytes=source)


# -- choice of an exit --------------------------------------------------------------------------------------


async def exits_with(*, version="1.40.0", router=..., exit_ipr=True, performance="1"):
    directory = FakeDirectory()
    description = directory.answers[DESCRIBED]["data"][0]["description"]
    description["build_information"]["build_version"] = version
    if router is not ...:
        description["ip_packet_router"] = router
    node = directory.answers["v2/unstable/nym-nodes/skimmed"]["nodes"]["data"][4]
    node["supported_roles"]["exit_ipr"] = exit_ipr
    node["performance"] = performance
    return await fetch_exits(directory.get)


async def test_exit_of_the_samples():
    nodes, described = await exits_with()
    choice = choose_exit(nodes, described, random_bytes=random.Random(1).randbytes)
    assert choice.build_version == "1.40.0"
    assert choice.address.gateway == EXIT
    assert str(choice.address).startswith("GH5vcstyxna4n8v4cVXRqBcaJx1vQC9YJiV7hR6aPZ3x.")


@pytest.mark.parametrize(
    "change",
    [
        {"version": "1.29.9"},
        {"version": "1.30.0-rc.1"},
        {"version": "v1.40.0"},
        {"version": "1.40"},
        {"version": ""},
        {"router": None},
        {"router": {"address": "nonsense"}},
        {"exit_ipr": False},
        {"performance": "0"},
        {"performance": "0.009"},
    ],
)
async def test_unusable_exits(change):
    nodes, described = await exits_with(**change)
    with pytest.raises(NoExitError):
        choose_exit(nodes, described, random_bytes=random.Random(1).randbytes)


async def test_excluded_and_undescribed_exits():
    nodes, described = await exits_with()
    with pytest.raises(NoExitError):
        choose_exit(nodes, described, exclude={EXIT}, random_bytes=random.Random(1).randbytes)
    with pytest.raises(NoExitError):
        choose_exit(nodes, (), random_bytes=random.Random(1).randbytes)


async def test_exits_are_weighted_by_performance():
    from dataclasses import replace

    nodes, described = await exits_with()
    other = b"\x07" * 32
    twins = [
        replace(nodes[4], performance="0.9"),
        replace(nodes[4], identity=other, performance="0.1"),
    ]
    descriptions = [described[0], replace(described[0], identity=other, build_version="1.30.0")]
    source = random.Random(5).randbytes
    counts = Counter(choose_exit(twins, descriptions, random_bytes=source).build_version for _ in range(1000))
    assert 60 < counts["1.30.0"] < 145


@pytest.mark.parametrize("text", ["01.2.3", "1.2.3.4", "1.2.x", " 1.2.3", "1.2.3 ", "1.2.3-", "１.2.3"])
def test_versions_are_strict(text):
    assert parse_semver(text) is None


async def test_preferred_exit():
    described = await fetch_described(FakeDirectory().get)
    address = described[0].ip_packet_router
    assert preferred_exit(address, described).build_version == "1.40.0"
    assert preferred_exit(address, ()).build_version is None
    with pytest.raises(MalformedError):
        preferred_exit("nonsense", described)
