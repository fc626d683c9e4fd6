"""One local network for all blocks, in a thread: the blocks are programs, pages and commands."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from docs.blocks import ROOT
from smolmix_web.adapters.blocking import BlockingTunnel, LoopThread
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.options import TunnelOptions
from smolmix_web.platform.native import NativePlatform


@pytest.fixture(scope="session")
def network() -> Iterator[dict[str, object]]:
    """What :meth:`LocalWorld.describe` tells of the network."""
    thread, world = LoopThread("docs-network"), LocalWorld()
    thread.run(world.start())
    yield world.describe()
    thread.run(world.stop())
    thread.stop()


@pytest.fixture(scope="session")
def local_options(network: dict[str, object]) -> TunnelOptions:
    return TunnelOptions(
        network=str(network["directory"]),
        force_tls=False,
        trust_anchors=str(network["trustAnchors"]),
        disable_poisson_traffic=True,
        disable_cover_traffic=True,
    )


@pytest.fixture(scope="session")
def blocking(local_options: TunnelOptions) -> Iterator[BlockingTunnel]:
    """The tunnel of the blocks that are parts of a program."""
    with BlockingTunnel.connect(local_options, platform=NativePlatform()) as tunnel:
        yield tunnel


@pytest.fixture(scope="session")
def environment(
    network: dict[str, object], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], dict[str, str]]:
    """Environment variables of a program at home in a folder: the stand-in, and this checkout's commands."""
    description = tmp_path_factory.mktemp("network") / "network.json"
    description.write_text(json.dumps(network))

    def make(home: Path) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT / "tests" / "docs" / "standin"),
            "PYTHONUNBUFFERED": "1",
            "SMOLMIX_STANDIN": str(description),
            "NO_PROXY": "*",
        }

    return make
