"""What the documents say beside their blocks: links, options, codes, names, switches and numbers."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import smolmix_web
from docs.blocks import DOCUMENTS, ROOT, Block, select
from smolmix_web.cli import network, tunnel_options
from smolmix_web.cli.main import COMMANDS, build_parser
from smolmix_web.errors import SmolmixError
from smolmix_web.options import TunnelOptions, camel_case
from smolmix_web.tls.errors import TlsError

DOCS = ROOT / "docs"


def text_of(document: Path) -> str:
    """A document without its blocks."""
    return re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.MULTILINE | re.DOTALL)


# -- links -------------------------------------------------------------------------------------------------


def anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text_of(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(document)):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def test_files_and_folders_that_are_named_exist() -> None:
    names = re.compile(r"`((?:src|tests|bench|worker|docs|scripts|demo)/[\w./-]*)`")
    for document in DOCUMENTS:
        for name in names.findall(document.read_text()):
            assert (ROOT / name).exists(), f"{document.name}: {name}"


# -- options -----------------------------------------------------------------------------------------------


def option_rows() -> dict[str, list[str]]:
    rows = {}
    for line in (DOCS / "options.md").read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("page", "---"):
            rows[cells[0]] = cells
    return rows


def test_every_option_stands_in_the_table_with_its_default() -> None:
    rows = option_rows()
    assert list(rows) == [camel_case(item.name) for item in fields(TunnelOptions)]
    shown = {True: "true", False: "false"}
    for item in fields(TunnelOptions):
        _, python, _, default, _ = rows[camel_case(item.name)]
        assert python == item.name
        if item.default is not None:
            wanted = shown[item.default] if isinstance(item.default, bool) else str(item.default)
            assert default.split(" ")[0] == wanted, item.name


def test_ranges_are_those_of_the_code() -> None:
    for name, cells in option_rows().items():
        match = re.fullmatch(r"(\d+) to (\d+)", cells[4])
        if match is None:
            continue
        low, high = int(match[1]), int(match[2])
        for value in (low, high):
            TunnelOptions.from_mapping({name: value})
        for value in (low - 1, high + 1):
            with pytest.raises(ValueError, match=name):
                TunnelOptions.from_mapping({name: value})


def test_flags_of_tunnels() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    tunnel_options.add_tunnel_arguments(parser)
    named = {cells[2] for cells in option_rows().values()}
    assert named == {action.option_strings[0] for action in parser._actions}


# -- codes and names ---------------------------------------------------------------------------------------


def error_classes() -> Iterator[type[SmolmixError]]:
    for info in pkgutil.walk_packages(smolmix_web.__path__, "smolmix_web."):
        if info.name.endswith("errors"):
            importlib.import_module(info.name)

    def walk(kind: type[SmolmixError]) -> Iterator[type[SmolmixError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from walk(child)

    return walk(SmolmixError)


NOT_FOR_PAGES = {"ERROR", "ASSETS", "SOCKS", "TUN_UNAVAILABLE"}
"""Codes of a base class, of building assets, and of servers."""


def test_every_code_is_explained() -> None:
    named = set(re.findall(r"`([A-Z][A-Z_]+)`", (DOCS / "page-api.md").read_text()))
    codes = {kind.code for kind in error_classes() if not issubclass(kind, TlsError)} - NOT_FOR_PAGES
    assert codes <= named, codes - named
    pages_own = {"ABORTED", "WORKER", "INTERNAL"}
    errors = (DOCS / "page-api.md").read_text().partition("## Errors")[2].partition("\n## ")[0]
    table = set(re.findall(r"`([A-Z][A-Z_]+)`", "\n".join(re.findall(r"^\|.*$", errors, re.MULTILINE))))
    assert table <= codes | pages_own, table - codes - pages_own


def test_every_export_of_the_page_is_explained() -> None:
    """Functions, classes and types by name; members of classes, options and events in code words."""
    types = (ROOT / "worker" / "smolmix.d.ts").read_text()
    exports = re.findall(
        r"^export (?:declare )?(?:function|class|const|interface|type) (\w+)", types, re.MULTILINE
    )
    page, options = (DOCS / "page-api.md").read_text(), (DOCS / "options.md").read_text()
    assert {name for name in exports if f"`{name}" not in page} == set()
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`[^`\n]+`", page + options))))
    bodies = re.findall(
        r"^export (?:declare )?(?:interface|class) (\w+)[^{]*\{\n(.*?)^\}", types, re.M | re.S
    )
    members = {
        f"{name}.{member}"
        for name, body in bodies
        for member in re.findall(r"^  (?:readonly |static )*(\w+)(?:<.*?>)?\??[:(]", body, re.MULTILINE)
        if member not in ("constructor", "addEventListener")
    }
    assert len(members) > 120
    assert {member for member in members if member.partition(".")[2] not in words} == set()


NOT_FOR_PROGRAMS = {"driver", "has_driver", "view", "set_up", "spawn", "enter", "reach", "fail"}
"""Members of MixClient that Tunnel stands on."""


@pytest.mark.parametrize("kind", [smolmix_web.Tunnel, smolmix_web.MixClient, smolmix_web.MixMessage])
def test_public_names_of_python_are_explained(kind: type) -> None:
    document = (DOCS / "python-api.md").read_text()
    for name in smolmix_web.__all__:
        assert hasattr(smolmix_web, name)
        assert name.startswith("__") or f"`{name}`" in document
    names = {
        name for name in (*vars(kind), *getattr(kind, "__annotations__", ())) if not name.startswith("_")
    }
    assert {name for name in names - NOT_FOR_PROGRAMS if not re.search(rf"\b{name}\b", document)} == set()


# -- commands ----------------------------------------------------------------------------------------------


def test_every_switch_of_the_network_is_explained() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    network.add_arguments(parser)
    rows = re.findall(r"^\| (`--.*?) \|", (DOCS / "local-network.md").read_text(), re.MULTILINE)
    named = {flag for row in rows for flag in re.findall(r"--[a-z-]+", row)}
    assert named == {action.option_strings[-1] for action in parser._actions}


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args([command, "--help"])
    assert ended.value.code == 0
    assert f"smolmix-web {command}" in capsys.readouterr().out


def commands(block: Block) -> list[str]:
    lines = re.sub(r"\\\n\s*", " ", block.text).splitlines()
    return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


CHECKED = [(block, line) for block in select("sh", "checked") for line in commands(block)]


@pytest.mark.parametrize(
    ("block", "line"), CHECKED, ids=[f"{block.name}-{line[:40]}" for block, line in CHECKED]
)
def test_what_is_not_run_exists(block: Block, line: str) -> None:
    words = shlex.split(line, comments=True)
    CHECKS[words[0]](words)


def check_make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words[1:]) <= set(targets)


def check_pip(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    match = re.fullmatch(r"([a-z-]+)(?:\[([a-z,]+)\])?", words[-1])
    assert words[:2] == ["pip", "install"]
    assert match is not None
    assert match[1] == project["name"]
    assert set((match[2] or "").split(",")) - {""} <= set(project["optional-dependencies"])


def package() -> dict[str, Any]:
    described: dict[str, Any] = json.loads((ROOT / "package.json").read_text())
    return described


def check_npm(words: list[str]) -> None:
    if words == ["npm", "install", package()["name"]]:
        return
    # Else in the folder of an example.
    examples = [json.loads(path.read_text()) for path in (ROOT / "examples").glob("*/package.json")]
    assert examples
    for example in examples:
        assert package()["name"] in example["dependencies"]
        assert words == ["npm", "install"] or (words[1] == "run" and words[2] in example["scripts"])


def check_npx(words: list[str]) -> None:
    script = ROOT / package()["bin"][words[1]]
    for flag in words[2:]:
        assert not flag.startswith("--") or f"{flag[2:]}: {{ type: " in script.read_text()


def check_python(words: list[str]) -> None:
    if words[1] != "-m":
        assert (ROOT / words[1]).exists()
        return
    assert words[2] == "bench"
    for name in words[3:]:
        assert (ROOT / "bench" / f"bench_{name}.py").exists()


def check_smolmix(words: list[str]) -> None:
    build_parser().parse_args(words[1:])


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": check_make,
    "pip": check_pip,
    "npm": check_npm,
    "npx": check_npx,
    "python": check_python,
    "smolmix-web": check_smolmix,
}


def test_every_benchmark_is_explained() -> None:
    rows = re.findall(r"^\| (`.*?) \|", (DOCS / "performance.md").read_text(), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {path.stem.removeprefix("bench_") for path in (ROOT / "bench").glob("bench_*.py")}


# -- numbers -----------------------------------------------------------------------------------------------

LIMITS = {
    "connections per origin, and in all": ("fetch.pool:MAX_PER_ORIGIN", "fetch.pool:MAX_TOTAL"),
    "idle connection kept": ("fetch.pool:IDLE_SECONDS",),
    "content codings on top of each other": ("fetch.body:MAX_CODINGS",),
    "UDP answer asked for": ("resolve.message:MAX_UDP_PAYLOAD",),
    "aliases followed": ("resolve.resolver:MAX_ALIASES",),
    "time to live believed": ("resolve.message:MAX_TTL",),
    "second server asked after": ("resolve.servers:HEDGE_AFTER",),
    "connections, and those in TIME-WAIT": (
        "net.config:StackConfig.max_connections",
        "net.config:StackConfig.max_time_wait",
    ),
    "unacknowledged data ends a connection after": ("net.config:TcpOptions.user_timeout",),
    "a SYN is repeated for": ("net.config:TcpOptions.connect_timeout",),
    "wait between two retransmissions, at most": ("net.config:TcpOptions.max_rto",),
    "TIME-WAIT; FIN-WAIT-2 of a closed connection": (
        "net.config:StackConfig.time_wait",
        "net.config:StackConfig.fin_wait_2",
    ),
    "datagrams, ICMP and resets waiting to be sent": ("net.config:StackConfig.control_queue_limit",),
    "ICMP errors and resets sent": ("net.config:StackConfig.icmp_per_second",),
    "exit is pinged, and given up, after a silence of": (
        "tunnel.timing:TunnelTiming.exit_probe",
        "tunnel.timing:TunnelTiming.exit_silence",
    ),
    "a call waits for another exit": ("tunnel.timing:TunnelTiming.exit_wait",),
    "a message waits for room in the queue": ("tunnel.timing:TunnelTiming.send_wait",),
    "reply fragments waiting for reply SURBs": ("nym.config:ClientConfig.max_waiting_fragments",),
    "repetitions of a packet of a reply": ("nym.config:ClientConfig.reply_max_retransmissions",),
    "senders whose reply SURBs are held": ("nym.config:ClientConfig.max_sender_tags",),
    "recipients remembered": ("nym.config:ClientConfig.max_recipients",),
    "reply SURBs given to one peer": (
        "nym.config:ClientConfig.max_surbs_outstanding",
        "nym.config:ClientConfig.max_surbs_per_request",
    ),
    "lost gateway is waited for before others are tried": ("tunnel.timing:TunnelTiming.gateway_patience",),
    "connections to a mix node": ("localnet.listener:MAX_CONNECTIONS",),
    "clients of a gateway": ("localnet.client_listener:ClientListenerConfig.max_connections",),
    "packets waiting on a link between nodes": ("localnet.links:LinkConfig.queue_packets",),
    "mixing delay that a node accepts": ("localnet.node:MAXIMUM_DELAY",),
    "packets unacknowledged": ("nym.config:ClientConfig.max_unacknowledged",),
    "reply SURBs held for others": (
        "nym.config:ClientConfig.max_held_surbs",
        "nym.config:ClientConfig.max_held_surbs_per_tag",
    ),
    "keys of own reply SURBs": ("nym.config:ClientConfig.max_reply_keys",),
    "raw messages waiting for a listener": ("tunnel.messages:MAX_HELD_MESSAGES",),
    "topology refreshed every": (
        "tunnel.timing:TunnelTiming.topology_refresh",
        "tunnel.timing:TunnelTiming.topology_failures",
    ),
    "silence of the gateway while an answer is due": ("sockets.gateway_link:LinkConfig.silence_limit",),
    "set-up as a whole": ("tunnel.timing:TunnelTiming.set_up",),
}


def value_of(place: str) -> float:
    """Of ``fetch.pool:MAX_TOTAL``, or a field by default: ``net.config:TcpOptions.user_timeout``."""
    module, _, name = place.partition(":")
    found = importlib.import_module(f"smolmix_web.{module}")
    owner, _, field = name.partition(".")
    if not field:
        return float(getattr(found, owner))
    return float(getattr(getattr(found, owner)(), field))


@pytest.mark.parametrize("row", LIMITS)
def test_limits_are_those_of_the_code(row: str) -> None:
    match = re.search(rf"^\| {re.escape(row)} \| (.*) \|$", (DOCS / "limits.md").read_text(), re.MULTILINE)
    assert match is not None
    numbers = {float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\d|\d", match[1])}
    for place in LIMITS[row]:
        assert value_of(place) in numbers, f"{place} is {value_of(place)}"
