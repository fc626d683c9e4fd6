"""The command-line form of the tunnel's options, shared by every command that opens a tunnel."""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from smolmix_web.errors import OptionError
from smolmix_web.options import MAINNET_DIRECTORY, TunnelOptions, camel_case


def add_tunnel_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a tunnel to a command."""
    group = parser.add_argument_group("tunnel")
    group.add_argument(
        "--network",
        metavar="FILE_OR_URL",
        default=MAINNET_DIRECTORY,
        help="directory URL, or a file written by 'smolmix-web network --json' (default: Nym's mainnet)",
    )
    group.add_argument("--exit", metavar="ADDRESS", help="Nym address of the exit to use")
    group.add_argument("--gateway", metavar="IDENTITY", help="base58 identity of the entry gateway to use")
    group.add_argument("--client-id", metavar="NAME", help="keep keys and registration under this name")
    group.add_argument("--trust", metavar="PEM", type=Path, help="file of certificate authorities to trust")
    group.add_argument(
        "-O",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="any other option of docs/options.md, such as dnsTimeoutMs=60000 (may be repeated)",
    )
    group.add_argument("--no-poisson", action="store_true", help="send as packets come (weaker privacy)")
    group.add_argument("--no-cover", action="store_true", help="send no cover traffic (weaker privacy)")


def tunnel_options(chosen: argparse.Namespace) -> TunnelOptions:
    """Options from parsed arguments. :raises OptionError: a file or a value cannot be used."""
    values: dict[str, Any] = _network(chosen.network)
    if chosen.exit is not None:
        values["preferred_ipr"] = chosen.exit
    if chosen.gateway is not None:
        values["preferred_gateway"] = chosen.gateway
    if chosen.client_id is not None:
        values["client_id"] = chosen.client_id
    if chosen.trust is not None:
        values["trust_anchors"] = _read("--trust", chosen.trust)
    if chosen.no_poisson:
        values["disable_poisson_traffic"] = True
    if chosen.no_cover:
        values["disable_cover_traffic"] = True
    for text in chosen.option:
        name, value = _option(text)
        values[name] = value
    return TunnelOptions(**values)


_KNOWN = {camel_case(item.name): item for item in fields(TunnelOptions)}


def _option(text: str) -> tuple[str, Any]:
    """``dnsTimeoutMs=60000`` as a keyword of :class:`TunnelOptions`."""
    name, equals, value = text.partition("=")
    item = _KNOWN.get(name)
    if not equals or item is None:
        raise OptionError("--option", f"{text!r}: NAME=VALUE is wanted, NAME of {', '.join(_KNOWN)}")
    kind = item.type  # a text, as annotations are postponed
    if kind == "bool":
        if value not in ("true", "false"):
            raise OptionError(name, f"true or false is wanted, not {value!r}")
        return item.name, value == "true"
    if kind == "int":
        if not value.isascii() or not value.isdigit():
            raise OptionError(name, f"a whole number is wanted, not {value!r}")
        return item.name, int(value)
    return item.name, value


def _network(text: str) -> dict[str, Any]:
    if re.match(r"https?://", text):
        # A network served without TLS is a local one; its gateways have no certificates either.
        return {"network": text, "force_tls": text.startswith("https://")}
    try:
        description = json.loads(_read("--network", Path(text)))
        values: dict[str, Any] = {
            "network": description["directory"],
            "force_tls": description["directory"].startswith("https://"),
        }
        if (anchor := description.get("trustAnchors")) is not None:
            values["trust_anchors"] = str(anchor)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OptionError("--network", f"{text} does not describe a network") from error
    return values


def _read(option: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(option, f"cannot read {path}: {error}") from error
