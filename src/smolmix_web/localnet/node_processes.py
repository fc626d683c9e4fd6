"""Nodes of a local network played by other processes, so that a download is not bound to one core.

A packet costs about the same at each of its hops, nearly all of it cryptography; the nodes share nothing but
sockets. The mix nodes can therefore leave the process that plays the rest. The directory, the gateways, and
the test internet behind the exit stay where they can be reached as objects.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from smolmix_web.errors import NetworkError

if TYPE_CHECKING:
    from smolmix_web.localnet.network import LocalNetworkConfig

log = logging.getLogger(__name__)

START_TIMEOUT = 60.0
"""Seconds for a process to import Python modules and to start its nodes."""
STOP_TIMEOUT = 10.0
"""Seconds for a process to leave the directory and to end; then it is killed."""
_LINE_LIMIT = 1 << 22


class NodeProcess:
    """One process. ``start``, then :attr:`described` and :attr:`stats`; ``stop`` also after a failed start.

    :param config: of the whole network.
    :param roles: what this process plays of it.
    """

    def __init__(self, config: LocalNetworkConfig, roles: Sequence[str], directory_url: str) -> None:
        # The exit, TLS contexts and the like are not for mix nodes, and not all of them can be pickled.
        defaults = type(config)()
        self._config = replace(
            config,
            roles=tuple(roles),
            directory_url=directory_url,
            processes=1,
            exit=defaults.exit,
            tls=None,
            hostname=None,
            directory_tls=None,
        )
        self.described: dict[str, Any] = {}
        """What :meth:`LocalNetwork.describe` says of these nodes."""
        self.stats: dict[str, Any] = {name: {"running": False} for name in roles}
        """What :meth:`LocalNetwork.stats` says of them, up to a second old."""
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    @property
    def process_id(self) -> int | None:
        """None before the start and after the end."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process is not None else None

    async def start(self) -> None:
        """:raises NetworkError: the process did not come up, or could not bind a port."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "smolmix_web.localnet.node_process"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LINE_LIMIT,
        )
        self._reader = asyncio.get_running_loop().create_task(self._read(self._process))
        config = pickle.dumps(self._config)
        answer = await self._ask(len(config).to_bytes(4, "big") + config)
        if "error" in answer:
            raise NetworkError(f"{', '.join(self._config.roles)}: {answer['error']}")
        self.described = answer["described"]

    async def refresh(self) -> None:
        """Let the nodes learn of all others now. :raises NetworkError: the process is gone."""
        await self._ask(b"refresh\n")

    async def stop(self) -> None:
        """End it; nothing of it is left. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_TIMEOUT):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)

    async def _ask(self, request: bytes) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or self._reader is None or self._reader.done():
            raise NetworkError("the process of some nodes is gone")
        self._answer = asyncio.get_running_loop().create_future()
        process.stdin.write(request)
        try:
            async with asyncio.timeout(START_TIMEOUT):
                return await self._answer
        except TimeoutError:
            raise NetworkError(f"{', '.join(self._config.roles)}: no answer from their process") from None

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            message = json.loads(line)
            if "stats" in message:
                self.stats = message["stats"]
            elif self._answer is not None and not self._answer.done():
                self._answer.set_result(message)
        self.stats = {name: {**stats, "running": False} for name, stats in self.stats.items()}
        if self._process is not None:  # nobody stopped it
            log.error("the process of %s ended by itself", ", ".join(self._config.roles))
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NetworkError("the process of some nodes ended"))


def share_out(roles: Sequence[str], movable: Sequence[str], processes: int) -> list[tuple[str, ...]]:
    """What each further process plays: the ``movable`` ones of the roles, dealt out evenly.

    :param processes: in all, the first one included, which keeps the rest.
    """
    leaving = [role for role in roles if role in movable]
    count = min(processes - 1, len(leaving))
    return [tuple(leaving[index::count]) for index in range(count)]
