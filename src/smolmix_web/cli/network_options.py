"""The switches of a local network: from the command line to :class:`LocalNetworkConfig`."""

from __future__ import annotations

import argparse
import ipaddress
from dataclasses import replace
from pathlib import Path

from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.errors import OptionError
from smolmix_web.gateway import versions
from smolmix_web.ipr.policy import ExitPolicy, PolicyError, parse_policy
from smolmix_web.localnet.browser_access import with_tls
from smolmix_web.localnet.exit_service import ExitConfig
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.loopback import spread_over_loopback
from smolmix_web.localnet.network import ALL_ROLES, DIRECTORY, MAX_PROCESSES, MORE_ROLES, LocalNetworkConfig
from smolmix_web.localnet.node import BUILD_VERSION
from smolmix_web.nym.packets import PacketVersion

_NODES = tuple(role for role in (*ALL_ROLES, *MORE_ROLES) if role != DIRECTORY)
_NETWORK = LocalNetworkConfig()
_EPOCHS = _NETWORK.directory


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Everything that says what the network is; where its description goes is the command's business."""
    _add_place(parser.add_argument_group("what runs here"))
    _add_protocol(parser.add_argument_group("protocol versions and epochs"))
    _add_exit(parser.add_argument_group("the exit"))
    _add_faults(parser.add_argument_group("faults of the links between nodes"))


