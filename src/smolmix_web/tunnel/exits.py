"""Which exit to use: the one that the user named, or a random one, weighted by performance."""

from __future__ import annotations

import logging
from collections.abc import Collection

from smolmix_web.directory.described import DescribedNode
from smolmix_web.directory.errors import DirectoryError
from smolmix_web.directory.selection import ExitChoice, choose_exit, preferred_exit
from smolmix_web.directory.skimmed import SkimmedNode
from smolmix_web.errors import MalformedError, OptionError, SmolmixError
from smolmix_web.options import TunnelOptions
from smolmix_web.platform import Platform
from smolmix_web.tunnel.network_view import NetworkView

logger = logging.getLogger("smolmix_web.tunnel")


class ExitFinder:
    """``load``, then ``choose`` as often as needed; ``reload`` when what was chosen did not work."""

    def __init__(self, options: TunnelOptions, platform: Platform, view: NetworkView) -> None:
        self._options = options
        self._platform = platform
        self._view = view
        self._nodes: tuple[SkimmedNode, ...] = ()
        self._described: tuple[DescribedNode, ...] = ()

    async def load(self) -> None:
        """:raises DirectoryError, DirectoryUnavailable, DeadlineError: and no exit was named."""
        if self._options.preferred_ipr is None:
            self._nodes, self._described = await self._view.fetch_exits()
            return
        try:
            self._described = await self._view.fetch_described()
        except (SmolmixError, TimeoutError) as error:
            logger.debug("the version of the preferred exit stays unknown: %s", error)

    async def reload(self) -> None:
        """Like ``load``, but without an answer the old lists stay."""
        try:
            await self.load()
        except (SmolmixError, TimeoutError) as error:
            logger.debug("no fresh list of exits: %s", error)

    def choose(self, excluded: Collection[bytes]) -> ExitChoice:
        """An exit whose gateway (identity) is not excluded; the one that the user named in any case.

        Only those that packets can reach: the directory's list of exits also has nodes that no topology has
        room for, because they perform too badly or are no gateways (spec/directory.md 4).

        :raises NoExitError: there is none. :raises OptionError: ``preferredIpr`` is no address.
        """
        if self._options.preferred_ipr is not None:
            try:
                return preferred_exit(self._options.preferred_ipr, self._described)
            except MalformedError as error:
                raise OptionError("preferredIpr", str(error)) from error
        topology = self._view.topology
        return choose_exit(
            [
                node
                for node in self._nodes
                if topology is None or topology.node_by_identity(node.identity) is not None
            ],
            self._described,
            exclude=excluded,
            random_bytes=self._platform.random_bytes,
        )

    def has_other(self, excluded: Collection[bytes]) -> bool:
        """Whether there is a choice without these."""
        if self._options.preferred_ipr is not None:
            return False
        try:
            self.choose(excluded)
        except DirectoryError:
            return False
        return True
