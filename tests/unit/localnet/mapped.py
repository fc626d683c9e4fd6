"""An aiohttp session whose names lead to the test internet's listeners, as an exit would lead them."""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from smolmix_web.localnet.address_map import Endpoint, Protocol
from smolmix_web.localnet.testnet import TestInternet


def endpoint(internet: TestInternet, host: str, port: int, protocol: Protocol = Protocol.TCP) -> Endpoint:
    target = internet.address_map.lookup(ipaddress.ip_address(internet.hosts[host]), port, protocol)
    assert isinstance(target, Endpoint)
    return target


class MappedResolver(AbstractResolver):
    def __init__(self, internet: TestInternet) -> None:
        self._internet = internet

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        to = endpoint(self._internet, host, port)
        return [ResolveResult(hostname=host, host=to.host, port=to.port, family=2, proto=6, flags=0)]

    async def close(self) -> None:
        pass


@asynccontextmanager
async def browser(internet: TestInternet) -> AsyncIterator[aiohttp.ClientSession]:
    context = ssl.create_default_context(cadata=internet.trust_anchor_pem)
    connector = aiohttp.TCPConnector(resolver=MappedResolver(internet), ssl=context)
    timeout = aiohttp.ClientTimeout(total=10)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session
