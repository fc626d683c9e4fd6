"""A TUN interface of the Linux kernel with the addresses of an exit, and NAT towards the outside.

The interface is ``nymtun%d`` with 10.0.0.1/16 and fc00::1/112, as on the reference exit (ipr.md section
11.7), which leaves NAT to its operator. Here it is part of the device: one nftables table of our own, removed
at the end. It needs root (CAP_NET_ADMIN), ``/dev/net/tun`` and the programs ``ip`` and ``nft``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import ipaddress
import json
import os
import shutil
import struct
from pathlib import Path

from smolmix_web.errors import SmolmixError

NETWORK_V4 = ipaddress.IPv4Network("10.0.0.0/16")
NETWORK_V6 = ipaddress.IPv6Network("fc00::/112")
_ADDRESS_V4 = "10.0.0.1/16"
_ADDRESS_V6 = "fc00::1/112"

# From <linux/if_tun.h>: an interface of IP packets, without the four bytes of packet information before each.
_TUNSETIFF = 0x400454CA
_IFF_TUN = 0x0001
_IFF_NO_PI = 0x1000
_IFREQ = struct.Struct("16sH22x")

_FORWARDING = (
    Path("/proc/sys/net/ipv4/ip_forward"),
    Path("/proc/sys/net/ipv6/conf/all/forwarding"),
)


class TunUnavailable(SmolmixError):
    """The TUN device cannot be had here; the text says what is missing."""

    code = "TUN_UNAVAILABLE"


class TunDevice:
    """``open`` it, ``read`` and ``write`` whole IP packets without blocking, ``close`` it.

    :param mtu: bytes of the largest packet, 1280 or more
    """

    def __init__(self, mtu: int = 1500) -> None:
        self.mtu = mtu
        self.name = ""
        self._fd = -1
        self._table = ""
        self._forwarding_before: list[tuple[Path, str]] = []

    def fileno(self) -> int:
        return self._fd

    async def open(self) -> None:
        """:raises TunUnavailable: no rights, no device, no tools, or the networks are in use"""
        for program in ("ip", "nft"):
            if shutil.which(program) is None:
                raise TunUnavailable(f"the program '{program}' is not installed")
        try:
            self._fd, self.name = _create()
        except OSError as error:
            raise TunUnavailable(f"/dev/net/tun: {error.strerror}") from error
        try:
            await self._refuse_conflicts()
            await self._configure()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """The interface vanishes with its descriptor; the NAT rules and the forwarding switch are put
        back."""
        if self._table:
            table, self._table = self._table, ""
            with contextlib.suppress(TunUnavailable):
                await _run("nft", "delete", "table", "inet", table)
        for path, before in self._forwarding_before:
            with contextlib.suppress(OSError):
                path.write_text(before)
        self._forwarding_before.clear()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> bytes | None:
        """The next packet, or None when there is none now."""
        try:
            return os.read(self._fd, 65535)
        except BlockingIOError:
            return None

    def write(self, packet: bytes) -> bool:
        """Whether the kernel took the packet."""
        try:
            os.write(self._fd, packet)
        except OSError:  # its queue is full, or it does not like the packet
            return False
        return True

    async def _refuse_conflicts(self) -> None:
        """Our networks must not hide anybody else's."""
        for interface in json.loads(await _run("ip", "-json", "address", "show")):
            for entry in interface.get("addr_info", ()):
                address = ipaddress.ip_address(entry["local"])
                if address in NETWORK_V4 or address in NETWORK_V6:
                    raise TunUnavailable(
                        f"{interface['ifname']} already has {address}, of the exit's own network"
                    )

    async def _configure(self) -> None:
        await _run("ip", "link", "set", "dev", self.name, "mtu", str(self.mtu), "up")
        await _run("ip", "address", "add", _ADDRESS_V4, "dev", self.name)
        with contextlib.suppress(TunUnavailable):  # a kernel without IPv6
            await _run("ip", "address", "add", _ADDRESS_V6, "dev", self.name, "nodad")
        for path in _FORWARDING:
            with contextlib.suppress(FileNotFoundError):
                before = path.read_text()
                if before.strip() != "1":
                    self._forwarding_before.append((path, before))
                    path.write_text("1")
        table = f"smolmix_{self.name}"
        await _run("nft", "-f", "-", stdin=_nat_rules(table, self.name))
        self._table = table


def _create() -> tuple[int, str]:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        answer = fcntl.ioctl(descriptor, _TUNSETIFF, _IFREQ.pack(b"nymtun%d", _IFF_TUN | _IFF_NO_PI))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor, answer[:16].rstrip(b"\0").decode()


def _nat_rules(table: str, interface: str) -> str:
    return (
        f"table inet {table} {{\n"
        f"  chain postrouting {{\n"
        f"    type nat hook postrouting priority srcnat; policy accept;\n"
        f'    oifname != "{interface}" ip saddr {NETWORK_V4} masquerade\n'
        f'    oifname != "{interface}" ip6 saddr {NETWORK_V6} masquerade\n'
        f"  }}\n"
        f"}}\n"
    )


async def _run(*command: str, stdin: str = "") -> str:
    """What a program prints. :raises TunUnavailable: it failed"""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, complaint = await process.communicate(stdin.encode())
    if process.returncode:
        raise TunUnavailable(f"{' '.join(command[:3])}: {complaint.decode(errors='replace').strip()}")
    return out.decode()
