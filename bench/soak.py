"""Soak: mixed traffic for a long time over a bad network that keeps breaking.

A local network with 3 % loss on every link, a second entry and a second exit; downloads, uploads, WebSocket
messages, a TCP connection that stays open, look-ups and raw messages at the official pace with cover traffic;
nodes, gateways, exits and the directory that die and come back; Sphinx keys that rotate. What fails must fail
with a typed error; what succeeds must be right to the byte; at the end, nothing may be left over, and in
between nothing may grow. Prints figures as it goes; exits with 1 when something is wrong. It wants half
a core for itself: acknowledgements that take longer than a second or two tell of a machine that is too busy,
and on one whose packets are seconds late, work that goes well may count as hanging.

    python bench/soak.py                 30 minutes
    python bench/soak.py --minutes 3     a short one
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import gc
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import CoroutineType
from typing import Any

from smolmix_web.directory.network import DirectoryConfig
from smolmix_web.errors import NetworkError, SmolmixError
from smolmix_web.localnet.impairment import ImpairmentConfig
from smolmix_web.localnet.network import ALL_ROLES, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.nym.config import ClientConfig
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform
from smolmix_web.tunnel import StateChange, Tunnel, TunnelTiming

LOSS = 0.03
DOWNTIME = 2.0  # seconds a broken part stays away
VICTIMS = ("mix1", "entry", "directory", "mix2", "exit", "entry2", "mix3", "exit2")
PATIENCE = 90.0
"""Seconds that one piece of work may take before it counts as hanging."""

GROWTH = {"megabytes": 24.0, "tasks": 25.0, "descriptors": 40.0}
"""What may be more at the end of a run than in its middle, samples averaged over a tenth of it. The counts
move with what happens to be under way: some twenty things at a time, with two ends each."""


TUNNEL_TASKS = {
    "gateway-link",
    "gateway-websocket-writer",
    "keep-registration",
    "replace-exit",
    "seek-gateway",
    "topology-refresh",
    "tunnel-driver",
}


class Wrong(Exception):
    """Data that is not what was sent."""


@dataclass(frozen=True)
class Sample:
    """What the process held at one moment, the local network included."""

    at: float  # seconds
    megabytes: float
    tasks: int
    descriptors: int

    @classmethod
    def now(cls, at: float) -> Sample:
        with open("/proc/self/statm") as file:
            pages = int(file.read().split()[1])
        megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        return cls(at, megabytes, len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd")))


@dataclass
class Figures:
    """What happened."""

    done: collections.Counter[str] = field(default_factory=collections.Counter)
    failed: collections.Counter[str] = field(default_factory=collections.Counter)
    wrong: list[str] = field(default_factory=list)
    bytes: int = 0
    states: collections.Counter[str] = field(default_factory=collections.Counter)
    broken: collections.Counter[str] = field(default_factory=collections.Counter)
    rotations: set[int] = field(default_factory=set)
    samples: list[Sample] = field(default_factory=list)


class Soak:
    """One run; :meth:`run` returns what was wrong, one line each."""

    def __init__(self, seconds: float, seed: int) -> None:
        self._seconds = seconds
        self._random = random.Random(seed)
        self._figures = Figures()
        self._started = 0.0

    async def run(self) -> list[str]:
        epoch = max(self._seconds / 6, 15.0)
        config = LocalNetworkConfig(
            roles=(*ALL_ROLES, "entry2", "exit2"),
            impairment=ImpairmentConfig(loss=LOSS, seed=self._random.randrange(1 << 30)),
            directory=DirectoryConfig(epoch_duration=epoch, validity_epochs=2),
            announce_interval=1.0,
        )
        before = Sample.now(0)
        async with LocalWorld(config) as world:
            tasks = asyncio.all_tasks()
            await self._with_tunnel(world, epoch)
            left = {task.get_name() for task in asyncio.all_tasks() - tasks} & TUNNEL_TASKS
        await asyncio.sleep(1.0)
        problems = [f"the tunnel left the tasks {', '.join(left)}"] if left else []
        return problems + left_over(before) + self._verdict()

    async def _with_tunnel(self, world: LocalWorld, epoch: float) -> None:
        options = TunnelOptions(
            network=world.network.directory_url,
            force_tls=False,
            trust_anchors=world.internet.trust_anchor_pem,
        )
        timing = TunnelTiming(topology_refresh=min(epoch / 4, 60.0))
        tunnel = await Tunnel.connect(
            options,
            platform=NativePlatform(),
            on_event=self._note,
            timing=timing,
            traffic=ClientConfig(fill_surbs=True),
        )
        self._started = time.monotonic()
        workers: list[Awaitable[None]] = [
            self._repeat("download", tunnel, lambda: self._download(tunnel)),
            self._repeat("https download", tunnel, lambda: self._download(tunnel, "https")),
            self._repeat("upload", tunnel, lambda: self._upload(tunnel)),
            self._repeat("websocket", tunnel, lambda: self._websocket(tunnel)),
            self._repeat("open connection", tunnel, lambda: self._long_stream(tunnel)),
            self._repeat("look-up", tunnel, lambda: self._look_up(tunnel, world)),
            self._repeat("raw message", tunnel, lambda: self._raw_message(tunnel)),
            self._break_things(world),
            self._watch(tunnel),
        ]
        try:
            async with asyncio.timeout(self._seconds + 3 * PATIENCE):
                await asyncio.gather(*workers)
            await self._until_idle(tunnel)
        except TimeoutError:
            self._figures.wrong.append("something under way did not end")
        finally:
            await tunnel.aclose()

    # -- traffic -------------------------------------------------------------------------------------------

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started

    async def _repeat(self, name: str, tunnel: Tunnel, work: Callable[[], Awaitable[int]]) -> None:
        figures = self._figures
        while self._elapsed < self._seconds:
            task = asyncio.ensure_future(work())
            try:
                if task not in (await asyncio.wait({task}, timeout=PATIENCE))[0]:
                    figures.wrong.append(f"{name} hung for {PATIENCE:g} s at {self._elapsed:.0f} s")
                    print("\n".join([figures.wrong[-1], *where(task), str(tunnel.stats())]), flush=True)
                    task.cancel()
                figures.bytes += await task
                figures.done[name] += 1
            except SmolmixError as error:
                what = f"{error.code} ({error.phase})" if error.phase else error.code
                figures.failed[f"{name}: {what}"] += 1
                await asyncio.sleep(0.5)
            except Wrong as error:
                figures.wrong.append(f"{name}: {error} at {self._elapsed:.0f} s")
            except asyncio.CancelledError:
                if (ours := asyncio.current_task()) is not None and ours.cancelling():
                    task.cancel()
                    raise
            await asyncio.sleep(0.1)

    async def _download(self, tunnel: Tunnel, scheme: str = "http") -> int:
        size = self._random.choice((200, 5_000, 20_000, 100_000))
        async with await tunnel.fetch(f"{scheme}://web.test/bytes/{size}") as response:
            body = await response.read()
            expected = response.header_values("x-content-sha256")
        if len(body) != size or [hashlib.sha256(body).hexdigest()] != expected:
            raise Wrong(f"{len(body)} of {size} bytes, or wrong ones")
        return size

    async def _upload(self, tunnel: Tunnel) -> int:
        payload = self._random.randbytes(self._random.choice((100, 3_000, 30_000)))
        async with await tunnel.fetch("http://web.test/echo", method="POST", body=payload) as response:
            seen = json.loads(await response.read())
        if seen["sha256"] != hashlib.sha256(payload).hexdigest():
            raise Wrong("the server saw other bytes")
        return len(payload)

    async def _websocket(self, tunnel: Tunnel) -> int:
        count = 0
        socket = await tunnel.open_websocket("ws://web.test/ws/echo")
        try:
            for size in (1, 200, 9_000):
                payload = self._random.randbytes(size)
                await socket.send(payload)
                message = await socket.receive()
                if message is None:
                    raise socket.failure or NetworkError("the WebSocket was closed")
                if message != payload:
                    raise Wrong("another message came back")
                count += 2 * size
        finally:
            await socket.close()
        return count

    async def _long_stream(self, tunnel: Tunnel) -> int:
        count = 0
        async with contextlib.AsyncExitStack() as stack:
            stream: Any = await stack.enter_async_context(await tunnel.open_connection("echo.test", 7))
            for _ in range(20):
                payload = self._random.randbytes(self._random.randrange(1, 2_000))
                await stream.write(payload)
                received = b""
                while len(received) < len(payload):
                    piece = await stream.read()
                    if not piece:
                        raise Wrong("the stream ended early")
                    received += piece
                if received != payload:
                    raise Wrong("another echo")
                count += 2 * len(payload)
                await asyncio.sleep(0.5)
        return count

    async def _look_up(self, tunnel: Tunnel, world: LocalWorld) -> int:
        if await tunnel.resolve("web.test") != world.internet.hosts["web.test"]:
            raise Wrong("another address")
        await asyncio.sleep(2)
        return 0

    async def _raw_message(self, tunnel: Tunnel) -> int:
        mix, payload = tunnel.mix_client, self._random.randbytes(self._random.randrange(16, 6_000))
        await mix.send(mix.address, payload)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20):
                while (message := await mix.receive()).data != payload:
                    self._figures.failed["raw message: late"] += 1  # of an earlier round
                if message.sender_tag is not None:
                    raise Wrong("a plain message with a sender tag")
                return len(payload)
        self._figures.failed["raw message: not seen"] += 1  # its gateway or ours was away
        return 0

    # -- trouble -------------------------------------------------------------------------------------------

    async def _break_things(self, world: LocalWorld) -> None:
        pause = min(max(self._seconds / 24, 8.0), 45.0)
        turn = 0
        while True:
            await asyncio.sleep(pause)
            if self._elapsed > self._seconds - pause - DOWNTIME:
                return  # the end belongs to recovery
            name = VICTIMS[turn % len(VICTIMS)]
            turn += 1
            self._figures.broken[name] += 1
            await world.network.kill(name)
            await asyncio.sleep(DOWNTIME)
            await world.network.restart(name)

    def _note(self, event: object) -> None:
        if isinstance(event, StateChange):
            self._figures.states[str(event.state)] += 1

    async def _watch(self, tunnel: Tunnel) -> None:
        print("  seconds     MB  tasks  sockets   done  failed      bytes  repeated  ack after  state")
        next_print = 0.0
        while self._elapsed < self._seconds:
            figures, topology = self._figures, tunnel.mix_client.view.topology
            figures.samples.append(Sample.now(self._elapsed))
            if topology is not None:
                figures.rotations.add(topology.rotation_id)
            if self._elapsed >= next_print:
                next_print += max(self._seconds / 20, 10.0)
                last, nym = figures.samples[-1], tunnel.stats()["nym"]
                print(
                    f"  {last.at:7.0f} {last.megabytes:6.1f} {last.tasks:6} {last.descriptors:8}"
                    f" {figures.done.total():6} {figures.failed.total():7} {figures.bytes:10}"
                    f" {nym['retransmissions']:9} {nym['ackRoundTrip']:8.2f} s  {tunnel.state}",
                    flush=True,
                )
            await asyncio.sleep(1.0)

    async def _until_idle(self, tunnel: Tunnel) -> None:
        """With the traffic over, nothing may be under way for ever."""
        ends_at = time.monotonic() + 60
        while time.monotonic() < ends_at:
            stats = tunnel.stats()
            open_bodies, waiting = stats.get("fetch", {}).get("openBodies", 0), stats["driver"]["waiting"]
            if open_bodies == 0 and stats["websocket"]["open"] == 0 and stats["nym"]["queued"] == 0:
                return
            await asyncio.sleep(0.5)
        self._figures.wrong.append(
            f"not idle after a minute: {open_bodies} bodies, {waiting} waiting sockets"
        )

    # -- the end -------------------------------------------------------------------------------------------

    def _verdict(self) -> list[str]:
        figures, growth = self._figures, dict[str, float]()
        problems = list(figures.wrong)
        kinds = (
            "download",
            "https download",
            "upload",
            "websocket",
            "open connection",
            "look-up",
            "raw message",
        )
        problems += [f"no {kind} succeeded" for kind in kinds if not figures.done[kind]]
        if len(figures.rotations) < 2:
            problems.append("the keys did not rotate")
        if figures.failed.total() > figures.done.total():
            problems.append("more failed than succeeded")
        for name, limit in GROWTH.items():
            middle = average(figures.samples, name, 0.5 * self._seconds, 0.6 * self._seconds)
            end = average(figures.samples, name, 0.9 * self._seconds, self._seconds + 1)
            growth[name] = end - middle
            if growth[name] > limit:
                problems.append(f"{name} grew by {growth[name]:.0f} in the second half")
        print(f"\ndone       {dict(figures.done)}")
        print(f"failed     {dict(figures.failed)}")
        print(f"broken     {dict(figures.broken)}")
        print(f"states     {dict(figures.states)}")
        print(f"rotations  {sorted(figures.rotations)}")
        print(
            f"bytes      {figures.bytes}, all as they should be" if not figures.wrong else "bytes      WRONG"
        )
        print("growth     " + ", ".join(f"{name} {by:+.1f}" for name, by in growth.items()))
        return problems


def where(task: asyncio.Future[int]) -> list[str]:
    """What a task waits for, from the outermost call to the innermost."""
    lines, awaited = list[str](), task.get_coro() if isinstance(task, asyncio.Task) else None
    while isinstance(awaited, CoroutineType):
        if awaited.cr_frame is not None:
            lines.append(f"    {awaited.cr_code.co_qualname}, line {awaited.cr_frame.f_lineno}")
        awaited = awaited.cr_await
    return lines


def average(samples: list[Sample], name: str, begin: float, end: float) -> float:
    """Of one figure, over the samples of a span of time."""
    values = [getattr(sample, name) for sample in samples if begin <= sample.at < end]
    return sum(values) / len(values)


def left_over(before: Sample) -> list[str]:
    """What there is more than before, now that everything is closed."""
    gc.collect()
    after, problems = Sample.now(0), []
    if after.tasks > before.tasks:
        names = sorted(task.get_name() for task in asyncio.all_tasks())
        problems.append(f"{after.tasks - before.tasks} tasks are left: {', '.join(names)}")
    if after.descriptors > before.descriptors:
        problems.append(f"{after.descriptors - before.descriptors} descriptors are left")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Mixed traffic for a long time over a network that breaks.")
    parser.add_argument("--minutes", type=float, default=30.0, help="default: 30")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the traffic")
    chosen = parser.parse_args()
    problems = asyncio.run(Soak(chosen.minutes * 60, chosen.seed).run())
    for problem in problems:
        print(f"WRONG: {problem}")
    print("soak failed" if problems else "soak passed")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
