"""A SOCKS5 server (RFC 1928) in front of a tunnel, for programs that know proxies and not us."""

from __future__ import annotations

from smolmix_web.socks.server import SocksServer

__all__ = ["SocksServer"]
