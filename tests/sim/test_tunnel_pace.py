"""A download through the whole chain, in virtual time, runs at the pace of the packets."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from smolmix_web.net import TcpOptions
from smolmix_web.nym.config import ClientConfig

ROOT = Path(__file__).resolve().parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tunnel_simulator", ROOT / "bench" / "tunnel_simulator.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tunnel_simulator"] = module
    spec.loader.exec_module(module)
    return module


bench = _load()


def test_a_download_with_the_official_delays_and_pacing_uses_the_reply_surbs_as_they_come() -> None:
    """What the exit may send is what the client gave SURBs for; TCP must not leave them lying."""
    one = bench.download(1_000_000, ClientConfig(fill_surbs=True), TcpOptions(), settle=3.0)
    assert one.used >= 0.85 * one.supplied
    assert one.steady >= 150_000


def test_loss_inside_the_mixnet_is_not_felt_as_congestion() -> None:
    """Half a percent on each of eight links: the Nym client repeats what was lost, late and out of order."""
    one = bench.download(600_000, ClientConfig(fill_surbs=True), TcpOptions(), loss=0.005, settle=3.0)
    assert one.steady >= 80_000
