"""mixDNS and mixFetch of Nym's published browser client in the local network, under its default traffic."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time

import pytest
from official_page import OfficialError, OfficialPage, pattern

from smolmix_web.localnet.exit_node import ExitNode
from smolmix_web.localnet.testnet.web import content
from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def test_names(tunnel: OfficialPage, world: LocalWorld):
    assert await tunnel.resolve("web.test") == world.internet.hosts["web.test"]
    assert await tunnel.resolve("v6only.test") == world.internet.hosts["v6only.test"]
    assert await tunnel.resolve("chain-3.test") == world.internet.hosts["web.test"]
    assert await tunnel.resolve("192.0.2.99") == "192.0.2.99"  # literals are not asked for
    asked = [name for name, _, transport in world.internet.zone.questions if transport == "udp"]
    assert {"web.test", "v6only.test", "chain-3.test", "chain-1.test"} <= set(asked)


@pytest.mark.parametrize(
    ("name", "text"), [("missing.test", "no A, AAAA, or CNAME"), ("servfail.test", "DNS error")]
)
async def test_names_without_address(tunnel: OfficialPage, name: str, text: str):
    with pytest.raises(OfficialError, match=text):
        await tunnel.resolve(name)


async def test_get_over_http(tunnel: OfficialPage):
    answer = await tunnel.fetch("http://web.test/echo?a=1", headers={"X-Mine": "yes"})
    assert (answer["status"], answer["statusText"]) == (200, "OK")
    seen = json.loads(answer["text"])
    assert (seen["method"], seen["path"]) == ("GET", "/echo?a=1")
    headers = dict(seen["headers"])
    assert headers["host"] == "web.test"
    assert headers["x-mine"] == "yes"
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("Mozilla/5.0 (X11; Linux x86_64)")


@pytest.mark.parametrize("host", ["other.test:8080", "v6only.test", "192.0.2.10"])
async def test_other_ports_families_and_literals(tunnel: OfficialPage, host: str):
    """An AAAA-only host works where the exit routes IPv6: UNSURE 8 of smolmix.md, for our exit."""
    answer = await tunnel.fetch(f"http://{host}/headers")
    assert dict(json.loads(answer["text"]))["host"] == host


async def test_ipv6_literals_are_beyond_the_official_client(tunnel: OfficialPage):
    """Settles UNSURE 2 of smolmix.md."""
    with pytest.raises(OfficialError, match="DNS error"):
        await tunnel.fetch("http://[2001:db8::10]/echo")


async def test_post(tunnel: OfficialPage):
    """The body takes a dozen packets up; the client loses those beyond eight per tick (smolmix.md 7), so our
    exit must keep segments that arrive out of order."""
    answer = await tunnel.fetch("http://web.test/echo", method="POST", body_size=20_000)
    seen = json.loads(answer["text"])
    assert (seen["method"], seen["length"]) == ("POST", 20_000)
    assert seen["sha256"] == hashlib.sha256(pattern(20_000)).hexdigest()


async def test_redirects(tunnel: OfficialPage):
    answer = await tunnel.fetch("http://web.test/redirect-chain/3")
    assert json.loads(answer["text"])["path"] == "/echo"


async def test_a_refused_connection(tunnel: OfficialPage):
    with pytest.raises(OfficialError, match="IO error: TCP connection failed"):
        await tunnel.fetch("http://closed.test/")


async def test_an_answer_that_is_none(tunnel: OfficialPage):
    with pytest.raises(OfficialError, match="hyper error: invalid HTTP version"):
        await tunnel.fetch("http://malformed.test/garbage")


async def test_a_destination_that_the_policy_forbids(tunnel: OfficialPage, world: LocalWorld):
    """The exit says so, the client only logs it (ipr.md 10.2): the call waits for ever, others go on."""
    exit_node = world.network.nodes["exit"]
    assert isinstance(exit_node, ExitNode)
    before = exit_node.service.ipr.stats.policy_denied
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(4):
            await tunnel.fetch("http://web.test:25/")
    assert exit_node.service.ipr.stats.policy_denied > before
    assert (await tunnel.fetch("http://web.test/echo"))["status"] == 200


async def test_methods_and_headers_go_as_they_are(tunnel: OfficialPage):
    """Settles UNSURE 4 and 5 of smolmix.md: methods keep their case; a Connection header comes on top of the
    client's own; values go as UTF-8."""
    with pytest.raises(OfficialError, match="invalid HTTP method"):
        await tunnel.fetch("http://web.test/echo", method="not one")
    # Servers may refuse lower case, as this one does; what matters here is what it saw.
    assert "b'patch /echo HTTP/1.1'" in (await tunnel.fetch("http://web.test/echo", method="patch"))["text"]
    answer = await tunnel.fetch("http://web.test/headers", headers={"Connection": "close", "X-Mine": "grüße"})
    seen = json.loads(answer["text"])
    assert [value for name, value in seen if name == "connection"] == ["keep-alive", "close"]
    assert ["x-mine", "grüße".encode().decode("latin-1")] in seen


async def test_statuses_without_body(tunnel: OfficialPage):
    """Settles UNSURE 1 of smolmix.md for Chromium: the package cannot make a Response of them."""
    for status in (204, 205, 304):
        with pytest.raises(OfficialError, match="null body status"):
            await tunnel.fetch(f"http://web.test/status/{status}")


async def test_download_of_a_megabyte(tunnel: OfficialPage):
    """At one packet per 20 ms for acknowledgements and reply blocks, a megabyte takes a while."""
    started = time.monotonic()
    answer = await tunnel.fetch("http://web.test/bytes/1000000")
    print(f"1 MB in {time.monotonic() - started:.1f} s")
    assert answer["size"] == 1_000_000
    assert answer["sha256"] == content(1_000_000)[1]


async def test_ten_fetches_at_a_time(tunnel: OfficialPage):
    urls = [f"http://{host}.test/bytes/10000?seed={n}" for n in range(5) for host in ("web", "other")]
    answers = await asyncio.gather(*map(tunnel.fetch, urls))
    for url, answer in zip(urls, answers, strict=True):
        assert answer["sha256"] == content(10_000, url.rpartition("=")[2])[1]
