"""One process per node, started from the command line."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from smolmix_web.localnet.directory_link import DirectoryLink
from smolmix_web.nym import base58
from unit.localnet.eventually import eventually
from unit.localnet.localnet_client import BareClient, make_packet


@contextlib.asynccontextmanager
async def process(folder: Path, role: str, *arguments: str) -> AsyncIterator[dict]:
    """What a process of ``role`` writes about itself once it runs."""
    file = folder / f"{role}.json"
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "smolmix_web", "network", "--role", role, "--json", str(file), *arguments,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        await eventually(lambda: file.exists() and file.read_text().endswith("}\n"), 60)
        yield json.loads(file.read_text())
    finally:
        child.send_signal(signal.SIGTERM)
        _, errors = await asyncio.wait_for(child.communicate(), 30)
        assert child.returncode == 0, errors.decode()


async def test_every_node_in_a_process_of_its_own(tmp_path):
    async with contextlib.AsyncExitStack() as stack:
        directory = (await stack.enter_async_context(process(tmp_path, "directory")))["directory"]
        roles = ("mix1", "mix2", "mix3", "entry")
        contexts = [process(tmp_path, role, "--directory", directory) for role in roles]
        started = await asyncio.gather(*(stack.enter_async_context(context) for context in contexts))
        entry = started[3]["nodes"]["entry"]
        link = DirectoryLink(directory)
        stack.push_async_callback(link.close)
        topology = await link.topology()
        identity = base58.decode(entry["identity"], 32)
        async with BareClient(entry["websocket"], identity) as client:
            me = (client.keys.identity, identity)
            # A node that started early learns of the later ones within its announcement interval.
            for attempt in range(40):
                await client.send(make_packet(topology, *me, b"%d" % attempt, ack_to=me))
                with contextlib.suppress(TimeoutError):
                    await client.next_push(0.5)
                    break
            await eventually(lambda: client.acks >= 1)
