"""The TUN exit with the kernel's forwarding and NAT, in network namespaces of its own; skipped where it
cannot run."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from smolmix_web.localnet.tun_device import TunDevice, TunUnavailable

HERE = Path(__file__).parent


def why_not() -> str | None:
    """What keeps this machine from running the scene."""
    if sys.platform != "linux":
        return "TUN needs Linux"
    for program in ("ip", "nft", "unshare"):
        if shutil.which(program) is None:
            return f"the program '{program}' is not installed"
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
    except OSError as error:
        return f"/dev/net/tun cannot be opened: {error.strerror}"
    if subprocess.run(("unshare", "--net", "true"), capture_output=True, check=False).returncode:
        return "no right to make a network namespace"
    return None


def test_packets_pass_the_kernel_and_its_nat() -> None:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(HERE), *filter(None, sys.path)))}
    command = ("unshare", "--net", sys.executable, str(HERE / "tun_scene.py"))
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    seen_v4, seen_v6 = "198.51.100.1 hello", "2001:db8:77::1 hello"
    assert result == {
        "interface": "nymtun0",
        "mtu": 1500,
        "tcp 198.51.100.2": seen_v4,
        "udp 198.51.100.2": seen_v4,
        "tcp 2001:db8:77::2": seen_v6,
        "udp 2001:db8:77::2": seen_v6,
        "refused": "ConnectionRefused",
        "mapped": "",
        "ping": "ECHO_REPLY",
        "keep-alive": "TIME_EXCEEDED",
        "large": 200_000,
        "gone": 0,
        "links left": ["lo", "veth0"],
        "tables left": "",
        "forwarding left": "0",
    }


async def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda program: None if program == "nft" else "/bin/" + program)
    with pytest.raises(TunUnavailable, match="'nft' is not installed"):
        await TunDevice().open()


async def test_without_the_device_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_device(*arguments: object) -> int:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(shutil, "which", lambda program: "/bin/" + program)
    monkeypatch.setattr(os, "open", no_device)
    device = TunDevice()
    with pytest.raises(TunUnavailable, match="/dev/net/tun: Operation not permitted"):
        await device.open()
    await device.close()
    await asyncio.sleep(0)
