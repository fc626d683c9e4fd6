"""Choosing an entry gateway and an exit (spec directory.md 5, 6). Pure functions over the answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.errors import NoExitError, NoGatewayError
from smolmix_web.directory.skimmed import SkimmedNode
from smolmix_web.directory.topology import MINIMUM_PERFORMANCE
from smolmix_web.errors import MalformedError
from smolmix_web.nym import base58
from smolmix_web.nym.addresses import Recipient

RandomBytes = Callable[[int], bytes]

_GATEWAY_STAGE = "choice of a gateway"
_EXIT_STAGE = "choice of an exit"

_SEMVER = re.compile(
    r"(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})"
    r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?",
    re.ASCII,
)

_OLDEST_IPR = (1, 30, 0)  # protocol version 9


def choose_gateway(
    gateways: Iterable[SkimmedNode],
    *,
    force_tls: bool,
    preferred: str | None = None,
    exclude: Collection[bytes] = (),
    random_bytes: RandomBytes,
) -> SkimmedNode:
    """The preferred gateway, or a uniformly random one.

    :param preferred: base58 identity; it must be among the candidates.
    :param exclude: identities (32 bytes) not to choose, such as gateways that just failed.
    :raises NoGatewayError: nothing fits.
    """
    candidates = [
        node
        for node in gateways
        if node.ip_addresses and node.percent >= MINIMUM_PERFORMANCE and node.identity not in exclude
    ]
    if not candidates:
        raise NoGatewayError(_GATEWAY_STAGE, "no usable gateway in the directory")
    if preferred is not None:
        candidates = [node for node in candidates if base58.encode(node.identity) == preferred]
        if not candidates:
            raise NoGatewayError(_GATEWAY_STAGE, "the preferred gateway is not in the directory")
    candidates = [node for node in candidates if _is_reachable(node, force_tls=force_tls)]
    if not candidates:
        wanted = "WSS (forceTls is on)" if force_tls else "WebSocket"
        raise NoGatewayError(_GATEWAY_STAGE, f"no usable gateway offers {wanted}")
    return candidates[_below(random_bytes, len(candidates))]


def _is_reachable(node: SkimmedNode, *, force_tls: bool) -> bool:
    if node.entry is None:
        return False
    # A WSS port without a hostname is useless: no certificate could match.
    return not force_tls or bool(node.entry.wss_port and node.entry.hostname)


def gateway_url(node: SkimmedNode, *, force_tls: bool) -> str:
    """Where to open the WebSocket. :raises NoGatewayError: the gateway has no such endpoint."""
    entry = node.entry
    if entry is None:
        raise NoGatewayError(_GATEWAY_STAGE, "the node is no entry gateway")
    if force_tls:
        if not entry.wss_port or not entry.hostname:
            raise NoGatewayError(_GATEWAY_STAGE, "the gateway offers no WSS")
        return f"wss://{entry.hostname}:{entry.wss_port}/"
    if not entry.hostname and not node.ip_addresses:
        raise NoGatewayError(_GATEWAY_STAGE, "the gateway has no address")
    host = entry.hostname or node.ip_addresses[0]
    return f"ws://[{host}]:{entry.ws_port}/" if ":" in host else f"ws://{host}:{entry.ws_port}/"


@dataclass(frozen=True, slots=True)
class ExitChoice:
    """An exit and its build version, which decides the IPR protocol version to try first."""

    address: Recipient
    build_version: str | None


def choose_exit(
    nodes: Iterable[SkimmedNode],
    described: Iterable[DescribedNode],
    *,
    exclude: Collection[bytes] = (),
    random_bytes: RandomBytes,
) -> ExitChoice:
    """A random exit, weighted by performance.

    :param exclude: gateway identities (32 bytes) not to choose, such as exits that just failed.
    :raises NoExitError: nothing fits.
    """
    by_identity = {node.identity: node for node in described}
    candidates: list[tuple[DescribedNode, int]] = []
    for node in nodes:
        description = by_identity.get(node.identity)
        if description is None or not node.supported_roles.exit_ipr or node.identity in exclude:
            continue
        version = parse_semver(description.build_version)
        if description.ip_packet_router and version is not None and version >= (*_OLDEST_IPR, 1):
            candidates.append((description, node.percent))
    # Only the address of the one that was drawn is read: its keys are points on a curve, and exits are many.
    while total := sum(weight for _, weight in candidates):
        drawn = _draw(candidates, _below(random_bytes, total))
        description, _ = candidates.pop(drawn)
        address = _parse_address(description.ip_packet_router)
        if address is not None:
            return ExitChoice(address, description.build_version)
    raise NoExitError(_EXIT_STAGE, "no usable IP packet router in the directory")


def _draw(candidates: Sequence[tuple[DescribedNode, int]], point: int) -> int:
    """Index of the candidate on whose weight ``point`` falls."""
    for index, (_, weight) in enumerate(candidates):
        point -= weight
        if point < 0:
            return index
    raise AssertionError("weights do not add up")


def preferred_exit(address: str, described: Iterable[DescribedNode]) -> ExitChoice:
    """The exit that the user names; of one that the directory does not know the version stays unknown.

    :raises MalformedError: not an address.
    """
    recipient = Recipient.parse(address)
    for node in described:
        if node.identity == recipient.gateway:
            return ExitChoice(recipient, node.build_version)
    return ExitChoice(recipient, None)


def parse_semver(text: str) -> tuple[int, int, int, int] | None:
    """Numbers of a strict semantic version; the fourth is 0 for a pre-release, which sorts below, else 1."""
    matched = _SEMVER.fullmatch(text)
    if matched is None:
        return None
    return int(matched[1]), int(matched[2]), int(matched[3]), 0 if matched[4] else 1


def _parse_address(address: str | None) -> Recipient | None:
    if address is None:
        return None
    try:
        return Recipient.parse(address)
    except MalformedError:
        return None


def _below(random_bytes: RandomBytes, bound: int) -> int:
    return int.from_bytes(random_bytes(8), "big") % bound
