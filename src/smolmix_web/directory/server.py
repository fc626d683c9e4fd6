"""A directory: requests in, answers out, no sockets (spec directory.md 1-3, 11, 12; nodes.md 9).

Serves official clients and nodes, with and without the ``/api`` prefix, in JSON and (skimmed lists) bincode.
Every list comes in one page. Nodes enter by the announcements of :mod:`.announcement`.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

from smolmix_web import json_fields as fields
from smolmix_web.directory import announcement, bincode, refresh, timestamps
from smolmix_web.directory.described import DescribedList, emit_described, emit_noise_key
from smolmix_web.directory.epochs import emit_key_rotation, emit_rewarded_set
from smolmix_web.directory.network import DirectoryConfig, NetworkState, UnacceptableAnnouncement
from smolmix_web.directory.skimmed import (
    NO_UPDATES,
    Metadata,
    Pagination,
    RoleKind,
    SkimmedList,
    SkimmedNode,
    emit_metadata,
    emit_node,
    emit_pagination,
    emit_skimmed,
)
from smolmix_web.errors import CryptoError, MalformedError

_ACTIVE_ROLES = (RoleKind.MIXNODE, RoleKind.ENTRY_GATEWAY, RoleKind.EXIT_GATEWAY)

# The Content-Type header of the client's GETs makes browsers ask first (directory.md 2).
_COMMON_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST",
    "Access-Control-Allow-Headers": "*, content-type, accept, user-agent",
    "Access-Control-Max-Age": "600",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class DirectoryAnswer:
    """One HTTP answer. ``content_type`` is empty when there is no body."""

    status: int
    content_type: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Request:
    query: Mapping[str, str]
    body: bytes
    unix_time: float


_Handler = Callable[[_Request], DirectoryAnswer]
_Selector = Callable[[SkimmedNode], bool]


def _is_active_mixnode(node: SkimmedNode) -> bool:
    return node.supported_roles.mixnode and node.role.kind in _ACTIVE_ROLES


def _is_exit(node: SkimmedNode) -> bool:
    return node.supported_roles.exit_nr and node.supported_roles.exit_ipr


# What each list holds on the real server (directory.md 3.1).
_SELECTORS: Mapping[str, _Selector] = {
    "": lambda node: True,
    "/mixnodes/active": _is_active_mixnode,
    "/mixnodes/all": lambda node: node.supported_roles.mixnode,
    "/entry-gateways": lambda node: node.supported_roles.entry,
    "/entry-gateways/active": lambda node: node.role.kind is RoleKind.ENTRY_GATEWAY,
    "/entry-gateways/all": lambda node: node.supported_roles.entry,
    "/exit-gateways": _is_exit,
    "/exit-gateways/active": lambda node: node.role.kind is RoleKind.EXIT_GATEWAY,
    "/exit-gateways/all": _is_exit,
}

_ROLE_QUERY: Mapping[str, _Selector] = {
    "active-mixnode": _is_active_mixnode,
    "entry-gateway": lambda node: node.supported_roles.entry,
    "exit-gateway": _is_exit,
}


class DirectoryState:
    """All that a directory knows, and its answers.

    :param started_at: unix seconds; start of the first epoch.
    """

    def __init__(self, config: DirectoryConfig | None = None, *, started_at: float) -> None:
        self.network = NetworkState(config or DirectoryConfig(), started_at)
        self._last_refresh: dict[bytes, float] = {}
        self._get: dict[str, _Handler] = {
            "v1/nym-nodes/rewarded-set": self._rewarded_set,
            "v1/epoch/key-rotation-info": self._key_rotation,
            "v1/nym-nodes/described": self._described,
            "v2/nym-nodes/described": self._described,
            "v2/unstable/nym-nodes/semi-skimmed": self._semi_skimmed_v2,
            "v3/unstable/nym-nodes/semi-skimmed": self._semi_skimmed_v3,
            "v1/network/details": self._network_details,
            "v1/api-status/health": self._health,
        }
        for path, selector in _SELECTORS.items():
            self._get["v1/unstable/nym-nodes/skimmed" + path] = self._skimmed_v1(selector)
            self._get["v2/unstable/nym-nodes/skimmed" + path] = self._skimmed_v2(selector)
        self._post: dict[str, _Handler] = {
            announcement.PATH_ANNOUNCE: self._announce,
            "v1/nym-nodes/refresh-described": self._refresh_described,
            "v1/unstable/nym-nodes/by-addresses": self._by_addresses,
        }

    def answer(
        self, method: str, path: str, query: Mapping[str, str], body: bytes = b"", *, unix_time: float
    ) -> DirectoryAnswer:
        """The answer to one request.

        :param path: with or without leading slash and ``api/``.
        :param unix_time: seconds since 1970.
        """
        self.network.expire(unix_time)
        name = path.strip("/").removeprefix("api/")
        found = self._respond(method, name, _Request(query, body, unix_time))
        return DirectoryAnswer(
            found.status, found.content_type, found.body, {**_COMMON_HEADERS, **found.headers}
        )

    def _respond(self, method: str, name: str, request: _Request) -> DirectoryAnswer:
        if method == "OPTIONS":
            return DirectoryAnswer(204, "", b"")
        handlers = self._post if method == "POST" else self._get
        handler = handlers.get(name)
        if handler is None:
            if name in self._get or name in self._post:
                return _refusal(405, "the path does not take this method")
            return _refusal(404, "no such path")
        if method not in ("GET", "HEAD", "POST"):
            return _refusal(405, "the path does not take this method")
        try:
            found = handler(request)
        except MalformedError as error:
            return _refusal(400, str(error))
        if method == "HEAD":
            return DirectoryAnswer(found.status, found.content_type, b"", found.headers)
        return found

    # -- lists ------------------------------------------------------------------------------------------

    def _skimmed_v2(self, selector: _Selector) -> _Handler:
        def handle(request: _Request) -> DirectoryAnswer:
            answer = self._select(selector, request)
            headers = {"Expires": self._epoch_end(request.unix_time)}
            if request.query.get("output") == "bincode" and answer.metadata.status is None:
                return DirectoryAnswer(200, "application/bincode", bincode.encode_skimmed(answer), headers)
            return _json(emit_skimmed(answer), headers)

        return handle

    def _skimmed_v1(self, selector: _Selector) -> _Handler:
        def handle(request: _Request) -> DirectoryAnswer:
            answer = emit_skimmed(self._select(selector, request))
            metadata = answer["metadata"]
            return _json(
                {
                    "status": metadata["status"],
                    "refreshed_at": metadata["refreshed_at"],
                    "nodes": answer["nodes"],
                }
            )

        return handle

    def _select(self, selector: _Selector, request: _Request) -> SkimmedList:
        metadata = self.network.metadata(request.unix_time)
        if request.query.get("epoch_id") == str(metadata.absolute_epoch_id):
            unchanged = Metadata(
                metadata.absolute_epoch_id, metadata.rotation_id, metadata.refreshed_at, NO_UPDATES
            )
            return SkimmedList(unchanged, Pagination(0, 0, 0), ())
        role = _ROLE_QUERY.get(request.query.get("role", ""), _SELECTORS[""])
        nodes = tuple(
            node for node in self.network.skimmed(request.unix_time) if selector(node) and role(node)
        )
        return SkimmedList(metadata, _one_page(nodes), nodes)

    def _semi_skimmed_v2(self, request: _Request) -> DirectoryAnswer:
        keys = self.network.noise_keys()
        return self._semi_skimmed(
            request, lambda node: {"x25519_noise_versioned_key": emit_noise_key(keys[node.node_id])}
        )

    def _semi_skimmed_v3(self, request: _Request) -> DirectoryAnswer:
        keys, versions = self.network.noise_keys(), self.network.build_versions()
        return self._semi_skimmed(
            request,
            lambda node: {
                "noise_key": emit_noise_key(keys[node.node_id]),
                "build_version": versions[node.node_id],
                "lp": None,
            },
        )

    def _semi_skimmed(
        self, request: _Request, details: Callable[[SkimmedNode], dict[str, Any]]
    ) -> DirectoryAnswer:
        nodes = self.network.skimmed(request.unix_time)
        data = [{"basic": emit_node(node), **details(node)} for node in nodes]
        return _json(
            {
                "metadata": emit_metadata(self.network.metadata(request.unix_time)),
                "nodes": {"pagination": emit_pagination(_one_page(nodes)), "data": data},
            }
        )

    def _described(self, request: _Request) -> DirectoryAnswer:
        nodes = self.network.described()
        return _json(emit_described(DescribedList(_one_page(nodes), nodes)))

    def _rewarded_set(self, request: _Request) -> DirectoryAnswer:
        return _json(emit_rewarded_set(self.network.rewarded_set(request.unix_time)))

    def _key_rotation(self, request: _Request) -> DirectoryAnswer:
        return _json(emit_key_rotation(self.network.key_rotation(request.unix_time)))

    def _network_details(self, request: _Request) -> DirectoryAnswer:
        denominations = {
            name: {"base": f"u{unit}", "display": unit, "display_exponent": 6}
            for name, unit in (("mix_denom", "nym"), ("stake_denom", "nyx"))
        }
        network: dict[str, Any] = {
            "network_name": self.network.config.network_name,
            "chain_details": {"bech32_account_prefix": "n", **denominations},
            "endpoints": [],
            "contracts": {},
            "nym_vpn_api_url": None,
            "nym_api_urls": None,
            "nym_vpn_api_urls": None,
        }
        return _json({"connected_nyxd": "", "network": network})

    def _health(self, request: _Request) -> DirectoryAnswer:
        return _json({"status": "up", "time": timestamps.emit_rfc3339(request.unix_time)})

    def _epoch_end(self, unix_time: float) -> str:
        info = self.network.key_rotation(unix_time)
        return formatdate(info.current_epoch_start + info.epoch_duration + 120, usegmt=True)

    # -- requests of nodes --------------------------------------------------------------------------------

    def _announce(self, request: _Request) -> DirectoryAnswer:
        try:
            node_id = self.network.announce(announcement.parse_announcement(request.body), request.unix_time)
        except CryptoError as error:
            return _refusal(401, str(error))
        except UnacceptableAnnouncement as error:
            return _refusal(409, str(error))
        return _json({"node_id": node_id, "lifetime": self.network.config.node_lifetime})

    def _refresh_described(self, request: _Request) -> DirectoryAnswer:
        parsed = refresh.parse_refresh_request(fields.parse_object(request.body))
        age = request.unix_time - parsed.request_timestamp
        if not -1.0 < age <= refresh.MAX_AGE:  # whole seconds on their side
            return _refusal(400, "the request timestamp is not recent")
        try:
            parsed.verify()
        except CryptoError:
            return _refusal(401, "the request is not signed by the node")
        if not self.network.knows(parsed.node_identity):
            return _refusal(404, "no such node")
        last = self._last_refresh.get(parsed.node_identity)
        if last is not None and request.unix_time - last < refresh.MIN_INTERVAL:
            return _refusal(429, "one refresh per minute")
        self._last_refresh[parsed.node_identity] = request.unix_time
        return _json(None)  # nothing is cached here: every announcement shows at once

    def _by_addresses(self, request: _Request) -> DirectoryAnswer:
        addresses = fields.array(fields.parse_object(request.body), "addresses")
        existence: dict[str, int | None] = {}
        for address in addresses[:10_000]:
            try:
                canonical = str(ipaddress.ip_address(str(address)))
            except ValueError:
                raise MalformedError("addresses: IP addresses are wanted") from None
            existence[str(address)] = self.network.node_id_of_address(canonical)
        return _json({"existence": existence})


def _one_page(nodes: Iterable[object]) -> Pagination:
    total = len(tuple(nodes))
    return Pagination(total, 0, total)


def _json(content: object, headers: Mapping[str, str] | None = None) -> DirectoryAnswer:
    body = json.dumps(content, separators=(",", ":")).encode()
    return DirectoryAnswer(200, "application/json", body, headers or {})


def _refusal(status: int, text: str) -> DirectoryAnswer:
    return DirectoryAnswer(status, "application/json", json.dumps({"message": text}).encode())
