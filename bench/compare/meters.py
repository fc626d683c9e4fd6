"""What a run costs: the processor time and memory of the page's process, the packets at the gateway.

Linux only: figures come from ``/proc``. Chromium gives every page of ours a renderer process of its own, in
which the page's workers run too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from smolmix_web.localnet.world import LocalWorld

_TICK = os.sysconf("SC_CLK_TCK")


def renderers(marker: str) -> set[int]:
    """Process ids of the renderers of the browser whose command line holds ``marker``, a flag of ours."""
    parents, commands = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                commands[int(folder.name)] = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue  # it ended meanwhile
    return {
        process
        for process, command in commands.items()
        if "--type=renderer" in command
        and any(marker in commands.get(one, "") for one in _ancestors(process, parents))
    }


def _ancestors(process: int, parents: dict[int, int]) -> Iterator[int]:
    while process in parents:
        process = parents[process]
        yield process


def cpu_seconds(processes: set[int]) -> float:
    """Processor time that the processes have used so far, in user and kernel mode; ended ones count as 0."""
    total = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICK


def peak_memory(processes: set[int]) -> int:
    """The largest resident memory that one of the processes ever had, bytes."""
    peak = 0
    for process in processes:
        try:
            status = Path(f"/proc/{process}/status").read_text()
        except OSError:
            continue
        line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
        peak = max(peak, int(line.split()[1]) * 1024)
    return peak


@dataclass(frozen=True, slots=True)
class Packets:
    """Mixnet packets that the entry gateway took from its client, and messages that it gave to it."""

    sent: int
    received: int

    def __sub__(self, earlier: Packets) -> Packets:
        return Packets(self.sent - earlier.sent, self.received - earlier.received)


def packets(world: LocalWorld) -> Packets:
    """The counters of the entry gateway, of all clients since its start."""
    clients = world.network.stats()["nodes"]["entry"]["clients"]
    return Packets(clients["packets_uploaded"], clients["messages_pushed"])
