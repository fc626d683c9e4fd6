"""The state behind a directory: which nodes are alive, their roles, and the running epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smolmix_web.directory.announcement import Announcement
from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.epochs import KeyRotationInfo, RewardedSet
from smolmix_web.directory.skimmed import EpochRole, Metadata, RoleKind, SkimmedNode
from smolmix_web.errors import LocalProtocolError
from smolmix_web.nym.addresses import DEFAULT_MIX_PORT
from smolmix_web.nym.topology import EntryDetails


@dataclass(frozen=True, slots=True)
class DirectoryConfig:
    """Behaviour of a directory; times in seconds.

    The defaults put the first epoch at the start of key rotation 1.
    """

    network_name: str = "localnet"
    epoch_duration: float = 3600.0
    validity_epochs: int = 24  # epochs per key rotation
    first_epoch_id: int = 100
    initial_epoch_id: int = 76  # epoch at which rotation 0 began
    node_lifetime: float = 30.0  # a node that was silent for so long is off the lists
    announcement_skew: float = 120.0
    max_nodes: int = 1000


class UnacceptableAnnouncement(LocalProtocolError):
    """The announcement is well-formed and signed, but old, replayed, or one too many."""


@dataclass(slots=True)
class _Member:
    announcement: Announcement
    node_id: int
    layer: int  # 0 for nodes that do not mix
    seen_at: float


class NetworkState:
    """Living nodes and epochs. All times are unix seconds, given with each call.

    :param started_at: start of the first epoch.
    """

    def __init__(self, config: DirectoryConfig, started_at: float) -> None:
        self.config = config
        self._started_at = started_at
        self._members: dict[bytes, _Member] = {}
        self._ids: dict[bytes, int] = {}  # outlives the membership: a node comes back under its id
        self._last_announced: dict[bytes, float] = {}

    # -- members ----------------------------------------------------------------------------------------

    def announce(self, announcement: Announcement, unix_time: float) -> int:
        """Take a verified announcement; the node's id. :raises UnacceptableAnnouncement: see there."""
        identity = announcement.node.identity
        if abs(announcement.unix_time - unix_time) > self.config.announcement_skew:
            raise UnacceptableAnnouncement("the announcement's time is far from the directory's")
        if announcement.unix_time <= self._last_announced.get(identity, 0.0):
            raise UnacceptableAnnouncement("the announcement is not newer than the last one")
        self.expire(unix_time)
        if identity not in self._ids and len(self._ids) >= self.config.max_nodes:
            raise UnacceptableAnnouncement("the directory is full")
        node_id = self._ids.setdefault(identity, len(self._ids) + 1)
        self._last_announced[identity] = announcement.unix_time
        if announcement.leaving:
            self._members.pop(identity, None)
            return node_id
        known = self._members.get(identity)
        layer = known.layer if known is not None else self._choose_layer(announcement)
        self._members[identity] = _Member(announcement, node_id, layer, unix_time)
        return node_id

    def expire(self, unix_time: float) -> None:
        """Drop the nodes that have fallen silent."""
        limit = unix_time - self.config.node_lifetime
        for identity in [i for i, member in self._members.items() if member.seen_at < limit]:
            del self._members[identity]

    def node_id_of_address(self, ip: str) -> int | None:
        """Some living node that has this address (canonical text)."""
        for member in self._members.values():
            if ip in member.announcement.node.ip_addresses:
                return member.node_id
        return None

    def knows(self, identity: bytes) -> bool:
        return identity in self._members

    def _choose_layer(self, announcement: Announcement) -> int:
        if not announcement.node.declared_role.mixnode:
            return 0
        if announcement.layer is not None:
            return announcement.layer
        sizes = [sum(member.layer == layer for member in self._members.values()) for layer in (1, 2, 3)]
        return sizes.index(min(sizes)) + 1

    # -- epochs -----------------------------------------------------------------------------------------

    def key_rotation(self, unix_time: float) -> KeyRotationInfo:
        """The epoch that runs at ``unix_time``."""
        duration = self.config.epoch_duration
        elapsed = max(0, int((unix_time - self._started_at) // duration))
        return KeyRotationInfo.at_epoch(
            self.config.first_epoch_id + elapsed,
            epoch_start=self._started_at + elapsed * duration,
            epoch_duration=duration,
            validity_epochs=self.config.validity_epochs,
            initial_epoch_id=self.config.initial_epoch_id,
        )

    def metadata(self, unix_time: float) -> Metadata:
        info = self.key_rotation(unix_time)
        return Metadata(info.current_absolute_epoch_id, info.current_key_rotation_id, unix_time)

    # -- lists ------------------------------------------------------------------------------------------

    def rewarded_set(self, unix_time: float) -> RewardedSet:
        """Every living mix node in its layer; gateways split into exits and pure entries."""
        layers: dict[int, list[int]] = {1: [], 2: [], 3: []}
        entries, exits = [], []
        for member in self._members.values():
            if member.layer:
                layers[member.layer].append(member.node_id)
            elif (kind := _role(member).kind) is RoleKind.EXIT_GATEWAY:
                exits.append(member.node_id)
            elif kind is RoleKind.ENTRY_GATEWAY:
                entries.append(member.node_id)
        return RewardedSet(
            epoch_id=self.key_rotation(unix_time).current_absolute_epoch_id,
            entry_gateways=tuple(entries),
            exit_gateways=tuple(exits),
            layer1=tuple(layers[1]),
            layer2=tuple(layers[2]),
            layer3=tuple(layers[3]),
        )

    def described(self) -> tuple[DescribedNode, ...]:
        return tuple(
            replace(member.announcement.node, node_id=member.node_id, last_polled=member.seen_at)
            for member in self._members.values()
        )

    def skimmed(self, unix_time: float) -> tuple[SkimmedNode, ...]:
        """All living nodes, with the Sphinx keys of the running rotation."""
        rotation = self.key_rotation(unix_time).current_key_rotation_id
        return tuple(_skim(member, rotation) for member in self._members.values())

    def noise_keys(self) -> dict[int, bytes | None]:
        """Noise key by node id."""
        return {member.node_id: member.announcement.node.noise_key for member in self._members.values()}

    def build_versions(self) -> dict[int, str]:
        """Build version by node id."""
        return {member.node_id: member.announcement.node.build_version for member in self._members.values()}


def _role(member: _Member) -> EpochRole:
    roles = member.announcement.node.declared_role
    if member.layer:
        return EpochRole(RoleKind.MIXNODE, member.layer)
    if roles.exit_ipr or roles.exit_nr:
        return EpochRole(RoleKind.EXIT_GATEWAY)
    return EpochRole(RoleKind.ENTRY_GATEWAY if roles.entry else RoleKind.INACTIVE)


def _skim(member: _Member, rotation: int) -> SkimmedNode:
    node = member.announcement.node
    key = node.current_sphinx_key
    upcoming = node.pre_announced_sphinx_key
    if key.rotation_id != rotation and upcoming is not None and upcoming.rotation_id == rotation:
        key = upcoming  # the node has not switched yet (directory.md 3.1)
    entry = None
    if node.declared_role.entry:
        entry = EntryDetails(node.hostname, node.ws_port, node.wss_port)
    return SkimmedNode(
        node_id=member.node_id,
        identity=node.identity,
        ip_addresses=node.ip_addresses,
        mix_port=node.mix_port if node.mix_port is not None else DEFAULT_MIX_PORT,
        sphinx_key=key.public_key,
        role=_role(member),
        supported_roles=node.declared_role,
        entry=entry,
        performance=member.announcement.performance,
    )