def _add_place(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--host", default="127.0.0.1", help="IP address to listen on (default: 127.0.0.1)")
    group.add_argument(
        "--port",
        metavar="NAME=PORT",
        action="append",
        default=[],
        help="fix a port; names: directory, mix1, mix2, mix3, entry, exit, entry.ws, exit.ws, and with "
        "--tls also directory.tls, entry.wss",
    )
    group.add_argument(
        "--role",
        action="append",
        choices=(*ALL_ROLES, *MORE_ROLES),
        metavar="ROLE",
        help=f"play only this part (may be repeated): {', '.join((*ALL_ROLES, *MORE_ROLES))}",
    )
    group.add_argument(
        "--processes",
        type=int,
        choices=range(1, MAX_PROCESSES + 1),
        default=_NETWORK.processes,
        metavar="N",
        help=f"share the work among N processes, up to {MAX_PROCESSES}: the mix nodes leave the first one "
        "(default: %(default)s)",
    )
    group.add_argument("--directory", metavar="URL", help="directory of the other parts, with --role")
    group.add_argument(
        "--add",
        action="append",
        choices=MORE_ROLES,
        metavar="ROLE",
        default=[],
        help=f"play this part as well (may be repeated): {', '.join(MORE_ROLES)}; somewhere to go when the "
        "first one is lost",
    )
    group.add_argument(
        "--spread",
        action="store_true",
        help="give each node a loopback address of its own (Linux), and tell on the status page who is "
        "connected to whom",
    )
    group.add_argument(
        "--tls",
        action="store_true",
        help="serve the directory and the entry gateway under TLS too, which Nym's own browser packages "
        "insist on, and print the flags that lead Chromium there",
    )
    group.add_argument("--state", type=Path, metavar="FOLDER", help="keep keys and clients there")


def _add_protocol(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--noise",
        nargs="?",
        const="all",
        action="append",
        choices=("all", *_NODES),
        metavar="ROLE",
        help="offer encrypted links (Noise) between nodes: all, or this one (may be repeated; nodes that "
        "share an IP address must agree, so --spread is needed)",
    )
    group.add_argument(
        "--frames",
        type=int,
        choices=[int(version) for version in PacketVersion],
        default=int(PacketVersion.LEGACY),
        help="version of the frames that nodes send (both are accepted; default: %(default)s)",
    )
    group.add_argument(
        "--gateway-protocol",
        type=int,
        choices=range(versions.MIN_SUPPORTED, versions.CURRENT + 1),
        default=versions.CURRENT,
        help="highest protocol version that gateways speak with clients (default: %(default)s)",
    )
    group.add_argument(
        "--release",
        default=BUILD_VERSION,
        metavar="VERSION",
        help="nym-node release that the nodes announce (default: %(default)s); below 1.37.0 clients speak "
        "version 9 with the exit instead of 10",
    )
    group.add_argument(
        "--epoch",
        type=_positive,
        default=_EPOCHS.epoch_duration,
        metavar="SECONDS",
        help="length of an epoch (default: %(default)g)",
    )
    group.add_argument(
        "--rotation",
        type=_count,
        default=_EPOCHS.validity_epochs,
        metavar="EPOCHS",
        help="epochs that Sphinx keys live (default: %(default)s)",
    )
    group.add_argument(
        "--announce",
        type=_positive,
        default=_NETWORK.announce_interval,
        metavar="SECONDS",
        help="between two rounds of a node with the directory (default: %(default)g); set it well below "
        "--epoch",
    )
    group.add_argument(
        "--lifetime",
        type=_positive,
        default=_EPOCHS.node_lifetime,
        metavar="SECONDS",
        help="silence after which a node leaves the directory's lists (default: %(default)g)",
    )


def _add_exit(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--tun",
        action="store_true",
        help="let the exit send through a TUN device and the kernel's NAT instead of sockets of its own "
        "(Linux, root); the test internet stays reachable",
    )
    group.add_argument(
        "--policy",
        type=Path,
        metavar="FILE",
        help="exit policy in Nym's format: lines like 'ExitPolicy accept *:443' (default: the ports that "
        "official exits serve)",
    )
    group.add_argument("--open-proxy", action="store_true", help="serve every port (no exit policy)")
    group.add_argument(
        "--allow-local", action="store_true", help="let clients reach loopback and private networks"
    )
    group.add_argument(
        "--no-internet",
        action="store_true",
        help="refuse everything but the test internet (not with --tun)",
    )


def _add_faults(group: argparse._ArgumentGroup) -> None:
    for name, help_text in (
        ("loss", "probability that a packet is lost"),
        ("duplicate", "probability that a packet is doubled"),
        ("reorder", "probability that a packet is held back by up to 50 ms"),
    ):
        group.add_argument(f"--{name}", type=_probability, default=0.0, metavar="P", help=help_text)
    group.add_argument(
        "--delay",
        type=_not_negative,
        default=0.0,
        metavar="SECONDS",
        help="extra delay of a link (that of mixing is chosen by clients, packet by packet)",
    )
    group.add_argument(
        "--jitter", type=_not_negative, default=0.0, metavar="SECONDS", help="random part on top"
    )
    group.add_argument("--seed", type=int, default=0, help="of the faults' random numbers")


def network_config(chosen: argparse.Namespace) -> LocalNetworkConfig:
    """:raises OptionError: an option, or a combination of them, that cannot be used."""
    if chosen.role and DIRECTORY not in chosen.role and chosen.directory is None:
        raise OptionError("--role", "parts without the directory need --directory URL")
    if chosen.tls and chosen.role and DIRECTORY not in chosen.role:
        raise OptionError("--tls", "the directory must be among the parts")
    _check_host(chosen.host)
    parts = (*(chosen.role or ALL_ROLES), *chosen.add)
    config = LocalNetworkConfig(
        host=chosen.host,
        ports=dict(map(_port, chosen.port)),
        roles=tuple(role for role in (*ALL_ROLES, *MORE_ROLES) if role in parts),
        processes=chosen.processes,
        directory_url=chosen.directory,
        directory=DirectoryConfig(
            epoch_duration=chosen.epoch, validity_epochs=chosen.rotation, node_lifetime=chosen.lifetime
        ),
        gateway=replace(_NETWORK.gateway, protocol_version=chosen.gateway_protocol),
        exit=_exit_config(chosen),
        impairment=ImpairmentConfig(
            delay=chosen.delay,
            jitter=chosen.jitter,
            loss=chosen.loss,
            duplicate=chosen.duplicate,
            reorder=chosen.reorder,
            seed=chosen.seed,
        ),
        noise=_noise(chosen),
        frame_version=PacketVersion(chosen.frames),
        build_version=chosen.release,
        announce_interval=chosen.announce,
        show_connections=chosen.spread,
        state_dir=chosen.state,
    )
    if chosen.spread:
        config = spread_over_loopback(config)
        if not config.hosts:
            raise OptionError("--spread", "this system has one loopback address only")
    return with_tls(config) if chosen.tls else config


def _noise(chosen: argparse.Namespace) -> frozenset[str]:
    wanted = frozenset(chosen.noise or ())
    if "all" in wanted:
        return frozenset(_NODES)
    if wanted and not chosen.spread:
        raise OptionError("--noise", "nodes that share an IP address offer it all or none; see --spread")
    return wanted


def _exit_config(chosen: argparse.Namespace) -> ExitConfig:
    if chosen.tun and chosen.no_internet:
        raise OptionError("--no-internet", "a TUN device leads to the internet")
    if chosen.policy is not None and chosen.open_proxy:
        raise OptionError("--open-proxy", "there is a --policy")
    config = ExitConfig(
        tun=chosen.tun, allow_local_ips=chosen.allow_local, reach_internet=not chosen.no_internet
    )
    if chosen.open_proxy:
        return replace(config, policy=ExitPolicy.open())
    if chosen.policy is None:
        return config
    try:
        return replace(config, policy=parse_policy(chosen.policy.read_text()))
    except (OSError, UnicodeDecodeError, PolicyError) as error:
        raise OptionError("--policy", str(error)) from error


def _check_host(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError as error:
        raise OptionError("--host", str(error)) from error


def _port(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit() or not int(number) < 65536:
        raise OptionError("--port", f"{text!r} is not of the form NAME=PORT")
    return name, int(number)


def _probability(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds greater than zero")
    return value


def _not_negative(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1e9:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of epochs")
    return value
